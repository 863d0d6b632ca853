"""The best split of each node over one party's columns. Axes V, C, W as in `histograms`.

A split is described by the bins that go left, for numeric and categorical columns alike. Integer sums
are scaled to floats element by element, so equal integers give equal gains, bit for bit, wherever they
were summed. Ties go to the lower column, then the lower bin, then missing values to the left.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parley.learn.histograms import Bools, Ints
from parley.learn.parameters import BoostingParameters

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Candidate:
    """The best split of a node within one party's columns.

    Attributes:
        gain: loss reduction in units of the objective (twice the reduction of the quadratic model).
        column: index among the columns looked at.
        left: ``bool[W]``: bins that go left.
        left_sums: gradient, hessian and rows that go left, as integers.
    """

    gain: float
    column: int
    left: Bools
    left_sums: tuple[int, int, int]


@dataclass(frozen=True)
class SplitRules:
    """What makes a split good or forbidden, with the worth of one integer unit of gradient and hessian."""

    parameters: BoostingParameters
    scales: tuple[float, float]

    def score(self, sums: Ints, extra: float) -> Floats:
        """``G² / (H + λ)`` of ``int64[3, …]`` sums, 0 where the denominator is."""
        gradient, hessian = sums[0] * self.scales[0], sums[1] * self.scales[1]
        denominator = hessian + (self.parameters.reg_lambda + extra)
        positive = denominator > 0
        return np.where(positive, gradient * gradient / np.where(positive, denominator, 1.0), 0.0)

    def gain(self, left: Ints, totals: Ints, extra: float) -> Floats:
        """Gain of sending ``left`` one way and the rest of ``totals`` the other; −inf where forbidden."""
        right = totals - left
        gain = self.score(left, extra) + self.score(right, extra) - self.score(totals, extra)
        return np.where(self._permitted(left) & self._permitted(right), gain, -np.inf)

    def _permitted(self, side: Ints) -> Bools:
        enough = side[2] >= self.parameters.min_child_samples
        return np.asarray(enough & (side[1] * self.scales[1] >= self.parameters.min_child_weight))


def best_splits(
    sums: Ints, ends: Bools, categorical: Bools, totals: Ints, rules: SplitRules
) -> list[Candidate | None]:
    """Find the best split of every node.

    Args:
        sums: ``int64[3, V, C, W]`` sums of gradients, hessians and rows, coarsened to ``ends``.
        ends: ``bool[V, C, W]`` the last bin of every group.
        categorical: ``bool[C]``.
        totals: ``int64[3, V]`` sums over all rows of a node.
        rules: parameters and scales.

    Returns:
        Per node the best candidate whose gain exceeds ``min_split_gain``, or None.
    """
    nodes, columns = ends.shape[:2]
    gains = np.full((nodes, columns), -np.inf)
    finders: list[tuple[NDArray[np.int64], _Numeric | _Categorical]] = []
    for kind, finder in ((False, _Numeric), (True, _Categorical)):
        chosen = np.flatnonzero(categorical == kind)
        if len(chosen):
            found = finder(sums[:, :, chosen], ends[:, chosen], totals, rules)
            gains[:, chosen] = found.gains
            finders.append((chosen, found))
    if not columns:
        return [None] * nodes
    best = gains.argmax(axis=1)
    result: list[Candidate | None] = []
    for node, column in enumerate(best.tolist()):
        gain = float(gains[node, column])
        if not gain > rules.parameters.min_split_gain:
            result.append(None)
            continue
        chosen, found = next(pair for pair in finders if column in pair[0])
        left, left_sums = found.describe(node, int(np.searchsorted(chosen, column)))
        result.append(Candidate(gain, column, left, left_sums))
    return result


def _integers(sums: Ints) -> tuple[int, int, int]:
    return int(sums[0]), int(sums[1]), int(sums[2])


class _Numeric:
    """Thresholds between groups of value bins, with missing values on either side."""

    def __init__(self, sums: Ints, ends: Bools, totals: Ints, rules: SplitRules) -> None:
        self._sums, self._ends, self._totals = sums, ends, totals
        values = sums.copy()
        values[..., 0] = 0
        below = np.cumsum(values, axis=-1)
        missing = sums[..., :1]
        # axis −1: missing left, missing right
        self._left = np.stack([below + missing, below], axis=-1)
        gains = rules.gain(self._left, totals[:, :, None, None, None], 0.0)
        threshold = ends.copy()
        threshold[..., 0] = False
        gains = np.where(threshold[..., None], gains, -np.inf)
        flat = gains.reshape(*gains.shape[:2], -1)
        self._best = flat.argmax(axis=-1)
        self.gains = np.take_along_axis(flat, self._best[..., None], axis=-1)[..., 0]

    def describe(self, node: int, column: int) -> tuple[Bools, tuple[int, int, int]]:
        """The bins that go left, and their sums."""
        threshold, missing_right = divmod(int(self._best[node, column]), 2)
        left_sums = _integers(self._left[:, node, column, threshold, missing_right])
        left = np.arange(self._ends.shape[-1]) <= threshold
        if not self._ends[node, column, 0]:
            left[0] = True  # missing values are merged into the lowest group
        elif self._sums[2, node, column, 0] == 0:
            left[0] = 2 * left_sums[2] >= self._totals[2, node]  # none here: they follow the majority
        else:
            left[0] = not missing_right
        return left, left_sums


class _Categorical:
    """Subsets of categories: prefixes in the order of their gradient statistics (Fisher 1958)."""

    def __init__(self, sums: Ints, ends: Bools, totals: Ints, rules: SplitRules) -> None:
        self._ends, self._totals = ends, totals
        self._present = ends & (sums[2] > 0)
        smooth = sums[1] * rules.scales[1] + max(rules.parameters.cat_smooth, 1e-12)
        ratio = np.where(self._present, sums[0] * rules.scales[0] / smooth, np.inf)
        self._order = np.argsort(ratio, axis=-1, kind="stable")
        self._left = np.cumsum(np.take_along_axis(sums, self._order[None], axis=-1), axis=-1)
        gains = rules.gain(self._left, totals[:, :, None, None], rules.parameters.cat_l2)
        last = self._present.sum(axis=-1, keepdims=True) - 1
        gains = np.where(np.arange(ends.shape[-1]) < last, gains, -np.inf)
        self._best = gains.argmax(axis=-1)
        self.gains = np.take_along_axis(gains, self._best[..., None], axis=-1)[..., 0]

    def describe(self, node: int, column: int) -> tuple[Bools, tuple[int, int, int]]:
        """The bins that go left, and their sums."""
        best = int(self._best[node, column])
        left_sums = _integers(self._left[:, node, column, best])
        chosen = np.zeros(self._ends.shape[-1], dtype=np.bool_)
        chosen[self._order[node, column, : best + 1]] = True
        majority = 2 * left_sums[2] >= self._totals[2, node]  # where categories unseen in this node go
        decided = np.where(self._present[node, column], chosen, majority)
        return self._of_group(decided, node, column), left_sums

    def _of_group(self, decided: Bools, node: int, column: int) -> Bools:
        """Give every bin the decision of the group it belongs to."""
        ends = np.flatnonzero(self._ends[node, column])
        left = np.zeros_like(decided)
        group = np.searchsorted(ends, np.arange(ends[-1] + 1))
        left[: ends[-1] + 1] = decided[ends[group]]
        return left
