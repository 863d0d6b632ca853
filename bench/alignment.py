"""How long two parties take to align: two processes, mutual TLS over loopback, real ids.

python bench/alignment.py --rows 1000000 --overlap 0.5 --threads 2

Beside it, in the same run, what a thousand X25519 agreements of the `cryptography` package cost on
one core: the ratio holds where absolute times drift.
"""

import argparse
import asyncio
import hashlib
import json
import multiprocessing
import os
import resource
import time
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from rich.console import Console
from rich.table import Table

from parley import _native
from parley.core.trace import Event, Received, Sent, Trace, Worked
from parley.net.authority import create_identity
from parley.net.certificates import Identity
from parley.net.channel import CheckedChannel, Setting
from parley.net.transport import Transport
from parley.net.websocket import PeerListener, PeerPin, WebSocketTransport, dial
from parley.protocols import alignment
from parley.protocols.alignment import ACTIVE, PASSIVE, STEPS, Options

REFERENCE = 1000
RUN = "bench"


@dataclass(frozen=True)
class Ids:
    """Ids end to end."""

    buffer: bytes
    offsets: npt.NDArray[np.uint64]

    @classmethod
    def numbered(cls, first: int, count: int, seed: int) -> "Ids":
        """``count`` ids from number ``first`` on, in the random row order of ``seed``."""
        numbers = np.random.default_rng(seed).permutation(np.arange(first, first + count, dtype=np.uint32))
        blocks = np.array_split(numbers, count // 4096 + 1)
        data = b"".join(b"".join(b"person-%011d" % each for each in block.tolist()) for block in blocks)
        return cls(data, np.arange(0, len(data) + 1, len(data) // count, dtype=np.uint64))


@dataclass(frozen=True)
class Share:
    """One party's part of the benchmark."""

    role: str
    own: Identity
    peer: PeerPin
    first: int
    rows: int
    threads: int


@dataclass(frozen=True)
class Outcome:
    """What one party measured."""

    role: str
    seconds: float
    core_seconds: float
    """Processor time of the process from the same moment on, user and system."""
    bytes: int
    idle_mib: float
    peak_mib: float
    common: int
    order: str
    worked: dict[str, float]


class Tally:
    """Adds up bytes and computation from the trace."""

    def __init__(self) -> None:
        self.bytes = 0
        self.worked: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, Sent | Received):
            self.bytes += event.size
        elif isinstance(event, Worked):
            self.worked[event.what] = self.worked.get(event.what, 0.0) + event.seconds


def peak_mib() -> float:
    """The most memory this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def converse(share: Share, transport: Transport, together: Barrier) -> Outcome:
    """Align over an open connection, from the moment both parties are ready."""
    ids = Ids.numbered(share.first, share.rows, share.first)
    options = Options(RUN, "as-is", os.urandom(32), threads=share.threads)
    tally = Tally()
    setting = Setting(STEPS, share.role, RUN, Trace(time.perf_counter, tally), 600.0)
    channel = CheckedChannel(transport, setting)
    idle = peak_mib()
    await asyncio.to_thread(together.wait)
    began, spent = time.perf_counter(), time.process_time()
    async with channel:
        if share.role == ACTIVE:
            rows = (await alignment.active([channel], ids, options)).rows
        else:
            rows = (await alignment.passive(channel, ids, options)).rows
    seconds, spent = time.perf_counter() - began, time.process_time() - spent
    width = len(ids.buffer) // share.rows
    texts = np.frombuffer(ids.buffer, dtype=f"S{width}")[rows]
    order = hashlib.sha256(texts.tobytes()).hexdigest()
    return Outcome(
        role=share.role,
        seconds=seconds,
        core_seconds=spent,
        bytes=tally.bytes,
        idle_mib=idle,
        peak_mib=peak_mib(),
        common=len(rows),
        order=order,
        worked=tally.worked,
    )


async def listen(share: Share, link: Connection, together: Barrier) -> Outcome:
    """The passive party: wait for the active one to dial."""
    outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    async def serve(_peer: str, _path: str, transport: WebSocketTransport) -> None:
        outcome.set_result(await converse(share, transport, together))

    pins = {share.peer.name: share.peer}
    async with PeerListener("127.0.0.1", 0, share.own, pins, serve) as listener:
        link.send(listener.address)
        return await outcome


async def call(share: Share, link: Connection, together: Barrier) -> Outcome:
    """The active party: dial the passive one."""
    address = await asyncio.to_thread(link.recv)
    transport = await dial(address, share.own, share.peer, f"/runs/{RUN}")
    return await converse(share, transport, together)


def party(share: Share, link: Connection, together: Barrier, report: Connection) -> None:
    """The whole life of one process."""
    work = call if share.role == ACTIVE else listen
    report.send(asyncio.run(work(share, link, together)))


def measure(rows: int, overlap: float, threads: int) -> list[Outcome]:
    """Run both parties and check that they agree."""
    identities = {role: create_identity(role) for role in (ACTIVE, PASSIVE)}
    spawn = multiprocessing.get_context("spawn")
    together = spawn.Barrier(2)
    links = dict(zip((ACTIVE, PASSIVE), spawn.Pipe(), strict=True))
    processes, reports = [], []
    for role, other, first in ((ACTIVE, PASSIVE, 0), (PASSIVE, ACTIVE, rows - round(rows * overlap))):
        pin = PeerPin(other, identities[other].certificate_pem)
        share = Share(role, identities[role], pin, first, rows, threads)
        report, end = spawn.Pipe(duplex=False)
        process = spawn.Process(target=party, args=(share, links[role], together, end))
        process.start()
        end.close()
        processes.append(process)
        reports.append(report)
    outcomes: list[Outcome] = [report.recv() for report in reports]
    for process in processes:
        process.join()
    if len({outcome.order for outcome in outcomes}) != 1 or outcomes[0].common != round(rows * overlap):
        raise SystemExit("the parties do not agree on the common rows")
    return outcomes


def reference() -> float:
    """Seconds for a thousand X25519 agreements on one core."""
    key, peer = X25519PrivateKey.generate(), X25519PrivateKey.generate().public_key()
    began = time.perf_counter()
    for _ in range(REFERENCE):
        key.exchange(peer)
    return time.perf_counter() - began


def show(arguments: argparse.Namespace, outcomes: list[Outcome], seconds: float, base: float) -> None:
    """The table for people."""
    rows = arguments.rows
    table = Table(title=f"alignment of {rows:,} x {rows:,} ids, {outcomes[0].common:,} in common")
    for column in (
        "party",
        "seconds",
        "core-seconds",
        "MB on the wire",
        "MiB before",
        "peak MiB",
        "computing, s",
    ):
        table.add_column(column, justify="left" if column == "party" else "right")
    for outcome in outcomes:
        worked = ", ".join(f"{what} {spent:.2f}" for what, spent in outcome.worked.items())
        table.add_row(
            outcome.role,
            f"{outcome.seconds:.2f}",
            f"{outcome.core_seconds:.2f}",
            f"{outcome.bytes / 1e6:.1f}",
            f"{outcome.idle_mib:.0f}",
            f"{outcome.peak_mib:.0f}",
            worked,
        )
    console = Console(width=120)
    console.print(table)
    per_id = seconds / (2 * rows)
    console.print(
        f"{2 * rows / seconds:,.0f} ids/s ({_native.kernel_path()} kernels, "
        f"{arguments.threads} threads each, {os.cpu_count()} cores); "
        f"{REFERENCE} X25519 agreements {base * 1e3:.1f} ms, "
        f"an id costs {per_id * REFERENCE / base:.2f} of one",
        soft_wrap=True,
    )


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description="Time the alignment of two tables.")
    parser.add_argument("--rows", type=int, default=1_000_000, help="ids of each party")
    parser.add_argument("--overlap", type=float, default=0.5, help="part of the ids that is common")
    parser.add_argument("--threads", type=int, default=2, help="native threads of each party")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    arguments = parser.parse_args()
    base = reference()
    outcomes = measure(arguments.rows, arguments.overlap, arguments.threads)
    seconds = max(outcome.seconds for outcome in outcomes)
    show(arguments, outcomes, seconds, base)
    if arguments.json:
        print(
            json.dumps(
                {
                    "seconds": seconds,
                    "core_seconds": sum(outcome.core_seconds for outcome in outcomes),
                    "bytes": outcomes[0].bytes,
                    "peak_mib": max(outcome.peak_mib for outcome in outcomes),
                    "ids_per_second": 2 * arguments.rows / seconds,
                    "reference": {"what": f"{REFERENCE} X25519 agreements, one core", "seconds": base},
                    "rows": arguments.rows,
                    "common": outcomes[0].common,
                    "threads": arguments.threads,
                    "cores": os.cpu_count(),
                    "kernels": _native.kernel_path(),
                    "parties": [asdict(outcome) for outcome in outcomes],
                }
            )
        )


if __name__ == "__main__":
    main()
