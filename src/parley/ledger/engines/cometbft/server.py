"""The ABCI socket server: requests from the node on a Unix socket, answers in order.

The node opens four connections (consensus, mempool, query, snapshot) and sends envelopes, each with
its length before it as a varint; on a connection the answers come in the order of the requests (ABCI
2.0 specification, "Client and Server", section "Socket"). All calls of the application, whichever
connection they come by, run one after the other on one thread of their own, so an application needs no
lock and the event loop never waits for it. Requests that arrived together are handed to that thread
together: a mempool that checks many transactions pays for one change of threads, not for many.

Before a proposal the application may let time pass (`Application.pause`); the other connections go on then.

What bounds memory: an envelope's length, the requests handed over at once, and that a connection is
not read while its requests are being answered.

A request that cannot be read, or an application that fails where only a halt is safe, is answered with
an exception, which makes the node stop, and ends that connection alone.
"""

import asyncio
import contextlib
import logging
import socket
import stat
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from parley.core.errors import ParleyError, PeerMisbehaved, UsageError
from parley.ledger.engines.cometbft import wire
from parley.ledger.engines.cometbft.application import Application
from parley.ledger.engines.cometbft.dispatch import answer
from parley.ledger.engines.cometbft.messages import asks_for_proposal, decode_request, encode_envelope
from parley.ledger.engines.cometbft.requests import PrepareProposalRequest
from parley.ledger.engines.cometbft.responses import ExceptionResponse, Response

MAX_ENVELOPE: Final = 16 * 1024 * 1024
"""Bytes of the largest message: four times the largest block of a consortium's genesis."""

MAX_CONNECTIONS: Final = 16
"""Connections at once; a node needs four."""

MAX_TOGETHER: Final = 64
"""Requests handed to the application's thread at once, so that no connection holds it for long."""

MAX_SOCKET_PATH: Final = 107
"""Bytes of the longest path that a Unix socket can have on Linux."""

_PIECE: Final = 256 * 1024
_LOG: Final = logging.getLogger(__name__)


@asynccontextmanager
async def serving(application: Application, path: Path) -> AsyncIterator[None]:
    """Answer the node at a Unix socket, which only this user can open, until the block is left.

    Raises:
        UsageError: the path is too long, is no socket, or another process serves there.

    """
    listener = _listener(path)
    thread = ThreadPoolExecutor(1, "parley-ledger")
    connections = _Connections(application, thread)
    server = await asyncio.start_unix_server(connections.hold, sock=listener, limit=_PIECE)
    try:
        yield
    finally:
        server.close()
        await connections.close()
        await asyncio.to_thread(_tidy, path, thread)


def check_socket_path(path: Path) -> None:
    """Refuse a path that is too long for a Unix socket, with a `UsageError`."""
    if len(bytes(path)) > MAX_SOCKET_PATH:
        raise UsageError(
            "socket-path-long",
            f"{path}: {len(bytes(path))} bytes, a Unix socket's path has at most {MAX_SOCKET_PATH}",
            remedy="choose a directory with a shorter path",
        )


def _listener(path: Path) -> socket.socket:
    """A socket bound to the path, which only this user can open."""
    _clear(path)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    return listener


def _tidy(path: Path, thread: ThreadPoolExecutor) -> None:
    path.unlink(missing_ok=True)
    thread.shutdown()


def _clear(path: Path) -> None:
    """Remove the socket of a process that died; refuse everything else that is in the way."""
    check_socket_path(path)
    if not path.exists():
        return
    if not path.is_socket():
        raise UsageError("socket-path-taken", f"{path} exists and is no socket", remedy="move it away")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as probe:
        if probe.connect_ex(str(path)) == 0:
            raise UsageError(
                "socket-in-use",
                f"{path}: another process serves the ledger there",
                remedy="stop the party that is running in this directory",
            )
    path.unlink()


class _Connections:
    """The open connections, and the one thread that calls the application."""

    def __init__(self, application: Application, thread: ThreadPoolExecutor) -> None:
        self._application = application
        self._thread = thread
        self._tasks: set[asyncio.Task[None]] = set()

    async def hold(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it."""
        task = asyncio.current_task()
        if task is None or len(self._tasks) >= MAX_CONNECTIONS:
            writer.close()
            return
        self._tasks.add(task)
        try:
            await self._converse(reader, writer)
        except (OSError, asyncio.CancelledError):
            _LOG.info("a connection of the node is over")
        finally:
            self._tasks.discard(task)
            writer.close()

    async def close(self) -> None:
        """End all connections; a call that is under way is finished first."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        received = bytearray()
        try:
            while piece := await reader.read(_PIECE):
                received += piece
                envelopes = list(_envelopes(received))
                for first in range(0, len(envelopes), MAX_TOGETHER):
                    together = envelopes[first : first + MAX_TOGETHER]
                    for envelope in filter(asks_for_proposal, together):
                        await asyncio.sleep(await loop.run_in_executor(self._thread, self._pause, envelope))
                    writer.write(await loop.run_in_executor(self._thread, self._answer, together))
                    await writer.drain()
        except (_HaltError, PeerMisbehaved) as error:
            _LOG.critical("the ledger cannot go on; the node is told to stop", exc_info=error)
            writer.write(_framed(ExceptionResponse(_public(error.__cause__ or error))))
            await writer.drain()

    def _pause(self, envelope: bytes) -> float:
        """How long to wait before a proposal; what is wrong with the request, its answer says."""
        try:
            request = decode_request(envelope)
            return (
                self._application.pause(request.txs) if isinstance(request, PrepareProposalRequest) else 0.0
            )
        except Exception as error:  # noqa: BLE001 (a proposal that does not wait is as good)
            _LOG.warning("a proposal does not wait", exc_info=error)
            return 0.0

    def _answer(self, envelopes: Sequence[bytes]) -> bytes:
        """The framed answers to some requests, on the application's thread."""
        try:
            return b"".join(_framed(answer(self._application, decode_request(one))) for one in envelopes)
        except Exception as error:
            raise _HaltError from error


class _HaltError(Exception):
    """A request cannot be answered, for the reason that caused this."""


def _envelopes(received: bytearray) -> Iterator[bytes]:
    """Take every complete envelope from the front of what was received."""
    at = 0
    while (length := wire.decode_varint(received, at)) is not None:
        size, begin = length
        if size > MAX_ENVELOPE:
            raise wire.malformed(f"a message of {size} bytes, at most {MAX_ENVELOPE} are allowed")
        if begin + size > len(received):
            break
        yield bytes(received[begin : begin + size])
        at = begin + size
    del received[:at]


def _framed(response: Response) -> bytes:
    return wire.with_length(encode_envelope(response))


def _public(error: BaseException) -> str:
    return error.public if isinstance(error, ParleyError) else type(error).__name__
