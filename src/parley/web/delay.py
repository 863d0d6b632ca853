"""How long the event loop is held up: whatever computes on it delays all heartbeats and answers."""

import asyncio
from collections import deque
from typing import Final

_EVERY: Final = 0.25
"""Seconds between two looks."""
_OVER: Final = 40
"""Looks that are remembered: ten seconds."""


class LoopDelay:
    """Measures by sleeping: what a sleep takes longer than it should is the delay."""

    def __init__(self) -> None:
        self._seen: deque[float] = deque(maxlen=_OVER)

    @property
    def longest(self) -> float:
        """Seconds, of the last ten."""
        return max(self._seen, default=0.0)

    async def measure(self) -> None:
        """For ever."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _EVERY
            await asyncio.sleep(_EVERY)
            self._seen.append(max(0.0, loop.time() - due))
