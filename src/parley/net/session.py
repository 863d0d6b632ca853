"""What both ends of a link agree on while connections come and go: streams, numbers, what is still owed.

A pure state machine: `next` gives the chunk to write, `take` acts on one that came, `resume` goes on over
another connection. Numbered chunks are kept until the other end has counted them, and acted on once.

Formal guarantees, as long as both ends keep one session: on every stream each frame that was handed over
comes exactly once and in order, over any number of broken connections; chunks that are kept never
exceed `KEPT` bytes by more than one chunk; a stream holds at most `WINDOW` unread bytes (`streams`).
"""

import secrets
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from parley.core.errors import BudgetExhausted, UsageError
from parley.net import chunks
from parley.net.chunks import HEAD, MAX_CHUNK, MAX_PATH, Broken, Buffer, Chunk, Kind, Parts, parts
from parley.net.streams import Stream
from parley.net.wire import Ending

STREAMS: Final = 32
"""Streams that either end may have opened and that are not closed at both."""

KEPT: Final = 4 * 1024 * 1024
"""Bytes of chunks on the way; nothing new is written before the other end has counted some of them."""

HEARD_STEP: Final = 512 * 1024
"""Bytes that came after which the other end is told at once."""

PIECE: Final = 64 * 1024
"""Bytes of a frame that a stream may write before it is the next one's turn."""

CHUNK_COST: Final = 64
"""What a kept chunk counts beyond its bytes."""

_TOKEN: Final = 16


def token() -> bytes:
    """A fresh name that nobody guesses."""
    return secrets.token_bytes(_TOKEN)


@dataclass(frozen=True)
class Met:
    """The other end of a session: which process, and which session of its own."""

    process: bytes
    session: bytes


class Session:
    """Our end of a session.

    Args:
        peer: the party at the other end.
        first: 1 or 2: our first stream's number; the other end has the other.
        arrived: called with the path and every stream that the other end opens.
        wake: called when there is something to write.
    """

    def __init__(
        self, peer: str, first: int, arrived: Callable[[str, Stream], None], wake: Callable[[], None]
    ) -> None:
        self.name = token()
        self.met: Met | None = None
        self.heard = 0
        """Numbered chunks that have come."""
        self._peer = peer
        self._arrived = arrived
        self._wake = wake
        self._streams: dict[int, Stream] = {}
        self._turns: deque[Stream] = deque()
        self._in_turn: set[int] = set()
        self._next_ours = first
        self._last_theirs = 0
        self._parity = first % 2
        self._sent = self._counted = 0
        self._kept: deque[Parts] = deque()
        self._kept_bytes = 0
        self._again: deque[Parts] = deque()
        self._unsaid = 0
        self._saying = False

    @property
    def streams(self) -> int:
        """Streams that are not closed at both ends."""
        return len(self._streams)

    @property
    def owes(self) -> bool:
        """Whether something was not written or not counted yet."""
        return bool(self._kept or self._turns)

    @property
    def unsaid(self) -> bool:
        """Whether the other end does not know yet of all that came."""
        return self._unsaid > 0

    def open(self, path: str) -> Stream:
        """A stream for a path.

        Raises:
            UsageError: ``bad-path``.
            BudgetExhausted: ``too-many-streams``.
        """
        if not path.startswith("/") or not path.isprintable() or len(path.encode()) > MAX_PATH:
            raise UsageError(
                "bad-path",
                f"{path[:80]!r} cannot be asked for: expected '/' and at most {MAX_PATH} bytes",
                remedy="report it with the run's log",
            )
        ours = sum(1 for number in self._streams if number % 2 == self._parity)
        if ours >= STREAMS:
            raise BudgetExhausted(
                "too-many-streams",
                f"{STREAMS} conversations that we began with {self._peer} are open",
                remedy="wait until one has ended",
            )
        stream = Stream(self._next_ours, self._peer, self._due, path)
        self._streams[stream.number] = stream
        self._next_ours += 2
        self._due(stream)
        return stream

    def end(self, ending: Ending) -> None:
        """Nothing is read or written any more."""
        for stream in self._streams.values():
            stream.end(ending)
        self._streams.clear()
        self._turns.clear()
        self._kept.clear()
        self._again.clear()

    # Writing

    def next(self) -> Parts | None:
        """The next chunk to write, if there is one that may be written now."""
        if self._again:
            return self._again.popleft()
        if self._saying:
            return self._heard_chunk()
        if not self._turns or self._kept_bytes >= KEPT:
            return None
        stream = self._turns.popleft()
        kind, body = stream.next(PIECE if self._turns else MAX_CHUNK - HEAD)
        self._sent += 1
        chunk = parts(kind, stream.number, self._sent, self._say(), body)
        self._kept.append(chunk)
        self._kept_bytes += HEAD + len(body) + CHUNK_COST
        if stream.waits:
            self._turns.append(stream)
        else:
            self._in_turn.discard(stream.number)
            self._forget(stream)
        return chunk

    def say_heard(self) -> None:
        """Have the other end told of what came, although nothing else is to be written."""
        if self._unsaid:
            self._saying = True
            self._wake()

    def resume(self, heard: int) -> int:
        """Go on over another connection; the other end has had ``heard`` chunks.

        Returns:
            How many chunks are written again.

        Raises:
            Broken: it cannot have had so many.
        """
        self._count(heard)
        self._again = deque(self._kept)
        again = len(self._again)
        self._wake()
        return again

    def _heard_chunk(self) -> Parts:
        return parts(Kind.HEARD, 0, 0, self._say())

    def _say(self) -> int:
        self._unsaid = 0
        self._saying = False
        return self.heard

    def _due(self, stream: Stream) -> None:
        if stream.number in self._in_turn or self._streams.get(stream.number) is not stream:
            return
        self._in_turn.add(stream.number)
        self._turns.append(stream)
        self._wake()

    # Reading

    def take(self, data: Buffer) -> bool:
        """Act on a chunk that came; says whether it was a goodbye.

        Numbered checks: 1 it is a chunk, 2 the other end counted only what we sent, 3 its own number is the
        next, or one that came before, 4 the stream may have it.

        Raises:
            Broken: a check failed.
        """
        # 1
        chunk = chunks.read(data)
        # 2
        self._count(chunk.heard)
        if chunk.kind >= Kind.HEARD:
            return chunk.kind is Kind.GOODBYE
        # 3
        if chunk.number <= self.heard:
            return False
        if chunk.number != self.heard + 1:
            raise Broken("lost-chunk", f"sent chunk {chunk.number} where {self.heard + 1} was due")
        # 4
        self._take(chunk)
        self.heard = chunk.number
        self._unsaid += len(data)
        if self._unsaid >= HEARD_STEP:
            self._saying = True
        return False

    def _take(self, chunk: Chunk) -> None:
        if chunk.kind is Kind.OPEN:
            self._open_theirs(chunk)
            return
        stream = self._streams.get(chunk.stream)
        if stream is None:
            raise Broken(
                "unknown-stream", f"sent {chunk.kind.name} on stream {chunk.stream}, which is not open"
            )
        stream.take(chunk)
        self._forget(stream)

    def _open_theirs(self, chunk: Chunk) -> None:
        number, path = chunk.stream, chunks.path_read(chunk)
        if number % 2 == self._parity or number <= self._last_theirs:
            raise Broken("stream-reused", f"opened stream {number}, which is not its next")
        if sum(1 for each in self._streams if each % 2 != self._parity) >= STREAMS:
            raise Broken("too-many-streams", f"opened more than {STREAMS} streams")
        self._last_theirs = number
        stream = self._streams[number] = Stream(number, self._peer, self._due)
        self._arrived(path, stream)

    def _count(self, heard: int) -> None:
        """The other end has had so many of our chunks; a smaller number than before is an old one."""
        if heard > self._sent:
            raise Broken("false-count", f"counted {heard} chunks of {self._sent}")
        for _, body in self._drop(heard - self._counted):
            self._kept_bytes -= HEAD + len(body) + CHUNK_COST
        self._counted = max(self._counted, heard)

    def _drop(self, number: int) -> Iterator[Parts]:
        for _ in range(number):
            yield self._kept.popleft()

    def _forget(self, stream: Stream) -> None:
        if stream.over and stream.number not in self._in_turn:
            self._streams.pop(stream.number, None)
