"""How much more one kind of run costs than another, where the machine's speed drifts.

Runs come in blocks, some of each kind, and every second block has the kinds in the opposite order, so that
a drift cancels; each block gives one ratio. Of the ratios the centre is the Hodges-Lehmann estimate (the
median of all pairwise means), with the confidence interval of Wilcoxon's signed ranks: neither a few slow
moments nor the shape of the noise count (Hollander, Wolfe, Chicken, Nonparametric Statistical Methods, 3rd
ed., 3.1 to 3.3).
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

LEVEL: Final = 0.95
"""That the interval holds the true share, at least; where too few blocks cannot say so, there is none."""


@dataclass(frozen=True)
class Share:
    """What is added, as a part of what there was: 0.02 for two in a hundred.

    Attributes:
        centre: the estimate.
        low: of its interval.
        high: of its interval; both are None with fewer than six blocks.
    """

    centre: float
    low: float | None
    high: float | None

    def __str__(self) -> str:
        interval = "" if self.low is None or self.high is None else f" [{self.low:+.1%}, {self.high:+.1%}]"
        return f"{self.centre:+.1%}{interval}"


def share(without: Sequence[tuple[float, float]], with_: Sequence[tuple[float, float]]) -> Share:
    """What the second kind of run adds to the first; of each block the two runs of one kind."""
    logs = [_log(theirs) - _log(ours) for ours, theirs in zip(without, with_, strict=True)]
    means = sorted((a + b) / 2 for place, a in enumerate(logs) for b in logs[place:])
    cut = _cut(len(logs))
    low, high = (None, None) if cut == 0 else (math.expm1(means[cut - 1]), math.expm1(means[-cut]))
    return Share(math.expm1(statistics.median(means)), low, high)


def _log(pair: tuple[float, float]) -> float:
    return (math.log(pair[0]) + math.log(pair[1])) / 2


def _cut(blocks: int) -> int:
    """How many of the pairwise means lie outside the interval, at either end, plus one; 0: there is none."""
    ways = [1]  # in how many ways some of the ranks 1, 2, ... have each sum
    for rank in range(1, blocks + 1):
        ways = [
            (ways[total] if total < len(ways) else 0) + (ways[total - rank] if total >= rank else 0)
            for total in range(len(ways) + rank)
        ]
    outside, cut = 0, 0
    while (outside + ways[cut]) / 2**blocks <= (1 - LEVEL) / 2:
        outside += ways[cut]
        cut += 1
    return cut
