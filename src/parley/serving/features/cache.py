"""Codes by id for as long as a declared age, the least recently used out first.

That a source lacks an id is kept as well, and as long. Ids that several ask for at the same time are fetched
once; a fetch that fails is told to all of them and kept for nobody.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from parley.serving.features.coded import Coded, Figures

Fetch: TypeAlias = Callable[[Sequence[str]], Awaitable[Coded]]


class _Entry(NamedTuple):
    """When an id was asked for, and its codes; none: the source lacks it."""

    since: float
    codes: bytes | None


class Cache:
    """What was fetched lately.

    Args:
        fetch: the codes of distinct ids.
        columns: codes of an id.
        age: seconds from the beginning of a fetch for which its answer counts.
        entries: ids held at most.
        clock: monotonic seconds.

    Attributes:
        hits: ids answered from here, or by a fetch that was under way.
        misses: ids that were fetched.
    """

    def __init__(
        self, fetch: Fetch, columns: int, *, age: float, entries: int, clock: Callable[[], float]
    ) -> None:
        self._fetch = fetch
        self._columns = columns
        self._age = age
        self._entries = entries
        self._clock = clock
        self._held: OrderedDict[str, _Entry] = OrderedDict()
        self._coming: dict[str, asyncio.Task[dict[str, bytes | None]]] = {}
        self.hits = self.misses = 0

    def __len__(self) -> int:
        """Ids held, also those too old that nobody has asked for again."""
        return len(self._held)

    def figures(self) -> Figures:
        """How it does."""
        return Figures(self.hits, self.misses, len(self))

    async def codes(self, ids: Sequence[str]) -> Coded:
        """The codes of ids, of which some may be equal."""
        wanted = dict.fromkeys(ids)
        found: dict[str, bytes | None] = {}
        tasks: dict[asyncio.Task[dict[str, bytes | None]], None] = {}
        lacking: list[str] = []
        now = self._clock()
        for each in wanted:
            entry = self._held.get(each)
            if entry is not None and now - entry.since < self._age:
                self._held.move_to_end(each)
                found[each] = entry.codes
            elif each in self._coming:
                tasks[self._coming[each]] = None
            else:
                lacking.append(each)
        self.hits += len(wanted) - len(lacking)
        self.misses += len(lacking)
        if lacking:
            tasks[self._begin(lacking, now)] = None
        for task in tasks:
            found |= await asyncio.shield(task)  # who gives up waiting takes it from nobody else
        return self._joined([found[each] for each in ids])

    def close(self) -> None:
        """End what is under way; whoever waits for it is told so."""
        for task in set(self._coming.values()):
            task.cancel()

    def _begin(self, ids: list[str], now: float) -> "asyncio.Task[dict[str, bytes | None]]":
        task = asyncio.create_task(self._fetched(ids, now))
        task.add_done_callback(lambda done: self._ended(ids, done))
        self._coming |= dict.fromkeys(ids, task)
        return task

    async def _fetched(self, ids: list[str], now: float) -> dict[str, bytes | None]:
        coded = await self._fetch(ids)
        rows = iter(np.ascontiguousarray(coded.codes.T))
        found = {
            each: next(rows).tobytes() if known else None
            for each, known in zip(ids, coded.known.tolist(), strict=True)
        }
        self._keep(((each, _Entry(now, codes)) for each, codes in found.items()), len(found))
        return found

    def _keep(self, entries: Iterable[tuple[str, _Entry]], count: int) -> None:
        for place, (each, entry) in enumerate(entries):
            if count - place > self._entries:
                continue  # it would be out again at once
            self._held[each] = entry
            self._held.move_to_end(each)
            if len(self._held) > self._entries:
                self._held.popitem(last=False)

    def _ended(self, ids: list[str], task: "asyncio.Task[dict[str, bytes | None]]") -> None:
        for each in ids:
            if self._coming.get(each) is task:
                del self._coming[each]
        if not task.cancelled():
            task.exception()  # it was told to whoever still waits

    def _joined(self, entries: list[bytes | None]) -> Coded:
        known = np.array([entry is not None for entry in entries], dtype=np.bool_)
        rows = np.frombuffer(b"".join(entry for entry in entries if entry is not None), dtype=np.uint8)
        return Coded(known, np.ascontiguousarray(rows.reshape(int(known.sum()), self._columns).T))
