"""The bins of one column: how a value becomes a small code, and how a set of codes is said in words.

Code 0 means missing. The value codes 1, 2, … follow the edges of a numeric column, or the categories of a
categorical one. Bins are plain records: they belong to a model share and serialise exactly as JSON.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import isfinite
from typing import Final, TypeAlias

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from parley.data.cells import Floats

MAX_BINS: Final = 254
"""Value bins a column may have, so that a code and the count of bins fit a byte."""
FEWEST_BINS: Final = 2
"""Value bins below which a column could not be split."""
MISSING: Final = 0
"""The code of a missing value."""

Codes: TypeAlias = NDArray[np.uint8]
Flags: TypeAlias = NDArray[np.bool_]


class NumericBins(msgspec.Struct, frozen=True, tag="numeric", forbid_unknown_fields=True):
    """Bins between edges: value code ``c`` means ``edges[c-2] < x <= edges[c-1]``, open at both ends.

    So ``code <= t`` is exactly ``x <= edges[t-1]``.

    Attributes:
        edges: finite and strictly ascending, at most ``MAX_BINS - 1``.

    """

    edges: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse edges that could not have been fitted; msgspec turns this into a decoding error."""
        if len(self.edges) >= MAX_BINS:
            raise ValueError(f"at most {MAX_BINS - 1} edges, not {len(self.edges)}")
        if not all(map(isfinite, self.edges)) or any(low >= high for low, high in pairwise(self.edges)):
            raise ValueError("edges must be finite and strictly ascending")

    @property
    def bin_count(self) -> int:
        """Codes that exist, the one for missing values included."""
        return len(self.edges) + 2

    def codes(self, values: Floats) -> Codes:
        """The codes of float64[n] as uint8[n]; NaN becomes 0."""
        edges = np.asarray(self.edges, dtype=np.float64)
        codes = np.searchsorted(edges, values, side="left").astype(np.uint8)
        codes += 1
        codes[np.isnan(values)] = MISSING
        return codes

    def describe(self, column: str, left_bins: Flags) -> str:
        """The condition "the value falls in one of ``left_bins``", e.g. ``income ≤ 3.5 or missing``.

        Args:
            column: the name to use in the sentence.
            left_bins: bool[bin_count], true for the bins in question.

        """
        _check_flags(left_bins, self.bin_count)
        runs = _runs(left_bins[1:])
        if runs == [(0, self.bin_count - 1)]:
            return f"{column} is anything" if left_bins[MISSING] else f"{column} is present"
        return _joined(column, [self._interval(column, *run) for run in runs], left_bins)

    def _interval(self, column: str, first: int, stop: int) -> str:
        """The value bins ``first`` to ``stop - 1``, counted from 0, as an inequality."""
        if first == 0:
            return f"{column} ≤ {self.edges[stop - 1]:.10g}"
        if stop == self.bin_count - 1:
            return f"{column} > {self.edges[first - 1]:.10g}"
        return f"{self.edges[first - 1]:.10g} < {column} ≤ {self.edges[stop - 1]:.10g}"


class CategoricalBins(msgspec.Struct, frozen=True, tag="categorical", forbid_unknown_fields=True):
    """A bin for each category; with ``other``, one last bin for every value that is not among them.

    Attributes:
        categories: code 1 is the first of them; distinct.
        other: whether the last code stands for the values that have no bin of their own. Without it such
            a value counts as missing.

    """

    categories: tuple[str, ...]
    other: bool = False

    def __post_init__(self) -> None:
        """Refuse categories that could not have been fitted; msgspec turns this into a decoding error."""
        if len(self.categories) + self.other > MAX_BINS:
            raise ValueError(f"at most {MAX_BINS} bins, not {len(self.categories) + self.other}")
        if len(set(self.categories)) < len(self.categories):
            raise ValueError("categories must be distinct")

    @property
    def bin_count(self) -> int:
        """Codes that exist, the one for missing values included."""
        return len(self.categories) + self.other + 1

    def codes(self, values: pl.Series) -> Codes:
        """The codes of a column of text, uint8[n]; null becomes 0."""
        unknown = len(self.categories) + 1 if self.other else MISSING
        own = pl.Series(range(1, len(self.categories) + 1), dtype=pl.UInt8)
        names = pl.Series(self.categories, dtype=pl.String)
        coded = values.replace_strict(names, own, default=unknown, return_dtype=pl.UInt8)
        codes = coded.fill_null(MISSING).to_numpy(writable=True)
        codes[values.is_null().to_numpy()] = MISSING
        return codes

    def describe(self, column: str, left_bins: Flags) -> str:
        """The condition "the value falls in one of ``left_bins``", e.g. ``colour in {blue, red}``.

        Args:
            column: the name to use in the sentence.
            left_bins: bool[bin_count], true for the bins in question.

        """
        _check_flags(left_bins, self.bin_count)
        if left_bins[1:].all():
            return f"{column} is anything" if left_bins[MISSING] else f"{column} is present"
        chosen = [name for name, left in zip(self.categories, left_bins[1:], strict=False) if left]
        parts = [f"{column} in {{{', '.join(chosen)}}}"] if chosen else []
        if self.other and left_bins[-1]:
            parts.append("any other" if chosen else f"{column} is any other")
        return _joined(column, parts, left_bins)


ColumnBins: TypeAlias = NumericBins | CategoricalBins


def _joined(column: str, parts: Sequence[str], left_bins: Flags) -> str:
    if not left_bins[MISSING]:
        return " or ".join(parts) or f"{column} is nothing"
    return " or ".join([*parts, "missing"]) if parts else f"{column} is missing"


def _runs(flags: Flags) -> list[tuple[int, int]]:
    """Where runs of true begin and end (exclusive)."""
    padded = np.concatenate(([0], flags.astype(np.int8), [0]))
    steps = np.diff(padded)
    return list(zip(np.flatnonzero(steps == 1).tolist(), np.flatnonzero(steps == -1).tolist(), strict=True))


def _check_flags(left_bins: Flags, bin_count: int) -> None:
    if left_bins.shape != (bin_count,):
        raise ValueError(f"left_bins has shape {left_bins.shape}, expected ({bin_count},)")
