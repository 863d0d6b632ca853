"""What the way between two parties costs: two processes, loopback, a checked channel over their link.

python bench/network.py --seconds 3

Beside it, in the same run and between the same processes, a plain TLS 1.3 socket of asyncio carries blocks of
the same size: the ratio of the two holds where absolute figures drift.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import socket
import statistics
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection

from rich.console import Console
from rich.table import Table

from parley.core.conversation import Message, Repeat, Step, steps
from parley.core.trace import Trace
from parley.net import tls
from parley.net.authority import create_identity
from parley.net.certificates import Identity
from parley.net.channel import CheckedChannel, Setting
from parley.net.links import Contact, Links
from parley.net.transport import Transport
from parley.net.websocket import PeerListener, PeerPin, WebSocketTransport

BLOCK = 256 * 1024
SMALL = 32
_ACKED = 120
"""Where `struct tcp_info` of Linux has the bytes that the other end acknowledged."""


class Block(Message, frozen=True):
    """``data``: bytes that nobody reads."""

    data: bytes


class Asked(Message, frozen=True):
    """``data``: a small message."""

    data: bytes


class Answered(Message, frozen=True):
    """``data``: the answer to one."""

    data: bytes


class Arrived(Message, frozen=True):
    """``bytes_``: so many came in blocks."""

    bytes_: int


STEPS = steps(
    "bench",
    1,
    Repeat(Step("sender", "taker", Block)),
    Step("sender", "taker", Asked),
    Step("taker", "sender", Arrived),
    Repeat(Step("sender", "taker", Asked), Step("taker", "sender", Answered)),
)


@dataclass(frozen=True)
class Figures:
    """What was measured.

    Attributes:
        mib_per_s: of blocks over the checked channel.
        tls_mib_per_s: of blocks over a plain TLS socket, in the same run.
        ratio: of the two.
        p50_ms, p99_ms: a small message there and its answer back.
        overhead_bytes: on the wire, per small message, beyond its own bytes; without TCP and IP.
    """

    mib_per_s: float
    tls_mib_per_s: float
    ratio: float
    p50_ms: float
    p99_ms: float
    overhead_bytes: float


def setting(role: str) -> Setting:
    """One end of the conversation."""
    return Setting(STEPS, role, "bench", Trace(time.perf_counter), 60.0)


async def take(_peer: str, _path: str, transport: Transport) -> None:
    """Serve one conversation: count blocks, then answer small messages."""
    came = 0
    async with CheckedChannel(transport, setting("taker")) as channel:
        while isinstance(message := await channel.recv(Block, Asked), Block):
            came += len(message.data)
        await channel.send(Arrived(came))
        while True:
            asked = await channel.recv(Asked)
            await channel.send(Answered(asked.data))
            if not asked.data:
                break


async def serve(own: Identity, peer: Identity, pipe: Connection) -> None:
    """The process that takes: a party with a port, and a plain TLS server."""
    pin = PeerPin(peer.party, peer.certificate_pem)
    links = Links(own, lambda _: Contact(pin, ""), take)

    async def accept(name: str, _path: str, transport: WebSocketTransport) -> None:
        await links.accept(name, transport)

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came = 0
        while data := await reader.read(BLOCK):
            came += len(data)
            if data.endswith(b"\n"):
                writer.write(came.to_bytes(8, "big"))
        writer.close()

    plain = await asyncio.start_server(
        swallow, "127.0.0.1", 0, ssl=tls.server_context(own, [pin]), limit=4 * BLOCK
    )
    async with PeerListener("127.0.0.1", 0, own, {peer.party: pin}, accept) as listener, links, plain:
        pipe.send((listener.address, plain.sockets[0].getsockname()[1]))
        await asyncio.to_thread(pipe.recv)


def taker(own: Identity, peer: Identity, pipe: Connection) -> None:
    """The whole life of the other process."""
    asyncio.run(serve(own, peer, pipe))


async def over_link(channel: CheckedChannel, seconds: float) -> float:
    """Blocks for some seconds, then the other end's count; MiB per second."""
    block = Block(os.urandom(BLOCK))
    began, sent = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        await channel.send(block)
        sent += BLOCK
    await channel.send(Asked(b"done"))
    arrived = await channel.recv(Arrived)
    if arrived.bytes_ != sent:
        raise SystemExit(f"sent {sent} bytes, {arrived.bytes_} came")
    return sent / 2**20 / (time.perf_counter() - began)


async def over_tls(own: Identity, peer: Identity, port: int, seconds: float) -> float:
    """The same over a plain TLS socket."""
    context = tls.client_context(own, PeerPin(peer.party, peer.certificate_pem))
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, limit=4 * BLOCK)
    block = bytes(BLOCK)
    began, sent = time.perf_counter(), 1
    while time.perf_counter() - began < seconds:
        writer.write(block)
        await writer.drain()
        sent += BLOCK
    writer.write(b"\n")
    while int.from_bytes(await reader.readexactly(8), "big") != sent:
        pass
    took = time.perf_counter() - began
    writer.close()
    return sent / 2**20 / took


async def small_messages(
    channel: CheckedChannel, number: int, raw: socket.socket
) -> tuple[list[float], float]:
    """Milliseconds there and back, and bytes beside the message's own for each that we sent."""
    times, payload = [], os.urandom(SMALL)
    before = acknowledged(raw)
    for _ in range(number):
        began = time.perf_counter()
        await channel.send(Asked(payload))
        await channel.recv(Answered)
        times.append((time.perf_counter() - began) * 1e3)
    return times, (acknowledged(raw) - before) / number - SMALL


def socket_of(links: Links) -> socket.socket:
    """The socket under the only link there is."""
    connection = links._links["taker"].connection  # noqa: SLF001 (nobody else needs it)
    assert connection is not None  # noqa: S101 (a conversation is open)
    raw: socket.socket = connection.wire._transport.get_extra_info("socket")  # type: ignore[union-attr]  # noqa: SLF001
    return raw


def acknowledged(raw: socket.socket) -> int:
    """Bytes of ours that the other end's system has."""
    info = raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    count: int = struct.unpack_from("=Q", info, _ACKED)[0]
    return count


async def measure(seconds: float, messages: int, repeats: int) -> Figures:
    """Run both and compare; blocks alternately over one and the other, the medians count."""
    identities = [create_identity(name) for name in ("sender", "taker")]
    own, peer = identities
    spawn = multiprocessing.get_context("spawn")
    pipe, end = spawn.Pipe()
    process = spawn.Process(target=taker, args=(peer, own, end))
    process.start()
    address, port = await asyncio.to_thread(pipe.recv)
    contact = Contact(PeerPin(peer.party, peer.certificate_pem), address)

    @asynccontextmanager
    async def conversation() -> AsyncIterator[CheckedChannel]:
        transport = await links.open("taker", "/bench")
        async with CheckedChannel(transport, setting("sender")) as channel:
            yield channel

    fast, plain = [], []
    async with Links(own, lambda _: contact, take) as links:
        for last in (*[False] * (repeats - 1), True):
            async with conversation() as channel:
                fast.append(await over_link(channel, seconds))
                if last:
                    times, overhead = await small_messages(channel, messages, socket_of(links))
                await channel.send(Asked(b""))
                await channel.recv(Answered)
            plain.append(await over_tls(own, peer, port, seconds))
    pipe.send("over")
    await asyncio.to_thread(process.join)
    times.sort()
    link, reference = statistics.median(fast), statistics.median(plain)
    return Figures(
        mib_per_s=round(link, 1),
        tls_mib_per_s=round(reference, 1),
        ratio=round(link / reference, 3),
        p50_ms=round(times[len(times) // 2], 3),
        p99_ms=round(times[len(times) * 99 // 100], 3),
        overhead_bytes=round(overhead, 1),
    )


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description="Time the way between two parties.")
    parser.add_argument("--seconds", type=float, default=2.0, help="of blocks, each way and repeat")
    parser.add_argument("--messages", type=int, default=2000, help="small messages")
    parser.add_argument("--repeats", type=int, default=3, help="of the blocks")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    arguments = parser.parse_args()
    figures = asyncio.run(measure(arguments.seconds, arguments.messages, arguments.repeats))
    table = Table(title="the way between two parties, loopback")
    for column in ("what", "measured", "reference, same run"):
        table.add_column(column, justify="left" if column == "what" else "right")
    table.add_row(
        f"blocks of {BLOCK // 1024} KiB, MiB/s",
        f"{figures.mib_per_s:,.0f}",
        f"{figures.tls_mib_per_s:,.0f} over plain TLS: {figures.ratio:.2f} of it",
    )
    table.add_row("small message there and back, ms", f"{figures.p50_ms} (p99 {figures.p99_ms})", "")
    table.add_row(f"bytes beside the {SMALL} of a small message", f"{figures.overhead_bytes:g}", "")
    Console(width=110).print(table)
    if arguments.json:
        print(json.dumps(asdict(figures) | {"block": BLOCK, "cores": os.cpu_count()}))


if __name__ == "__main__":
    main()
