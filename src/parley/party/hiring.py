"""Workers as their party sees them: started for one attempt at a run, listened to, and let go.

The party passes the worker's conversations on to the peers, submits its commitments, and hears its
events. A worker that dies ends its run with the reason, and nothing else. One that is stopped is ended, and
the run goes on with another.
"""

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

import msgspec

from parley.core import trace as events
from parley.core.conversation import Channel
from parley.core.errors import BudgetExhausted, ParleyError, PeerError, PeerLost, ProtocolBug
from parley.core.plan import Plan, encode_plan
from parley.core.trace import Event, Trace
from parley.net.channel import CheckedChannel, Setting
from parley.net.pipe import Pipe
from parley.net.streams import Stream
from parley.net.transport import Transport
from parley.party.diary import Diary
from parley.party.failures import out_of_memory, raised
from parley.party.gate import Gate
from parley.party.halting import halted
from parley.party.office import Office
from parley.party.worker import LIFELINE
from parley.protocols import labour

Passing = Callable[[str, str], AbstractAsyncContextManager[Transport]]
"""Opens the way for a conversation with a peer, by protocol."""

_EVENTS: Final[dict[str, type[Any]]] = {
    kind.__name__: kind
    for kind in (
        events.StepBegan,
        events.PhaseBegan,
        events.PhaseAdvanced,
        events.PhaseEnded,
        events.Worked,
        events.Sent,
        events.Received,
        events.Waits,
        events.MemoryPeak,
    )
}


class Worker:
    """One worker; made by `hired`.

    Attributes:
        features: our columns to learn from, as its look at our table found.
    """

    def __init__(
        self,
        party: str,
        channel: Channel,
        process: subprocess.Popen[bytes],
        passages: "_Passages",
        *,
        limited: bool,
    ) -> None:
        self.features: tuple[str, ...] = ()
        self._party = party
        self._halted = False
        self._limited = limited
        self._channel = channel
        self._process = process
        self._passages = passages

    async def ready(self, task: labour.Task) -> None:
        """Have it read our table and look at it.

        Raises:
            ParleyError: what is wrong with the table, or with the worker.
        """
        await self._channel.send(task)
        ready = await self._hear(labour.Ready)
        self.features = ready.features

    async def work(self, place: int, trace: Trace, gate: Gate | None) -> int:
        """Have it do the attempt from a place on; returns the place where what it leaves stands.

        Raises:
            ParleyError: whatever ended the attempt.
        """
        await self._channel.send(labour.Begin(place))
        while True:
            match await self._hear(labour.Happened, labour.Said, labour.Kept, labour.Finished):
                case labour.Happened(happened):
                    for name, fields in happened:
                        trace.emit(_event(name, fields))
                case labour.Said(root, messages, rows) if gate is not None:
                    await gate.said(root, messages, rows)
                    await self._channel.send(labour.Noted())
                case labour.Kept() if gate is not None:
                    gate.kept()
                case labour.Finished(reached):
                    return reached

    async def end_if_halted(self) -> None:
        """Wait until it is stopped for long, and end it: what it was asked for then fails for that reason."""
        await halted(self._process.pid)
        self._halted = True
        self._process.kill()

    async def _hear(self, *kinds: type[Any]) -> Any:  # noqa: ANN401 (one of the kinds)
        try:
            message = await self._channel.recv(*kinds, labour.Failed)  # type: ignore[call-overload]
        except PeerLost:
            raise await self._died() from None
        if isinstance(message, labour.Failed):
            raise self._passages.reason(raised(message))
        return message

    async def _died(self) -> ParleyError:
        code = await asyncio.to_thread(self._process.wait)
        if self._halted:
            return PeerLost(
                "worker-halted",
                f"the run's worker at {self._party} was stopped by a signal, and did not go on for seconds",
                peer=self._party,
                remedy="nothing is to be done: the run goes on with another; find out who stops processes",
                public="the run's worker was stopped here; the run goes on with another one",
            )
        if -code == signal.SIGKILL:
            return BudgetExhausted(
                "worker-killed",
                "the run's worker was killed; mostly that is because memory ran out",
                remedy="see the system's log; use fewer rows or columns, or a larger machine",
                public="the run was killed here, mostly for want of memory",
            )
        if -code == signal.SIGABRT and self._limited:  # native code ends so when it gets no memory
            return out_of_memory()
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return ProtocolBug(
            "worker-crashed",
            f"the run's worker ended unexpectedly ({how})",
            remedy="report it with the party's log, which says more",
        )


@asynccontextmanager
async def hired(
    office: Office, run: str, plan: Plan, passing: Passing, diary: Diary
) -> AsyncIterator[Worker]:
    """A worker that has looked at our table; killed at the end if it has not ended.

    Raises:
        ParleyError: as `Worker.ready`.
    """
    office.workers.start(run)
    ours, theirs = socket.socketpair()
    with theirs:
        number = theirs.fileno()
        program = (sys.executable, "-m", "parley.party.worker", str(number))
        process = subprocess.Popen(program, pass_fds=[number])  # noqa: ASYNC220, S603 (ourselves; at once)
    passages = _Passages(passing)
    diary.hired()
    try:
        pipe = await Pipe.over(ours, labour.WORKER, 1, passages.arrived)
        try:
            trace = Trace(office.clocks.monotonic)
            setting = Setting(labour.STEPS, labour.PARTY, "labour", trace, LIFELINE)
            async with CheckedChannel(await passages.task(pipe), setting) as channel:
                limited = office.home.settings.memory > 0
                worker = Worker(office.name, channel, process, passages, limited=limited)
                watching = asyncio.ensure_future(worker.end_if_halted())
                try:
                    await worker.ready(_task(office, run, plan))
                    yield worker
                finally:
                    watching.cancel()
        finally:
            pipe.close()
            await passages.close()
    finally:
        process.kill()
        process.wait()  # a matter of milliseconds, and nothing can come between
        diary.let_go()


class _Passages:
    """Passes the worker's conversations on to the peers."""

    def __init__(self, passing: Passing) -> None:
        self._passing = passing
        self._task: asyncio.Future[Stream] = asyncio.get_running_loop().create_future()
        self._passages: set[asyncio.Task[None]] = set()
        self._broke: ParleyError | None = None

    async def task(self, pipe: Pipe) -> Stream:
        """The stream on which the worker hears its task, once it is there.

        Raises:
            ProtocolBug: it ended before.
        """
        gone = asyncio.ensure_future(pipe.gone.wait())
        either: list[asyncio.Future[Any]] = [self._task, gone]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
        if not self._task.done():
            raise ProtocolBug(
                "worker-crashed",
                "a worker could not begin",
                remedy="see the party's log; report it if that does not say why",
            )
        return self._task.result()

    def arrived(self, path: str, stream: Stream) -> None:
        """The worker opened a stream: ``/task``, or ``/PROTOCOL/PEER``."""
        if path == "/task":
            self._task.set_result(stream)
            return
        _, protocol, peer = path.split("/", 2)
        passage = asyncio.create_task(self._pass_on(stream, peer, protocol))
        self._passages.add(passage)
        passage.add_done_callback(self._passages.discard)

    def reason(self, error: ParleyError) -> ParleyError:
        """What ended a conversation: the worker sees only that we closed it."""
        vague = isinstance(error, PeerLost) and error.code == "connection-closed"
        return self._broke if vague and self._broke is not None else error

    async def close(self) -> None:
        """End what is passed on."""
        for passage in self._passages:
            passage.cancel()
        await asyncio.gather(*self._passages, return_exceptions=True)

    async def _pass_on(self, stream: Stream, peer: str, protocol: str) -> None:
        try:
            async with self._passing(peer, protocol) as transport:
                await self._both_ways(stream, transport)
        except ParleyError as error:
            self._broke = self._broke or error
        finally:
            await stream.close()

    async def _both_ways(self, stream: Stream, transport: Transport) -> None:
        """Until the worker closes its end, or the peer is gone."""
        outwards = asyncio.ensure_future(_pass(stream, transport))
        inwards = asyncio.ensure_future(_pass(transport, stream))
        try:
            done, _ = await asyncio.wait([outwards, inwards], return_when=asyncio.FIRST_COMPLETED)
            for error in (way.exception() for way in done):
                if not (isinstance(error, PeerError) and error.peer == labour.WORKER):
                    raise error or AssertionError
        finally:
            for way in (outwards, inwards):
                way.cancel()
            await asyncio.gather(outwards, inwards, return_exceptions=True)
            await transport.close()


async def _pass(source: Transport, sink: Transport) -> None:
    """Frames, until one of the two is gone."""
    while True:
        await sink.send(await source.recv())


def _task(office: Office, run: str, plan: Plan) -> labour.Task:
    return labour.Task(
        home=str(office.home.path),
        run=run,
        plan=encode_plan(plan),
        threads=office.threads,
        witnessed=office.ledger is not None,
    )


def _event(name: str, fields: msgspec.Raw) -> Event:
    event: Event = msgspec.msgpack.decode(fields, type=_EVENTS[name])
    return event
