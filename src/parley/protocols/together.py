"""Several conversations, or both directions of one, side by side, with one error at the end."""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from typing import Any, Final, TypeVar

from parley.core.errors import PeerAborted, PeerLost

T = TypeVar("T")

_OUR_OWN: Final = frozenset({"worker-halted"})
"""Codes of what a party knows of itself, though it ends a run as the loss of a peer does."""
_REASON_SECONDS: Final = 1.5
"""How long the others may take to learn from the peer why it went."""


async def together(main: Awaitable[T], *others: Awaitable[None]) -> T:
    """What ``main`` returns, with ``others`` run beside it until all are done.

    When one fails the rest is stopped and its error raised. When a peer goes, one direction may only
    see the connection break while the other reads the peer's reason: the reason is raised.
    """
    first = asyncio.ensure_future(main)
    await _finish([first, *(asyncio.ensure_future(other) for other in others)])
    return first.result()


async def all_of(conversations: Iterable[Awaitable[T]]) -> list[T]:
    """The results in order; errors as with `together`."""
    tasks = [asyncio.ensure_future(conversation) for conversation in conversations]
    if tasks:
        await _finish(tasks)
    return [task.result() for task in tasks]


async def _finish(tasks: Sequence["asyncio.Future[Any]"]) -> None:
    try:
        _, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        if pending and _vague(_error(tasks)):
            await asyncio.wait(pending, timeout=_REASON_SECONDS)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    error = _error(tasks)
    if error is not None:
        raise error


def _error(tasks: Sequence["asyncio.Future[Any]"]) -> BaseException | None:
    """The most telling error among the finished tasks."""
    errors = [task.exception() for task in tasks if task.done() and not task.cancelled()]
    found = [error for error in errors if error is not None]
    return min(found, key=_vague, default=None)


def _vague(error: BaseException | None) -> int:
    """Whether another conversation may know more: 1 if the other end was let go, 2 if a connection broke."""
    if isinstance(error, PeerAborted) and error.code == "party-stopped":
        return 1
    return 2 if isinstance(error, PeerLost) and error.code not in _OUR_OWN else 0
