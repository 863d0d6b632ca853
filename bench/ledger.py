"""What the embedded ledger costs: three members, each a process, mutual TLS over loopback, real files.

python bench/ledger.py --json

The submitting member follows; so a submission goes to the sequencer, into a block, to every member, onto
three disks, back as signatures, and is final when its sender knows that. Beside it, in the same run, what
plain Ed25519 verifications cost on one core: the ratio holds where absolute times drift.
"""

import argparse
import asyncio
import io
import json
import multiprocessing
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median, quantiles

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rich.console import Console
from rich.table import Table

from parley.core.conversation import Channel, Steps
from parley.core.trace import Trace
from parley.crypto.signatures import SigningKey
from parley.ledger.contract import Founder, Genesis, consortium_id
from parley.ledger.engines.embedded import gossip, replication
from parley.ledger.engines.embedded.log import MemberLog
from parley.ledger.engines.embedded.member import LedgerMember, Surroundings
from parley.ledger.engines.embedded.prove import Snapshot
from parley.ledger.export import export
from parley.ledger.transaction import SignedTransaction, Transaction, sign
from parley.ledger.verifier import verify
from parley.net.authority import create_identity
from parley.net.certificates import Identity
from parley.net.channel import CheckedChannel, Setting
from parley.net.websocket import PeerListener, PeerPin, WebSocketTransport, dial

NAMES = ("bank", "operator", "regulator")
SUBMITTER = "operator"
TABLES = {f"/{table.protocol}": table for table in (replication.STEPS, gossip.STEPS)}
OVERHEADS = ("training_overhead", "training_overhead_cometbft")
REFERENCE = 2000
BLOCK = 256


@dataclass(frozen=True)
class Load:
    """How much is done: submissions one after another, submissions at once (and how many), and verified."""

    latency: int
    throughput: int
    at_once: int
    verified: int


@dataclass(frozen=True)
class Seat:
    """What one member's process is given."""

    name: str
    folder: Path
    ports: dict[str, int]
    identities: dict[str, Identity]
    load: Load


def key(name: str, kind: str) -> SigningKey:
    """A key for the benchmark."""
    return SigningKey.from_seed(f"{name}/{kind}".encode().ljust(32, b".")[:32])


def founding() -> Genesis:
    """Three members; the bank orders."""
    founders = tuple(
        Founder(
            name=name,
            role="holder",
            signing=key(name, "signing").public.hex(),
            cosigning=key(name, "cosigning").public.hex(),
            recovery=key(name, "recovery").public.hex(),
        )
        for name in NAMES
    )
    return Genesis(name="bench", founders=founders, time=1, nonce="bench", sequencer="bank")


def registration(spec: Genesis, number: int) -> SignedTransaction:
    """A transaction that is accepted."""
    signing = key(SUBMITTER, "signing")
    asked = Transaction(
        consortium=consortium_id(spec),
        sender=SUBMITTER,
        key=signing.key_id,
        type="table.register",
        body={"name": f"t{number}", "schema": "00" * 32, "rows": 10, "root": "11" * 32},
        expires=9000,
        nonce=secrets.token_hex(16),
    )
    return sign(asked, signing)


class Member:
    """One member in its process."""

    def __init__(self, seat: Seat) -> None:
        self.seat = seat
        self.pins = {name: PeerPin(name, one.certificate_pem) for name, one in seat.identities.items()}
        log = MemberLog(seat.folder / seat.name, seat.name, key(seat.name, "cosigning"))
        if seat.name == "bank":
            log.begin(founding().value())
        around = Surroundings(self.open, time.time, time.monotonic, lambda _line: None)
        self.engine = LedgerMember(log, around, "bank")

    @asynccontextmanager
    async def open(self, other: str, table: Steps, role: str) -> AsyncIterator[Channel]:
        """A conversation with another member."""
        own, address = self.seat.identities[self.seat.name], f"127.0.0.1:{self.seat.ports[other]}"
        transport = await dial(address, own, self.pins[other], f"/{table.protocol}")
        async with self.speak(transport, table, role) as channel:
            yield channel

    def speak(self, transport: WebSocketTransport, table: Steps, role: str) -> CheckedChannel:
        """Our end of a conversation."""
        return CheckedChannel(transport, Setting(table, role, "ledger", Trace(time.monotonic)))

    async def answer(self, _peer: str, path: str, transport: WebSocketTransport) -> None:
        """A conversation that another member began."""
        if path == f"/{replication.STEPS.protocol}":
            async with self.speak(transport, TABLES[path], replication.SEQUENCER) as channel:
                await self.engine.serve_follower(channel)
        else:
            async with self.speak(transport, TABLES[path], gossip.CALLED) as channel:
                await self.engine.gossip_as_called(channel)

    async def run(self, pipe: Connection) -> None:
        """Take part until the pipe says that it is over; the submitter measures."""
        own, ports = self.seat.identities[self.seat.name], self.seat.ports
        async with PeerListener("127.0.0.1", ports[self.seat.name], own, self.pins, self.answer):
            running = asyncio.create_task(self.engine.run())
            if self.seat.name == SUBMITTER:
                pipe.send(await self.measure())
            await asyncio.to_thread(pipe.recv)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def measure(self) -> dict[str, float]:
        """Milliseconds of single submissions, and transactions a second of many at once."""
        spec, load = founding(), self.seat.load
        await self.engine.submit(registration(spec, 0))
        times = []
        for number in range(load.latency):
            signed = registration(spec, number)
            began = time.perf_counter()
            await self.engine.submit(signed)
            times.append((time.perf_counter() - began) * 1000)
        many = [registration(spec, load.latency + number) for number in range(load.throughput)]
        lane = asyncio.Semaphore(load.at_once)

        async def one(signed: SignedTransaction) -> None:
            async with lane:
                await self.engine.submit(signed, 120.0)

        began = time.perf_counter()
        await asyncio.gather(*(one(signed) for signed in many))
        seconds = time.perf_counter() - began
        return {
            "submit_ms_p50": median(times),
            "submit_ms_p99": quantiles(times, n=100)[98],
            "transactions_per_s": load.throughput / seconds,
        }


def take_part(seat: Seat, pipe: Connection) -> None:
    """The program of one process."""
    asyncio.run(Member(seat).run(pipe))


def free_ports() -> dict[str, int]:
    """A port for each member."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in NAMES]
    ports = {name: one.getsockname()[1] for name, one in zip(NAMES, sockets, strict=True)}
    for one in sockets:
        one.close()
    return ports


def engine(load: Load, folder: Path) -> dict[str, float]:
    """Figures of three members."""
    identities = {name: create_identity(name) for name in NAMES}
    ports, context = free_ports(), multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for name in NAMES:
        pipes[name], theirs = context.Pipe()
        seat = Seat(name, folder, ports, identities, load)
        processes.append(context.Process(target=take_part, args=(seat, theirs), daemon=True))
        processes[-1].start()
    found: dict[str, float] = pipes[SUBMITTER].recv()
    for name in NAMES:
        pipes[name].send(None)
    for process in processes:
        process.join(10)
    return found


def verification(load: Load, folder: Path) -> dict[str, float]:
    """Transactions a second that the offline verifier replays, and plain signatures a second on one core."""
    spec = founding()
    log = MemberLog(folder / "verified", "bank", key("bank", "cosigning"))
    log.begin(spec.value())
    for first in range(0, load.verified, BLOCK):
        many = [registration(spec, number).data for number in range(first, min(first + BLOCK, load.verified))]
        executed, _ = log.prepare(many, 2 + first)
        log.seal(executed, 2 + first)
    file = io.BytesIO()
    export(Snapshot(log), file)
    lines = file.getvalue().splitlines(keepends=True)
    began = time.perf_counter()
    leaves = verify(lines).leaves
    rate = leaves / (time.perf_counter() - began)
    log.store.close()
    return {"verify_per_s": rate, "ed25519_verify_per_s": plain_signatures()}


def plain_signatures() -> float:
    """Ed25519 verifications a second of the `cryptography` package, one core, 400-byte messages."""
    secret = Ed25519PrivateKey.generate()
    public, message = secret.public_key(), bytes(400)
    signature = secret.sign(message)
    began = time.perf_counter()
    for _ in range(REFERENCE):
        public.verify(signature, message)
    return REFERENCE / (time.perf_counter() - began)


def training_overheads(repeats: int, *options: str) -> dict[str, float]:
    """What the ledger adds to the wall time of a training, as `overhead.py` measures it, by engine."""
    script = Path(__file__).with_name("overhead.py")
    command = [sys.executable, str(script), "--json", "--repeats", str(repeats), *options]
    printed = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout
    found = json.loads(printed.splitlines()[-1])
    return {name: round(found[name], 4) for name in OVERHEADS if name in found}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--latency", type=int, default=200, help="submissions one after another")
    parser.add_argument("--throughput", type=int, default=4000, help="submissions at once")
    parser.add_argument("--at-once", type=int, default=512, help="of these, under way together")
    parser.add_argument("--verified", type=int, default=10_000, help="transactions to verify offline")
    parser.add_argument("--trainings", type=int, default=1, help="trainings with and without; 0: none")
    parser.add_argument("--cometbft", action="store_true", help="trainings on four CometBFT nodes too")
    parser.add_argument("--json", action="store_true", help="print JSON")
    chosen = parser.parse_args()
    load = Load(chosen.latency, chosen.throughput, chosen.at_once, chosen.verified)
    with tempfile.TemporaryDirectory() as folder:
        figures = {**engine(load, Path(folder)), **verification(load, Path(folder))}
    rounded = {name: round(value, 1) for name, value in figures.items()}
    if chosen.trainings:
        rounded |= training_overheads(chosen.trainings, *(["--cometbft"] if chosen.cometbft else []))
    if chosen.json:
        print(json.dumps(rounded))
        return
    table = Table("figure", "value", title="embedded ledger, three members")
    for name, value in rounded.items():
        table.add_row(name, f"{value:g}")
    Console().print(table)


if __name__ == "__main__":
    main()
