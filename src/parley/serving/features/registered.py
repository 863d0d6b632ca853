"""The registered table as the source: read whole, held as codes, and read again when it is too old.

While it is read again the old one serves; if that fails the old one goes on serving, and the log says why.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from parley.core.errors import ParleyError
from parley.core.log import Log
from parley.data.bins import Codes
from parley.data.ids import IdRule, Ids, normalise, written
from parley.data.sources import parse_source, read
from parley.serving.features.coded import Coded, Coding, Figures, Rows, comparable
from parley.serving.features.index import IdIndex
from parley.store.catalogue import TableRecord

_MANY: Final = 4096
"""Ids from which on looking them up would keep the event loop from other requests."""
_AGAIN: Final = 60.0
"""Seconds after which a reading that failed is tried again, at most."""
_THREADS: Final = 2


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A table as it was when it was read.

    Attributes:
        ids: in the order of rows.
        index: rows by id.
        codes: ``uint8[columns, rows]``.
    """

    ids: Ids
    index: IdIndex
    codes: Codes

    @classmethod
    def read(
        cls, record: TableRecord, coding: Coding, rule: IdRule, environment: Mapping[str, str]
    ) -> "Snapshot":
        """Read the table's id and the share's columns.

        Raises:
            UsageError: it cannot be read, an id is missing or there twice, or a column is not what it was.
        """
        wanted = tuple(dict.fromkeys((record.id, *coding.names)))
        frame = read(parse_source(record.source, record.query), environment, wanted)
        ids = normalise(frame[record.id], rule)
        return cls(ids, IdIndex(written(frame[record.id], rule)), coding.codes(frame, _THREADS))

    def at(self, rows: Rows) -> Coded:
        """The codes of rows, of which those below zero are not known."""
        known = rows >= 0
        return Coded(known, np.take(self.codes, rows[known], axis=1))


class RegisteredTable:
    """Features out of a table that was read.

    Args:
        reading: reads it: now, and later in a thread.
        rule: how ids are written before they are compared.
        age: seconds after which it is read again, when it is next asked.
        clock: monotonic seconds.
        log: told of readings that fail.
    """

    def __init__(
        self, reading: Callable[[], Snapshot], rule: IdRule, age: float, clock: Callable[[], float], log: Log
    ) -> None:
        self._reading = reading
        self.rule = rule
        self._age = age
        self._clock = clock
        self._log = log
        self._due = clock() + age
        self._task: asyncio.Task[None] | None = None
        self._hits = self._misses = 0
        self.snapshot = reading()

    async def codes(self, ids: Sequence[str]) -> Coded:
        """See `Features.codes`."""
        self.refresh()
        snapshot = self.snapshot
        if len(ids) < _MANY:
            return self._counted(self._look_up(snapshot, ids))
        return self._counted(await asyncio.to_thread(self._look_up, snapshot, ids))

    async def enrol(self) -> "EnrolledTable":
        """See `Features.enrol`."""
        return EnrolledTable(self)

    def figures(self) -> Figures:
        """See `Features.figures`."""
        return Figures(self._hits, self._misses, len(self.snapshot.index))

    async def close(self) -> None:
        """See `Features.close`."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def refresh(self) -> None:
        """Begin to read the table again if it is too old, and nobody does yet."""
        if self._task is None and self._clock() >= self._due:
            self._task = asyncio.create_task(self._read_again())

    def _look_up(self, snapshot: Snapshot, ids: Sequence[str]) -> Coded:
        return snapshot.at(snapshot.index.find(comparable(ids, self.rule)))

    def _counted(self, coded: Coded) -> Coded:
        hits = int(coded.known.sum())
        self._hits += hits
        self._misses += len(coded.known) - hits
        return coded

    async def _read_again(self) -> None:
        began = self._clock()
        try:
            self.snapshot = await asyncio.to_thread(self._reading)
            self._due = began + self._age
        except Exception as error:  # noqa: BLE001 (whatever it is, the old table serves)
            self._due = self._clock() + min(self._age, _AGAIN)
            log = self._log.because(error) if isinstance(error, ParleyError) else self._log
            why = error.what if isinstance(error, ParleyError) else type(error).__name__
            log.say("warning", f"the table could not be read again, the former reading serves on: {why}")
        finally:
            self._task = None


class EnrolledTable:
    """The rows of a table as it was at one time, found in it as it is now."""

    def __init__(self, table: RegisteredTable) -> None:
        self._table = table
        self._now = table.snapshot
        self._places: Rows | None = None
        self._task: asyncio.Task[None] | None = None
        self.ids = self._now.ids
        self._written = self._now.index.ids

    async def of_rows(self, rows: Rows) -> Coded:
        """See `Enrolled.of_rows`; a table that was just read again is used as soon as its rows are found."""
        self._table.refresh()
        if self._task is None and self._now is not self._table.snapshot:
            self._task = asyncio.create_task(self._follow(self._table.snapshot))
        return self._now.at(rows if self._places is None else self._places[rows])

    async def _follow(self, snapshot: Snapshot) -> None:
        try:
            self._places = await asyncio.to_thread(self._places_in, snapshot)
            self._now = snapshot
        finally:
            self._task = None

    def _places_in(self, snapshot: Snapshot) -> Rows:
        return snapshot.index.find(self._written)
