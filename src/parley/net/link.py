"""One link per pair of parties: every conversation between them is a stream of it, whoever dialled.

    dialler                                  other end
      Hello    ───────────────────────────────▶   what it wants to go on with, and how far it has come
      ◀───────────────────────────── Welcome      or Anew: that session is gone; or Crossed: see below
      chunks   ◀──────────────────────────────▶   `chunks`, until the connection breaks

A connection that breaks is dialled again by whoever dialled it. Within `GRACE` of the last sign of life
the session goes on where it was; after it every stream ends at both ends. An end that comes back as
another process, or has given the session up, begins another one, and the streams of the old one end.

When both dial at once, the connection stays that the party dialled whose name comes first; unless the other
one shows, by the name of the connection it had last, that it has lost that one.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Never

import msgspec

from parley.core.errors import ParleyError, PeerLost, PeerMisbehaved
from parley.net.chunks import (
    VERSION,
    Anew,
    Broken,
    Crossed,
    Greeting,
    Hello,
    Kind,
    Welcome,
    greeting_read,
    parts,
)
from parley.net.figures import Figures, Meter
from parley.net.session import Met, Session, token
from parley.net.streams import THEY_CLOSED, WE_CLOSED, Stream
from parley.net.websocket import HANDSHAKE, WebSocketTransport
from parley.net.wire import BEAT, MISSED_BEATS, Ending, is_dismissal

GRACE: Final = 7.0
"""Seconds after the last sign of life within which a link may come back."""

LEAST_GRACE: Final = 2.0
"""Seconds that it has at least after a silence was noticed, to dial again."""

REDIAL: Final = 2.0
"""Seconds for an attempt to dial again while streams wait."""

GREETING: Final = 10.0
"""Seconds for the greeting on a new connection."""

PATIENCE: Final = 5.0
"""Seconds to wait for a peer that we cannot dial."""

REACHED: Final = 20.0
"""Seconds to wait for a link with a peer that we can dial; dialling it fails earlier."""

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 2.0
IDLE_PAUSE: Final = 15.0
"""Seconds between attempts to dial: at first, at most while streams wait, at most while none do."""

OUR_TURN: Final = 2.0
"""Seconds after which the end that was dialled dials itself, if it can, while streams wait."""

FAREWELL: Final = 2.0
"""Seconds that what was handed over has to arrive when we leave."""

_SAY_AFTER: Final = 0.1
_LOOK_AT_OTHERS: Final = "check that its party is running and that the link is up"

Dialling = Callable[[float], Awaitable[WebSocketTransport]]
"""Connects to the peer within so many seconds; raises as `websocket.dial`."""


class Connection:
    """One connection of a link, from the greeting on; takes what comes on it."""

    def __init__(self, link: "Link", name: bytes, transport: WebSocketTransport, *, ours: bool) -> None:
        self.name = name
        self.ours = ours
        self.transport = transport
        self.wire = transport.wire
        self.over = asyncio.Event()
        self._link = link

    def took(self, frame: bytes | bytearray) -> None:
        """A chunk came."""
        if self._link.connection is self:
            self._link.took(frame)

    def has_room(self) -> None:
        """More may be written."""
        if self._link.connection is self:
            self._link.pump()

    def is_over(self, ending: Ending) -> None:
        """The connection is gone."""
        self.over.set()
        if self._link.connection is self:
            self._link.broke(ending)


class Link:
    """Our end of the link with one peer.

    Args:
        us: our own name.
        peer: the other party's.
        process: drawn when our party started.
        arrived: called with the path and every stream that the peer opens.
        log: takes a line when the peer cannot be dialled, or can again, or breaks the rules.
        relays: whether our own party joins streams of others.
        dismissed: called when the peer has ended the link for good, with why.
    """

    def __init__(
        self,
        us: str,
        peer: str,
        process: bytes,
        arrived: Callable[[str, Stream], None],
        log: Callable[[str], None],
        *,
        relays: bool = False,
        dismissed: Callable[[Ending], None] = lambda _: None,
    ) -> None:
        self.peer = peer
        self._dismissed = dismissed
        self.relays = False
        """Whether the peer joins streams of others."""
        self._we_relay = relays
        self.connection: Connection | None = None
        self.keep = False
        """Whether to dial again for ever, streams or not."""
        self.dialling: Dialling | None = None
        """How the peer is dialled; None if only it can dial us."""
        self._first = us < peer
        self._process = process
        self._arrived = arrived
        self._log = log
        self._session = self._new_session()
        self._lost = b""
        self._waiting: set[asyncio.Future[None]] = set()
        self._dialler: asyncio.Task[None] | None = None
        self._dial_now = asyncio.Event()
        self._grace: asyncio.TimerHandle | None = None
        self._saying: asyncio.TimerHandle | None = None
        self._turn: asyncio.TimerHandle | None = None
        self._counted = asyncio.Event()
        self._pumping = False
        self._leaving = False
        self._trouble = ""
        self._meter = Meter()
        self._sampling: asyncio.TimerHandle | None = None

    # ── for the party ─────────────────────────────────────────────────────────────────────────────────

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self.connection is not None

    @property
    def is_relayed(self) -> bool:
        """Whether the connection runs within another link."""
        return self.connection is not None and self.connection.wire.is_inside_another

    async def open(self, path: str) -> Stream:
        """A stream for a path, as soon as there is a connection.

        Raises:
            PeerLost: ``peer-not-connected``, or why the peer cannot be dialled; as `websocket.dial`.
            UsageError, BudgetExhausted: as `Session.open`.
        """
        while self.connection is None:
            await self._reached()
        return self._session.open(path)

    async def close(self) -> None:
        """Leave: what was handed over still arrives, if the peer is there."""
        self._leaving = True
        if self._dialler is not None:
            self._dialler.cancel()
            await asyncio.gather(self._dialler, return_exceptions=True)
        try:
            async with asyncio.timeout(FAREWELL):
                while self.connection is not None and self._session.owes:
                    self._counted.clear()
                    await self._counted.wait()
        except TimeoutError:
            pass
        connection = self.connection
        if connection is not None:
            if connection.wire.has_room():
                connection.wire.offer(*parts(Kind.GOODBYE, 0, 0, self._session.heard))
            self._over(WE_CLOSED, abort=False)
            await connection.transport.close()
        self._over(WE_CLOSED)
        self._stop_timers()

    def drop(self) -> None:
        """Break the connection, as the network might."""
        if self.connection is not None:
            self.connection.wire.abort()

    def dismiss(self, ending: Ending) -> None:
        """End the connection and all that runs over it, for a reason that the other end is told."""
        connection = self.connection
        self._over(ending, abort=False)
        if connection is not None:
            self._log(f"the link ends: {self.peer} {ending.what} [{ending.code}]")
            connection.wire.dismiss(ending)
        if self.dialling is not None and self.keep:
            self.dial()

    def figures(self) -> Figures:
        """How the link does just now."""
        rate_in, rate_out = self._meter.rates(asyncio.get_running_loop().time())
        return Figures(
            peer=self.peer,
            connected=self.connected,
            streams=self._session.streams,
            bytes_in=self._meter.bytes_in,
            bytes_out=self._meter.bytes_out,
            chunks_in=self._meter.chunks_in,
            chunks_out=self._meter.chunks_out,
            resent=self._meter.resent,
            rate_in=rate_in,
            rate_out=rate_out,
            round_trip=None if self.connection is None else self.connection.wire.round_trip,
        )

    # ── dialling ──────────────────────────────────────────────────────────────────────────────────────

    def dial(self) -> None:
        """Begin to dial, or try again now."""
        self._dial_now.set()
        if not self._leaving and (self._dialler is None or self._dialler.done()):
            self._dialler = asyncio.get_running_loop().create_task(self._dial_until_connected())

    async def _reached(self) -> None:
        """Wait for a connection."""
        patience = PATIENCE if self.dialling is None else REACHED
        if self._leaving:
            raise WE_CLOSED.error(self.peer)
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        if self.dialling is not None:
            self.dial()
        try:
            async with asyncio.timeout(patience):
                await waiting
        except TimeoutError:
            why = "has no address that we could dial, and" if self.dialling is None else "answers, but"
            raise PeerLost(
                "peer-not-connected",
                f"{self.peer} {why} has made no link with us for {patience:g} s",
                peer=self.peer,
                remedy=f"see that the party of {self.peer} is running and reaches us; "
                f"or give its address with `parley peer add {self.peer} --address HOST:PORT`",
            ) from None
        finally:
            self._waiting.discard(waiting)

    async def _dial_until_connected(self) -> None:
        pause = FIRST_PAUSE
        while not self.connected and self.dialling is not None:
            self._dial_now.clear()
            try:
                transport = await self.dialling(HANDSHAKE if self._grace is None else REDIAL)
                await self._greet(transport)
            except ParleyError as error:
                self._not_reached(error)
            if not self._wanted():
                return
            try:
                async with asyncio.timeout(pause):
                    await self._dial_now.wait()
            except TimeoutError:
                pause = min(2 * pause, LONGEST_PAUSE if self._grace is not None else IDLE_PAUSE)

    def _wanted(self) -> bool:
        """Whether to dial once more."""
        if self.connected or self._leaving:
            return False
        return self.keep or self._grace is not None or bool(self._waiting)

    def _not_reached(self, error: ParleyError) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(error)
        self._waiting.clear()
        if self.keep and self._trouble != error.code:
            self._trouble = error.code
            self._log(f"no link with {self.peer}: {error.what}; dialled again until there is one")

    # ── greetings ─────────────────────────────────────────────────────────────────────────────────────

    async def _greet(self, transport: WebSocketTransport) -> None:
        """As the dialler: agree on how to go on, and begin; without a connection if the other end says so."""
        connection = Connection(self, token(), transport, ours=True)
        try:
            if not self.connected:  # else the peer was faster
                await self._settle(connection)
        finally:
            if self.connection is not connection:
                transport.wire.abort()

    async def _settle(self, connection: Connection) -> None:
        session = self._session
        met = session.met
        yours = b"" if met is None else met.session
        hello = Hello(
            VERSION,
            self._process,
            session.name,
            yours,
            connection.name,
            self._lost,
            session.heard,
            self._we_relay,
        )
        await connection.transport.send(_encoded(hello))
        answer = await self._greeting(connection.transport)
        match answer:
            case Welcome():
                met = Met(answer.process, answer.session)
                if answer.yours == self._session.name:
                    self._meet(met)
                    self.relays = answer.relays
                    if self._session is session:
                        self._take_up(connection, answer.heard)
            case Anew():
                if session is self._session and met is not None:
                    self._over(_gone(restarted=answer.process != met.process))
            case Crossed():
                pass
            case Hello():
                self._blame(connection.transport, Broken("malformed-greeting", "answered Hello with Hello"))

    async def accept(self, transport: WebSocketTransport) -> None:
        """As the other end: agree, and begin; returns when the connection is over."""
        hello = await self._greeting(transport)
        if not isinstance(hello, Hello):
            self._blame(transport, Broken("malformed-greeting", "greeted us with an answer"))
        if hello.version != VERSION:
            self._blame(
                transport,
                Broken("version-mismatch", f"speaks version {hello.version} of the link, we {VERSION}"),
            )
        if self._leaving or (self.connection is not None and not self._gives_way(self.connection, hello)):
            await transport.send(_encoded(Crossed()))
            return
        self._meet(Met(hello.process, hello.session))
        if hello.yours not in {b"", self._session.name}:
            self._over(_gone(restarted=False))
            await transport.send(_encoded(Anew(self._process)))
            return
        connection = Connection(self, hello.connection, transport, ours=False)
        transport.wire.offer(
            _encoded(
                Welcome(self._process, self._session.name, hello.session, self._session.heard, self._we_relay)
            )
        )
        self.relays = hello.relays
        self._take_up(connection, hello.heard)
        await connection.over.wait()

    async def _greeting(self, transport: WebSocketTransport) -> Greeting:
        try:
            async with asyncio.timeout(GREETING):
                return greeting_read(await transport.recv())
        except TimeoutError:
            raise PeerLost(
                "greeting-timeout",
                f"{self.peer} did not greet us within {GREETING:g} s",
                peer=self.peer,
                remedy=_LOOK_AT_OTHERS,
            ) from None
        except Broken as broken:
            self._blame(transport, broken)

    def _gives_way(self, held: Connection, hello: Hello) -> bool:
        """Whether the connection that we have gives way to the one that the peer has dialled."""
        met = self._session.met
        restarted = met is not None and met.process != hello.process
        return not held.ours or held.name == hello.lost or restarted or not self._first

    def _meet(self, met: Met) -> None:
        """Take up the other end's session; if it is another one than before, ours is over."""
        before = self._session.met
        if before is not None and before != met:
            self._over(_gone(restarted=before.process != met.process))
        self._session.met = met

    def _take_up(self, connection: Connection, heard: int) -> None:
        """Go on over a connection; numbered steps.

        1. of two that crossed, one stays; 2. what was not counted is written again; 3. who waited goes on.
        """
        # 1
        held = self.connection
        if held is not None and connection.ours and not held.ours and not self._first:
            return
        # 2
        self.connection, self._lost = None, connection.name
        if held is not None:
            held.over.set()
            held.wire.abort()
        try:
            self._meter.resent += self._session.resume(heard)
        except Broken as broken:
            self._over(_misconduct(broken))
            self._blame(connection.transport, broken)
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None
        self.connection = connection
        connection.wire.hand_to(connection)
        self.pump()
        # 3
        if self._trouble:
            self._log(f"there is a link with {self.peer} again")
            self._trouble = ""
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        if self._sampling is None:
            self._sample()

    def _blame(self, transport: WebSocketTransport, broken: Broken) -> Never:
        self._log(f"no link: {self.peer} {broken.what} [{broken.code}]")
        transport.wire.refuse(broken.code, broken.what)
        raise _misconduct(broken).error(self.peer)

    # ── a connection at work ──────────────────────────────────────────────────────────────────────────

    def took(self, frame: bytes | bytearray) -> None:
        """Act on a chunk."""
        self._meter.bytes_in += len(frame)
        self._meter.chunks_in += 1
        try:
            goodbye = self._session.take(frame)
        except Broken as broken:
            if self.connection is not None:
                self.connection.wire.refuse(broken.code, broken.what)
            return
        if goodbye:
            self._over(THEY_CLOSED, abort=False)
            if self.keep:
                self.dial()
            return
        self._counted.set()
        self.pump()
        if self._session.unsaid and self._saying is None:
            self._saying = asyncio.get_running_loop().call_later(_SAY_AFTER, self._say)

    def pump(self) -> None:
        """Write what may be written."""
        connection = self.connection
        if connection is None or self._pumping:
            return
        self._pumping = True
        try:
            while connection.wire.has_room() and (chunk := self._session.next()) is not None:
                self._meter.bytes_out += connection.wire.offer(*chunk)
                self._meter.chunks_out += 1
        finally:
            self._pumping = False

    def broke(self, ending: Ending) -> None:
        """The connection is gone: wait for another one, unless one of us broke the rules."""
        connection, self.connection = self.connection, None
        self._counted.set()
        if ending.family is not PeerLost or is_dismissal(ending):
            self._log(f"the link ends: {self.peer} {ending.what} [{ending.code}]")
            self._over(ending)
            if is_dismissal(ending):
                self._dismissed(ending)
        elif self._grace is None:
            silent = MISSED_BEATS * BEAT if ending.code == "peer-silent" else 0.0
            left = max(GRACE - silent, LEAST_GRACE)
            self._grace = asyncio.get_running_loop().call_later(left, self._give_up)
        if self.dialling is not None and connection is not None:
            first = connection.ours or self.keep
            self._turn = asyncio.get_running_loop().call_later(0 if first else OUR_TURN, self._dial_again)

    def _dial_again(self) -> None:
        if self._wanted():
            self.dial()

    def _say(self) -> None:
        self._saying = None
        self._session.say_heard()

    def _give_up(self) -> None:
        self._grace = None
        self._over(_gone(restarted=False))

    def _over(self, ending: Ending, *, abort: bool = True) -> None:
        """The session is over, at our end; another one may begin."""
        connection, self.connection = self.connection, None
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None
        over, self._session = self._session, self._new_session()
        over.end(ending)
        if connection is not None:
            connection.over.set()
            if abort:
                connection.wire.abort()

    def _new_session(self) -> Session:
        return Session(self.peer, 1 if self._first else 2, self._arrived, self.pump)

    def _sample(self) -> None:
        """Note the figures of the moment, once a beat while there is a connection."""
        loop = asyncio.get_running_loop()
        self._meter.sample(loop.time())
        self._sampling = None
        if self.connection is not None:
            self._sampling = loop.call_later(BEAT, self._sample)

    def _stop_timers(self) -> None:
        for timer in (self._grace, self._saying, self._sampling, self._turn):
            if timer is not None:
                timer.cancel()


def _gone(*, restarted: bool) -> Ending:
    if restarted:
        return Ending(
            PeerLost,
            "peer-restarted",
            "was started again: what was under way with it is lost",
            "begin again what was under way",
        )
    return Ending(
        PeerLost,
        "connection-lost",
        f"vanished: the connection broke and did not come back within {GRACE:g} s",
        _LOOK_AT_OTHERS,
    )


def _misconduct(broken: Broken) -> Ending:
    return Ending(
        PeerMisbehaved, broken.code, broken.what, "stop working with it until it has explained this"
    )


def _encoded(greeting: Greeting) -> bytes:
    return msgspec.msgpack.encode(greeting)
