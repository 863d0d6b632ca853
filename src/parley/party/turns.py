"""Turns: how many attempts at runs take place at a time, and which of those that wait is next."""

import asyncio
import heapq
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Final

from parley.core.errors import BudgetExhausted

LONGEST: Final = 86400.0
"""Seconds that a run waits for its turn before it has failed."""


class Turns:
    """Lets so many through at a time; the others wait, by priority and then by who came first.

    Args:
        at_once: how many.
    """

    def __init__(self, at_once: int) -> None:
        self.at_once = at_once
        self._free = at_once
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._numbers = count()

    @property
    def free(self) -> bool:
        """Whether nobody would have to wait."""
        return self._free > 0

    @asynccontextmanager
    async def turn(self, priority: int) -> AsyncIterator[None]:
        """Wait for a turn, have it for as long as the block lasts.

        Args:
            priority: the higher, the sooner.

        Raises:
            BudgetExhausted: it did not come within a day.
        """
        await self._taken(priority)
        try:
            yield
        finally:
            self._given()

    async def _taken(self, priority: int) -> None:
        if self._free:
            self._free -= 1
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (-priority, next(self._numbers), mine))
        try:
            async with asyncio.timeout(LONGEST):
                await asyncio.shield(mine)
        except TimeoutError:
            self._leave(mine)
            raise BudgetExhausted(
                "turn-never-came",
                f"the run waited {LONGEST / 3600:g} hours while {self.at_once} others took place",
                remedy="raise `runs_at_once` in parley.toml, or give the run a higher --priority",
            ) from None
        except asyncio.CancelledError:
            self._leave(mine)
            raise

    def _leave(self, mine: "asyncio.Future[None]") -> None:
        """Whoever waited no longer wants the turn, which may have come in the same moment."""
        if mine.done():
            self._given()
        mine.cancel()

    def _given(self) -> None:
        """A turn is over: the next one's begins."""
        with suppress(IndexError):
            while (following := heapq.heappop(self._waiting)[2]).done():
                pass  # it left
            following.set_result(None)
            return
        self._free += 1
