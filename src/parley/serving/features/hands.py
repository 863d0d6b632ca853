"""Threads that ask a source on behalf of the event loop, each with a connection of its own.

They are daemons: a source that hangs for good keeps no process from ending.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Generic, TypeAlias, TypeVar

from parley.core.errors import UsageError

Tool = TypeVar("Tool")
Result = TypeVar("Result")

HANDS: Final = 4
"""Threads, and so connections, of one source."""
_Job: TypeAlias = "tuple[Callable[[Tool], Any], asyncio.AbstractEventLoop, asyncio.Future[Any]]"


class Hands(Generic[Tool]):
    """A few threads that take jobs in turn.

    Args:
        source: what they ask, for errors.
        deadline: seconds that a job may take, waiting for a free hand included.
        equip: makes what a thread works with, when it first has something to do.
        release: lets go of it.
    """

    def __init__(
        self, source: str, deadline: float, equip: Callable[[], Tool], release: Callable[[Tool], None]
    ) -> None:
        self.deadline = deadline
        self._source = source
        self._equip = equip
        self._release = release
        self._jobs: queue.SimpleQueue[_Job[Tool] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    async def do(self, job: Callable[[Tool], Result]) -> Result:
        """Let a thread do something.

        Raises:
            UsageError: ``source-late``; and whatever the job raises.
        """
        self._begin()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._jobs.put((job, loop, future))
        try:
            async with asyncio.timeout(self.deadline):
                return await future
        except TimeoutError:
            raise late(self._source, self.deadline) from None

    def close(self) -> None:
        """Let the threads end once they have done what they do."""
        for _ in self._threads:
            self._jobs.put(None)
        self._threads.clear()

    def _begin(self) -> None:
        while len(self._threads) < HANDS:
            thread = threading.Thread(target=self._work, name=f"{self._source} {len(self._threads)}")
            thread.daemon = True
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        tools: list[Tool] = []
        while (taken := self._jobs.get()) is not None:
            job, loop, future = taken
            if future.cancelled():
                continue  # too late already
            try:
                if not tools:
                    tools.append(self._equip())
                result, error = job(tools[0]), None
            except Exception as raised:  # noqa: BLE001 (told to whoever waits)
                result, error = None, raised
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(_tell, future, result, error)
        for tool in tools:
            self._release(tool)


def late(source: str, deadline: float) -> UsageError:
    """The error of a source that does not answer in time."""
    return UsageError(
        "source-late",
        f"{source} did not answer within {deadline:g} s",
        remedy="look whether the source is overloaded, give it an index on the id, or declare a longer"
        " --deadline with `parley data serve`",
    )


def _tell(future: "asyncio.Future[Any]", result: object, error: Exception | None) -> None:
    if future.done():
        return  # nobody waits any more
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
