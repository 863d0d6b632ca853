"""A running party: it takes proposals from peers and plans from its own command line.

Paths of connections to our port (the first, and /join) and of streams of a link (the others):

    /control                    our own command line (our own certificate)
    /ledger/…, /join            the ledger, see `desk`
    /proposals/RUN              a peer proposes a run; stays open while the run lasts
    /runs/RUN/PROTOCOL          the conversations of a run that was agreed to
"""

import asyncio
import re
import secrets
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from parley.core.conversation import Channel
from parley.core.errors import ParleyError, PolicyRefused, UsageError
from parley.core.plan import Plan, encode_plan, read_plan
from parley.core.trace import Sink, StepBegan, Trace
from parley.core.transcript import Transcript
from parley.learn.shares import encode_share
from parley.net.channel import CheckedChannel, Setting
from parley.net.transport import Transport
from parley.party import tables
from parley.party.counter import answer
from parley.party.desk import Desk
from parley.party.failures import known, lines_of, stopped
from parley.party.gate import APPROVAL, Gate, terms_of
from parley.party.ledger import PartyLedger
from parley.party.progress import ProgressSink
from parley.party.rendezvous import Dial, Rendezvous, dialling, waiting
from parley.party.report import RunReport, Tally
from parley.party.run import Followed, Led, NoWitness, Opening, Work, check, follow, lead
from parley.party.stages import Means
from parley.party.summary import summarise
from parley.protocols import control, proposal
from parley.protocols.together import together
from parley.store.catalogue import RunRecord, RunState
from parley.store.home import Home

_LIFELINE: Final = 365 * 86400.0
"""Patience in seconds on lines that are silent while a run lasts; a dead peer breaks them at once."""
_FAREWELL: Final = 5.0
"""Seconds that runs and their watchers have to end when the party stops."""
RUNS_OF_ONE: Final = 8
"""Runs of one peer's plans that we take part in at the same time."""
_PATH: Final = re.compile(
    r"/(?:(control)|(ledger/replication|ledger/gossip|join)|proposals/([a-z0-9-]{1,64})|runs/([a-z0-9-]{1,64})/(alignment|boosting|prediction))"
)


@dataclass(frozen=True)
class Clocks:
    """Time as the party sees it: seconds since 1970, and monotonic seconds."""

    wall: Callable[[], float]
    monotonic: Callable[[], float]


class Party:
    """One organisation's program.

    Args:
        home: its folder.
        dial: connects to a peer for a path.
        clocks: time.
        threads: for computations.
        log: takes a line for the operator of the party.
        ledger: of the party's consortium; without one, runs are agreed between the parties alone.
    """

    def __init__(
        self,
        home: Home,
        dial: Dial,
        clocks: Clocks,
        threads: int,
        log: Callable[[str], None],
        ledger: PartyLedger | None = None,
    ) -> None:
        self._ledger = ledger
        self._home = home
        self._name = home.settings.party
        self._dial = dial
        self._clocks = clocks
        self._threads = threads
        self._log = log
        self._meetings: dict[str, Rendezvous] = {}
        self._running: set[asyncio.Task[RunReport]] = set()
        self._clients: set[asyncio.Future[None]] = set()

    def recover(self) -> None:
        """Note as failed what was running when the party last stopped."""
        for record in self._home.catalogue.runs():
            if record.state == "running":
                outcome = msgspec.Raw(msgspec.json.encode(stopped().record()))
                self._home.catalogue.keep_run(
                    msgspec.structs.replace(record, state="failed", outcome=outcome)
                )
                self._log(f"{record.id} was under way when the party stopped; it counts as failed")

    async def stop(self) -> None:
        """End the runs we lead, and let our command line know."""
        for running in self._running:
            running.cancel()
        ending: set[asyncio.Future[Any]] = {*self._running, *self._clients}
        if ending:
            await asyncio.wait(ending, timeout=_FAREWELL)

    async def connected(self, peer: str, path: str, transport: Transport) -> None:
        """Serve one connection until it is done; an error that nobody foresaw goes into our log."""
        try:
            await self._serve(peer, path, transport)
        except ParleyError:
            raise
        except Exception as error:  # noqa: BLE001 (one connection must not harm another)
            self._log(f"serving {peer} failed: {lines_of(error)}")

    async def _serve(self, peer: str, path: str, transport: Transport) -> None:
        match = _PATH.fullmatch(path)
        if match is None:
            self._log(f"{peer} asked for {path[:80]!r}, which is nothing here")
            return
        own, ledger, proposed, run, protocol = match.groups()
        if own and peer == self._name:
            serving = asyncio.ensure_future(self._serve_control(transport))
            self._clients.add(serving)
            serving.add_done_callback(self._clients.discard)
            await serving
        elif ledger and self._ledger is not None:
            await Desk(self._home, self._ledger, self._clocks.monotonic, self._log).serve(
                ledger, peer, transport
            )
        elif proposed:
            await self._serve_proposal(peer, proposed, transport)
        elif run and run in self._meetings and self._meetings[run].peer == peer:
            await self._meetings[run].hold(protocol, transport)
        else:
            self._log(f"{peer} asked for {path[:80]!r}, which it may not")

    # ── as the active party ───────────────────────────────────────────────────────────────────────────

    async def _serve_control(self, transport: Transport) -> None:
        """Run a plan for our own command line; it may go away without harm."""
        setting = Setting(control.STEPS, control.PARTY, "control", Trace(self._clocks.monotonic), _LIFELINE)
        notes: asyncio.Queue[control.Progress | None] = asyncio.Queue()
        async with CheckedChannel(transport, setting) as channel:
            submitted = await channel.recv(
                control.Submit, control.Transact, control.Look, control.Promise, control.Rotate
            )
            if not isinstance(submitted, control.Submit):
                await answer(channel, submitted, self._ledger, self._home)
                return
            sink = ProgressSink(self._clocks.monotonic, notes.put_nowait)
            running = asyncio.create_task(self.run(submitted.plan, sink, wait=submitted.wait))
            self._running.add(running)
            running.add_done_callback(self._over)
            running.add_done_callback(lambda _: notes.put_nowait(None))
            while (note := await notes.get()) is not None:
                await channel.send(note)
            await asyncio.wait([running])
            error = stopped() if running.cancelled() else running.exception()
            if error is None:
                await channel.send(control.Done(msgspec.json.encode(running.result())))
            else:
                problem = known(error)
                await channel.send(control.Failed(problem.family, problem.code, problem.what, problem.remedy))

    def _over(self, running: "asyncio.Task[RunReport]") -> None:
        """A run that our command line asked for has ended; it has told its error, heard or not."""
        self._running.discard(running)
        if not running.cancelled():
            running.exception()

    async def run(self, text: str, *sinks: Sink, wait: float = APPROVAL) -> RunReport:
        """Lead the run of a plan given as TOML.

        Args:
            text: the plan.
            sinks: take the trace.
            wait: seconds to wait for the plan's approval on the ledger.

        Raises:
            ParleyError: whatever ended it.
        """
        plan = read_plan(text)
        if plan.active != self._name:
            raise UsageError(
                "not-active",
                f"the plan's label is held by {plan.active}, not by {self._name}",
                remedy=f"run the plan at {plan.active}",
            )
        run = f"run-{secrets.token_hex(8)}"
        tally = Tally(self._clocks.monotonic)
        trace = Trace(self._clocks.monotonic, tally, *sinks)
        began = self._note(run, proposal.ACTIVE, plan)
        self._log(f"{run} begins: {plan.name!r} with {', '.join(plan.passive)}")
        gate = self._gate(run)
        try:
            transcript = None if gate is None else gate.transcript
            opening = dialling(self._dial, run, trace, self._home.settings.patience, transcript)
            work = await asyncio.to_thread(self._work, run, plan, opening, trace, gate)
            await asyncio.to_thread(check, work)
            if gate is not None:
                await self._have_approved(gate, work, wait)
            led = await self._lead(work)
            self._home.keep_share(led.share)
            if gate is not None:
                trace.emit(StepBegan("ledger"))
                await gate.finish(encode_share(led.share), led.quality)
            report = summarise(work, led, tally.costs())
        except BaseException as error:
            if gate is not None:
                await gate.fail(error)
            self._note(run, proposal.ACTIVE, plan, began, error=error)
            self._log(f"{run} failed: {lines_of(error)}")
            raise
        self._note(run, proposal.ACTIVE, plan, began, outcome=msgspec.json.encode(report))
        self._log(f"{run} finished: {report.common} rows in common, {report.rounds} rounds")
        return report

    def _gate(self, run: str) -> Gate | None:
        """The ledger's hold on a run, if we keep a ledger."""
        return None if self._ledger is None else Gate(self._ledger, run, Transcript(self._name))

    async def _have_approved(self, gate: Gate, work: Work, wait: float) -> None:
        """Have the plan approved on the ledger by every owner of a table in it, and the run started."""
        work.trace.emit(StepBegan("approve"))
        terms = terms_of(work.plan, {self._name: work.features}, int(self._clocks.wall()))
        with work.trace.phase("approve", 1, "plans") as phase:
            await gate.open(terms, wait, lambda words: phase.advance(0, words))
            phase.advance(1)

    async def _lead(self, work: Work) -> Led:
        """Propose the plan to everyone, run it, and see everyone off."""
        async with AsyncExitStack() as stack:
            lines: list[Channel] = []
            for peer in work.plan.passive:
                transport = await self._dial(peer, f"/proposals/{work.run}")
                # the line's own trace: its silence while the run lasts is not waiting
                trace = Trace(self._clocks.monotonic)
                setting = Setting(proposal.STEPS, proposal.ACTIVE, work.run, trace, _LIFELINE)
                lines.append(await stack.enter_async_context(CheckedChannel(transport, setting)))
                await proposal.propose(lines[-1], work.plan)

            async def lead_to_the_end() -> Led:
                led = await lead(work)
                for line in lines:
                    await line.send(proposal.RunEnds())
                return led

            return await together(lead_to_the_end(), *(_seen_off(line) for line in lines))

    # ── as a passive party ────────────────────────────────────────────────────────────────────────────

    async def _serve_proposal(self, peer: str, run: str, transport: Transport) -> None:
        trace = Trace(self._clocks.monotonic)
        setting = Setting(proposal.STEPS, proposal.PASSIVE, run, trace, _LIFELINE)
        patience = self._home.settings.patience
        try:
            async with asyncio.timeout(patience) as soon, CheckedChannel(transport, setting) as line:
                plan = await proposal.receive(line)
                soon.reschedule(None)
                purpose = " ".join(plan.purpose.split())
                self._log(f"{peer} proposes {plan.name!r} as {run}: {purpose}")
                await self._take_part(line, run, plan, trace)
        except TimeoutError:
            self._log(f"{peer} opened {run} and proposed nothing for {patience:g} s")
        except Exception as error:
            self._log(f"{run} with {peer} failed: {lines_of(error)}")
            raise known(error) from error

    async def _take_part(self, line: Channel, run: str, plan: Plan, trace: Trace) -> None:
        if run in self._meetings or self._home.knows_run(run):
            raise line.fault("run-known", f"proposed {run}, a name that another run has here")
        if sum(1 for meeting in self._meetings.values() if meeting.peer == line.peer) >= RUNS_OF_ONE:
            raise PolicyRefused(
                "too-many-runs",
                f"{line.peer} proposes {run} while {RUNS_OF_ONE} runs of its plans are under way",
                remedy="wait until one has ended",
                public=f"{RUNS_OF_ONE} runs of yours are under way here; wait until one has ended",
            )
        meeting = self._meetings[run] = Rendezvous(run, line.peer, self._home.settings.patience)
        try:
            await self._follow(line, plan, meeting, trace)
        finally:
            meeting.dismiss()
            del self._meetings[run]

    async def _follow(self, line: Channel, plan: Plan, meeting: Rendezvous, trace: Trace) -> None:
        run, gate = meeting.run, self._gate(meeting.run)
        opening = waiting(meeting, trace, None if gate is None else gate.transcript)
        self._admit(plan, line.peer, gate)
        if gate is not None:  # before a row of ours is read; and what is no run of ours is not ours to fail
            await gate.enter(plan, line.peer)
        began: float | None = None
        try:
            work = await asyncio.to_thread(self._work, run, plan, opening, trace, gate)
            await asyncio.to_thread(check, work)
            began = self._note(run, proposal.PASSIVE, plan)
            await proposal.agree(line, plan)
            followed: Followed = await together(follow(work), _ended(line))
            self._home.keep_share(followed.share)
            await line.send(proposal.Ended())
            if gate is not None:
                await gate.hand_in(encode_share(followed.share))
        except BaseException as error:
            if gate is not None:
                await gate.fail(error)
            if began is not None:
                self._note(run, proposal.PASSIVE, plan, began, error=error)
            raise
        outcome = {
            "entered": followed.entered,
            "common": followed.common,
            "splits": len(followed.share.rules),
        }
        self._note(run, proposal.PASSIVE, plan, began, outcome=msgspec.json.encode(outcome))
        self._log(
            f"{run} finished: {followed.common} rows in common, {len(followed.share.rules)} splits of ours"
        )

    def _admit(self, plan: Plan, peer: str, gate: Gate | None) -> None:
        """Whether our own rules allow a peer's plan, as far as can be said without reading our table."""
        part = plan.parties.get(self._name)
        if part is None:
            raise PolicyRefused(
                "not-our-plan", f"{peer} proposes a plan without us", remedy=f"name {self._name} in the plan"
            )
        try:
            record = self._home.catalogue.table(part.table)
        except UsageError as error:
            raise UsageError(
                error.code, error.what, remedy=error.remedy, public="no such table here"
            ) from None
        tables.admit(plan, self._name, peer, record)
        if gate is None:
            tables.check_shared(peer, record)

    # ── both ──────────────────────────────────────────────────────────────────────────────────────────

    def _work(self, run: str, plan: Plan, opening: Opening, trace: Trace, gate: Gate | None) -> Work:
        part = plan.parties[self._name]
        record = self._home.catalogue.table(part.table)
        table = tables.load(record)
        means = Means(
            party=self._name,
            model=run,
            seed=secrets.token_bytes(32),
            handles=self._home.handles_secret,
            minimum_rows=self._home.settings.minimum_rows,
            threads=self._threads,
        )
        features = tables.features(record, table, part)
        return Work(run, plan, table, features, means, opening, trace, gate or NoWitness())

    def _note(
        self,
        run: str,
        role: str,
        plan: Plan,
        began: float | None = None,
        *,
        outcome: bytes | None = None,
        error: BaseException | None = None,
    ) -> float:
        """Write down where a run stands; returns when it began."""
        began = self._clocks.wall() if began is None else began
        state: RunState = "running"
        result = b"null"
        if error is not None:
            state, result = "failed", msgspec.json.encode(known(error).record())
        elif outcome is not None:
            state, result = "finished", outcome
        record = RunRecord(
            id=run,
            began=began,
            role=role,
            plan=encode_plan(plan).decode(),
            state=state,
            outcome=msgspec.Raw(result),
        )
        self._home.catalogue.keep_run(record)
        return began


async def _seen_off(line: Channel) -> None:
    await line.recv(proposal.Ended)


async def _ended(line: Channel) -> None:
    await line.recv(proposal.RunEnds)
