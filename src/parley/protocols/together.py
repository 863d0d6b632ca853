"""Talking to several peers at once."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

R = TypeVar("R")


async def together(conversations: Iterable[Coroutine[Any, Any, R]]) -> list[R]:
    """Run coroutines side by side; results in their order.

    The first error stops the others and is raised alone, so the caller sees one cause.
    """
    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(conversation) for conversation in conversations]
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in running]
