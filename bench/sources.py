"""How fast a table is read from each kind of source, and how much memory that takes at most.

python bench/sources.py --rows 2000000 --json
python bench/sources.py --postgres postgresql://me@host/test --mysql mysql://me@host/test

Every reading is a process of its own: all 30 columns, then the 8 that a plan might name. The peak is
what the kernel counted for the process, less what it held before it read. The databases are ones that
may be written to: a table `parley_bench` is made there and dropped. The reference of the same run is
one reading of the Parquet file by Polars alone.
"""

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from parley.data.mysql import connect
from parley.data.sources import parse_source, read

MIB = 1024
BLOCK = 100_000
QUERY = "SELECT * FROM parley_bench"
USED: Final = ("id", "x0", "x1", "x2", "x3", "n0", "n1", "t0")


@dataclass(frozen=True)
class Reading:
    """One reading by a process of its own."""

    source: str
    columns: int
    rows: int
    seconds: float
    core_seconds: float
    rows_per_second: float
    peak_mib: float
    frame_mib: float
    """What the rows take once they are read."""


def made(rows: int, first: int = 0) -> pl.DataFrame:
    """Rows like a bank's: an id, 20 amounts with gaps, 5 counts, 4 groups."""
    draw = np.random.default_rng(first)
    amounts = {f"x{at}": np.round(draw.gamma(2.0, 500.0, rows), 2) for at in range(20)}
    counts = {f"n{at}": draw.poisson(20 * (at + 1), rows) for at in range(5)}
    groups = {f"t{at}": draw.integers(0, 40, rows).astype(str) for at in range(4)}
    frame = pl.DataFrame({"id": np.arange(first, first + rows), **amounts, **counts, **groups})
    gaps = [pl.when(pl.col("n0") % 7 != 0).then(pl.col(f"x{at}")).alias(f"x{at}") for at in range(5)]
    named = [pl.format("c{}", pl.col("id").cast(pl.String).str.zfill(9)).alias("id")]
    words = [pl.format("group {}", pl.col(f"t{at}")).alias(f"t{at}") for at in range(4)]
    return frame.with_columns(*named, *gaps, *words)


def blocks(rows: int) -> Iterator[pl.DataFrame]:
    """The same rows for every source, a block at a time."""
    for first in range(0, rows, BLOCK):
        yield made(min(BLOCK, rows - first), first)


def in_sqlite(path: Path, rows: int) -> None:
    """Write the rows into a new SQLite file."""
    with sqlite3.connect(path) as connection:
        for at, block in enumerate(blocks(rows)):
            if not at:
                connection.execute(_definition(block))
            marks = ",".join("?" * block.width)
            connection.executemany(f"INSERT INTO parley_bench VALUES ({marks})", block.rows())  # noqa: S608
    connection.close()


@contextmanager
def in_postgres(url: str, rows: int) -> Iterator[None]:
    """The rows in PostgreSQL, while it lasts."""
    import psycopg  # noqa: PLC0415  an extra

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS parley_bench")
        connection.execute(_definition(made(1)).encode())
        with connection.cursor().copy("COPY parley_bench FROM STDIN (FORMAT csv)") as copy:
            for block in blocks(rows):
                copy.write(block.write_csv(include_header=False))
        yield
        connection.execute("DROP TABLE parley_bench")


@contextmanager
def in_mysql(url: str, rows: int) -> Iterator[None]:
    """The rows in MySQL or MariaDB, while it lasts."""
    connection = connect(url, os.environ)
    with connection.cursor() as cursor:
        cursor.execute("SET autocommit = 1")
        cursor.execute("DROP TABLE IF EXISTS parley_bench")
        cursor.execute(_definition(made(1)).replace("text", "varchar(20)").replace('"', "`"))
        for block in blocks(rows):
            for part in block.iter_slices(2_000):
                lines = part.write_csv(include_header=False, quote_style="non_numeric", null_value="NULL")
                cursor.execute(f"INSERT INTO parley_bench VALUES ({'),('.join(lines.splitlines())})")  # noqa: S608
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE parley_bench")
    connection.close()


def _definition(frame: pl.DataFrame) -> str:
    words = {pl.Float64: "double precision", pl.Int64: "bigint", pl.String: "text"}
    columns = ", ".join(f'"{name}" {words[dtype.base_type()]}' for name, dtype in frame.schema.items())
    return f"CREATE TABLE parley_bench ({columns})"


def measured(name: str, source: str, query: str, used: tuple[str, ...]) -> Reading:
    """Read a source in a process of its own."""
    command = [sys.executable, __file__, "--read", source, "--query", query, "--used", ",".join(used)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Reading(name, **json.loads(done.stdout))


def read_once(source: str, query: str, used: str) -> None:
    """Read a source here, and print what it took."""
    idle = _peak()
    start, begun = time.perf_counter(), time.process_time()
    frame = _reader(source, query, used)()
    seconds, core = time.perf_counter() - start, time.process_time() - begun
    peak = _peak() - idle
    record = {
        "columns": frame.width,
        "rows": frame.height,
        "seconds": round(seconds, 2),
        "core_seconds": round(core, 2),
        "rows_per_second": round(frame.height / seconds),
        "peak_mib": round(peak / MIB),
        "frame_mib": round(frame.estimated_size("mb")),
    }
    print(json.dumps(record))


def _peak() -> int:
    """The most memory that this process has held so far, in KiB; what it was forked from does not count."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def _reader(source: str, query: str, used: str) -> Callable[[], pl.DataFrame]:
    if source.startswith("polars:"):
        return lambda: pl.read_parquet(source.removeprefix("polars:"))
    parsed = parse_source(source, query or None)
    if not used:
        return lambda: read(parsed)
    return lambda: read(parsed, columns=used.split(","))


def main() -> None:
    """Make the rows, read them from everywhere, print the table."""
    options = _options()
    if options.read:
        read_once(options.read, options.query, options.used)
        return
    readings = []
    with tempfile.TemporaryDirectory() as made_here, ExitStack() as stack:
        folder = options.folder or Path(made_here)
        for name, source, query in _sources(options, folder, stack):
            for used in ((), USED) if not name.startswith("Polars") else ((),):
                readings.append(measured(name, source, query, used))
                if not options.json:
                    print(readings[-1], file=sys.stderr)
    if options.json:
        print(json.dumps([asdict(each) for each in readings]))
    else:
        show(readings)


def _sources(options: argparse.Namespace, folder: Path, stack: ExitStack) -> Iterator[tuple[str, str, str]]:
    parquet, text, database = folder / "t.parquet", folder / "t.csv", folder / "t.db"
    if not parquet.exists():
        pl.concat(blocks(options.rows)).write_parquet(parquet, row_group_size=BLOCK)
    if not text.exists():
        pl.scan_parquet(parquet).sink_csv(text)
    yield "Polars alone, Parquet", f"polars:{parquet}", ""
    yield "Parquet", str(parquet), ""
    yield "CSV", str(text), ""
    if not database.exists():
        in_sqlite(database, options.rows)
    yield "SQLite", f"sqlite:///{database}", QUERY
    if options.postgres:
        stack.enter_context(in_postgres(options.postgres, options.rows))
        yield "PostgreSQL", options.postgres, QUERY
    if options.mysql:
        stack.enter_context(in_mysql(options.mysql, options.rows))
        yield "MySQL", options.mysql, QUERY
    for at, url in enumerate(options.s3):
        yield f"S3 {at + 1}", url, ""


def show(readings: list[Reading]) -> None:
    """For people."""
    table = Table("source", "columns", "rows/s", "core seconds", "peak MiB", "MiB once read")
    for each in readings:
        figures = (each.columns, each.rows_per_second, each.core_seconds, each.peak_mib, each.frame_mib)
        table.add_row(each.source, *(f"{figure:,}" for figure in figures))
    Console().print(table)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--folder", type=Path, help="where the files are made, and kept")
    parser.add_argument("--postgres", default="", metavar="URL")
    parser.add_argument("--mysql", default="", metavar="URL")
    parser.add_argument("--s3", action="append", default=[], metavar="URL", help="objects to read as well")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--read", default="", help=argparse.SUPPRESS)
    parser.add_argument("--query", default="", help=argparse.SUPPRESS)
    parser.add_argument("--used", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
