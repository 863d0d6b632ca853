"""What reads the bytes of a connection: records of a link, WebSocket, HTTP, certificates, invitations."""

import asyncio
import base64
import importlib
import pkgutil
import ssl
import time
import warnings

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning
from websockets.client import ClientProtocol
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

import parley.ledger.engines
import parley.protocols
from parley.core.conversation import Steps
from parley.core.errors import ParleyError
from parley.core.trace import Trace
from parley.net import chunks, proxy, tls, websocket
from parley.net.certificates import announced_by, fingerprint_of, named_in, valid_until
from parley.net.channel import Abort, CheckedChannel, Hello, Setting
from parley.net.chunks import Broken, Kind, written
from parley.net.link import Link
from parley.net.memory import memory_pair
from parley.net.pipe import Pipe
from parley.net.streams import WE_CLOSED
from parley.net.transport import MAX_FRAME
from parley.net.websocket import WebSocketTransport
from parley.net.wire import Wire
from parley.party.address import address_of
from parley.party.invitations import _PREFIX, Invitation, _check_sum
from parley.party.peers import check_peer
from parley.store.catalogue import Peer
from parley.store.home import Home
from parley.store.settings import Settings

from tests.channels import identity_of
from tests.fuzz.mutator import MSGPACK
from tests.fuzz.samples import sample
from tests.fuzz.target import Fuzzed, Target

NAME = b"n" * 16
PIECE = 1500
"""Bytes that arrive together."""
ACCEPTED = b"ICX+Yqv66kxgM0FcWaLWlFLwTAI="
"""What a server says to the key of 16 zero bytes (RFC 6455, 4.2.2); checked by the seeds being taken."""


# ── chunks and sessions ───────────────────────────────────────────────────────────────────────────────


CHUNKS = (
    written(Kind.OPEN, 1, 1, 0, b"/run/one"),
    written(Kind.LAST, 1, 2, 0, b"a frame"),
    written(Kind.MORE, 1, 3, 0, bytes(16 * 1024)),
    written(Kind.LAST, 1, 4, 0, b"its end"),
    written(Kind.CREDIT, 1, 5, 0, chunks.total_written(0)),
    written(Kind.HEARD, 0, 0, 0),
    written(Kind.CLOSE, 1, 6, 0),
    written(Kind.GOODBYE, 0, 0, 0),
)


def chunk(_folder):
    def decode(data):
        read = chunks.read(data)
        if read.kind is Kind.CREDIT:
            return chunks.total_read(read)
        return chunks.path_read(read) if read.kind is Kind.OPEN else read

    return Fuzzed(CHUNKS, decode, (Broken,))


GREETINGS = tuple(
    msgspec.msgpack.encode(one)
    for one in (
        chunks.Hello(chunks.VERSION, NAME, NAME, b"", NAME, b"", 0, relays=True),
        chunks.Welcome(NAME, NAME, NAME, 0, relays=False),
        chunks.Anew(NAME),
        chunks.Crossed(),
    )
)


def greeting(_folder):
    return Fuzzed(GREETINGS, chunks.greeting_read, (Broken,), MSGPACK)


def pipe(_folder):
    """The records of a worker: the same session as a link's, with lengths before the chunks."""

    async def decode(data):
        end = Pipe("worker", 2, lambda _path, _stream: None)
        for at in range(0, len(data), PIECE):
            end.data_received(data[at : at + PIECE])
        end.connection_lost(None)
        if end._saying is not None:
            end._saying.cancel()

    framed = [len(one).to_bytes(4, "big") + one for one in CHUNKS]
    return Fuzzed([b"".join(framed), b"".join(framed[:4]), framed[0]], decode, ())


# ── WebSocket, and the link above it ──────────────────────────────────────────────────────────────────


def frame(data, *, masked, opcode=2):
    """A WebSocket frame (RFC 6455, 5.2), under a mask of zeros where there has to be one."""
    bit = 0x80 if masked else 0
    size = bytes([bit | len(data)]) if len(data) < 126 else bytes([bit | 126]) + len(data).to_bytes(2, "big")
    return bytes([0x80 | opcode]) + size + (bytes(4) if masked else b"") + data


def _stream(greeted, *, masked):
    """What an end says behind the upgrade, by the frame."""
    talk = [frame(one, masked=masked) for one in (greeted, *CHUNKS[:2], *CHUNKS[5:])]
    ping, close = frame(bytes(8), masked=masked, opcode=9), frame(b"\x03\xe8bye", masked=masked, opcode=8)
    return [b"".join(talk), talk[0] + ping + talk[1] + close, talk[0] + frame(b"?", masked=masked, opcode=1)]


def _new_link():
    link = Link("left", "right", NAME, lambda _path, _stream: None, lambda _line: None)
    link._session.name = NAME
    return link


async def _fed(wire, data, opening, greeting_with):
    """Give a wire all that the other end says; the upgrade and the link take their parts."""
    wire.protocol.logger.disabled = True
    at, working = 0, asyncio.ensure_future(opening)
    while at < len(data):
        wire.data_received(data[at : at + PIECE])
        at += PIECE
        for _ in range(6):
            await asyncio.sleep(0)
        if working is not None and working.done():
            if greeting_with is None or working.exception() is not None:
                break
            working, greeting_with = asyncio.ensure_future(greeting_with(working.result())), None
    for _ in range(6):
        await asyncio.sleep(0)
    if working.done() and greeting_with is not None and working.exception() is None:
        working, greeting_with = asyncio.ensure_future(greeting_with(working.result())), None
        for _ in range(6):
            await asyncio.sleep(0)
    wire.eof_received()
    wire.connection_lost(None)
    await working


def dialled(_folder):
    """The stream of one who has dialled us: an HTTP request, then frames."""

    async def decode(data):
        wire, link = Wire(ServerProtocol(max_size=MAX_FRAME)), _new_link()
        try:
            await _fed(
                wire,
                data,
                websocket._welcome(wire, wire.protocol),
                lambda _path: link.accept(WebSocketTransport("right", wire, "00")),
            )
        finally:
            link._leaving = True
            link._over(WE_CLOSED)
            link._stop_timers()

    head = (
        b"GET /link HTTP/1.1\r\nHost: left:7443\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    talks = _stream(GREETINGS[0], masked=True)
    return Fuzzed([head + one for one in talks], decode, (ParleyError, websocket._Refused))


def answered(_folder):
    """The stream of one whom we have dialled: an HTTP answer, then frames."""

    async def decode(data):
        protocol = ClientProtocol(parse_uri("wss://right:7443/link"), max_size=MAX_FRAME)
        protocol.key = "AAAAAAAAAAAAAAAAAAAAAA=="
        wire, link = Wire(protocol), _new_link()
        try:
            await _fed(
                wire,
                data,
                websocket._upgrade(wire, protocol, "right"),
                lambda _none: link._greet(WebSocketTransport("right", wire, "00")),
            )
        finally:
            link._leaving = True
            link._over(WE_CLOSED)
            link._stop_timers()

    head = (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + ACCEPTED + b"\r\n\r\n"
    )
    greetings = (GREETINGS[1], GREETINGS[2], GREETINGS[3])
    return Fuzzed([head + one for each in greetings for one in _stream(each, masked=False)], decode)


def proxied(_folder):
    """What a proxy answers to CONNECT."""

    async def decode(data):
        answer = asyncio.get_running_loop().create_future()
        reader = proxy._Answer(answer)
        for at in range(0, len(data), PIECE):
            reader.data_received(data[at : at + PIECE])
        reader.connection_lost(None)
        proxy._check(await answer, proxy.Proxies("proxy", 8080), "right", 7443, "right")

    return Fuzzed(
        (
            b"HTTP/1.1 200 Connection established\r\n\r\n",
            b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.0 403 Forbidden\r\n\r\n",
        ),
        decode,
    )


# ── messages ──────────────────────────────────────────────────────────────────────────────────────────


def tables():
    """Every table of steps there is, by the name of its module."""
    found = (
        vars(importlib.import_module(module.name)).get("STEPS")
        for package in (parley.protocols, parley.ledger.engines)
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    )
    return {table.protocol: table for table in found if isinstance(table, Steps)}.values()


def messages(table):
    def make(_folder):
        frames = tuple(
            bytes(8) + msgspec.msgpack.encode(sample(kind, size))
            for kind in (Hello, Abort, *table.messages())
            for size in (1, 2)
        )

        async def decode(data):
            near, far = memory_pair("left", "right")
            await near.send(data)
            await near.close()
            channel = CheckedChannel(far, Setting(table, table.roles()[0], "run", Trace(time.monotonic), 5.0))
            return await channel._recv()

        return Fuzzed(frames, decode, tree=MSGPACK.behind(bytes(8)))

    return make


# ── certificates, invitations, addresses ──────────────────────────────────────────────────────────────


def certificate(folder):
    """A certificate that somebody names: looked at, pinned, and given to OpenSSL."""
    home = Home.create(folder / "left", Settings(party="left", listen="127.0.0.1:7443"))
    ours = identity_of("left")

    def decode(data):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            return taken(data)

    def taken(data):
        der = ssl.DER_cert_to_PEM_cert(data)
        for pem in (der, data.decode(errors="replace")):
            announced_by("right", data)
            try:
                fingerprint_of(pem), named_in(pem), valid_until(pem)
                check_peer(home, Peer("right", "", pem), replace=False)
                pin = tls.PeerPin("right", pem)
                tls.client_context(ours, pin)
                tls.server_context(ours, [pin])
            except ParleyError as error:
                refused = error
            else:
                return pin.fingerprint
        raise refused

    pem = identity_of("right").certificate_pem
    der = x509.load_pem_x509_certificate(pem.encode()).public_bytes(Encoding.DER)
    chain = pem + identity_of("left").certificate_pem
    return Fuzzed([der, der, der, pem.encode(), chain.encode()], decode)


def invitation(_folder):
    """An invitation; what a stranger wrote has a right check sum."""
    good = Invitation.fresh("insurer", "bank:7443", "bank", "00" * 32, "ab" * 32, 1_900_000_000)

    def decode(data):
        encoded = base64.urlsafe_b64encode(data + _check_sum(data)).decode().rstrip("=")
        taken = Invitation.parse(_PREFIX + encoded, 0.0)
        return taken.identity.fingerprint, taken.key, repr(taken)

    return Fuzzed([msgspec.msgpack.encode(good)], decode, tree=MSGPACK)


def invitation_text(_folder):
    """What somebody pastes."""
    good = Invitation.fresh("insurer", "bank:7443", "bank", "00" * 32, "ab" * 32, 1_900_000_000)
    return Fuzzed(
        [good.text.encode()], lambda data: Invitation.parse(data.decode(errors="surrogateescape"), 0.0)
    )


def address(_folder):
    """Where a peer says it is reached."""

    def decode(data):
        text = data.decode(errors="replace")
        websocket._parse(text, "/link")
        return address_of(text)

    return Fuzzed((b"bank.example:7443", b"[::1]:7443", b"10.0.0.1:1"), decode)


TARGETS = (
    Target("a chunk", chunk),
    Target("a greeting", greeting),
    Target("records of a pipe", pipe),
    Target("the stream of one who dialled", dialled, slow=True),
    Target("the stream of one we dialled", answered, slow=True),
    Target("the answer of a proxy", proxied),
    Target("a certificate", certificate, slow=True),
    Target("an invitation", invitation),
    Target("the text of an invitation", invitation_text),
    Target("an address", address),
    *(Target(f"messages of {table.protocol}", messages(table)) for table in tables()),
)
