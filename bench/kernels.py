"""What the kernels cost on one core, per path: a table, and with `--json` one JSON object as the last line.

Every figure is processor time, the best of several repeats. A 2048-bit modular multiplication through
gmpy2, measured in the same run, is the reference: ratios to it can be compared between machines and days.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import gmpy2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from parley import _native as native

SEED = bytes(range(32))
BINS = 32
MESSAGES = 2


@dataclass(frozen=True)
class Figures:
    """One path's cost on one thread, for two messages (three points) a row."""

    path: str
    histogram_ns: float
    """Per row and column."""
    encrypt_us: float
    """Per row."""
    decrypt_us: float
    """Per bin."""
    scalar_mul_us: float
    """Per point, decoding and encoding included."""
    decode_us: float
    """Per point."""
    hash_us: float
    """Per identifier of 16 bytes, encoding included."""


@dataclass(frozen=True)
class Predictions:
    """The cost of answers by 100 trees of depth 5, half of the splits a passive party's, on one thread."""

    directions_ns: float
    """Per row, at one party's 1 550 splits on 25 columns."""
    directions_one_us: float
    """Per call for one row."""
    margins_ns: float
    """Per row."""
    margins_one_us: float
    """Per call for one row."""
    leaves_ns: float
    """Per row, for the hash of its leaf and its part of the root."""


def best(repeats: int, work: Callable[[], object]) -> float:
    """Return the least processor time of `repeats` runs in seconds, over all threads."""
    shortest = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        work()
        shortest = min(shortest, time.process_time() - start)
    return shortest


def modular_multiplication(repeats: int) -> float:
    """Return the nanoseconds of one 2048-bit modular multiplication through gmpy2."""
    rng = gmpy2.random_state(1)
    modulus = gmpy2.mpz_urandomb(rng, 2048) | (1 << 2047) | 1
    factor = gmpy2.mpz_urandomb(rng, 2047)
    count = 20_000

    def work() -> object:
        value = factor
        for _ in range(count):
            value = value * factor % modulus
        return value

    return best(repeats, work) / count * 1e9


def decoded(rows: NDArray[np.uint8]) -> native.Ciphertexts:
    """Decode the rows on one thread."""
    kept = native.Ciphertexts(MESSAGES, len(rows))
    kept.append(rows, 1)
    return kept


def measure(path: str, rows: int, columns: int, repeats: int) -> Figures:
    """Measure one path on one thread."""
    native.use_kernels(path)
    rng = np.random.default_rng(0)
    key = native.SecretKey.from_seed(MESSAGES, SEED)
    messages = np.stack([rng.integers(-127, 128, rows), rng.integers(0, 128, rows)], axis=1).astype(np.int32)
    some = min(rows, 4096)
    encrypt = best(repeats, lambda: key.encrypt(messages[:some], SEED, 0, 1)) / some
    ciphertexts = key.encrypt(messages, SEED, 0, 1)
    decode = best(repeats, lambda: decoded(ciphertexts[:some])) / (some * (MESSAGES + 1))
    kept = decoded(ciphertexts)
    bins = rng.integers(0, BINS, (columns, rows), dtype=np.uint8)
    counts = np.full(columns, BINS, np.uint32)
    subset = np.arange(rows, dtype=np.uint32)
    histogram = best(repeats, lambda: native.encrypted_histogram(kept, bins, counts, subset, 1))
    sums = native.encrypted_histogram(kept, bins, counts, subset, 1)
    fresh = sums.rerandomised(key.public(), SEED, 0, 1)
    bounds = np.full((len(sums), MESSAGES), 127 * rows)
    key.decrypt(fresh[:8], bounds[:8], 1)
    decrypt = best(repeats, lambda: key.decrypt(fresh, bounds, 1)) / len(sums)
    points = np.ascontiguousarray(ciphertexts[:some, 0])
    scalar = native.SecretScalar.from_seed(SEED)
    multiplied = best(repeats, lambda: native.multiply(points, scalar, 1)) / some
    ids = rng.bytes(16 * some)
    ends = np.arange(16, 16 * some + 1, 16, dtype=np.uint64)
    spans = np.stack((ends - np.uint64(16), ends), axis=1)
    hashing = best(repeats, lambda: native.hash_to_group(ids, spans, b"bench", 1)) / some
    return Figures(
        path=path,
        histogram_ns=histogram / (rows * columns) * 1e9,
        encrypt_us=encrypt * 1e6,
        decrypt_us=decrypt * 1e6,
        scalar_mul_us=multiplied * 1e6,
        decode_us=decode * 1e6,
        hash_us=hashing * 1e6,
    )


def measure_predictions(rows: int, repeats: int) -> Predictions:
    """Measure directions, margins and leaves, which are the same on every path."""
    trees, inner, owners = 100, 31, 2
    rng = np.random.default_rng(0)
    half = trees * inner // owners
    columns = rng.integers(0, 25, half).astype(np.uint32)
    left = rng.integers(0, 256, (half, 32), dtype=np.uint8)
    codes = rng.integers(0, BINS, (25, rows), dtype=np.uint8)
    every = np.arange(rows)
    packed = native.row_directions(codes, every, columns, left, 1)
    number = np.arange(trees * inner).reshape(trees, inner)
    nodes = np.zeros((trees, 2 * inner + 1, 3), np.uint32)
    nodes[:, :inner] = np.stack(
        (number % owners, number // owners, 0 * number + 2 * np.arange(inner) + 1), axis=2
    )
    sizes = np.tile(np.array([0, 2 * inner + 1], np.uint32), (trees, 1))
    splits = np.full(owners, half, np.uint32)
    values = rng.normal(size=nodes.shape[0] * nodes.shape[1])
    forest = native.Forest(1, splits, sizes, nodes.reshape(-1, 3), values)
    lefts, initial = [packed, packed[::-1].copy()], np.zeros(1)
    margins = native.forest_margins(forest, lefts, initial, 1)
    ends = np.arange(16, 16 * rows + 1, 16, dtype=np.uint64)
    spans, ids = np.stack((ends - np.uint64(16), ends), axis=1), rng.bytes(16 * rows)
    basis = np.zeros(rows, np.uint8)

    def committed() -> bytes:
        return native.merkle_root(native.prediction_leaves(ids, spans, basis, margins, SEED, 0, 1), 1)

    def repeated(work: Callable[[], object]) -> float:
        return best(repeats, lambda: [work() for _ in range(100)]) / 100 * 1e6

    one = [each[:1] for each in lefts]
    return Predictions(
        directions_ns=best(repeats, lambda: native.row_directions(codes, every, columns, left, 1))
        / rows
        * 1e9,
        directions_one_us=repeated(lambda: native.row_directions(codes, every[:1], columns, left, 1)),
        margins_ns=best(repeats, lambda: native.forest_margins(forest, lefts, initial, 1)) / rows * 1e9,
        margins_one_us=repeated(lambda: native.forest_margins(forest, one, initial, 1)),
        leaves_ns=best(repeats, committed) / rows * 1e9,
    )


def predictions_table(cost: Predictions, reference: float) -> Table:
    """Lay out what answers cost; in brackets as in the other table."""
    out = Table(title="predictions by 100 trees of depth 5, one thread")
    heads = (
        "directions\nns/row",
        "one row\nus/call",
        "margins\nns/row",
        "one row\nus/call",
        "leaf, root\nns/row",
    )
    for head in heads:
        out.add_column(head, justify="right")
    ns = (cost.directions_ns, 1000 * cost.directions_one_us, cost.margins_ns, 1000 * cost.margins_one_us)
    shown = [
        f"{each / 1000:.1f}" if one else f"{each:.0f}" for one, each in zip((0, 1, 0, 1), ns, strict=True)
    ]
    shown.append(f"{cost.leaves_ns:.0f}")
    cells = zip(shown, (*ns, cost.leaves_ns), strict=True)
    out.add_row(*(rf"{text} \[{each / reference:.2f}]" for text, each in cells))
    return out


def table(figures: list[Figures], reference: float, rows: int, columns: int) -> Table:
    """Lay the figures out for people; in brackets the cost in 2048-bit modular multiplications."""
    out = Table(
        title=f"one thread, {rows} rows x {columns} columns x {BINS} bins, g and h\n"
        f"in brackets: the same in 2048-bit modular multiplications of {reference:.0f} ns",
    )
    out.add_column("path")
    heads = (
        "histogram\nns/row/col",
        "encrypt\nus/row",
        "decrypt\nus/bin",
        "multiply\nus/point",
        "decode\nus/point",
        "hash\nus/id",
    )
    for head in heads:
        out.add_column(head, justify="right")
    for f in figures:
        cells = [f"{f.histogram_ns:.1f} [{f.histogram_ns / reference:.2f}]"]
        times = (f.encrypt_us, f.decrypt_us, f.scalar_mul_us, f.decode_us, f.hash_us)
        cells.extend(f"{us:.2f} [{us * 1000 / reference:.1f}]" for us in times)
        out.add_row(f.path, *(cell.replace("[", r"\[") for cell in cells))
    return out


def main() -> None:
    """Measure every path this processor can run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--columns", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    options = parser.parse_args()
    before = native.kernel_path()
    try:
        reference = modular_multiplication(options.repeats)
        figures = [
            measure(path, options.rows, options.columns, options.repeats)
            for path in native.available_kernels()
        ]
        predictions = measure_predictions(options.rows, options.repeats)
    finally:
        native.use_kernels(before)
    Console().print(table(figures, reference, options.rows, options.columns))
    Console().print(predictions_table(predictions, reference))
    if options.json:
        print(
            json.dumps(
                {
                    **asdict(figures[0]),
                    "modmul_2048_ns": reference,
                    "rows": options.rows,
                    "columns": options.columns,
                    "paths": [asdict(f) for f in figures],
                    "predictions": asdict(predictions),
                }
            )
        )


if __name__ == "__main__":
    main()
