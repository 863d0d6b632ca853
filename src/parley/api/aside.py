"""Threads of the API's own: what reads files or computes holds up neither the event loop nor the runs."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

_THREADS: Final = 4
P = ParamSpec("P")
R = TypeVar("R")


class Aside:
    """A few threads; what comes while all are busy waits for its turn."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, "api")

    async def do(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The result of work in one of the threads."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: work(*args, **kwargs))

    def close(self) -> None:
        """Begin nothing any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
