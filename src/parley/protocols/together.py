"""Both directions of a conversation side by side, with one error at the end instead of several."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, Final, TypeVar

from parley.core.errors import PeerLost

T = TypeVar("T")

_REASON_SECONDS: Final = 1.5
"""How long the others may take to learn from the peer why it went."""


async def together(main: Awaitable[T], *others: Awaitable[None]) -> T:
    """What ``main`` returns, with ``others`` run beside it until all are done.

    When one fails the rest is stopped and its error raised. When a peer goes, one direction may only
    see the connection break while the other reads the peer's reason: the reason is raised.
    """
    first = asyncio.ensure_future(main)
    tasks: list[asyncio.Future[Any]] = [first, *(asyncio.ensure_future(other) for other in others)]
    try:
        _, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        if pending and isinstance(_error(tasks), PeerLost):
            await asyncio.wait(pending, timeout=_REASON_SECONDS)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    error = _error(tasks)
    if error is not None:
        raise error
    return first.result()


def _error(tasks: Sequence["asyncio.Future[Any]"]) -> BaseException | None:
    """The most telling error among the finished tasks: any before that of a broken connection."""
    errors = [task.exception() for task in tasks if task.done() and not task.cancelled()]
    found = [error for error in errors if error is not None]
    return min(found, key=lambda error: isinstance(error, PeerLost), default=None)
