"""A CometBFT node as a process: start it, watch it, end it.

The node means to end when its connection to the ledger breaks, but may hang in doing so; whoever starts
the next node of the same home therefore ends the one that is left over, whose process id stands in
``node.pid``. After that, and after every crash, ledger and node start again and the node replays to the
ledger what its `info` says is missing. Start the ledger's server first: a node that finds no socket tries
again only every three seconds.
"""

import asyncio
import fcntl
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from parley.core.errors import PeerLost
from parley.ledger.engines.cometbft.application import Application
from parley.ledger.engines.cometbft.files import NodeSettings
from parley.ledger.engines.cometbft.rpc import RpcClient
from parley.ledger.engines.cometbft.server import serving

READY_WITHIN: Final = 60.0
"""Seconds in which a node must have replayed and answer; give more for a long history."""

STOP_WITHIN: Final = 10.0
"""Seconds in which a node that was asked to stop must be gone before it is killed."""

LOG_FILE: Final = "node.log"

OLD_LOG: Final = "node.log.1"

PID_FILE: Final = "node.pid"

LOG_BYTES: Final = 16 * 1024 * 1024
"""Length of a log that is put aside, as `OLD_LOG`, when the node starts."""

NICENESS: Final = 10
"""Of the node: where a training wants all processors, the node takes what is left, a tenth at least."""

_ASK_EVERY: Final = 0.05
_LOCK_TRIES: Final = 100
_LOG_TAIL: Final = 4096


class Node:
    """A running CometBFT process; made by `start_node`.

    Attributes:
        rpc: asks the node.

    """

    def __init__(self, settings: NodeSettings, process: asyncio.subprocess.Process) -> None:
        self._settings = settings
        self._process = process
        self.rpc = RpcClient(settings.rpc_socket)

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process.returncode is None

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    async def ready(self, within: float = READY_WITHIN) -> None:
        """Wait until the node has replayed and answers.

        Raises:
            PeerLost: it ended, or took too long; carries the end of its log.

        """
        await self._until(self.rpc.answers, within, "answer")

    async def caught_up(self, within: float = READY_WITHIN) -> None:
        """Wait until the node has the blocks of the others and takes transactions; raises as `ready`."""

        async def level() -> bool:
            return await self.rpc.answers() and not (await self.rpc.status()).catching_up

        await self._until(level, within, "catch up")

    async def _until(self, reached: Callable[[], Awaitable[bool]], within: float, what: str) -> None:
        try:
            async with asyncio.timeout(within):
                while not await reached():
                    if not self.running:
                        raise self._lost(f"ended before it could {what}")
                    await asyncio.sleep(_ASK_EVERY)
        except TimeoutError as error:
            raise self._lost(f"did not {what} within {within:g} s") from error

    async def wait(self) -> int:
        """Wait until the process has ended; its return code."""
        return await self._process.wait()

    async def stop(self) -> None:
        """Ask the node to stop, and kill it if it does not."""
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_WITHIN):
                await self._process.wait()
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """End the process at once."""
        self._signal(signal.SIGKILL)
        await self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self.running:
            self._process.send_signal(number)

    def _lost(self, what: str) -> PeerLost:
        log = self._settings.home / LOG_FILE
        return PeerLost(
            "node-not-ready",
            f"the CometBFT node in {self._settings.home} {what}; its log ends with:\n{log_tail(log)}",
            peer=self._settings.name,
            remedy=f"read {log}",
        )


def log_tail(log: Path) -> str:
    """The last lines of a node's log."""
    content = log.read_bytes()[-_LOG_TAIL:] if log.exists() else b""
    return "\n".join(content.decode(errors="replace").splitlines()[-10:])


async def start_node(settings: NodeSettings, binary: Path) -> Node:
    """Start the node of a home; its lines are appended to ``node.log`` there.

    It gets a session of its own, so that an interrupt at the terminal reaches the party alone, which
    then ends the node in order.
    """
    await asyncio.to_thread(_end_left_over, settings.home)
    settings.rpc_socket.unlink(missing_ok=True)
    with _log(settings.home) as log:
        process = await asyncio.create_subprocess_exec(
            binary,
            "start",
            "--home",
            settings.home,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=_environment(),
            start_new_session=True,
        )
    (settings.home / PID_FILE).write_text(str(process.pid), encoding="ascii")
    _give_way(process.pid)
    return Node(settings, process)


def _give_way(node: int) -> None:
    """Let a node, the first process of its session, run behind others, as far as the system allows it.

    Linux weighs sessions against one another before it weighs processes, unless a service manager does so.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PGRP, node, NICENESS)  # all of its threads, as setting one process's is not
    with suppress(OSError):
        Path(f"/proc/{node}/autogroup").write_text(str(NICENESS), encoding="ascii")


def _end_left_over(home: Path) -> None:
    """Kill the node of an earlier life of the party, if it still has its databases open."""
    lock, pid = home / "data" / "blockstore.db" / "LOCK", home / PID_FILE
    if not (lock.exists() and pid.exists()):
        return
    with lock.open("ab") as held:
        for _ in range(_LOCK_TRIES):
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                with suppress(OSError, ValueError):  # it has gone meanwhile, or the file is not ours
                    _kill_node(home, int(pid.read_text(encoding="ascii")))
                time.sleep(_ASK_EVERY)
            else:
                return


def _kill_node(home: Path, pid: int) -> None:
    """Kill a process if it is the node of this home: a number may belong to another by now."""
    if os.fsencode(home) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
        os.kill(pid, signal.SIGKILL)


def _log(home: Path) -> BinaryIO:
    path = home / LOG_FILE
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.replace(home / OLD_LOG)
    return path.open("ab")


def _environment() -> dict[str, str]:
    """The environment without what would override the home's configuration.

    One processor is enough for a consortium's transactions, and a node that wakes up hundreds of times a
    second for a moment takes a third less of it than where its threads look for work on all.
    """
    overriding = ("CMT", "TM_", "TMHOME")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(overriding)}
    return {"GOMAXPROCS": "1"} | kept


@asynccontextmanager
async def member(settings: NodeSettings, application: Application, binary: Path) -> AsyncIterator[Node]:
    """A party's ledger and its node, until the block is left; the node answers when it is entered."""
    async with serving(application, settings.abci_socket):
        node = await start_node(settings, binary)
        try:
            await node.ready()
            yield node
        finally:
            await node.stop()
