"""The checked channel: typed messages over frames, each tested against the table of steps.

A frame is eight bytes of sequence number (big endian, from 0 in each direction) and one message in
msgpack. The first message of each direction is `Hello`; the last may be `Abort`. A frame that was
already seen is dropped (a message is acted on once); a gap is the peer's fault.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self, TypeVar, Union

import msgspec

from parley.core.conversation import Message, Steps
from parley.core.errors import (
    ParleyError,
    PeerAborted,
    PeerError,
    PeerLost,
    PeerMisbehaved,
    PolicyRefused,
    ProtocolBug,
)
from parley.core.trace import Received, Sent, Trace, Waits
from parley.core.transcript import Transcript
from parley.net.transport import MAX_FRAME, Transport

STOPPED: Final = "party-stopped"
"""The code by which the others hear that a party was stopped while it talked to them."""
_SEQUENCE_BYTES: Final = 8
_PUBLIC_LIMIT: Final = 400
_CODE_LIMIT: Final = 64
_FAREWELL: Final = 2.0
_LAST_WORDS: Final = 1.0
_SILENT: Final = 3.0
"""Seconds of waiting for a message after which the trace is told of it."""
_CODE_LETTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")

R = TypeVar("R")


class Hello(Message, frozen=True):
    """Opens each direction: both ends must mean the same conversation."""

    protocol: str
    version: int
    run: str
    role: str


class Abort(Message, frozen=True):
    """Ends a conversation early: family, stable code and public text of an error, nothing of ours besides."""

    family: str
    code: str
    public: str


@dataclass(frozen=True)
class Setting:
    """What one end brings to a conversation.

    Attributes:
        steps: the protocol's table.
        role: the role this end plays.
        run: identifier of the run, equal at both ends.
        trace: where this end reports to.
        patience: seconds to wait for any one message, and for the peer to take one of ours, before
            it counts as lost.
        transcript: where frames are taken down, if they are.

    """

    steps: Steps
    role: str
    run: str
    trace: Trace
    patience: float = 120.0
    transcript: Transcript | None = None


class CheckedChannel:
    """One end of a conversation over a transport; use it as an asynchronous context.

    Entering greets the peer and checks that both mean the same protocol, version and run. Leaving by
    an error tells the peer its code and public text; leaving normally checks that the table was
    walked to its end.
    """

    def __init__(self, transport: Transport, setting: Setting) -> None:
        self._transport = transport
        self._setting = setting
        self._encoder = msgspec.msgpack.Encoder()
        kinds = (Hello, Abort, *setting.steps.messages())
        self._decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Union[kinds])  # noqa: UP007
        self._conversation = setting.steps.protocol
        self._mine = setting.steps.automaton(setting.role)
        others = [role for role in setting.steps.roles() if role != setting.role]
        self._theirs = setting.steps.automaton(others[0])
        self._their_role = others[0]
        self._last_sent: type[Message] | None = None
        self._last_received: type[Message] | None = None
        self._next_out = 0
        self._next_in = 0
        self._sending = asyncio.Lock()
        self._abort: Abort | None = None

    @property
    def peer(self) -> str:
        """The name of the party at the other end."""
        return self._transport.peer

    @property
    def trace(self) -> Trace:
        """Where this end reports what it does."""
        return self._setting.trace

    async def send(self, message: Message) -> None:
        """Send one message; waits while the peer is slower than we are."""
        kind = type(message)
        if not self._mine.allows(self._last_sent, kind):
            raise ProtocolBug(
                "out-of-turn-send",
                f"{self._setting.role} wanted to send {kind.__name__} after {_name(self._last_sent)}",
                remedy="report it with the run's log",
            )
        self._last_sent = kind
        await self._send(message)

    async def recv(self, *kinds: type[Any]) -> Any:  # noqa: ANN401 (typed by the overloads of Channel)
        """Wait for the next message, which must be of one of ``kinds``."""
        if not self._theirs.allows_any(self._last_received, kinds):
            wanted = " or ".join(each.__name__ for each in kinds)
            raise ProtocolBug(
                "out-of-turn-recv",
                f"{self._setting.role} waits for {wanted}, which cannot follow {_name(self._last_received)}",
                remedy="report it with the run's log",
            )
        message = await self._recv()
        kind = type(message)
        if not isinstance(message, kinds) or not self._theirs.allows(self._last_received, kind):
            expected = " or ".join(each.__name__ for each in kinds)
            raise self.fault("out-of-turn", f"sent {kind.__name__} where {expected} was due")
        self._last_received = kind
        return message

    async def compute(self, what: str, function: Callable[..., R], *arguments: object) -> R:
        """Run CPU work in a worker thread, so heartbeats never stop, and account its time."""
        with self.trace.working(what):
            return await asyncio.to_thread(function, *arguments)

    def fault(self, code: str, what: str) -> PeerMisbehaved:
        """The error to raise when the peer's message does not pass a check."""
        return PeerMisbehaved(
            code,
            f"{self.peer} {what}",
            peer=self.peer,
            remedy=f"stop working with {self.peer} until it has explained this; keep the log as evidence",
        )

    async def __aenter__(self) -> Self:
        try:
            await self._greet()
        except BaseException as error:
            await self._leave(error)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            early = self._left_early()
            await self._leave(early)
            if early is not None:
                raise early
            return
        ours = _inside(error)
        await self._leave(ours)
        if ours is not error:
            raise ours from error

    def _left_early(self) -> ProtocolBug | None:
        """Our bug if either direction of the table was not walked to its end."""
        for automaton, last, verb in (
            (self._mine, self._last_sent, "sending"),
            (self._theirs, self._last_received, "receiving"),
        ):
            if not automaton.allows(last, None):
                return ProtocolBug(
                    "left-early",
                    f"{self._setting.role} left after {verb} {_name(last)}, before the table's end",
                    remedy="report it with the run's log",
                )
        return None

    async def _greet(self) -> None:
        """Numbered checks: 1 same protocol, 2 same version, 3 same run, 4 the other role."""
        setting = self._setting
        protocol, version = setting.steps.protocol, setting.steps.version
        await self._send(Hello(protocol, version, setting.run, setting.role))
        hello = await self._recv()
        if not isinstance(hello, Hello):
            raise self.fault("no-hello", f"sent {type(hello).__name__} where Hello was due")
        # 1, 2: a difference in versions is nobody's misconduct
        if (hello.protocol, hello.version) != (protocol, version):
            raise PolicyRefused(
                "version-mismatch",
                f"{self.peer} speaks {_shown(hello.protocol, 64)} version {hello.version}, "
                f"we speak {protocol} version {version}",
                remedy="install the same release of Parley on both sides",
                public=f"we speak {protocol} version {version}; install the same release on both sides",
            )
        # 3, 4
        if hello.run != setting.run:
            raise self.fault("wrong-run", f"means run {hello.run[:64]!r}, not {setting.run!r}")
        if hello.role != self._their_role:
            raise self.fault("wrong-role", f"claims the role {hello.role[:64]!r}, not {self._their_role!r}")

    async def _send(self, message: Message) -> None:
        body = bytearray(_SEQUENCE_BYTES)
        self._encoder.encode_into(message, body, _SEQUENCE_BYTES)
        if len(body) > MAX_FRAME:
            raise ProtocolBug(
                "frame-too-large",
                f"{type(message).__name__} of {len(body)} bytes exceeds the frame limit of {MAX_FRAME}",
                remedy="report it with the run's log",
            )
        began = self.trace.clock()
        async with self._sending:
            body[:_SEQUENCE_BYTES] = self._next_out.to_bytes(_SEQUENCE_BYTES, "big")
            await self._hand_over(bytes(body))
        seconds = self.trace.clock() - began
        self.trace.emit(Sent(self.peer, type(message).__name__, len(body), seconds))

    async def _hand_over(self, frame: bytes) -> None:
        """Give one frame to the transport; its number counts as used only if the transport took it."""
        try:
            async with asyncio.timeout(self._setting.patience):
                await self._transport.send(frame)
                if self._setting.transcript is not None:
                    self._setting.transcript.sent(self._conversation, self.peer, self._next_out, frame)
                self._next_out += 1
        except TimeoutError:
            raise PeerLost(
                "stalled-peer",
                f"{self.peer} took nothing for {self._setting.patience:g} s",
                peer=self.peer,
                remedy=f"ask {self.peer} whether its party is overloaded",
            ) from None
        except PeerLost as lost:
            raise await self._reason_of(lost) from lost

    async def _recv(self) -> Message:
        began = self.trace.clock()
        silent = asyncio.get_running_loop().call_later(_SILENT, self.trace.emit, Waits(self.peer, _SILENT))
        try:
            async with asyncio.timeout(self._setting.patience):
                frame = await self._next_frame()
        except PeerLost as lost:
            raise self._reason_or(lost) from None
        except TimeoutError:
            raise PeerLost(
                "silent-peer",
                f"{self.peer} sent nothing for {self._setting.patience:g} s",
                peer=self.peer,
                remedy=f"ask {self.peer} whether its party is running and the link is up",
            ) from None
        finally:
            silent.cancel()
        message = self._decode(frame)
        self.trace.emit(Received(self.peer, type(message).__name__, len(frame), self.trace.clock() - began))
        if isinstance(message, Abort):
            self._abort = message
            raise self._aborted(message)
        return message

    async def _next_frame(self) -> bytes:
        """The next frame not seen before."""
        while True:
            frame = await self._transport.recv()
            if len(frame) <= _SEQUENCE_BYTES:
                raise self.fault("malformed-frame", f"sent a frame of {len(frame)} bytes")
            number = int.from_bytes(frame[:_SEQUENCE_BYTES], "big")
            if number > self._next_in:
                raise self.fault("lost-frame", f"sent frame {number} where frame {self._next_in} was due")
            if number == self._next_in:
                if self._setting.transcript is not None:
                    self._setting.transcript.received(self._conversation, self.peer, number, frame)
                self._next_in += 1
                return frame

    def _decode(self, frame: bytes) -> Message:
        try:
            return self._decoder.decode(memoryview(frame)[_SEQUENCE_BYTES:])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            why = _shown(str(error), 200)
            raise self.fault("malformed-message", f"sent a message that does not decode: {why}") from None

    async def _reason_of(self, lost: PeerLost) -> PeerError:
        """The peer's own reason if its `Abort` arrived before the connection went."""
        try:
            async with asyncio.timeout(_LAST_WORDS):
                while self._abort is None:
                    message = self._decode(await self._next_frame())
                    if isinstance(message, Abort):
                        self._abort = message
        except (PeerError, TimeoutError):
            pass
        return self._reason_or(lost)

    def _reason_or(self, lost: PeerLost) -> PeerError:
        """The peer's own reason if we have it by now, whichever task of ours read it."""
        return lost if self._abort is None else self._aborted(self._abort)

    def _aborted(self, abort: Abort) -> PeerAborted:
        code = _plain(abort.code) or "unnamed"
        return PeerAborted(
            code,
            f"{self.peer} stopped: {_shown(abort.public, _PUBLIC_LIMIT)}",
            peer=self.peer,
            remedy=f"ask {self.peer}; its own log has the details",
            public=f"another party stopped: {code}",
            cause=_plain(abort.family),
        )

    async def _leave(self, error: BaseException | None) -> None:
        """Tell the peer why, unless it is the peer who told us, and close."""
        told = isinstance(error, PeerAborted) and error.peer == self.peer
        try:
            if error is not None and not told:
                async with asyncio.timeout(_FAREWELL):
                    await self._send(_farewell(error))
        except (ParleyError, TimeoutError):
            pass  # the peer is gone: it finds out by itself
        finally:
            await self._transport.close()


def _inside(error: BaseException) -> BaseException:
    """The first error of ours inside a task group's, else the error itself."""
    while isinstance(error, BaseExceptionGroup):
        ours = error.subgroup(ParleyError)
        if ours is None:
            break
        error = ours.exceptions[0]
    return error


def _farewell(error: BaseException) -> Abort:
    if isinstance(error, PeerAborted):  # handed on as it came: all sides name the same cause
        return Abort(error.cause, error.code, error.public)
    if isinstance(error, ParleyError):
        return Abort(error.family, error.code, error.public)
    if isinstance(error, asyncio.CancelledError):
        return Abort(PeerLost.family, STOPPED, "the party was stopped")
    return Abort(ProtocolBug.family, "internal", "an internal error; the details are in our own log")


def _plain(name: str) -> str:
    """What may be shown of a code or family that a peer names."""
    return "".join(letter for letter in name[:_CODE_LIMIT] if letter in _CODE_LETTERS)


def _name(kind: type[Message] | None) -> str:
    return "the beginning" if kind is None else kind.__name__


def _shown(text: str, limit: int) -> str:
    """A peer's text as it may stand in our log: short, and without control characters."""
    return "".join(letter for letter in text[:limit] if letter.isprintable())
