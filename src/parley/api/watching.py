"""How a run goes, as server-sent events: ``state`` with the run, ``progress`` with a phase of it.

Who reads slowly gets what is newest when it reads on; what it missed is not kept for it.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from msgspec import convert

from parley.api.answers import PhaseShown
from parley.api.aside import Aside
from parley.api.responses import event
from parley.core.errors import BudgetExhausted
from parley.party.board import Moved, News
from parley.party.running import Running
from parley.party.runstate import TERMINAL
from parley.party.shown.runs import known_run, run_shown
from parley.store.catalogue import RunRecord

MOST: Final = 64
"""Watchers of all runs at the same time."""
_BEAT: Final = 15.0
"""Seconds of silence after which a comment says that we are still there."""


class Watchers:
    """Everyone who watches a run."""

    def __init__(self) -> None:
        self._count = 0

    def watch(self, running: Running, run: str, aside: Aside) -> AsyncGenerator[bytes, None]:
        """How a run goes from now on.

        Raises:
            UsageError: it is unknown.
            BudgetExhausted: too many watch.
        """
        record = known_run(running.office.home, run)
        if self._count >= MOST:
            raise BudgetExhausted(
                "too-many-watchers",
                f"{MOST} watch runs here already",
                remedy="end one of them, and ask again",
            )
        # taken in the same step as the record, so that nothing happens between the two
        coming = None if record.state in TERMINAL else running.board.watch(run, _BEAT)
        return self._events(running, record, coming, aside)

    async def _events(
        self, running: Running, record: RunRecord, coming: AsyncIterator[News | None] | None, aside: Aside
    ) -> AsyncGenerator[bytes, None]:
        self._count += 1
        try:
            yield event("state", run_shown(record))
            if coming is None:
                return
            async for news in coming:
                if news is None:
                    yield b": still there\n\n"
                elif isinstance(news, Moved):
                    now = await aside.do(known_run, running.office.home, record.id)
                    yield event("state", run_shown(now))
                else:
                    yield event("progress", convert(news, PhaseShown, from_attributes=True))
        finally:
            self._count -= 1
