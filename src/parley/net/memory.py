"""Frames between parties in one process: for tests, notebooks and simulation."""

import asyncio
from collections import deque

from parley.core.errors import PeerLost, PeerMisbehaved
from parley.net.transport import MAX_FRAME

CAPACITY = 8
"""Frames that may wait in one direction before the sender has to."""


class _Pipe:
    """One direction: a bounded queue that can be closed."""

    def __init__(self) -> None:
        self._frames: deque[bytes] = deque()
        self._changed = asyncio.Condition()
        self._closed = False

    async def put(self, frame: bytes) -> bool:
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or len(self._frames) < CAPACITY)
            if self._closed:
                return False
            self._frames.append(frame)
            self._changed.notify_all()
            return True

    async def get(self) -> bytes | None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or self._frames)
            frame = self._frames.popleft() if self._frames else None
            self._changed.notify_all()
            return frame

    async def close(self) -> None:
        async with self._changed:
            self._closed = True
            self._changed.notify_all()


class MemoryTransport:
    """One end of a pair made by `memory_pair`."""

    def __init__(self, peer: str, outgoing: _Pipe, incoming: _Pipe) -> None:
        self._peer = peer
        self._outgoing = outgoing
        self._incoming = incoming

    @property
    def peer(self) -> str:
        """The name of the party at the other end."""
        return self._peer

    async def send(self, frame: bytes) -> None:
        """Hand over one frame; waits while eight are under way."""
        if not await self._outgoing.put(frame):
            raise self._lost()

    async def recv(self) -> bytes:
        """The next frame."""
        frame = await self._incoming.get()
        if frame is None:
            raise self._lost()
        if len(frame) > MAX_FRAME:
            raise PeerMisbehaved(
                "frame-too-large",
                f"{self._peer} sent a frame larger than {MAX_FRAME} bytes",
                peer=self._peer,
                remedy=f"stop working with {self._peer} until it has explained this",
            )
        return frame

    async def close(self) -> None:
        """Close both directions; frames under way can still be read."""
        await self._outgoing.close()
        await self._incoming.close()

    def _lost(self) -> PeerLost:
        return PeerLost(
            "connection-closed",
            f"the connection to {self._peer} was closed",
            peer=self._peer,
            remedy=f"look at {self._peer}'s own message; it says why it stopped",
        )


def memory_pair(left: str, right: str) -> tuple[MemoryTransport, MemoryTransport]:
    """Two connected transports: the first is held by ``left``, the second by ``right``."""
    to_right, to_left = _Pipe(), _Pipe()
    return MemoryTransport(right, to_right, to_left), MemoryTransport(left, to_left, to_right)
