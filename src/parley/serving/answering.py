"""The passive party's side of models in use: conversations with the active party, held by a worker.

    /serving/MODEL/KEY/enrolment        ids of our table, for one program of the active party
    /serving/MODEL/KEY/asking           directions of rows, by tokens of that enrolment
    /serving/MODEL/KEY/ticketing        a ticket, with which the program connects to the worker itself

A worker holds our columns of one model. It is started when it is first needed, and let go of when it was
not for a while; if it dies, the active party comes again and the next one is started. One that is stopped is
ended, which comes to the same.
"""

import asyncio
import re
import secrets
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import msgspec

from parley.core.errors import BudgetExhausted, ParleyError, PeerLost, PolicyRefused
from parley.core.trace import Trace
from parley.net.channel import CheckedChannel, Setting
from parley.net.handover import Tickets, hand_over
from parley.net.pipe import Pipe
from parley.net.relay import join
from parley.net.streams import Stream
from parley.net.transport import Transport
from parley.party.failures import lines_of
from parley.party.halting import halted
from parley.party.ledger import no_consortium
from parley.party.office import Office
from parley.party.upkeep import until_either
from parley.protocols import ticketing
from parley.serving.accounting import check_released
from parley.serving.desk import PATH, PATIENCE, STEPS, Desk, terms_of, turn_away
from parley.serving.standing import Standings

WORKER: Final = "worker"
DIRECT: Final = "direct"
"""Stands in the place of a protocol for a conversation whose connection is handed over."""
IDLE: Final = 600.0
"""Seconds after which a worker that nobody asks is let go of."""
_LOOK: Final = 5.0
_SHORT: Final = 10.0
"""Seconds; a worker that lived no longer is not started again at once."""
_FAREWELL: Final = 5.0
"""Seconds for killed workers to end when the party stops."""
_PATH: Final = re.compile(PATH)


class Direct(msgspec.Struct, frozen=True):
    """What a worker is told of a connection.

    Attributes:
        number: under which it is handed over.
        certificate: that vouches for the peer, PEM.
    """

    number: str
    certificate: str


@dataclass
class _Worker:
    """A worker, and what goes on with it."""

    process: "subprocess.Popen[bytes]"
    pipe: Pipe
    door: socket.socket
    began: float
    busy: int = 0
    last: float = 0.0
    attending: "set[asyncio.Task[None]]" = field(default_factory=set)


class Answering:
    """Lets the active party of each released model ask.

    Args:
        office: of our party.
        desk: hears our workers.
        tickets: of our port.
        standings: with our peers.
    """

    def __init__(self, office: Office, desk: Desk, tickets: Tickets, standings: Standings) -> None:
        self._office = office
        self._desk = desk
        self._tickets = tickets
        self._standings = standings
        self._stopped = False
        self._direct: set[asyncio.Task[None]] = set()
        self._workers: dict[str, _Worker] = {}
        self._starting: dict[str, asyncio.Lock] = {}
        self._failed: dict[str, float] = {}
        self._ending: set[asyncio.Future[int]] = set()

    async def serve(self, peer: str, path: str, transport: Transport) -> None:
        """Serve one conversation with a peer."""
        match = _PATH.fullmatch(path)
        if match is None:
            self._office.log.about(peer=peer)(f"{peer} asked for {path[:80]!r}, which is nothing here")
            return
        model, key, protocol = match.groups()
        try:
            self._check(peer, model)
            worker = await self._worker(model)
        except ParleyError as error:
            log = self._office.log.about(peer=peer).because(error)
            log.say("warning", f"{peer} may not use model {model}: {error.what}")
            await turn_away(transport, STEPS[protocol], key, error)
            return
        if protocol == "ticketing":
            await self._issue(peer, model, key, transport)
            return
        async with self._held(worker, f"/{key}/{protocol}/{peer}") as stream:
            await join(transport, stream)

    async def run(self) -> None:
        """Let go of workers that nobody needs, until cancelled; then of all."""
        try:
            while True:
                await asyncio.sleep(_LOOK)
                now = self._office.clocks.monotonic()
                for model, worker in list(self._workers.items()):
                    if worker.pipe.gone.is_set() or (not worker.busy and now - worker.last > IDLE):
                        self._let_go(model, worker)
        finally:
            self._stopped = True
            for passing in self._direct:
                passing.cancel()
            for model, worker in list(self._workers.items()):
                self._let_go(model, worker)
            if self._ending:
                await asyncio.wait(self._ending, timeout=_FAREWELL)

    @asynccontextmanager
    async def _held(self, worker: _Worker, path: str) -> AsyncIterator[Stream]:
        """A stream of a worker, which is not let go of meanwhile."""
        worker.busy += 1
        try:
            stream = worker.pipe.open(path)
            try:
                yield stream
            finally:
                await stream.close()
        finally:
            worker.busy -= 1
            worker.last = self._office.clocks.monotonic()

    async def _issue(self, peer: str, model: str, key: str, transport: Transport) -> None:
        """Give a ticket, with which a program of the peer may come to the worker itself."""

        def take(connected: socket.socket) -> None:
            passing = asyncio.create_task(self._pass_on(peer, model, key, connected))
            self._direct.add(passing)
            passing.add_done_callback(self._direct.discard)

        trace = Trace(self._office.clocks.monotonic)
        setting = Setting(ticketing.STEPS, ticketing.PASSIVE, key, trace, PATIENCE)
        async with CheckedChannel(transport, setting) as channel:
            await channel.send(ticketing.Ticket(self._tickets.issue(peer, take)))

    async def _pass_on(self, peer: str, model: str, key: str, connected: socket.socket) -> None:
        """Hand a connection over to a worker, which holds it for as long as we stand as now with the peer."""
        log = self._office.log.about(peer=peer)
        try:
            with connected:
                await self._hand_over(peer, model, key, connected)
        except (ParleyError, OSError) as error:
            what = error.what if isinstance(error, ParleyError) else str(error)
            log.say("warning", f"{peer} asks model {model} no longer directly: {what}")
        except Exception as error:  # noqa: BLE001 (the others go on)
            log.say("error", f"passing {peer} on to what answers for {model} failed: {lines_of(error)}")

    async def _hand_over(self, peer: str, model: str, key: str, connected: socket.socket) -> None:
        before = self._standings.of(peer)
        if before.peer is None:
            await self._standings.keep(peer, before)
        worker = await self._worker(model)
        async with self._held(worker, f"/{key}/{DIRECT}/{peer}") as stream:
            number = secrets.token_hex(16)
            await stream.send(msgspec.msgpack.encode(Direct(number, before.peer.certificate)))
            hand_over(worker.door, number, connected)
            await until_either(ended(stream), self._standings.keep(peer, before))

    def _check(self, peer: str, model: str) -> None:
        """Numbered checks: 1 we keep a ledger, 2 the peer asks for its own model, 3 it is released."""
        # 1
        if self._office.ledger is None:
            raise no_consortium(self._office.name)
        terms = terms_of(self._office.ledger, model, self._office.name)
        # 2
        if terms.active != peer or not terms.share:
            raise PolicyRefused(
                "model-not-released",
                f"{peer} asks for model {model}, which is not one of its own and ours",
                remedy=f"ask {peer} what it wants; models that both hold are in `parley models`",
                public="this model is not one of yours and ours",
            )
        # 3
        check_released(terms, self._office.clocks.wall())

    async def _worker(self, model: str) -> _Worker:
        """The worker of a model, started if there is none."""
        async with self._starting.setdefault(model, asyncio.Lock()):
            if self._stopped:
                raise _just_ended(model)
            worker = self._workers.get(model)
            if worker is not None and not worker.pipe.gone.is_set():
                return worker
            if worker is not None:
                self._let_go(model, worker)
            now = self._office.clocks.monotonic()
            if now - self._failed.get(model, -_SHORT) < _SHORT:
                raise _just_ended(model)
            worker = self._workers[model] = await self._started(model)
            return worker

    async def _started(self, model: str) -> _Worker:
        ours, theirs = socket.socketpair()
        door, behind = socket.socketpair(type=socket.SOCK_DGRAM)
        door.setblocking(False)
        with theirs, behind:
            numbers, home = (theirs.fileno(), behind.fileno()), self._office.home.path
            program = (sys.executable, "-m", "parley.serving.answerer", *map(str, numbers), str(home), model)
            try:
                process = subprocess.Popen(program, pass_fds=numbers)  # noqa: ASYNC220, S603 (ourselves; at once)
            except OSError as error:  # no memory, or too many processes
                ours.close()
                door.close()
                self._failed[model] = self._office.clocks.monotonic()
                self._office.log.say("error", f"no worker for model {model} can be started: {error.strerror}")
                raise _just_ended(model) from None
        attending: set[asyncio.Task[None]] = set()

        def arrived(path: str, stream: Stream) -> None:
            task = asyncio.ensure_future(self._desk.attend(WORKER, path, stream))
            attending.add(task)
            task.add_done_callback(attending.discard)
            task.add_done_callback(lambda done: done.cancelled() or done.exception())

        pipe = await Pipe.over(ours, WORKER, 1, arrived)
        attending.add(asyncio.ensure_future(self._end_if_halted(model, process)))
        now = self._office.clocks.monotonic()
        self._office.log(f"a worker answers for model {model} now")
        return _Worker(process, pipe, door, began=now, last=now, attending=attending)

    async def _end_if_halted(self, model: str, process: "subprocess.Popen[bytes]") -> None:
        await halted(process.pid)
        self._office.log.say(
            "warning", f"the worker that answers for {model} was stopped by a signal: ends it"
        )
        process.kill()

    def _let_go(self, model: str, worker: _Worker) -> None:
        now = self._office.clocks.monotonic()
        died = worker.pipe.gone.is_set()
        del self._workers[model]
        worker.pipe.close()
        worker.door.close()
        for task in worker.attending:
            task.cancel()
        worker.process.kill()
        self._reap(worker.process)
        if died and now - worker.began < _SHORT:
            self._failed[model] = now
        ended = "has ended unexpectedly" if died else "is let go of"
        self._office.log.say("warning" if died else "info", f"the worker that answered for {model} {ended}")

    def _reap(self, process: "subprocess.Popen[bytes]") -> None:
        """Wait for its end beside everything else: one with much memory takes a while."""
        ending = asyncio.ensure_future(asyncio.to_thread(process.wait))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)


async def ended(stream: Transport) -> None:
    """Wait until the other end lets go of a stream on which it says nothing any more."""
    with suppress(PeerLost):
        while True:
            await stream.recv()


def _just_ended(model: str) -> BudgetExhausted:
    return BudgetExhausted(
        "answering-failed",
        f"the worker that answers for model {model} has just ended",
        remedy="see our log for why; it is started again in some seconds",
        public="what answers for this model has just ended; ask again in some seconds",
    )
