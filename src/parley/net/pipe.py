"""Streams between two processes of one party: a link's session over a Unix socket, without reconnecting.

Each chunk has its length before it, four bytes, big endian. When the socket ends, every stream does.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from parley.core.errors import PeerLost
from parley.net.chunks import MAX_CHUNK, Broken
from parley.net.session import Session
from parley.net.streams import Stream
from parley.net.wire import Ending

_LENGTH: Final = 4
_SAY_AFTER: Final = 0.02
_GONE: Final = Ending(PeerLost, "process-gone", "has ended", "see the party's log")


class Pipe(asyncio.Protocol):
    """One end.

    Args:
        name: of the process at the other end.
        first: 1 at one end, 2 at the other.
        arrived: called with the path and every stream that the other end opens.
    """

    def __init__(self, name: str, first: int, arrived: Callable[[str, Stream], None]) -> None:
        self._session = Session(name, first, arrived, self._pump)
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._full = self._pumping = False
        self._saying: asyncio.TimerHandle | None = None
        self._counted = asyncio.Event()
        self.gone = asyncio.Event()

    @classmethod
    async def over(
        cls, end: socket.socket, name: str, first: int, arrived: Callable[[str, Stream], None]
    ) -> "Pipe":
        """Begin to talk over a socket."""
        _, pipe = await asyncio.get_running_loop().create_connection(
            lambda: cls(name, first, arrived), sock=end
        )
        return pipe

    def open(self, path: str) -> Stream:
        """A stream for a path; errors as `Session.open`."""
        return self._session.open(path)

    async def flush(self) -> None:
        """Wait until the other process has had everything, or is gone."""
        while self._session.owes and not self.gone.is_set():
            self._counted.clear()
            await self._counted.wait()

    def close(self) -> None:
        """End every stream."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to write."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 (a socket's; tells the type checker)
        self._transport = transport
        self._pump()

    def data_received(self, data: bytes) -> None:
        """Act on whole chunks."""
        self._buffer += data
        try:
            at = self._take_all()
        except Broken:
            self.close()
            return
        del self._buffer[:at]
        self._counted.set()
        self._pump()
        if self._session.unsaid and self._saying is None:
            self._saying = asyncio.get_running_loop().call_later(_SAY_AFTER, self._say)

    def _take_all(self) -> int:
        """Act on the whole chunks that have come; returns their bytes."""
        at = 0
        while len(self._buffer) - at >= _LENGTH:
            size = int.from_bytes(self._buffer[at : at + _LENGTH], "big")
            if size > MAX_CHUNK:
                raise Broken("chunk-too-large", f"sent a chunk of {size} bytes")
            end = at + _LENGTH + size
            if len(self._buffer) < end:
                break
            self._session.take(bytes(self._buffer[at + _LENGTH : end]))
            at = end
        return at

    def pause_writing(self) -> None:
        """The socket is full."""
        self._full = True

    def resume_writing(self) -> None:
        """The socket has room again."""
        self._full = False
        self._pump()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's)
        """The other process is gone."""
        self._transport = None
        self._session.end(_GONE)
        self.gone.set()
        self._counted.set()

    def _say(self) -> None:
        self._saying = None
        self._session.say_heard()

    def _pump(self) -> None:
        if self._transport is None or self._pumping:
            return
        self._pumping = True
        try:
            while not self._full and (chunk := self._session.next()) is not None:
                length = sum(map(len, chunk)).to_bytes(_LENGTH, "big")
                self._transport.writelines([length, *chunk])
        finally:
            self._pumping = False
