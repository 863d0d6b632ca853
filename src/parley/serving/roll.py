"""A passive party's rows by the tokens of one enrolment."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from parley.serving.features.coded import Enrolled
from parley.serving.features.index import places_in

Halves = NDArray[np.uint64]


@dataclass(frozen=True)
class Roll:
    """One enrolment.

    Attributes:
        high: the first eight bytes of each token, ascending, uint64[n].
        low: the other eight.
        rows: of each, int64[n].
        longest: tokens with equal first bytes that follow one another, at most.
        enrolled: gives the codes of rows.
    """

    high: Halves
    low: Halves
    rows: NDArray[np.int64]
    longest: int
    enrolled: Enrolled

    @classmethod
    def of(cls, tokens: NDArray[np.uint8], enrolled: Enrolled) -> Self:
        """Of the token of each row, uint8[n, 16]."""
        high, low = _halves(tokens)
        order = np.argsort(high)
        high, low = high[order], low[order]
        longest = 1
        while longest < len(high) and (high[longest:] == high[:-longest]).any():
            longest += 1
        return cls(high, low, order, longest, enrolled)

    def find(self, tokens: NDArray[np.uint8]) -> NDArray[np.int64]:
        """The row of each token, -1 where there is none."""
        high, low = _halves(tokens)
        found = np.full(len(tokens), -1, dtype=np.int64)
        first = places_in(self.high, high)
        for step in range(self.longest):
            places = np.minimum(first + step, len(self.high) - 1)
            same = (self.high[places] == high) & (self.low[places] == low)
            found[same] = self.rows[places[same]]
        return found


def _halves(tokens: NDArray[np.uint8]) -> tuple[Halves, Halves]:
    both = np.ascontiguousarray(tokens).view("<u8")
    return both[:, 0].copy(), both[:, 1].copy()
