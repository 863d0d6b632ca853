"""What travels on a link: greetings when a connection begins, then chunks.

A chunk is 21 bytes of head and a body. The head (big endian): the kind, one byte; the stream, four; the
chunk's number in its direction, eight, from 1; how many chunks of the other direction have come, eight.

| kind | numbered | body |
|---|---|---|
| more, last | yes | a piece of a frame; ``last`` ends the frame |
| open | yes | the path, UTF-8 |
| credit | yes | eight bytes: what the program at this end has taken from the stream so far |
| close | yes | none; the sender neither sends nor reads on this stream any more |
| heard | no | none; only the head's count |
| goodbye | no | none; the link ends on purpose |

Stream 0 is the link itself. A numbered chunk is kept by its sender until the other end has counted it.
"""

import struct
from enum import IntEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

VERSION: Final = 1
"""Of the link's rules; both ends must have the same."""

MAX_CHUNK: Final = 256 * 1024
"""Largest chunk in bytes, with its head."""

MAX_PATH: Final = 256
"""Largest path in bytes."""

Buffer = bytes | bytearray | memoryview
Token = Annotated[bytes, Meta(max_length=16)]

_HEAD: Final = struct.Struct(">BIQQ")
_TOTAL: Final = struct.Struct(">Q")
HEAD: Final = _HEAD.size


class Kind(IntEnum):
    """What a chunk is."""

    MORE = 1
    LAST = 2
    OPEN = 3
    CREDIT = 4
    CLOSE = 5
    HEARD = 6
    GOODBYE = 7


class Broken(Exception):
    """The other end broke the rules of the link.

    Args:
        code: of the error to raise.
        what: it did; follows its name.
    """

    def __init__(self, code: str, what: str) -> None:
        super().__init__(what)
        self.code = code
        self.what = what


class Chunk(msgspec.Struct, frozen=True):
    """A chunk as it came.

    Attributes:
        kind: what it is.
        stream: its stream; 0 for the link itself.
        number: in its direction, from 1; 0 if it has none.
        heard: how many numbered chunks the sender has had from us.
        body: as in the table above.
    """

    kind: Kind
    stream: int
    number: int
    heard: int
    body: memoryview


Parts = tuple[bytes, Buffer]
"""A chunk to be written: head and body, which need not be copied into one."""


def parts(kind: Kind, stream: int, number: int, heard: int, body: Buffer = b"") -> Parts:
    """A chunk to be written."""
    return _HEAD.pack(kind, stream, number, heard), body


def written(kind: Kind, stream: int, number: int, heard: int, body: Buffer = b"") -> bytes:
    """A chunk as it travels."""
    return b"".join(parts(kind, stream, number, heard, body))


def read(data: Buffer) -> Chunk:
    """A chunk that came.

    Raises:
        Broken: ``malformed-chunk``, ``chunk-too-large``.
    """
    if len(data) > MAX_CHUNK:
        raise Broken("chunk-too-large", f"sent a chunk of {len(data)} bytes, {MAX_CHUNK} are agreed")
    if len(data) < HEAD:
        raise Broken("malformed-chunk", f"sent a chunk of {len(data)} bytes, less than a head")
    kind, stream, number, heard = _HEAD.unpack_from(data)
    if not Kind.MORE <= kind <= Kind.GOODBYE:
        raise Broken("malformed-chunk", f"sent a chunk of kind {kind}")
    chunk = Chunk(Kind(kind), stream, number, heard, memoryview(data)[HEAD:])
    if (chunk.kind < Kind.HEARD) != (number > 0) or (chunk.kind < Kind.HEARD) != (stream > 0):
        raise Broken("malformed-chunk", f"sent {chunk.kind.name} numbered {number} on stream {stream}")
    if chunk.kind >= Kind.CLOSE and chunk.body:
        raise Broken("malformed-chunk", f"sent {chunk.kind.name} with {len(chunk.body)} bytes")
    return chunk


def total_written(total: int) -> bytes:
    """The body of a credit."""
    return _TOTAL.pack(total)


def total_read(chunk: Chunk) -> int:
    """What a credit says.

    Raises:
        Broken: ``malformed-chunk``.
    """
    if len(chunk.body) != _TOTAL.size:
        raise Broken("malformed-chunk", f"sent a credit of {len(chunk.body)} bytes")
    total: int = _TOTAL.unpack(chunk.body)[0]
    return total


def path_read(chunk: Chunk) -> str:
    """What an open asks for.

    Raises:
        Broken: ``malformed-path``.
    """
    try:
        path = str(chunk.body, "utf-8") if len(chunk.body) <= MAX_PATH else ""
    except UnicodeDecodeError:
        path = ""
    if not path.startswith("/") or not path.isprintable():
        raise Broken("malformed-path", f"opened a stream for {bytes(chunk.body[:40])!r}, which is no path")
    return path


# ── greetings ─────────────────────────────────────────────────────────────────────────────────────────


class Hello(msgspec.Struct, frozen=True, tag="hello", array_like=True):
    """Whoever dialled begins.

    Attributes:
        version: `VERSION`.
        process: drawn when the sender's party started.
        session: drawn when the sender began to count.
        yours: the other end's session as the sender knows it; empty before they have met.
        connection: drawn for this connection.
        lost: the connection that the sender had last; empty if none.
        heard: how many numbered chunks the sender has had.
        relays: whether the sender joins streams of others.
    """

    version: int
    process: Token
    session: Token
    yours: Token
    connection: Token
    lost: Token
    heard: int
    relays: bool


class Welcome(msgspec.Struct, frozen=True, tag="welcome", array_like=True):
    """The connection carries the link from now on; fields as in `Hello`."""

    process: Token
    session: Token
    yours: Token
    heard: int
    relays: bool


class Anew(msgspec.Struct, frozen=True, tag="anew", array_like=True):
    """What the dialler wants to go on with is gone: it is to begin a session of its own and dial again."""

    process: Token


class Crossed(msgspec.Struct, frozen=True, tag="crossed", array_like=True):
    """Both dialled at once, and the other connection carries the link."""


Greeting = Hello | Welcome | Anew | Crossed
_GREETING: "Final[msgspec.msgpack.Decoder[Greeting]]" = msgspec.msgpack.Decoder(Greeting)


def greeting_read(data: bytes) -> Greeting:
    """The first thing that comes on a connection.

    Raises:
        Broken: ``malformed-greeting``.
    """
    try:
        return _GREETING.decode(data[:MAX_CHUNK])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise Broken("malformed-greeting", "sent no greeting of a link") from None
