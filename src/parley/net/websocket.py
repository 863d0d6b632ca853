"""Frames between machines: WebSocket over TLS 1.3, both ends known by their pinned certificates.

One port per party, or none: whoever can reach the other dials. What travels above is the same as in memory.
"""

import asyncio
import os
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidURI
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from parley.core.errors import BudgetExhausted, ParleyError, PeerLost, PeerMisbehaved, UsageError
from parley.net import tls
from parley.net.certificates import Identity, IdentitySource, present_identity
from parley.net.handover import Take, Tickets, first_bytes
from parley.net.proxy import NO_PROXY, Proxies, connect_through
from parley.net.tls import PeerPin
from parley.net.transport import MAX_FRAME
from parley.net.vouching import Unvouched, name_in
from parley.net.wire import CLOSING, Wire

__all__ = ["PeerListener", "PeerPin", "Pins", "WebSocketTransport", "dial"]

HANDSHAKE: Final = 10.0
"""Seconds a newcomer has to prove who it is."""

NEWCOMERS: Final = 64
"""Connections that may be proving who they are at the same time."""

CONNECTIONS: Final = 64
"""Connections that one peer may hold open at the same time."""

_SWITCHING: Final = 101

Pins = Mapping[str, PeerPin]


@dataclass(frozen=True)
class Proof:
    """By what both ends have proven who they are.

    Attributes:
        ours: the identity with which we did.
        pinned: fingerprint of the certificate that vouches for the other end.
        until: when the first of the certificates ends, on either side.
    """

    ours: Identity
    pinned: str
    until: datetime


class WebSocketTransport:
    """A `Transport` over TLS; made by `dial` and `PeerListener`."""

    def __init__(self, peer: str, wire: Wire, proof: Proof) -> None:
        self._peer = peer
        self._wire = wire
        self.proof = proof
        """By what both ends have proven who they are."""

    @property
    def fingerprint(self) -> str:
        """Of the pinned certificate that vouches for the other end."""
        return self.proof.pinned

    @property
    def wire(self) -> Wire:
        """What carries the frames."""
        return self._wire

    @property
    def peer(self) -> str:
        """The name of the party at the other end, proven by its certificate."""
        return self._peer

    async def send(self, frame: bytes) -> None:
        """Hand over one frame; waits while eight mebibytes are under way."""
        await self._wire.send(frame, self._peer)

    async def recv(self) -> bytes:
        """The next frame."""
        return await self._wire.recv(self._peer)

    async def close(self) -> None:
        """Close the connection when the other end has everything that was handed over."""
        await self._wire.close()


async def dial(
    address: str,
    identity: Identity,
    pin: PeerPin,
    path: str,
    *,
    proxies: Proxies = NO_PROXY,
    over: socket.socket | None = None,
    server_name: str = "",
    timeout: float = HANDSHAKE,  # noqa: ASYNC109 (one figure for six layers)
) -> WebSocketTransport:
    """Connect to ``pin`` at ``address`` (``wss://host:port`` or ``host:port``) and ask for ``path``.

    Numbered checks: 1 the name is known, 2 the port answers, 3 TLS 1.3 with a certificate that OpenSSL can
    lead back to the pin, 4 the pin vouches for it (`vouching`), 5 the peer knows ours, 6 it speaks WebSocket.

    Args:
        address: where the peer listens.
        identity: who we are.
        pin: whom we expect.
        path: what we want of the peer, such as ``/link``; begins with a slash.
        proxies: through which to dial.
        over: a connection that is there already and leads to the peer; the address is then for error texts.
        server_name: that TLS asks for; anybody between can read it. The host's, if there is none.
        timeout: seconds for all six together.

    Raises:
        UsageError: the address is malformed.
        PeerLost: ``name-unknown``, ``peer-unreachable``, ``connect-timeout``, ``tls-failed``,
            ``handshake-timeout``, ``upgrade-refused``, ``proxy-unreachable``, ``proxy-refused``.
        PolicyRefused: ``proxy-auth``, ``certificate-unknown-to-peer``, ``certificate-expired``.
        PeerMisbehaved: ``certificate-not-pinned``, ``certificate-invalid``, ``malformed-websocket``.

    """
    host, port = _parse(address, path)
    protocol = ClientProtocol(parse_uri(f"wss://{_bracketed(host)}:{port}{path}"), max_size=MAX_FRAME)
    wire = Wire(protocol)
    connected = False
    try:
        async with asyncio.timeout(timeout):
            if over is None:
                stream = await connect(host, port, pin.name, proxies)  # 1, 2
            else:
                stream = await stream_of(over)
            connected = True
            try:
                proof = await _secure(stream, wire, identity, pin, server_name or host)  # 3, 4
                await _upgrade(wire, protocol, pin.name)  # 5, 6
            except BaseException:
                stream.abort()
                raise
    except TimeoutError:
        raise _too_slow(pin.name, address, timeout, connected=connected) from None
    return WebSocketTransport(pin.name, wire, proof)


async def stream_of(connected: socket.socket) -> asyncio.Transport:
    """A connected socket, not read from yet."""
    stream, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=connected)
    stream.pause_reading()
    return stream


class PeerListener:
    """One port on which peers reach this party; use it as an asynchronous context.

    Args:
        host: the interface to listen on.
        port: the port; 0 lets the system choose, see `address`.
        identity: who we are, or a function that returns it; asked anew for every newcomer.
        pins: the peers by name, or a function that returns them; asked anew for every newcomer, so
            the peer list may change while the listener runs.
        on_connection: called with the peer's name, the path it asks for and the transport, which is
            closed when the call returns. Our own authority's certificates are welcome, under our own name.
        on_refused: told the address and the reason of every newcomer that was turned away; of a peer
            that has too many connections, its name.
        tickets: with which connections are handed over to another process.

    """

    def __init__(
        self,
        host: str,
        port: int,
        identity: IdentitySource,
        pins: Pins | Callable[[], Pins],
        on_connection: Callable[[str, str, WebSocketTransport], Awaitable[None]],
        *,
        on_refused: Callable[[str, str], None] = lambda _address, _reason: None,
        tickets: Tickets | None = None,
    ) -> None:
        self._host, self._port = host, port
        self._identity = identity
        self._pins = pins
        self._on_connection = on_connection
        self._on_refused = on_refused
        self._tickets = tickets
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._newcomers = 0
        self._held: Counter[str] = Counter()

    @property
    def address(self) -> str:
        """``host:port`` as bound."""
        if self._server is None:
            raise UsageError("not-listening", "the listener is not running", remedy="enter it first")
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"{_bracketed(host)}:{port}"

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: _Doorbell(self._admit), self._host, self._port)
        except OSError as error:
            raise UsageError(
                "port-unavailable",
                f"cannot listen on {self._host}:{self._port}: {error.strerror or error}",
                remedy="choose another port, or stop the program that uses it",
            ) from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def take_in(self, connected: socket.socket) -> None:
        """Treat a connection that came by another way as if it had come to the port, to its end."""
        await self._serve(await stream_of(connected))

    def _admit(self, stream: asyncio.Transport) -> None:
        task = asyncio.get_running_loop().create_task(self._receive(stream))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _receive(self, stream: asyncio.Transport) -> None:
        if self._tickets is None or not self._tickets.outstanding or not await self._pass_on(stream):
            await self._serve(stream)

    async def _pass_on(self, stream: asyncio.Transport) -> bool:
        """Whether a newcomer is not to be served here: it came with a ticket, or said nothing."""
        connected, take = None, None
        self._newcomers += 1
        try:
            if self._newcomers <= NEWCOMERS:
                connected = socket.socket(fileno=os.dup(stream.get_extra_info("socket").fileno()))
                async with asyncio.timeout(HANDSHAKE):
                    take = self._look(await first_bytes(connected))
        except TimeoutError:
            stream.abort()
            self._on_refused(_shown(stream), f"it said nothing within {HANDSHAKE:g} s")
            return True
        except OSError:
            pass  # it is gone, or no descriptor is left: the handshake says so
        except BaseException:
            stream.abort()
            raise
        finally:
            self._newcomers -= 1
            if connected is not None and take is None:
                connected.close()
        if connected is not None and take is not None:
            stream.abort()  # of our end only: the connection itself is held by the other socket
            take(connected)
        return take is not None

    def _look(self, first: bytes) -> Take | None:
        return None if self._tickets is None else self._tickets.redeem(first)

    async def _serve(self, stream: asyncio.Transport) -> None:
        welcome = await self._greet(stream)
        if welcome is None:
            return
        peer, path, transport = welcome
        self._held[peer] += 1
        try:
            if self._held[peer] <= CONNECTIONS:
                await self._on_connection(peer, path, transport)
            else:
                self._on_refused(peer, f"it holds {CONNECTIONS} connections already")
        except ParleyError:
            pass  # the conversation's own affair: it has told both ends
        finally:
            self._held[peer] -= 1
            await transport.close()

    async def _greet(self, stream: asyncio.Transport) -> tuple[str, str, WebSocketTransport] | None:
        """Let a newcomer prove who it is; None if it was turned away."""
        protocol = ServerProtocol(max_size=MAX_FRAME)
        wire = Wire(protocol)
        self._newcomers += 1
        reason = "too many newcomers at once"
        try:
            if self._newcomers <= NEWCOMERS:
                async with asyncio.timeout(HANDSHAKE):
                    peer, proof = await self._identify(stream, wire)
                    path = await _welcome(wire, protocol)
                return peer, path, WebSocketTransport(peer, wire, proof)
        except TimeoutError:
            reason = f"no complete handshake within {HANDSHAKE:g} s"
        except _Refused as refused:
            reason = str(refused)
        except Unvouched as error:
            reason = f"its certificate is refused: {error.why} [{error.code}]"
        except (UsageError, BudgetExhausted) as error:
            reason = f"our own peer list cannot be used: {error.what}"
        except OSError as error:
            reason = _tls_reason(error)
        except BaseException:
            stream.abort()
            raise
        finally:
            self._newcomers -= 1
        stream.abort()
        self._on_refused(_shown(stream), reason)
        return None

    async def _identify(self, stream: asyncio.Transport, wire: Wire) -> tuple[str, Proof]:
        """The party that the newcomer proved to be, and by what; raises `Unvouched`."""
        pins = self._pins() if callable(self._pins) else self._pins
        ours = present_identity(self._identity)
        context = tls.server_context(ours, pins.values())
        secured = await _start_tls(stream, wire, context, None)
        leaf = tls.presented(secured)
        # whoever bears our name may command us: our own authority vouches for it, and no pin
        own = PeerPin(ours.party, ours.certificate_pem)
        pin = {**pins, ours.party: own}.get(name_in(leaf))
        if pin is None:
            raise _Refused("its certificate names nobody in our peer list")
        until = min(tls.check_presented(leaf, pin), ours.ends)
        wire.attach(secured)
        return pin.name, Proof(ours, pin.fingerprint, until)


class _Refused(Exception):
    """Inside the listener: a newcomer is to be turned away."""


class _Doorbell(asyncio.Protocol):
    """Holds a fresh connection unread until TLS takes it over."""

    def __init__(self, admit: Callable[[asyncio.Transport], None]) -> None:
        self._admit = admit

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 (TCP; tells the type checker)
        transport.pause_reading()
        self._admit(transport)


async def connect(host: str, port: int, peer: str, proxies: Proxies) -> asyncio.Transport:
    """A connection to ``host`` and ``port``, not read from yet.

    Raises:
        PeerLost: ``name-unknown``, ``peer-unreachable``; as `connect_through`.
    """
    if proxies.serves(host, port):
        stream = await connect_through(proxies, host, port, peer)
        stream.pause_reading()
        return stream
    loop = asyncio.get_running_loop()
    try:
        stream, _ = await loop.create_connection(asyncio.Protocol, host, port)
    except (socket.gaierror, UnicodeError) as error:
        raise PeerLost(
            "name-unknown",
            f"the name {host} of {peer} cannot be resolved",
            peer=peer,
            remedy="check the spelling of the address and this machine's name servers",
        ) from error
    except OSError as error:
        raise PeerLost(
            "peer-unreachable",
            f"{peer} does not answer at {host} port {port}: {error.strerror or error}",
            peer=peer,
            remedy=f"check that the party of {peer} is running and that firewalls let us through",
        ) from error
    stream.pause_reading()
    return stream


async def _secure(
    stream: asyncio.Transport, wire: Wire, identity: Identity, pin: PeerPin, host: str
) -> Proof:
    try:
        secured = await _start_tls(stream, wire, tls.client_context(identity, pin), host)
        until = tls.check_presented(tls.presented(secured), pin)
    except ssl.SSLCertVerificationError as error:
        raise tls.not_pinned(pin, await _look(stream)) from error
    except Unvouched as error:
        raise tls.not_vouched(pin, error) from error
    except OSError as error:
        raise tls.handshake_failed(pin, error) from error
    wire.attach(secured)
    return Proof(identity, pin.fingerprint, min(until, identity.ends))


async def _look(stream: asyncio.Transport) -> str | None:
    """Fingerprint of what the other end would have us pin, if it lets itself be asked once more."""
    where = stream.get_extra_info("peername")
    if not where:  # no address of its own
        return None
    try:
        return await tls.diagnose(*where[:2])
    except OSError:
        return None


async def _start_tls(
    stream: asyncio.Transport, wire: Wire, context: ssl.SSLContext, host: str | None
) -> asyncio.Transport:
    secured = await asyncio.get_running_loop().start_tls(
        stream,
        wire,
        context,
        server_side=host is None,
        server_hostname=host,
        ssl_shutdown_timeout=CLOSING,
    )
    if secured is None:
        raise ConnectionResetError
    return secured


async def _upgrade(wire: Wire, protocol: ClientProtocol, peer: str) -> None:
    """The client's half of the HTTP upgrade."""
    protocol.send_request(protocol.connect())
    wire.flush()
    response = await wire.opening
    if response is None and not wire.spoken_to:
        # TLS 1.3 lets a client finish before the server has judged its certificate, so this is how
        # a refusal looks.
        raise tls.unknown_to(peer)
    if isinstance(response, Response) and response.status_code != _SWITCHING:
        raise PeerLost(
            "upgrade-refused",
            f"{peer} answered the request for a connection with status {response.status_code}",
            peer=peer,
            remedy="check that the port is the peer's Parley port",
        )
    if protocol.handshake_exc is not None:
        raise PeerMisbehaved(
            "malformed-websocket",
            f"{peer} does not speak WebSocket: {type(protocol.handshake_exc).__name__}",
            peer=peer,
            remedy="check that the port is the peer's Parley port",
        )


async def _welcome(wire: Wire, protocol: ServerProtocol) -> str:
    """The server's half of the HTTP upgrade; the path that was asked for."""
    request = await wire.opening
    if not isinstance(request, Request):
        raise _Refused("it ended the connection before it asked for anything")
    if protocol.eof_sent:  # because of what came behind the request
        raise _Refused("it ended the connection, or broke the protocol, before it was answered")
    protocol.send_response(protocol.accept(request))
    wire.flush()
    if protocol.state is not State.OPEN:
        raise _Refused("it does not speak WebSocket")
    return request.path


def _parse(address: str, path: str) -> tuple[str, int]:
    try:
        parts = urlsplit(address if "://" in address else f"wss://{address}")
        host, port = parts.hostname, parts.port
        well_formed = parts.scheme == "wss" and not parts.path.strip("/") and not parts.query
        parse_uri(f"wss://peer{path}")
    except (ValueError, InvalidURI):
        host, port, well_formed = None, None, False
    if not well_formed or not host or not port or not path.startswith("/"):
        raise UsageError(
            "bad-address",
            f"{address[:200]!r} with path {path[:200]!r} is not an address: expected host:port or "
            "wss://host:port, and a path that begins with '/'",
            remedy="write it like 'parley.bank.example:7443'",
        )
    return host, port


def _too_slow(peer: str, address: str, seconds: float, *, connected: bool) -> PeerLost:
    code, what = ("handshake-timeout", "finish the handshake") if connected else ("connect-timeout", "answer")
    return PeerLost(
        code,
        f"{peer} did not {what} at {address} within {seconds:g} s",
        peer=peer,
        remedy="check the address and the firewalls between, then try again",
    )


def _tls_reason(error: OSError) -> str:
    reason = getattr(error, "reason", None)
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return "it presented no certificate"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not in our peer list ({error.verify_message})"
    return f"no TLS 1.3 session: {reason or type(error).__name__}"


def _shown(stream: asyncio.Transport) -> str:
    """Where a connection comes from."""
    host, port = (stream.get_extra_info("peername") or ("unknown", 0))[:2]
    return f"{_bracketed(str(host))}:{port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
