"""How much longer a tree takes on a slower network: two processes, their link, and a shaped way between them.

python bench/shaped.py --trees 10

The way between passes bytes on at a bandwidth and after a delay, each direction for itself; loopback is the
same without either. Beside the seconds stands what the bytes and the turns of the conversation take by
themselves: what is left of the time is computing, and waiting that does not overlap.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import socket
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Final

from boosting import Outcome, Party, Shape, Share, Tally
from rich.console import Console
from rich.table import Table

from parley.core.trace import Event, Received, Sent
from parley.net.authority import create_identity
from parley.net.links import Contact, Links
from parley.net.transport import Transport
from parley.net.websocket import PeerListener, PeerPin, WebSocketTransport
from parley.protocols.boosting import ACTIVE, PASSIVE

PIECE: Final = 16 * 1024
QUEUE: Final = 128 * 1024
"""Bytes that wait for their turn, as in a router; and about as many in the system's buffers."""


@dataclass(frozen=True)
class Way:
    """A network.

    Attributes:
        name: for the table.
        bandwidth: bits per second each way; 0 for as fast as it goes.
        delay: seconds one way.
    """

    name: str
    bandwidth: float
    delay: float


WAYS: Final = (
    Way("loopback", 0, 0),
    Way("100 Mb/s, 10 ms", 100e6, 0.010),
    Way("10 Mb/s, 50 ms", 10e6, 0.050),
)


class Direction:
    """One direction of a connection: bytes go out at the bandwidth, and arrive the delay later."""

    def __init__(self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._way, self._reader, self._writer = way, reader, writer
        self._on_its_way: deque[tuple[float, bytes]] = deque()
        self._came = asyncio.Event()

    async def pass_on(self) -> None:
        """Until either end closes."""
        arriving = asyncio.ensure_future(self._arrive())
        with suppress(OSError):
            await self._depart()
        self._on_its_way.append((0.0, b""))
        self._came.set()
        with suppress(OSError):
            await arriving

    async def _depart(self) -> None:
        loop, free = asyncio.get_running_loop(), 0.0
        while data := await self._reader.read(PIECE):
            free = max(free, loop.time())
            if self._way.bandwidth:
                free += len(data) * 8 / self._way.bandwidth
            self._on_its_way.append((free + self._way.delay, data))
            self._came.set()
            if self._way.bandwidth:  # read on when what is ahead fits the queue
                await asyncio.sleep(free - loop.time() - QUEUE * 8 / self._way.bandwidth)

    async def _arrive(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while not self._on_its_way:
                self._came.clear()
                await self._came.wait()
            due, data = self._on_its_way.popleft()
            if not data:
                self._writer.close()
                return
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            self._writer.write(data)
            await self._writer.drain()


@contextmanager
def between(way: Way, target: str) -> Iterator[str]:
    """An address that leads to another over a way, in a thread of its own; a shaped one has small buffers."""
    host, _, port = target.rpartition(":")
    loop = asyncio.new_event_loop()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward, back = await asyncio.open_connection(sock=await connected(), limit=PIECE)
        await asyncio.gather(Direction(way, reader, back).pass_on(), Direction(way, onward, writer).pass_on())

    async def connected() -> socket.socket:
        raw = socket.socket()
        small(raw)
        raw.setblocking(False)
        await loop.sock_connect(raw, (host, int(port)))
        return raw

    def small(raw: socket.socket) -> None:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if way.bandwidth:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, QUEUE)

    async def begin() -> asyncio.Server:
        raw = socket.socket()
        small(raw)
        raw.bind(("127.0.0.1", 0))
        return await asyncio.start_server(carry, sock=raw, limit=PIECE)

    async def end(server: asyncio.Server) -> None:
        server.close()
        under_way = asyncio.all_tasks() - {asyncio.current_task()}
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(begin(), loop).result()
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        asyncio.run_coroutine_threadsafe(end(server), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@dataclass
class Turns(Tally):
    """Counts besides how often an answer was waited for after something was sent."""

    turns: int = 0
    _asked: bool = False

    def __call__(self, event: Event) -> None:
        """Take one event."""
        super().__call__(event)
        if isinstance(event, Sent):
            self._asked = True
        elif isinstance(event, Received) and self._asked:
            self.turns += 1
            self._asked = False


class Linked(Party):
    """A party of `boosting` that speaks over its link, as running parties do."""

    tally = Turns

    async def listen(self) -> Outcome:
        """As the passive party: wait for the active one to dial."""
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        share = self.share

        async def serve(_peer: str, _path: str, transport: Transport) -> None:
            outcome.set_result(await self.converse(transport))

        async def accept(peer: str, _path: str, transport: WebSocketTransport) -> None:
            await links.accept(peer, transport)

        links = Links(share.own, lambda _: Contact(share.peer, ""), serve)
        pins = {share.peer.name: share.peer}
        async with PeerListener("127.0.0.1", 0, share.own, pins, accept) as listener, links:
            self.link.send(listener.address)
            return await outcome

    async def call(self) -> Outcome:
        """As the active party: dial the passive one."""
        contact = Contact(self.share.peer, await asyncio.to_thread(self.link.recv))

        async def nobody(_peer: str, _path: str, _transport: Transport) -> None:
            pass

        async with Links(self.share.own, lambda _: contact, nobody) as links:
            return await self.converse(await links.open(self.share.peer.name, "/bench"))


def live(share: Share, link: Connection, together: Barrier, report: Connection) -> None:
    """The whole life of one process."""
    party = Linked(share, link, together)
    report.send(asyncio.run(party.call() if share.role == ACTIVE else party.listen()))


def measure(shape: Shape, way: Way) -> dict[str, Outcome]:
    """Run both parties, each in a process of its own, with the way between them in this one."""
    identities = {role: create_identity(role) for role in (ACTIVE, PASSIVE)}
    spawn = multiprocessing.get_context("spawn")
    together = spawn.Barrier(2)
    links, reports, processes = {}, {}, []
    for role, other in ((ACTIVE, PASSIVE), (PASSIVE, ACTIVE)):
        pin = PeerPin(other, identities[other].certificate_pem)
        links[role], link = spawn.Pipe()
        reports[role], report = spawn.Pipe(duplex=False)
        share = Share(role, identities[role], pin, shape, progress=False)
        process = spawn.Process(target=live, args=(share, link, together, report))
        process.start()
        processes.append(process)
    with between(way, links[PASSIVE].recv()) as address:
        links[ACTIVE].send(address)
        links[ACTIVE].send(links[PASSIVE].recv())  # what the passive party says of the rows held out
        outcomes: dict[str, Outcome] = {role: report.recv() for role, report in reports.items()}
        for process in processes:
            process.join()
    return outcomes


@dataclass(frozen=True)
class Figures:
    """What was measured over one way, per tree.

    Attributes:
        way: its name.
        seconds: from one tree to the next.
        ratio: of the seconds to those over loopback.
        bytes_: sent, both ways together.
        on_the_wire: seconds that the bytes of the busier direction take at the bandwidth.
        turns: times that the active party waits for an answer to what it has sent.
        in_turns: seconds that two delays for each of them take.
        waiting: seconds that the active party waits for the passive one.
        computing: processor seconds of both.
    """

    way: str
    seconds: float
    ratio: float
    bytes_: float
    on_the_wire: float
    turns: float
    in_turns: float
    waiting: float
    computing: float


def figures(way: Way, outcomes: dict[str, Outcome], loopback: float) -> Figures:
    """What two parties' tallies come to; ``loopback``: seconds per tree there, 0 if this is it."""
    lead = outcomes[ACTIVE]
    trees = max(lead.trees, 1)
    sent = [sum(each.tally.sent.values()) / trees for each in outcomes.values()]
    seconds, turns = lead.seconds / trees, getattr(lead.tally, "turns", 0) / trees
    return Figures(
        way=way.name,
        seconds=seconds,
        ratio=seconds / loopback if loopback else 1.0,
        bytes_=sum(sent),
        on_the_wire=max(sent) * 8 / way.bandwidth if way.bandwidth else 0.0,
        turns=turns,
        in_turns=turns * 2 * way.delay,
        waiting=lead.tally.waiting / trees,
        computing=sum(each.cpu for each in outcomes.values()) / trees,
    )


HEADINGS: Final = (
    *("way", "seconds", "x loopback", "MB", "bytes alone, s"),
    *("turns", "delays alone, s", "waiting, s", "processor, s"),
)


def show(shape: Shape, measured: list[Figures]) -> None:
    """The table for people."""
    columns = f"{shape.active_columns} + {shape.passive_columns} columns"
    table = Table(
        title=f"{shape.rows:,} rows x {columns}, depth {shape.depth}, {shape.trees} trees, per tree"
    )
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading == "way" else "right")
    for each in measured:
        table.add_row(
            each.way,
            f"{each.seconds:.3f}",
            f"{each.ratio:.2f}",
            f"{each.bytes_ / 1e6:.2f}",
            f"{each.on_the_wire:.3f}",
            f"{each.turns:.1f}",
            f"{each.in_turns:.3f}",
            f"{each.waiting:.3f}",
            f"{each.computing:.3f}",
        )
    Console(width=120).print(table)


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description="Time joint boosting over slower networks.")
    parser.add_argument("--rows", type=int, default=21_000, help="training rows")
    parser.add_argument("--active-columns", type=int, default=13, help="columns of the party with the label")
    parser.add_argument("--passive-columns", type=int, default=10, help="columns of the other party")
    parser.add_argument("--trees", type=int, default=10, help="trees to train")
    parser.add_argument("--depth", type=int, default=5, help="levels of splits")
    parser.add_argument("--bins", type=int, default=32, help="value bins per column")
    parser.add_argument("--minimum", type=int, default=10, help="rows that a sum given away must hold")
    parser.add_argument("--threads", type=int, default=2, help="native threads of each party")
    parser.add_argument("--seed", type=int, default=0, help="of data, sampling and rounding")
    parser.add_argument(
        "--ways", type=int, default=len(WAYS), help="how many of the networks, loopback first"
    )
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    arguments = vars(parser.parse_args())
    as_json, ways = arguments.pop("json"), WAYS[: arguments.pop("ways")]
    shape = Shape(**arguments)
    measured: list[Figures] = []
    for way in ways:
        measured.append(figures(way, measure(shape, way), measured[0].seconds if measured else 0.0))
    show(shape, measured)
    if as_json:
        found = [asdict(each) for each in measured]
        print(json.dumps({"ways": found, "shape": asdict(shape), "cores": os.cpu_count()}))


if __name__ == "__main__":
    main()
