"""What processes have in common that a party starts for its work: they live under its limits, and with it."""

import asyncio
import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import Final

from parley.net.pipe import Pipe
from parley.net.streams import Stream
from parley.store.settings import Settings

_MIB: Final = 1 << 20
_FIRST_TO_GO: Final = 500
"""How much rather than others the kernel ends us when memory runs out."""


class Passed:
    """A stream to our party that it passes on to a peer."""

    def __init__(self, stream: Stream, peer: str) -> None:
        self.peer = peer
        self.send = stream.send
        self.recv = stream.recv
        self.close = stream.close


def be_first_to_go() -> None:
    """When memory runs out, let the kernel end us rather than the party."""
    with suppress(OSError):  # where there is no such file, the kernel chooses without our word
        Path("/proc/self/oom_score_adj").write_text(str(_FIRST_TO_GO))


def keep_within(settings: Settings) -> None:
    """Take no more memory than the party allows."""
    if settings.memory:
        limit = settings.memory * _MIB
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def leaving_with(pipe: Pipe) -> "asyncio.Task[None]":
    """End as soon as the party does, unless cancelled: without it there is nothing to do."""
    return asyncio.create_task(_leave_with(pipe))


async def _leave_with(pipe: Pipe) -> None:
    await pipe.gone.wait()
    os._exit(1)
