"""One stream of a link: a `Transport` of its own, with a window of its own.

A frame is handed over when the stream's window has room for all of it; it then goes out in pieces, in
turn with the other streams. What a slow reader leaves unread therefore stops this stream only.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from parley.core.errors import PeerLost, ProtocolBug
from parley.net.chunks import Broken, Chunk, Kind, total_read, total_written
from parley.net.transport import MAX_FRAME
from parley.net.wire import Ending

WINDOW: Final = MAX_FRAME + 1024 * 1024
"""Bytes on the way in one direction of a stream that the program at the other end has not yet taken."""

FRAME_COST: Final = 256
"""What a frame counts in the window beyond its bytes, so that many tiny frames are bounded too."""

CREDIT_STEP: Final = 512 * 1024
"""Bytes taken after which the other end is told; less than ``WINDOW - MAX_FRAME``, or a frame may not fit."""

SMALLEST_PIECE: Final = 16 * 1024
"""Bytes of a piece that does not end its frame, at least: many tiny ones would cost more than they count."""

AHEAD: Final = 512 * 1024
"""Bytes that may wait in a stream for their turn; a single frame may be larger."""

WE_CLOSED: Final = Ending(PeerLost, "connection-closed", "is no longer connected: we closed the connection")
THEY_CLOSED: Final = Ending(PeerLost, "connection-closed", "closed the connection")


class Stream:
    """One end of a stream; made by a session.

    Args:
        number: of the stream, the same at both ends.
        peer: the party at the other end.
        due: called with the stream when it has something to write.
        opens: whether our end opened it, for which path; empty if the other did.
    """

    def __init__(self, number: int, peer: str, due: "Callable[[Stream], None]", opens: str = "") -> None:
        self.number = number
        self._peer = peer
        self._due = due
        self._opens = opens
        self._ending: Ending | None = None
        # out
        self._pending: deque[memoryview] = deque()
        self._waits = 0
        self._sent = self._credited = 0
        self._left = self._said_left = False
        self._room = asyncio.Event()
        # in
        self._frames: deque[bytes] = deque()
        self._pieces: list[memoryview] = []
        self._partial = 0
        self._received = self._taken = self._reported = 0
        self._their_close = False
        self._readable = asyncio.Event()

    # For our own program

    @property
    def peer(self) -> str:
        """The name of the party at the other end, proven by its certificate."""
        return self._peer

    async def send(self, frame: bytes) -> None:
        """Hand over one frame; waits while the window is full. A cancelled call has not handed it over."""
        if len(frame) > MAX_FRAME:
            raise ProtocolBug(
                "frame-too-large",
                f"a frame of {len(frame)} bytes exceeds the limit of {MAX_FRAME}",
                remedy="report it with the run's log",
            )
        cost = len(frame) + FRAME_COST
        while self._ending is None and not self._has_room(len(frame), cost):
            self._room.clear()
            await self._room.wait()
        if self._ending is not None:
            raise self._ending.error(self._peer)
        self._sent += cost
        self._waits += len(frame)
        self._pending.append(memoryview(frame))
        self._due(self)

    async def recv(self) -> bytes:
        """The next frame; the ending, once no frame is left."""
        while not self._frames:
            if self._ending is not None:
                raise self._ending.error(self._peer)
            self._readable.clear()
            await self._readable.wait()
        frame = self._frames.popleft()
        self._taken += len(frame) + FRAME_COST
        if self._owes_credit():
            self._due(self)
        return frame

    async def close(self) -> None:
        """Let go of the stream; what was handed over is still delivered."""
        self._leave(WE_CLOSED)

    def end(self, ending: Ending) -> None:
        """The stream is over; the first ending counts. What came before it can still be read."""
        if self._ending is None:
            self._ending = ending
            self._readable.set()
            self._room.set()

    def _leave(self, ending: Ending) -> None:
        self.end(ending)
        if not self._left:
            self._left = True
            self._due(self)

    def _has_room(self, size: int, cost: int) -> bool:
        fits = self._sent + cost - self._credited <= WINDOW
        return fits and (not self._pending or self._waits + size <= AHEAD)

    def _owes_credit(self) -> bool:
        return not self._left and self._taken - self._reported >= CREDIT_STEP

    # For the session

    @property
    def over(self) -> bool:
        """Whether both ends have closed it, and ours has said so."""
        return self._said_left and self._their_close

    @property
    def waits(self) -> bool:
        """Whether it has something to write."""
        return (
            bool(self._opens or self._pending) or self._owes_credit() or (self._left and not self._said_left)
        )

    def next(self, most: int) -> tuple[Kind, bytes | memoryview]:
        """The next thing to write, of at most ``most`` bytes of a frame; ask `waits` before."""
        if self._opens:
            path, self._opens = self._opens, ""
            return Kind.OPEN, path.encode()
        if self._owes_credit():
            self._reported = self._taken
            return Kind.CREDIT, total_written(self._taken)
        if self._pending:
            return self._next_piece(most)
        self._said_left = True
        return Kind.CLOSE, b""

    def _next_piece(self, most: int) -> tuple[Kind, memoryview]:
        frame = self._pending[0]
        piece, rest = frame[:most], frame[most:]
        self._waits -= len(piece)
        if rest:
            self._pending[0] = rest
            return Kind.MORE, piece
        self._pending.popleft()
        self._room.set()
        return Kind.LAST, piece

    def take(self, chunk: Chunk) -> None:
        """Act on a chunk that came for this stream.

        Raises:
            Broken: it may not come.
        """
        if self._their_close:
            raise Broken("stream-closed", f"sent {chunk.kind.name} on a stream that it had closed")
        if chunk.kind is Kind.CREDIT:
            self._credit(total_read(chunk))
        elif chunk.kind is Kind.CLOSE:
            self._their_close = True
            self._pending.clear()
            self._waits = 0
            self._leave(THEY_CLOSED)
        else:
            self._take_piece(chunk)

    def _take_piece(self, chunk: Chunk) -> None:
        size = len(chunk.body)
        self._partial += size
        self._received += size + (FRAME_COST if chunk.kind is Kind.LAST else 0)
        if self._received - self._reported > WINDOW:
            raise Broken("window-exceeded", "sent more on a stream than its window allows")
        if self._partial > MAX_FRAME:
            raise Broken("frame-too-large", f"sent a frame larger than {MAX_FRAME} bytes")
        if size < SMALLEST_PIECE and chunk.kind is Kind.MORE:
            raise Broken("malformed-chunk", f"sent {size} bytes of a frame that goes on")
        if not self._left:  # else nobody reads any more
            self._pieces.append(chunk.body)
        if chunk.kind is Kind.LAST:
            frame, self._pieces, self._partial = b"".join(self._pieces), [], 0
            if not self._left:
                self._frames.append(frame)
                self._readable.set()

    def _credit(self, taken: int) -> None:
        if not self._credited <= taken <= self._sent:
            raise Broken("false-report", "reported bytes it cannot have taken")
        self._credited = taken
        self._room.set()
