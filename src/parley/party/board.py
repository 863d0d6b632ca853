"""What goes on in the runs of a party just now, for whoever watches: progress, states, workers.

Who looks gets what is newest, however late: for every watcher it is remembered how much it has seen, not what
it has missed. So a watcher that reads slowly costs nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from parley.core.trace import Sink
from parley.party.progress import ProgressSink
from parley.party.runstate import TERMINAL
from parley.protocols.control import Progress
from parley.store.catalogue import RunRecord, RunState


class Observer(Protocol):
    """Whoever hears of all runs of a party. Quick, never raises; called on the party's event loop."""

    def sink(self, record: RunRecord) -> Sink:
        """What takes the trace of a run from now on."""

    def moved(self, record: RunRecord) -> None:
        """A run came to another state, or begins."""


@dataclass(frozen=True)
class Moved:
    """A run has come to a state."""

    state: RunState


News: TypeAlias = Moved | Progress


@dataclass
class _Slate:
    """One run: its newest news by what they are about, each with a number that grows."""

    news: dict[str, tuple[int, News]] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def write(self, about: str, number: int, news: News) -> None:
        self.news[about] = (number, news)
        self.changed.set()
        self.changed = asyncio.Event()

    def after(self, number: int) -> tuple[int, News] | None:
        later = [each for each in self.news.values() if each[0] > number]
        return min(later, key=lambda each: each[0], default=None)


class Board:
    """An observer that others look at.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._slates: dict[str, _Slate] = {}
        self._number = 0
        self._closed = asyncio.Event()

    def sink(self, record: RunRecord) -> Sink:
        """What takes the trace of a run from now on."""

        def tell(progress: Progress) -> None:
            self._write(record.id, f"phase {progress.phase}", progress)

        return ProgressSink(self._clock, tell)

    def moved(self, record: RunRecord) -> None:
        """A run came to another state, or begins."""
        self._write(record.id, "state", Moved(record.state))
        if record.state in TERMINAL:  # whoever watches holds the slate
            del self._slates[record.id]

    def close(self) -> None:
        """Nobody watches any longer."""
        self._closed.set()

    def watch(self, run: str, every: float) -> AsyncIterator[News | None]:
        """What is new, from this very moment on, of a run that is not over, until it is or the board closes.

        Args:
            run: identifier.
            every: seconds after which there is None to say that nothing is new.
        """
        return self._watch(self._slates.setdefault(run, _Slate()), every)

    async def _watch(self, slate: _Slate, every: float) -> AsyncIterator[News | None]:
        seen = 0
        while not self._closed.is_set():
            changed = slate.changed
            fresh = slate.after(seen)
            if fresh is None:
                if not await self._either(changed, every):
                    yield None
                continue
            seen, news = fresh
            yield news
            if isinstance(news, Moved) and news.state in TERMINAL:
                return

    async def _either(self, changed: asyncio.Event, seconds: float) -> bool:
        waiting = [asyncio.ensure_future(each.wait()) for each in (changed, self._closed)]
        try:
            done, _ = await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()
        return bool(done)

    def _write(self, run: str, about: str, news: News) -> None:
        self._number += 1
        self._slates.setdefault(run, _Slate()).write(about, self._number, news)
