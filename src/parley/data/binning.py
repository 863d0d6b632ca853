"""Fitting bins to columns, and whole tables of codes.

Numeric columns get bins of nearly equal weight. A value that fills a bin on its own keeps one of its own,
and what remains is spread evenly over the remaining bins: the aim of LightGBM's greedy binning (Ke et al.,
NeurIPS 2017), reached here by sharing the bins out among the stretches between the heavy values.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from parley.core.errors import UsageError
from parley.data.bins import FEWEST_BINS, MAX_BINS, MISSING, CategoricalBins, Codes, ColumnBins, NumericBins
from parley.data.cells import Floats, kind_of, numbers, parsed, require_column, text

__all__ = [
    "MAX_BINS",
    "MISSING",
    "BinnedColumns",
    "CategoricalBins",
    "ColumnBins",
    "NumericBins",
    "bin_columns",
    "encode_columns",
    "fit_categorical",
    "fit_numeric",
]

Integers: TypeAlias = NDArray[np.int64]

_LARGEST = float(np.finfo(np.float64).max)


def fit_numeric(values: Floats, max_bins: int) -> NumericBins:
    """Bins for the values of one numeric column; deterministic, indifferent to their order.

    At most ``max_bins`` distinct values are each given a bin, with edges halfway between neighbours.
    Infinities are ordinary extreme values, except that minus infinity shares the bin of the lowest
    finite float there is. Missing values take no part.

    Args:
        values: float64[n], NaN where missing.
        max_bins: value bins to use at most, 2 to 254.

    """
    _check_max_bins(max_bins)
    ordered = np.sort(np.maximum(values[~np.isnan(values)], -_LARGEST))
    if not len(ordered):
        return NumericBins(())
    last = np.append(np.flatnonzero(ordered[1:] > ordered[:-1]), len(ordered) - 1)
    distinct = ordered[last]
    if len(distinct) <= max_bins:
        cuts = np.arange(len(distinct) - 1)
    else:
        cuts = _quantile_cuts(np.diff(last, prepend=-1), max_bins)
    return NumericBins(tuple(_between(distinct[cuts], distinct[cuts + 1]).tolist()))


def fit_categorical(values: pl.Series, max_bins: int) -> CategoricalBins:
    """Bins for one column of text: the most frequent categories first, ties in order of the alphabet.

    If there are more than ``max_bins`` categories, the rarest share the last bin, "other".

    Args:
        values: a column of strings, null where missing.
        max_bins: value bins to use at most, 2 to 254.

    """
    _check_max_bins(max_bins)
    counts = values.drop_nulls().alias("value").value_counts(name="count")
    ranked: list[str] = counts.sort("count", "value", descending=[True, False])["value"].to_list()
    if len(ranked) <= max_bins:
        return CategoricalBins(tuple(ranked))
    return CategoricalBins(tuple(ranked[: max_bins - 1]), other=True)


@dataclass(frozen=True)
class BinnedColumns:
    """Columns as codes, ready for histograms.

    Attributes:
        names: the columns, in the order in which they were asked for.
        bins: the bins of each.
        codes: uint8[columns, rows]; 0 is missing.

    """

    names: tuple[str, ...]
    bins: tuple[ColumnBins, ...]
    codes: Codes

    @property
    def bin_counts(self) -> NDArray[np.uint32]:
        """Codes each column may take, missing included: uint32[columns]."""
        return np.array([bins.bin_count for bins in self.bins], dtype=np.uint32)

    @property
    def categorical(self) -> NDArray[np.bool_]:
        """Which columns have categories instead of an order: bool[columns]."""
        return np.array([isinstance(bins, CategoricalBins) for bins in self.bins], dtype=np.bool_)


def bin_columns(
    frame: pl.DataFrame,
    columns: Sequence[str],
    *,
    training_rows: Integers,
    max_bins: int,
    threads: int,
    categorical: Collection[str] = (),
) -> BinnedColumns:
    """Fit bins on the training rows alone and give the codes of all rows, in the order of the frame.

    Numbers, dates and times are binned by size, text and booleans by category.

    Args:
        frame: the rows in the common order.
        columns: the features.
        training_rows: int64[m], positions in ``frame``.
        max_bins: value bins per column at most, 2 to 254.
        threads: columns worked on at the same time.
        categorical: columns to bin by category whatever their type.

    Raises:
        UsageError: ``column-unknown``, or ``column-not-text`` for lists, binary and the like.

    """

    def one(name: str) -> tuple[ColumnBins, Codes]:
        require_column(name, frame.columns)
        series = frame[name]
        if name not in categorical and kind_of(series.dtype) == "numeric":
            values = numbers(series)
            bins = fit_numeric(values[training_rows], max_bins)
            return bins, bins.codes(values)
        words = text(series)
        groups = fit_categorical(words[training_rows], max_bins)
        return groups, groups.codes(words)

    return _assembled(one, columns, len(frame), threads)


def encode_columns(frame: pl.DataFrame, bins: Mapping[str, ColumnBins], *, threads: int = 1) -> BinnedColumns:
    """The codes of new rows under bins fitted before, for prediction.

    Text that holds numbers throughout is accepted for a numeric column, and numbers for a categorical
    one whose categories are numbers.

    Args:
        frame: must have a column of the right type for each name; may have others.
        bins: by column name; their order is the order of the result.
        threads: columns worked on at the same time.

    Raises:
        UsageError: ``column-unknown`` for a missing column, ``column-type`` for one of the wrong type.

    """

    def one(name: str) -> tuple[ColumnBins, Codes]:
        require_column(name, frame.columns)
        fitted = bins[name]
        if isinstance(fitted, NumericBins):
            return fitted, fitted.codes(_as_numbers(frame[name]))
        return fitted, fitted.codes(_as_text(frame[name], fitted))

    return _assembled(one, tuple(bins), len(frame), threads)


def _assembled(
    one: Callable[[str], tuple[ColumnBins, Codes]], columns: Sequence[str], rows: int, threads: int
) -> BinnedColumns:
    """Work on the columns at the same time; NumPy and Polars release the interpreter lock."""
    codes = np.empty((len(columns), rows), dtype=np.uint8)
    with ThreadPoolExecutor(max(1, threads)) as pool:
        bins: list[ColumnBins] = []
        for index, (fitted, coded) in enumerate(pool.map(one, columns)):
            bins.append(fitted)
            codes[index] = coded
    return BinnedColumns(tuple(columns), tuple(bins), codes)


def _as_numbers(series: pl.Series) -> Floats:
    kind = kind_of(series.dtype)
    if kind == "categorical" and series.dtype != pl.Boolean:
        series, strays = parsed(series)
        if not len(strays):
            return numbers(series)
    elif kind != "unsupported":
        return numbers(series)
    raise _wrong_type(series, "numbers")


def _as_text(series: pl.Series, fitted: CategoricalBins) -> pl.Series:
    present = series.null_count() < len(series)
    if kind_of(series.dtype) == "unsupported":
        raise _wrong_type(series, "text")
    if present and series.dtype.is_numeric():
        _, strays = parsed(pl.Series(fitted.categories, dtype=pl.String))
        if len(strays) == len(fitted.categories):
            raise _wrong_type(series, "text")
    return text(series)


def _wrong_type(series: pl.Series, expected: str) -> UsageError:
    return UsageError(
        "column-type",
        f"column {series.name!r} held {expected} when the model was trained and is {series.dtype} now",
        remedy=f"give {expected} in column {series.name!r}, or train a model on the new kind of column",
    )


def _check_max_bins(max_bins: int) -> None:
    if not FEWEST_BINS <= max_bins <= MAX_BINS:
        raise UsageError(
            "max-bins-range",
            f"max_bins is {max_bins}, expected {FEWEST_BINS} to {MAX_BINS}",
            remedy="choose max_bins in that range; 32 is a good start",
        )


def _between(low: Floats, high: Floats) -> Floats:
    """An edge ``e`` with ``low <= e < high``, halfway where rounding allows, and finite."""
    middle = np.minimum(low / 2 + high / 2, _LARGEST)
    edges = np.where((low <= middle) & (middle < high), middle, low)
    return edges + 0.0  # one zero: minus zero would make equal bins differ when hashed


def _quantile_cuts(counts: Integers, max_bins: int) -> Integers:
    """Where to cut distinct values, of which there are more than bins: ascending positions to cut after.

    A value of at least ``rows / max_bins`` rows is heavy and stands alone. The heavy values part the
    others into stretches; if there are not bins enough for every stretch, the lightest are joined to a
    heavy neighbour.
    """
    heavy = counts * max_bins >= counts.sum()
    through = np.cumsum(counts)
    starts, stops = _stretches(heavy)
    weights = through[stops - 1] - through[starts] + counts[starts]
    budget = max_bins - int(heavy.sum())
    kept = np.sort(np.argsort(-weights, kind="stable")[:budget])
    shares = _shared_out(weights[kept], (stops - starts)[kept], budget)
    cuts = np.ones(len(counts), dtype=np.bool_)
    for start, stop in zip(starts, stops, strict=True):
        cuts[start : stop - 1] = False
    for index in np.setdiff1d(np.arange(len(starts)), kept):
        cuts[starts[index] - 1 if starts[index] else stops[index] - 1] = False
    for index, share in zip(kept, shares, strict=True):
        cuts[_even_cuts(through, int(starts[index]), int(stops[index]), share)] = True
    return np.flatnonzero(cuts[:-1])


def _stretches(heavy: NDArray[np.bool_]) -> tuple[Integers, Integers]:
    """Starts and stops (exclusive) of the runs of values that are not heavy."""
    steps = np.diff(heavy.astype(np.int8), prepend=1, append=1)
    return np.flatnonzero(steps == -1), np.flatnonzero(steps == 1)


def _shared_out(weights: Integers, sizes: Integers, budget: int) -> list[int]:
    """Bins for each stretch: one at least, no more than it has values, the next to who has least of it."""
    shares = np.ones(len(weights), dtype=np.int64)
    for _ in range(budget - len(weights)):
        load = np.where(shares < sizes, weights / shares, -1.0)
        neediest = int(np.argmax(load))
        if load[neediest] < 0:
            break
        shares[neediest] += 1
    return shares.tolist()


def _even_cuts(through: Integers, start: int, stop: int, bins: int) -> list[int]:
    """Positions that cut values ``start`` to ``stop - 1`` into ``bins`` parts of nearly equal weight."""
    cuts: list[int] = []
    done = int(through[start - 1]) if start else 0
    total = int(through[stop - 1])
    for left in range(bins, 1, -1):
        target = done + (total - done + left - 1) // left
        first = cuts[-1] + 1 if cuts else start
        cut = int(np.searchsorted(through[first:stop], target)) + first
        if cut > first and target - through[cut - 1] < through[cut] - target:
            cut -= 1
        cut = min(cut, stop - left)
        cuts.append(cut)
        done = int(through[cut])
    return cuts
