"""Processes of ours that somebody has stopped, as SIGSTOP does: they neither work nor end by themselves."""

import asyncio
import os
from typing import Final

LOOKS: Final = 5
"""Looks in a row at which a process has to be found stopped."""
LOOK: Final = 1.0
"""Seconds between two looks."""


def is_stopped(child: int) -> bool:
    """Whether a child of ours, by its process id, is stopped just now; one that has ended is not."""
    try:
        return os.waitid(os.P_PID, child, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False


async def halted(child: int) -> None:
    """Wait until a child has been stopped for `LOOKS` looks: no time passes for it while we stand still."""
    found = 0
    while found < LOOKS:
        await asyncio.sleep(LOOK)
        found = found + 1 if is_stopped(child) else 0
