"""A running party: it takes proposals from peers and plans from its own command line.

Paths of connections to our port (the first, and /join) and of streams of a link (the others):

    /control                    our own command line (our own certificate)
    /ledger/…, /join            the ledger, see `desk`
    /proposals/RUN              a peer proposes a run; stays open while the run lasts
    /models/MODEL               a peer that may hold the whole forest asks for our piece
    /doctor                     a peer looks for what is wrong between us
    /runs/RUN/PROTOCOL          the conversations of a run that was agreed to
    /serving/…, /attend, /through/…, /way/…   models in use, see `serving`
"""

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, Final

import msgspec

from parley.core.conversation import Channel
from parley.core.errors import ParleyError, PolicyRefused, UsageError
from parley.core.plan import Plan, read_plan
from parley.core.trace import Sink, Trace
from parley.net.channel import CheckedChannel, Setting
from parley.net.transport import Transport
from parley.party import merging
from parley.party.counter import answer
from parley.party.course import Course
from parley.party.desk import Desk
from parley.party.examination import Examiner
from parley.party.failures import BUSY, known, level_of, lines_of, stopped
from parley.party.finding import Finding
from parley.party.following import Following, may_go_on
from parley.party.gate import APPROVAL
from parley.party.leading import LIFELINE, NOT_BEGUN, Leading
from parley.party.office import Office
from parley.party.progress import ProgressSink
from parley.party.report import RunReport
from parley.party.runstate import TERMINAL
from parley.protocols import control, examination, proposal

_FAREWELL: Final = 5.0
"""Seconds that runs and their watchers have to end when the party stops."""
_PATH: Final = re.compile(
    r"/(?:(control)|(ledger/replication|ledger/gossip|join)|proposals/([a-z0-9-]{1,64})|runs/([a-z0-9-]{1,64})/(alignment|boosting|prediction)"
    r"|(models)/[A-Za-z0-9._-]{1,64})"
)


Service = Callable[[str, str, Transport], Awaitable[None]]
"""Serves a connection: the peer's name, the path, and the way to it, which is closed afterwards."""


class Party:
    """One organisation's program.

    Args:
        office: what its runs stand on.
        examiner: finds what is wrong between us and a peer.
    """

    def __init__(self, office: Office, examiner: Examiner | None = None) -> None:
        self._office = office
        self._examiner = examiner
        self._home = office.home
        self._name = office.name
        self._log = office.log
        self._led: dict[str, Leading] = {}
        self._followed: dict[str, Following] = {}
        self._running: set[asyncio.Task[RunReport]] = set()
        self.for_programs: dict[str, Service] = {}
        """What else our own programs may ask for, by the first part of the path."""
        self.for_peers: dict[str, Service] = {}
        """What else peers may ask for."""
        self._clients: set[asyncio.Future[None]] = set()

    def recover(self) -> None:
        """Take up what was under way when the party last stopped."""
        for record in self._home.catalogue.runs():
            course = Course(self._office, record)
            if course.state in TERMINAL:
                continue
            if course.state in NOT_BEGUN:
                leading = self._led[record.id] = Leading(self._office, course)
                self._start(record.id, leading.run(APPROVAL))
                continue
            if course.state == "running":
                course.stop("interrupt", stopped())
            log = self._log.about(run=record.id, role=record.role)
            log(f"{record.id} was under way when the party stopped; it goes on by itself")
            if course.role == proposal.ACTIVE:
                leading = self._led[record.id] = Leading(self._office, course)
                self._start(record.id, leading.go_on())
            else:
                following = Following(self._office, record.id, course.plan.active, course)
                self._followed[record.id] = following
                following.expect()

    async def stop(self) -> None:
        """Let the runs stand still, and let our command line know."""
        for following in self._followed.values():
            following.leave()
        for running in self._running:
            running.cancel()
        ending: set[asyncio.Future[Any]] = {*self._running, *self._clients}
        if ending:
            await asyncio.wait(ending, timeout=_FAREWELL)
        await self._office.diaries.close()

    async def connected(self, peer: str, path: str, transport: Transport) -> None:
        """Serve one connection until it is done; an error that nobody foresaw goes into our log."""
        try:
            await self._serve(peer, path, transport)
        except ParleyError:
            raise
        except Exception as error:  # noqa: BLE001 (one connection must not harm another)
            self._log.about(peer=peer).say("error", f"serving {peer} failed: {lines_of(error)}")

    async def _serve(self, peer: str, path: str, transport: Transport) -> None:
        if path == examination.PATH and self._examiner is not None:
            await self._examiner.serve(peer, transport)
            return
        further = self.for_programs if peer == self._name else self.for_peers
        if service := further.get(path.split("/")[1]):
            await service(peer, path, transport)
            return
        match = _PATH.fullmatch(path)
        if match is None:
            self._log(f"{peer} asked for {path[:80]!r}, which is nothing here")
            return
        own, ledger, proposed, run, protocol, models = match.groups()
        if own and peer == self._name:
            serving = asyncio.ensure_future(self._serve_control(transport))
            self._clients.add(serving)
            serving.add_done_callback(self._clients.discard)
            await serving
        elif ledger and self._office.ledger is not None:
            desk = Desk(self._home, self._office.ledger, self._office.clocks.monotonic, self._log)
            await desk.serve(ledger, peer, transport)
        elif models:
            await self._give(peer, transport)
        elif proposed:
            await self._serve_proposal(peer, proposed, transport)
        elif run and run in self._followed and self._followed[run].leader == peer:
            await self._followed[run].meeting.hold(protocol, transport)
        else:
            self._log(f"{peer} asked for {path[:80]!r}, which it may not")

    # ── our own people ────────────────────────────────────────────────────────────────────────────────

    async def _serve_control(self, transport: Transport) -> None:
        """Do what our own command line asks; it may go away without harm."""
        trace = Trace(self._office.clocks.monotonic)
        setting = Setting(control.STEPS, control.PARTY, "control", trace, LIFELINE)
        async with CheckedChannel(transport, setting) as channel:
            asked = await channel.recv(*control.REQUESTS)
            if isinstance(asked, control.Submit):
                await self._run_for(channel, asked)
            elif isinstance(asked, control.Examine):
                await self._examine(channel, asked.peer)
            elif isinstance(asked, control.Fetch):
                await self._fetch(channel, asked.model)
            elif isinstance(asked, control.Cancel | control.Resume):
                await self._decide(channel, asked)
            else:
                await answer(channel, asked, self._office.ledger, self._home)

    async def _examine(self, channel: Channel, peer: str) -> None:
        await channel.send(control.Done(msgspec.json.encode(await self.examine(peer))))

    async def _fetch(self, channel: Channel, model: str) -> None:
        try:
            fetched = await merging.fetch(self._office, model)
        except ParleyError as error:
            await channel.send(_failed(error))
        else:
            await channel.send(control.Done(msgspec.json.encode(fetched)))

    async def examine(self, peer: str) -> tuple[Finding, ...]:
        """What is wrong between us and a peer; no peer: with our clock."""
        return await self._examiner.report(peer) if self._examiner is not None else ()

    async def _run_for(self, channel: Channel, submitted: control.Submit) -> None:
        """Run a plan, and tell how it goes."""
        notes: asyncio.Queue[control.Progress | None] = asyncio.Queue()
        sink = ProgressSink(self._office.clocks.monotonic, notes.put_nowait)
        try:
            plan = read_plan(submitted.plan)
            _, running = self._lead(plan, sink, wait=submitted.wait, priority=submitted.priority)
        except ParleyError as refused:
            await channel.send(_failed(refused))
            return
        running.add_done_callback(lambda _: notes.put_nowait(None))
        while (note := await notes.get()) is not None:
            await channel.send(note)
        await asyncio.wait([running])
        error = stopped() if running.cancelled() else running.exception()
        await channel.send(_failed(error) if error else control.Done(msgspec.json.encode(running.result())))

    def submit(self, plan: Plan, wait: float = APPROVAL, priority: int = 0) -> str:
        """Begin to lead the run of a plan; returns the run.

        Args:
            plan: what is to be done.
            wait: seconds to wait for the plan's approval on the ledger.
            priority: among the runs that wait for their turn; the higher, the sooner.

        Raises:
            UsageError: it is another party's to lead.
        """
        run, _ = self._lead(plan, wait=wait, priority=priority)
        return run

    def _lead(
        self, plan: Plan, *sinks: Sink, wait: float, priority: int
    ) -> tuple[str, "asyncio.Task[RunReport]"]:
        """Begin to lead the run of a plan; returns the run and its end.

        Args:
            plan: what is to be done.
            sinks: take the trace.
            wait: seconds to wait for the plan's approval on the ledger.
            priority: among the runs that wait for their turn.

        Raises:
            UsageError: it is another party's to lead.
        """
        if plan.active != self._name:
            raise UsageError(
                "not-active",
                f"the plan's label is held by {plan.active}, not by {self._name}",
                remedy=f"run the plan at {plan.active}",
            )
        run = f"run-{secrets.token_hex(8)}"
        course = Course.begin(self._office, run, proposal.ACTIVE, plan, "queued", priority)
        leading = self._led[run] = Leading(self._office, course, *sinks)
        return run, self._start(run, leading.run(wait))

    def _start(self, run: str, leading: Coroutine[Any, Any, RunReport]) -> "asyncio.Task[RunReport]":
        running = asyncio.create_task(leading)
        self._running.add(running)

        def over(task: "asyncio.Task[RunReport]") -> None:
            self._running.discard(task)
            self._led.pop(run, None)
            if not task.cancelled():
                task.exception()  # noted, and told to whoever watches

        running.add_done_callback(over)
        return running

    async def _decide(self, channel: Channel, asked: control.Cancel | control.Resume) -> None:
        """Cancel a run, or go on with it at once."""
        try:
            await (self.cancel(asked.run) if isinstance(asked, control.Cancel) else self.resume(asked.run))
        except ParleyError as error:
            await channel.send(_failed(error))
        else:
            await channel.send(control.Done(msgspec.json.encode({"run": asked.run})))

    async def cancel(self, run: str) -> None:
        """End a run without a model, at every party.

        Raises:
            UsageError: it is unknown, or over.
        """
        self._under_way(run)
        if run in self._led:
            self._led[run].cancel()
        elif not self._followed[run].cancel():
            await self._followed[run].refuse()

    async def resume(self, run: str) -> None:
        """Go on at once with a run that stands still.

        Raises:
            UsageError: it is unknown, over, or led by another party.
        """
        state = self._under_way(run)
        if run not in self._led:
            leader = self._followed[run].leader
            raise UsageError(
                "not-ours-to-resume",
                f"{run} is led by {leader}, which goes on with it as soon as it can",
                remedy=f"run `parley run resume {run}` at {leader}",
            )
        if state == "interrupted":
            self._led[run].hurry()

    def _under_way(self, run: str) -> str:
        """The state of a run that has not ended."""
        record = self._office.run(run)
        if record is None:
            raise UsageError("unknown-run", f"no run {run!r} is known here", remedy="see `parley runs`")
        if record.state in TERMINAL or (run not in self._led and run not in self._followed):
            raise UsageError(
                "run-over", f"{run} is {record.state} already", remedy=f"see `parley run show {run}`"
            )
        return record.state

    # ── as an owner of a model ────────────────────────────────────────────────────────────────────────

    async def _give(self, peer: str, transport: Transport) -> None:
        try:
            await merging.serve(self._office, peer, transport)
        except ParleyError as error:
            log = self._log.about(peer=peer).because(error)
            log.say(level_of(error), f"{peer} did not get our piece of a model: {lines_of(error)}")
            raise

    # ── as a passive party ────────────────────────────────────────────────────────────────────────────

    async def _serve_proposal(self, peer: str, run: str, transport: Transport) -> None:
        trace = Trace(self._office.clocks.monotonic)
        setting = Setting(proposal.STEPS, proposal.PASSIVE, run, trace, LIFELINE)
        patience = self._home.settings.patience
        log = self._log.about(run=run, role=proposal.PASSIVE, peer=peer)
        following = None
        try:
            async with (
                asyncio.timeout(patience) as soon,
                AsyncExitStack() as workers,
                CheckedChannel(transport, setting) as line,
            ):
                plan = await proposal.receive(line)
                soon.reschedule(None)
                purpose = " ".join(plan.purpose.split())
                log(f"{peer} proposes {plan.name!r} as {run}: {purpose}")
                following = self._following(line, run, plan)
                await following.attempt(line, plan, workers)
        except TimeoutError:
            log.say("warning", f"{peer} opened {run} and proposed nothing for {patience:g} s")
        except Exception as error:
            verb = "stands still" if self._stands_still(run) else "failed"
            log.because(known(error)).say(level_of(error), f"{run} with {peer} {verb}: {lines_of(error)}")
            raise known(error) from error
        finally:
            if following is not None:
                if following.course is not None:
                    following.course.let_go()
                if not following.under_way and self._followed.get(run) is following:
                    del self._followed[run]
                    self._office.diaries.forget(run)
                await following.tell_ledger()

    def _stands_still(self, run: str) -> bool:
        followed = self._followed.get(run)
        return followed is not None and followed.course is not None and followed.course.state == "interrupted"

    def _following(self, line: Channel, run: str, plan: Plan) -> Following:
        """The run that a peer proposes: a new one, or one of ours to go on with."""
        record = self._office.run(run)
        if record is not None:
            course = Course(self._office, record)
            may_go_on(course, line, plan)
            self._check_turn(line, run)
            if run not in self._followed:
                self._followed[run] = Following(self._office, run, line.peer, course)
            return self._followed[run]
        if run in self._followed or self._home.knows_run(run):
            raise line.fault("run-known", f"proposed {run}, a name that another run has here")
        self._check_turn(line, run)
        following = self._followed[run] = Following(self._office, run, line.peer)
        return following

    def _check_turn(self, line: Channel, run: str) -> None:
        """Refuse for now what is one run too many; its active party asks again.

        It does not wait here: two parties that wait for each other's turns would wait for ever.
        """
        at_work = [each for each in self._followed.values() if each.at_work and each.run != run]
        limit = self._home.settings.runs_at_once
        if len(at_work) >= limit:
            raise PolicyRefused(
                BUSY,
                f"{line.peer} proposes {run} while {len(at_work)} runs of others take place here",
                remedy="it is proposed again; `runs_at_once` in parley.toml allows more",
                public="as many runs take place here as can; it goes on when one has ended",
            )


def _failed(error: BaseException) -> control.Failed:
    problem = known(error)
    return control.Failed(problem.family, problem.code, problem.what, problem.remedy)
