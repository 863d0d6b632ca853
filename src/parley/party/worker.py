"""A worker: a process of its own that does one attempt at a run, for the party that started it.

    python -m parley.party.worker SOCKET

Running out of memory, or a crash of native code, ends the worker and not the party. It reads the
party's home and reaches the peers through the party only, see `protocols.labour`.
"""

import asyncio
import errno
import os
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from secrets import token_bytes
from typing import Final, Never

import msgspec

from parley.core.conversation import Channel, Steps
from parley.core.errors import ProtocolBug
from parley.core.plan import decode_plan
from parley.core.trace import Event, MemoryPeak, Trace
from parley.core.transcript import Stretch, Transcript
from parley.ledger.merkle import leaf_hash, root
from parley.net.channel import CheckedChannel, Setting
from parley.net.pipe import Pipe
from parley.net.streams import Stream
from parley.party import tables
from parley.party.failures import out_of_memory, told
from parley.party.run import NoWitness, Witness, Work, check, follow, lead
from parley.party.stages import Means
from parley.party.subordinate import Passed, be_first_to_go, keep_within, leaving_with
from parley.protocols import labour
from parley.store.home import Home
from parley.store.journal import Journal

LIFELINE: Final = 365 * 86400.0
"""Patience in seconds between party and worker: who is gone is noticed at once."""
_TELL: Final = 0.05
"""Seconds between two reports of events."""
_MEASURED: Final = 20
"""Reports of events between two that say how much memory we hold."""
_AFTER_THE_PARTY: Final = 1.0
"""Seconds by which we are more patient than our party, which knows better what is wrong."""


def main() -> None:
    """Work for the party at the other end of the socket whose number is the only argument."""
    end = socket.socket(fileno=int(sys.argv[1]))
    be_first_to_go()
    asyncio.run(_serve(end))


async def _serve(end: socket.socket) -> None:
    pipe = await Pipe.over(end, labour.PARTY, 2, _nobody_asks)
    leaving = leaving_with(pipe)
    trace = Trace(time.perf_counter)
    setting = Setting(labour.STEPS, labour.WORKER, "labour", trace, LIFELINE)
    async with CheckedChannel(pipe.open("/task"), setting) as channel:
        task = await channel.recv(labour.Task)
        events = _Events(channel)
        try:
            place = await _work(pipe, channel, task, events)
        except Exception as error:  # noqa: BLE001 (the party is told, whatever it is)
            await events.tell()
            await channel.send(told(out_of_memory() if _is_want_of_memory(error) else error))
        else:
            await events.tell()
            await channel.send(labour.Finished(place))
    await pipe.flush()
    leaving.cancel()
    os._exit(0)  # threads that still compute for nobody are not waited for


async def _work(pipe: Pipe, channel: Channel, task: labour.Task, events: "_Events") -> int:
    """Do the task; returns the place in the journal where what it leaves stands."""
    home = Home.open(Path(task.home))
    keep_within(home.settings)
    transcript = Transcript(home.settings.party) if task.witnessed else None
    witness = NoWitness() if transcript is None else _Witness(channel, transcript)
    trace = Trace(time.perf_counter, events)
    peers = _Peers(pipe, task.run, trace, home.settings.patience, transcript)
    work = await asyncio.to_thread(_prepared, home, task, peers, witness)
    await channel.send(labour.Ready(work.features))
    begin = await channel.recv(labour.Begin)
    telling = asyncio.create_task(events.tell_for_ever())
    try:
        if work.plan.active == home.settings.party:
            await lead(work, begin.place)
        else:
            await follow(work, begin.place)
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
        events.measure()
    return work.journal.places()[-1]


def _prepared(home: Home, task: labour.Task, peers: "_Peers", witness: Witness) -> Work:
    """The attempt, with our table of the plan read and looked at, and fresh secrets."""
    plan = decode_plan(task.plan)
    part = plan.parties[home.settings.party]
    record = home.catalogue.table(part.table)
    table = tables.load(record, part)
    means = Means(
        party=home.settings.party,
        model=task.run,
        seed=token_bytes(32),
        handles=home.handles_secret,
        minimum_rows=home.settings.minimum_rows,
        threads=task.threads,
    )
    features = tables.features(record, table, part)
    journal = Journal(home.journal_folder(task.run))
    work = Work(task.run, plan, table, features, means, peers.conversation, peers.trace, witness, journal)
    check(work)
    return work


class _Peers:
    """The peers of the run, reached through the party."""

    def __init__(
        self, pipe: Pipe, run: str, trace: Trace, patience: float, transcript: Transcript | None
    ) -> None:
        self._pipe = pipe
        self._run = run
        self.trace = trace
        self._patience = patience
        self._transcript = transcript

    @asynccontextmanager
    async def conversation(self, peer: str, table: Steps, role: str) -> AsyncIterator[Channel]:
        """Open a conversation with a peer."""
        stream = self._pipe.open(f"/{table.protocol}/{peer}")
        patience = self._patience + _AFTER_THE_PARTY
        setting = Setting(table, role, self._run, self.trace, patience, self._transcript)
        async with CheckedChannel(Passed(stream, peer), setting) as channel:
            yield channel


class _Witness:
    """Has the party commit to what was said."""

    def __init__(self, channel: Channel, transcript: Transcript) -> None:
        self._channel = channel
        self._transcript = transcript

    async def aligned(self, rows: int) -> None:
        """The alignment is over."""
        await self._say(self._transcript.cut(), rows)

    async def round_over(self, *, heard_next: bool) -> None:
        """A round is over."""
        await self._say(self._transcript.cut(before_last=heard_next), 0)

    async def kept(self) -> None:
        """What the round leaves is kept."""
        await self._channel.send(labour.Kept())

    async def _say(self, stretch: Stretch, rows: int) -> None:
        await self._channel.send(await asyncio.to_thread(_stated, stretch, rows))
        await self._channel.recv(labour.Noted)


def _stated(stretch: Stretch, rows: int) -> labour.Said:
    leaves = [leaf_hash(each.leaf()) for each in stretch.said()]
    return labour.Said(root(leaves).hex(), len(leaves), rows)


class _Events:
    """Collects trace events, and tells the party of them now and then."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._waiting: list[Event] = []
        self._held = 0

    def __call__(self, event: Event) -> None:
        """Take one event."""
        self._waiting.append(event)

    async def tell(self) -> None:
        """Tell what has happened since the last time."""
        told, self._waiting = self._waiting, []
        if told:
            named = ((type(each).__name__, msgspec.Raw(msgspec.msgpack.encode(each))) for each in told)
            await self._channel.send(labour.Happened(tuple(named)))

    def measure(self) -> None:
        """Take how much memory we have held at our most, if that is more than before."""
        held = _peak()
        if held > self._held:
            self._held = held
            self(MemoryPeak(held))

    async def tell_for_ever(self) -> None:
        """Until cancelled."""
        for number in count():
            await asyncio.sleep(_TELL)
            if number % _MEASURED == 0:
                self.measure()
            await asyncio.shield(self.tell())


def _peak() -> int:
    """Bytes that this process has held at its most; 0 where the system does not say.

    What `getrusage` says would count the party that started us, too.
    """
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    return 0


def _is_want_of_memory(error: Exception) -> bool:
    """Whether there was none left: for an object, for the kernel, or for the stack of a thread."""
    return (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or (isinstance(error, RuntimeError) and "can't start new thread" in str(error))
    )


def _nobody_asks(path: str, _stream: Stream) -> Never:
    raise ProtocolBug("worker-asked", f"the party asked its worker for {path}", remedy="report it")


if __name__ == "__main__":
    main()
