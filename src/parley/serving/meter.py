"""What a passive party has answered for a model, held against what the active party accounts for."""

import os
import struct
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from parley.core.files import room_for
from parley.protocols.asking import AT_ONCE, MAX_TOKENS, Reason
from parley.protocols.attending import Terms

PATIENCE: Final = 120.0
"""Seconds that the active party has to account for what it asked."""


class Reading(NamedTuple):
    """What is kept of a meter, so that a worker that ends forgets nothing.

    Attributes:
        until: end of the release that it is about, seconds since 1970.
        quota: of that release.
        used: predictions that the ledger counted of it, as last seen.
        due: tokens answered lately that were not among them.
        lost: tokens answered longer ago that were not.
    """

    until: int
    quota: int
    used: int
    due: int
    lost: int


_RECORD: Final = struct.Struct(">5Q")


class Slate:
    """A reading in a file of 40 bytes. It outlives this process, though perhaps not a loss of power.

    Args:
        path: of the file.

    Raises:
        BudgetExhausted: the disk is full.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with room_for(path):
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def read(self) -> Reading | None:
        """What was written last; nothing if nothing was."""
        with suppress(struct.error):
            return Reading(*_RECORD.unpack(os.pread(self._file, _RECORD.size + 1, 0)))
        return None

    def write(self, reading: Reading) -> None:
        """Keep it."""
        os.pwrite(self._file, _RECORD.pack(*reading), 0)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)


class Meter:
    """Counts answered tokens until they are accounted for, and says whether more may be answered.

    What was asked by a program that was killed before it accounted is asked again by the next one; so some
    may stay unaccounted for: three messages' worth, and a tenth of the quota. Beyond that the active party
    gets nothing more until it has accounted, or every owner has released the model anew. Safe to use from
    several threads.

    Args:
        clock: monotonic seconds.
        wall: seconds since 1970.
        slate: where it is kept.
    """

    def __init__(self, clock: Callable[[], float], wall: Callable[[], float], slate: Slate) -> None:
        self._clock = clock
        self._wall = wall
        self._slate = slate
        self._seen = slate.read() or Reading(0, 0, 0, 0, 0)
        self._open = deque([(clock(), self._seen.due)])  # what the worker before us answered
        self._counted, self._lost = self._seen.due, self._seen.lost
        self._turn = threading.Lock()

    def asked(self, terms: Terms, tokens: int) -> Reason | None:
        """Count tokens that are to be answered; or why they may not be."""
        if terms.status != "released":
            return "model-withdrawn" if terms.status == "withdrawn" else "model-not-released"
        if self._wall() > terms.until:
            return "release-expired"
        with self._turn:
            return self._asked(terms, tokens)

    def _asked(self, terms: Terms, tokens: int) -> Reason | None:
        self._account(terms)
        if terms.used + self._counted + tokens > terms.quota:
            return "quota-exceeded"
        if self._lost > AT_ONCE * MAX_TOKENS + terms.quota // 10:
            return "unaccounted"
        self._slate.write(self._reading(terms, tokens))
        self._open.append((self._clock(), tokens))
        self._counted += tokens
        return None

    def _reading(self, terms: Terms, more: int) -> Reading:
        return Reading(terms.until, terms.quota, terms.used, self._counted + more, self._lost)

    def _account(self, terms: Terms) -> None:
        """Take off what the ledger has by now, and what nobody will account for any more."""
        seen = self._seen
        if (seen.until, seen.quota) != (terms.until, terms.quota) or terms.used < seen.used:  # released anew
            self._lost = 0
        elif terms.used > seen.used:
            self._take_off(terms.used - seen.used)
        oldest = self._clock() - PATIENCE
        while self._open and self._open[0][0] < oldest:
            tokens = self._open.popleft()[1]
            self._counted -= tokens
            self._lost += tokens
        self._seen = self._reading(terms, 0)

    def _take_off(self, entered: int) -> None:
        while entered and self._open:
            since, tokens = self._open.popleft()
            taken = min(tokens, entered)
            entered -= taken
            self._counted -= taken
            if tokens > taken:
                self._open.appendleft((since, tokens - taken))
        self._lost = max(self._lost - entered, 0)
