"""One WebSocket connection as frames: liveness, flow control and endings, over a secured stream.

The socket is always read, even while our own side is busy, so that a slow receiver is never taken
for a dead one. What bounds memory instead is a window: a sender may have `WINDOW` bytes on the way
that the receiver's program has not yet taken. The receiver reports the total it has taken in the
payload of its pings, eight bytes big endian. Each side lets two `BEAT`s go by without a byte at most,
the sign of life: at each it pings, unless it has written something since the last one, which the answer
to the other side's ping is too.
"""

import asyncio
import secrets
import socket
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from typing import Protocol as Shape

from websockets.exceptions import PayloadTooBig
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Protocol, Side, State

from parley.core.errors import PeerAborted, PeerError, PeerLost, PeerMisbehaved
from parley.net.transport import MAX_FRAME

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without the extension
    from websockets.utils import apply_mask

if TYPE_CHECKING:
    from websockets.http11 import Request, Response

WINDOW: Final = 2 * MAX_FRAME
"""Bytes that may be on the way in one direction before the sender waits."""

FRAME_COST: Final = 1024
"""What a frame counts in the window beyond its bytes, so that many tiny frames are bounded too."""

BEAT: Final = 1.0
"""Seconds between two signs of life."""

MISSED_BEATS: Final = 4
"""Beats without a single byte from the peer after which it counts as lost."""

TIMED_BEATS: Final = 8
"""Beats after which a ping is due whatever else was written, since its answer says how long the way is."""

CLOSING: Final = 5.0
"""Seconds to wait for progress while a connection closes."""

LINGER: Final = 1.0
"""Seconds for which a connection that we refused is still read, so that the peer learns why."""

SHORT_BUFFER: Final = 256 * 1024
"""Bytes written and not yet sent where what comes later may have to pass what came before."""

_WRITE_BUFFER: Final = 1024 * 1024
_NOTSENT_LOWAT: Final = getattr(socket, "TCP_NOTSENT_LOWAT", None)
_UNREAD_REPLIES: Final = WINDOW + MAX_FRAME
_REPORT_BYTES: Final = 8
_BINARY: Final = b"\x82"
_TWO_BYTES: Final = 126
_EIGHT_BYTES: Final = 127
_KEY: Final = 4
_WORTH_A_RECORD: Final = 32 * 1024
"""Bytes that cost more to copy than to encrypt by themselves."""


@dataclass(frozen=True)
class Ending:
    """Why a connection is over; raised to everyone who still waits on it."""

    family: type[PeerError]
    code: str
    what: str
    remedy: str = "look at the peer's own message; it says why it stopped"

    def error(self, peer: str) -> PeerError:
        """A fresh exception for one caller."""
        return self.family(self.code, f"{peer} {self.what}", peer=peer, remedy=self.remedy)


REVOKED: Final = Ending(
    PeerLost,
    "certificate-revoked",
    "is no longer connected: a certificate by which the link began counts no more, theirs or ours",
    "wait, if one of both was replaced just now: a new link comes up; else compare fingerprints",
)
LET_GO: Final = Ending(
    PeerLost,
    "peer-let-go",
    "is no longer connected: one of us does not know the other any more",
    "see `parley members` and `parley peer list` on both sides",
)
_DISMISSALS: Final = {4001: REVOKED, 4002: LET_GO}
"""Numbers of a close frame (RFC 6455, 7.4.2: private use) that tell why a link is over for good."""


def is_dismissal(ending: Ending) -> bool:
    """Whether a connection was ended on purpose together with all that ran over it."""
    return ending in _DISMISSALS.values()


class Taker(Shape):
    """Takes frames as they come, instead of a program that waits for them."""

    def took(self, frame: bytes | bytearray) -> None:
        """A frame came."""

    def has_room(self) -> None:
        """What could not be written may be tried again."""

    def is_over(self, ending: Ending) -> None:
        """Nothing comes any more."""


class Wire(asyncio.Protocol):
    """The asyncio side of a WebSocket connection; `attach` it once the stream is secured."""

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self.opening: asyncio.Future[Request | Response | None] = asyncio.get_running_loop().create_future()
        """The other end's half of the HTTP upgrade; None if the stream ended before it."""
        self.spoken_to = False
        """Whether a single byte came."""
        self._transport: asyncio.Transport | None = None
        self._frames: deque[bytes] = deque()
        self._ending: Ending | None = None
        self._readable = asyncio.Event()
        self._room = asyncio.Event()
        self._gone = asyncio.Event()
        self._full = False
        self._sent = self._taken_by_peer = 0
        self._received = self._taken = self._reported = 0
        self._heard = True
        self._missed = 0
        self._spoke = False
        self._untimed = 0
        self._beat: asyncio.TimerHandle | None = None
        self._cut: asyncio.TimerHandle | None = None
        self._taker: Taker | None = None
        self._asked: float | None = None
        self.round_trip: float | None = None
        """Seconds until the other end answered our last sign of life."""

    # Frames, for our own program

    async def send(self, frame: bytes, peer: str) -> None:
        """Hand over one frame; a cancelled call has not handed it over."""
        cost = len(frame) + FRAME_COST
        while self._ending is None and (self._full or self._sent + cost - self._taken_by_peer > WINDOW):
            self._room.clear()
            await self._room.wait()
        if self._ending is not None:
            raise self._ending.error(peer)
        self._sent += cost
        self.protocol.send_binary(frame)
        self.flush()

    async def recv(self, peer: str) -> bytes:
        """The next frame; the ending, once no frame is left."""
        while not self._frames:
            if self._ending is not None:
                raise self._ending.error(peer)
            self._readable.clear()
            await self._readable.wait()
        frame = self._frames.popleft()
        self._note_taken(len(frame))
        return frame

    def hand_to(self, taker: Taker) -> None:
        """Give every frame to ``taker`` from now on, and keep little written ahead of the network."""
        self._taker = taker
        if self._transport is not None:
            self._transport.set_write_buffer_limits(high=SHORT_BUFFER)
            raw = self._transport.get_extra_info("socket")
            if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6) and _NOTSENT_LOWAT:
                raw.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, SHORT_BUFFER)
        while self._frames:
            frame = self._frames.popleft()
            self._note_taken(len(frame))
            taker.took(frame)
        if self._ending is not None:
            taker.is_over(self._ending)

    @property
    def is_inside_another(self) -> bool:
        """Whether the connection runs within a stream of another link, without an address of its own."""
        return self._transport is not None and not self._transport.get_extra_info("peername")

    def offer(self, head: bytes, body: bytes | bytearray | memoryview = b"") -> int:
        """Write one frame, given in two parts, and return its bytes; ask `has_room` before.

        Other than the WebSocket layer does, large parts are not copied into one on the way (RFC 6455, 5.2).
        """
        size = len(head) + len(body)
        self._sent += size + FRAME_COST
        if self._transport is None or self._gone.is_set() or self.protocol.state is not State.OPEN:
            return size
        self._spoke = True
        begin = _BINARY + _length(size, masked=self.protocol.side is Side.CLIENT)
        if self.protocol.side is Side.CLIENT:
            key = secrets.token_bytes(_KEY)
            turned = len(head) % _KEY
            begin += key + apply_mask(head, key)
            body = apply_mask(body, key[turned:] + key[:turned])
        else:
            begin += head
        if len(body) < _WORTH_A_RECORD:
            self._transport.write(begin + body)
        else:
            self._transport.write(begin)
            self._transport.write(body)
        return size

    def has_room(self) -> bool:
        """Whether a frame may be written without waiting."""
        return self._ending is None and not self._full and self._sent - self._taken_by_peer <= WINDOW // 2

    def refuse(self, code: str, what: str) -> None:
        """Break off because of what the other end sent; it is told by the close frame."""
        self._fault(CloseCode.POLICY_VIOLATION, code, what)
        self.flush()

    def dismiss(self, ending: Ending) -> None:
        """Break off for good, nobody having broken a rule; the close frame tells the other end why."""
        self._end(ending)
        if self.protocol.state is State.OPEN:
            number = next(each for each, known in _DISMISSALS.items() if known is ending)
            self.protocol.fail(number, ending.code)
        self.flush()

    async def close(self) -> None:
        """Say goodbye and wait until the other end has everything, as long as it makes progress."""
        self._end(Ending(PeerLost, "connection-closed", "is no longer connected: we closed the connection"))
        if self.protocol.state is State.OPEN:
            self.protocol.send_close(CloseCode.NORMAL_CLOSURE)
            self.flush()
        try:
            while not self._gone.is_set():
                before = self._on_the_way()
                try:
                    async with asyncio.timeout(CLOSING):
                        await self._gone.wait()
                except TimeoutError:
                    if self._on_the_way() >= before:
                        break
        finally:
            self.abort()

    def flush(self) -> None:
        """Write what the WebSocket layer wants written; an empty piece asks to close the stream."""
        if self._transport is None or self._gone.is_set():
            return
        family = None if self._ending is None else self._ending.family
        told = family is PeerMisbehaved or (self._ending is not None and is_dismissal(self._ending))
        for piece in self.protocol.data_to_send():
            if piece:
                self._spoke = True
                self._transport.write(piece)
            elif not told:
                self._transport.close()
        if self._transport.is_closing():
            return  # asyncio may have let go of TLS already, and cannot say what waits
        if self._transport.get_write_buffer_size() > _UNREAD_REPLIES:
            self._end(Ending(PeerMisbehaved, "unread-replies", "asks for replies and does not read them"))
            self.abort()
        elif family is PeerAborted:
            self._transport.close()
        elif told and self._cut is None:
            # What is still coming in has to be read, or the stream would be reset before the other
            # end has our close frame.
            self._cut = asyncio.get_running_loop().call_later(LINGER, self.abort)

    def abort(self) -> None:
        """Drop the connection at once."""
        if self._transport is not None and not self._gone.is_set():
            self._transport.abort()

    # The stream, for asyncio

    def attach(self, transport: asyncio.Transport) -> None:
        """Begin to write to the secured stream and to watch it."""
        self._transport = transport
        transport.set_write_buffer_limits(high=_WRITE_BUFFER)
        self.flush()
        self._beat = asyncio.get_running_loop().call_later(BEAT, self._tick)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        self._heard = self.spoken_to = True
        self.protocol.receive_data(data)
        for event in self.protocol.events_received():
            if isinstance(event, Frame):
                self._take(event)
            elif not self.opening.done():
                self.opening.set_result(event)
        self._notice_ending()
        self.flush()

    def eof_received(self) -> None:
        """The other end writes no more."""
        self.protocol.receive_eof()
        self._notice_ending()
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """The stream is gone."""
        self.protocol.receive_eof()
        self._notice_ending()
        self._end(_broken(exc))
        for timer in (self._beat, self._cut):
            if timer is not None:
                timer.cancel()
        if not self.opening.done():
            self.opening.set_result(None)
        self._gone.set()

    def pause_writing(self) -> None:
        """The write buffer is full."""
        self._full = True

    def resume_writing(self) -> None:
        """The write buffer has room again."""
        self._full = False
        self._has_room()

    # Inside

    def _take(self, frame: Frame) -> None:
        if self._ending is not None:
            return
        if frame.opcode is Opcode.BINARY and frame.fin:
            self._received += len(frame.data) + FRAME_COST
            if self._received - self._reported > WINDOW:
                self._fault(CloseCode.POLICY_VIOLATION, "window-exceeded", "sent more than the window allows")
                return
            self._deliver(frame.data)
        elif frame.opcode is Opcode.PONG:
            self._time_answer()
        elif frame.opcode is Opcode.PING and len(frame.data) == _REPORT_BYTES:
            self._credit(int.from_bytes(frame.data, "big"))
        elif frame.opcode in {Opcode.TEXT, Opcode.BINARY, Opcode.CONT}:
            kind = "a text frame" if frame.opcode is Opcode.TEXT else "a fragmented frame"
            code = "text-frame" if frame.opcode is Opcode.TEXT else "fragmented-frame"
            self._fault(CloseCode.UNSUPPORTED_DATA, code, f"sent {kind} where whole binary frames are agreed")

    def _deliver(self, frame: bytes | bytearray | memoryview) -> None:
        if self._taker is None:
            self._frames.append(bytes(frame))
            self._readable.set()
        else:
            self._note_taken(len(frame))
            self._taker.took(frame if isinstance(frame, bytes | bytearray) else bytes(frame))

    def _note_taken(self, size: int) -> None:
        self._taken += size + FRAME_COST
        if self._taken - self._reported >= WINDOW // 4:
            self._report()

    def _time_answer(self) -> None:
        if self._asked is not None:
            self.round_trip = asyncio.get_running_loop().time() - self._asked
            self._asked = None

    def _credit(self, taken: int) -> None:
        if not self._taken_by_peer <= taken <= self._sent:
            self._fault(CloseCode.POLICY_VIOLATION, "false-report", "reported bytes it cannot have taken")
            return
        self._taken_by_peer = taken
        self._has_room()

    def _report(self) -> None:
        """Tell the peer what we have taken; it is the sign of life as well."""
        if self.protocol.state is State.OPEN:
            self._reported, self._untimed = self._taken, 0
            if self._asked is None:
                self._asked = asyncio.get_running_loop().time()
            self.protocol.send_ping(self._taken.to_bytes(_REPORT_BYTES, "big"))
            self.flush()

    def _tick(self) -> None:
        """Count beats rather than seconds: a stall of our own must not look like the peer's."""
        self._missed = 0 if self._heard else self._missed + 1
        self._heard = False
        if self._missed >= MISSED_BEATS:
            self._end(
                Ending(
                    PeerLost,
                    "peer-silent",
                    f"gave no sign of life for {self._missed * BEAT:g} s",
                    "check that its party is running and that the link is up",
                )
            )
            self.abort()
            return
        self._untimed += 1
        if not self._spoke or self._taken != self._reported or self._untimed >= TIMED_BEATS:
            self._report()
        self._spoke = False
        self._beat = asyncio.get_running_loop().call_later(BEAT, self._tick)

    def _fault(self, close_code: CloseCode, code: str, what: str) -> None:
        """Refuse what came; the other end is told by the close frame."""
        self._end(Ending(PeerMisbehaved, code, what, "stop working with it until it has explained this"))
        self.protocol.fail(close_code, what)

    def _notice_ending(self) -> None:
        """Translate how the WebSocket layer says that a connection is over."""
        broken, closed = self.protocol.parser_exc, self.protocol.close_rcvd
        if isinstance(broken, PayloadTooBig):
            what = f"sent a frame larger than {MAX_FRAME} bytes"
            self._end(Ending(PeerMisbehaved, "frame-too-large", what))
        elif broken is not None and not isinstance(broken, EOFError):
            self._end(Ending(PeerMisbehaved, "malformed-websocket", "broke the WebSocket protocol"))
        elif closed is not None and closed.code in {CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY}:
            self._end(Ending(PeerLost, "connection-closed", "closed the connection"))
        elif closed is not None and closed.code in _DISMISSALS:
            self._end(_DISMISSALS[closed.code])
        elif closed is not None and closed.code == CloseCode.MESSAGE_TOO_BIG:
            self._end(Ending(PeerAborted, "frame-too-large", "refused a frame of ours as too large"))
        elif closed is not None:
            reason = "".join(letter for letter in closed.reason if letter.isprintable())
            self._end(
                Ending(PeerAborted, "frame-refused", f"closed the connection ({closed.code}): {reason}")
            )
        elif broken is not None:
            self._end(_broken(None))

    def _end(self, ending: Ending) -> None:
        """The first ending counts."""
        if self._ending is None:
            self._ending = ending
            self._readable.set()
            self._room.set()
            if self._taker is not None:
                self._taker.is_over(ending)

    def _has_room(self) -> None:
        self._room.set()
        if self._taker is not None:
            self._taker.has_room()

    def _on_the_way(self) -> int:
        buffered = 0 if self._transport is None else self._transport.get_write_buffer_size()
        return buffered + self._sent - self._taken_by_peer


def _length(size: int, *, masked: bool) -> bytes:
    """The length of a WebSocket frame as its header has it."""
    bit = 0x80 if masked else 0
    if size < _TWO_BYTES:
        return bytes((bit | size,))
    if size < 1 << 16:
        return bytes((bit | _TWO_BYTES,)) + size.to_bytes(2, "big")
    return bytes((bit | _EIGHT_BYTES,)) + size.to_bytes(8, "big")


def _broken(cause: BaseException | None) -> Ending:
    detail = "" if cause is None else f" ({type(cause).__name__})"
    return Ending(
        PeerLost,
        "connection-lost",
        f"vanished: the connection broke{detail}",
        "check that its party is running and that the link is up",
    )
