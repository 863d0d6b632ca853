"""How far a distribution moved: the population stability index, and what chance alone makes of it.

PSI = Σ (aᵢ − eᵢ) ln(aᵢ / eᵢ) over the shares eᵢ expected and aᵢ found in the bins of one column: the
Kullback-Leibler divergences of both directions added (Jeffreys' divergence). Credit scoring reads less
than 0.1 as stable and more than 0.25 as moved (N. Siddiqi, Credit Risk Scorecards, Wiley 2006). Where
nothing moved, PSI is distributed about as (1/n + 1/m) χ² with one degree of freedom less than bins
(B. Yurdakul and J. Naranjo, Statistical properties of the population stability index, Journal of Risk Model
Validation, 2020), so samples of a few hundred rows may exceed 0.1 by chance.
"""

import math
from typing import Final, Self

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

_LEAST: Final = 0.5
"""Rows that an empty bin counts as, so that one value that is new does not make the index infinite."""
_DEVIATIONS: Final = 3.0
BINS: Final = 20
"""Bins of a distribution of scores."""


class Histogram(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many values fall where.

    Attributes:
        edges: where one bin ends and the next begins, ascending; each belongs to the lower one.
        counts: values in each, one more than edges.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        """Refuse what counts nothing; msgspec turns this into a decoding error."""
        if len(self.counts) != len(self.edges) + 1 or not np.all(np.diff(self.edges) > 0):
            raise ValueError("edges must ascend, and there must be one count more than edges")

    @classmethod
    def of_probabilities(cls, values: ArrayLike) -> Self:
        """Counts of probabilities in 20 bins of one width."""
        return cls._counting(np.arange(1, BINS) / BINS, values)

    @classmethod
    def of_values(cls, values: ArrayLike) -> Self:
        """Counts of values in at most 20 bins of about one count each; at least one value is needed."""
        found = np.asarray(values, dtype=np.float64)
        edges = np.unique(np.quantile(found, np.arange(1, BINS) / BINS, method="lower"))
        return cls._counting(edges[edges < found.max()], found)

    def counted(self, values: ArrayLike) -> NDArray[np.int64]:
        """How many other values fall into each of the bins: int64[bins]."""
        places = np.searchsorted(np.asarray(self.edges), np.asarray(values), side="left")
        return np.bincount(places, minlength=len(self.counts)).astype(np.int64)

    def moved(self, values: ArrayLike) -> float:
        """The population stability index of other values against these; NaN without any."""
        return population_stability_index(self.counts, self.counted(values))

    @classmethod
    def _counting(cls, edges: NDArray[np.float64], values: ArrayLike) -> Self:
        bare = cls(tuple(edges.tolist()), (0,) * (len(edges) + 1))
        return cls(bare.edges, tuple(bare.counted(values).tolist()))


def population_stability_index(expected: ArrayLike, found: ArrayLike) -> float:
    """The index of two distributions over the same bins.

    Args:
        expected: rows by bin, not all zero.
        found: the same of what is compared.

    Returns:
        0 for equal shares, else more; the same both ways round. NaN if either has nothing in it.
    """
    before, after = _shares(expected), _shares(found)
    return float(np.sum((after - before) * np.log(after / before)))


def by_chance(bins: int, rows: int, other_rows: int) -> float:
    """An index that two samples of one distribution hardly exceed: mean and three deviations of its law.

    Args:
        bins: that have rows.
        rows: of the one sample, at least one.
        other_rows: of the other.
    """
    freedom = max(bins - 1, 1)
    return (1 / rows + 1 / other_rows) * (freedom + _DEVIATIONS * math.sqrt(2 * freedom))


def _shares(counts: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(counts, dtype=np.float64)
    total = values.sum()
    if not total:
        return np.full(values.shape, np.nan)
    shares: NDArray[np.float64] = np.maximum(values, _LEAST) / total
    return shares
