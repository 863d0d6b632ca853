"""What a passive party has answered for a model, held against what the active party accounts for."""

from collections import deque
from collections.abc import Callable
from typing import Final

from parley.protocols.asking import MAX_TOKENS, Reason
from parley.protocols.attending import Terms

PATIENCE: Final = 120.0
"""Seconds that the active party has to account for what it asked."""


class Meter:
    """Counts answered tokens until they are accounted for, and says whether more may be answered.

    What was asked by a program that was killed before it accounted is asked again by the next one; so some
    may stay unaccounted for: two messages' worth, and a tenth of the quota. Beyond that the active party
    gets nothing more until it has accounted.

    Args:
        clock: monotonic seconds.
        wall: seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._clock = clock
        self._wall = wall
        self._open: deque[tuple[float, int]] = deque()
        self._counted = 0
        self._lost = 0
        self._used: int | None = None

    def asked(self, terms: Terms, tokens: int) -> Reason | None:
        """Count tokens that are to be answered; or why they may not be."""
        if terms.status != "released":
            return "model-withdrawn" if terms.status == "withdrawn" else "model-not-released"
        if self._wall() > terms.until:
            return "release-expired"
        self._account(terms)
        if terms.used + self._counted + tokens > terms.quota:
            return "quota-exceeded"
        if self._lost > 2 * MAX_TOKENS + terms.quota // 10:
            return "unaccounted"
        self._open.append((self._clock(), tokens))
        self._counted += tokens
        return None

    def _account(self, terms: Terms) -> None:
        """Take off what the ledger has by now, and what nobody will account for any more."""
        entered = max(terms.used - (terms.used if self._used is None else self._used), 0)
        self._used = terms.used
        while entered and self._open:
            since, tokens = self._open.popleft()
            taken = min(tokens, entered)
            entered -= taken
            self._counted -= taken
            if tokens > taken:
                self._open.appendleft((since, tokens - taken))
        self._lost = max(self._lost - entered, 0)
        oldest = self._clock() - PATIENCE
        while self._open and self._open[0][0] < oldest:
            tokens = self._open.popleft()[1]
            self._counted -= tokens
            self._lost += tokens
