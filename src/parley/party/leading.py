"""A run that we lead: from the plan's approval to its report, over as many attempts as it takes."""

import asyncio
import time
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any, Final, TypeVar

import msgspec

from parley.core.conversation import Channel
from parley.core.errors import ParleyError, PeerLost
from parley.core.plan import Plan
from parley.core.trace import Sink, StepBegan, Trace
from parley.learn.shares import encode_share
from parley.net.channel import CheckedChannel, Setting
from parley.party.course import Course
from parley.party.failures import cancelled, cancels, interrupts, known, level_of, lines_of, waits
from parley.party.gate import Gate, terms_of
from parley.party.hiring import Worker, hired
from parley.party.office import Office
from parley.party.rendezvous import dialled
from parley.party.report import RunReport, Tally
from parley.party.run import led_of
from parley.party.runstate import State
from parley.party.summary import summarise
from parley.protocols import proposal
from parley.protocols.together import together

LIFELINE: Final = 365 * 86400.0
"""Patience in seconds on lines that are silent while a run lasts; a dead peer breaks them at once."""
NOT_BEGUN: Final[tuple[State, ...]] = ("queued", "awaiting")
"""In these states nobody but us has been asked to compute."""
R = TypeVar("R")
_SOON: Final = 0.5
_LATE: Final = 5.0
"""Seconds between two attempts: the first pause, which doubles up to the last."""


class Leading:
    """One run as its active party drives it.

    Args:
        office: of our party.
        course: where the run stands here.
        sinks: take the trace.
    """

    def __init__(self, office: Office, course: Course, *sinks: Sink) -> None:
        self._office = office
        self._course = course
        self._tally = Tally(office.clocks.monotonic)
        self._diary = course.diary
        self._log = office.log.about(run=course.run, role=course.role)
        observing = office.sinks(course.record)
        self._trace = Trace(office.clocks.monotonic, self._tally, self._diary, *observing, *sinks)
        self._unwanted = asyncio.Event()
        self._hurried = asyncio.Event()
        self._agreed = course.state not in NOT_BEGUN
        self._spare = AsyncExitStack()

    def cancel(self) -> None:
        """Our people no longer want the run."""
        self._unwanted.set()
        self._hurried.set()

    def hurry(self) -> None:
        """Try at once to go on, if the run stands still."""
        self._hurried.set()

    async def run(self, wait: float) -> RunReport:
        """Wait for a turn, have the plan approved, and run it to its end.

        Args:
            wait: seconds to wait for the plan's approval on the ledger.

        Raises:
            ParleyError: whatever ended it.
        """
        run, plan = self._course.run, self._course.plan
        self._log(f"{run} begins: {plan.name!r} with {', '.join(plan.passive)}")
        try:
            async with self._spare:
                # what we are to answer for is looked at before anyone is asked
                worker = await self._unless_unwanted(self._first())
                gate = self._office.gate(run)
                if gate is not None:
                    worker = await self._have_approved(gate, worker, wait)
                self._course.move("approve")
                return await self._to_the_end(worker)
        except BaseException as error:
            await self._failed(error)
            raise

    async def go_on(self) -> RunReport:
        """Go on with a run that was under way when our party stopped; errors as with `run`."""
        try:
            return await self._to_the_end()
        except BaseException as error:
            await self._failed(error)
            raise

    async def _first(self) -> Worker:
        """Our spare worker, once it is our turn."""
        with self._trace.phase("queue", 1, "turns") as phase:
            if not self._office.turns.free:
                phase.advance(0, "waiting for its turn behind other runs")
            await self._take_turn(self._spare)
            phase.advance(1)
        if self._course.state == "queued":
            self._course.move("begin")
        return await self._hire(self._spare)

    async def _take_turn(self, stack: AsyncExitStack) -> None:
        await stack.enter_async_context(self._office.turns.turn(self._course.priority))

    async def _have_approved(self, gate: Gate, worker: Worker, wait: float) -> Worker:
        """Have the plan approved on the ledger by every owner of a table in it, and the run started.

        While the owners think it over, others have our turn.
        """
        self._trace.emit(StepBegan("approve"))
        now = int(self._office.clocks.wall())
        terms = terms_of(self._course.plan, {self._office.name: worker.features}, now)
        with self._trace.phase("approve", 1, "plans") as phase:
            with self._diary.at_the_ledger("the plan"):
                asked = await self._unless_unwanted(gate.ask(terms))
            if not gate.is_approved(asked):
                await self._spare.aclose()
                with self._diary.at_the_ledger("the plan approved"):
                    tell = lambda words: phase.advance(0, words)  # noqa: E731
                    await self._unless_unwanted(gate.approval(asked, wait, tell))
                worker = await self._unless_unwanted(self._first())
            with self._diary.at_the_ledger("the run started"):
                await self._unless_unwanted(gate.start(asked))
            phase.advance(1)
        return worker

    async def _unless_unwanted(self, doing: Coroutine[Any, Any, R]) -> R:
        asking = asyncio.ensure_future(doing)
        unwanted = asyncio.ensure_future(self._unwanted.wait())
        either: list[asyncio.Future[Any]] = [asking, unwanted]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                raise cancelled(self._office.name, self._course.run)
            return asking.result()
        finally:
            for task in either:
                task.cancel()
            await asyncio.gather(*either, return_exceptions=True)

    # ── attempts ──────────────────────────────────────────────────────────────────────────────────────

    async def _to_the_end(self, worker: Worker | None = None) -> RunReport:
        """Attempt after attempt; the first with a worker that is there already, our spare one."""
        pause = _SOON
        while True:
            gate = self._office.gate(self._course.run)
            try:
                if self._unwanted.is_set():
                    raise cancelled(self._office.name, self._course.run)
                return await self._attempt(gate, worker)
            except ParleyError as error:
                if gate is not None:
                    gate.let_go()
                if not (interrupts(error) if self._agreed else waits(error)):
                    raise
                pause = _SOON if self._course.state == "running" else min(2 * pause, _LATE)
                await self._interrupted(error, gate)
                if self._office.clocks.wall() > self._course.deadline:
                    raise
            worker = None
            await self._stand_still(pause)

    async def _attempt(self, gate: Gate | None, worker: Worker | None) -> RunReport:
        course, plan = self._course, self._course.plan
        # the lines are left before the worker is let go: the peers hear the reason first
        async with AsyncExitStack() as workers, AsyncExitStack() as stack:
            if worker is None:
                await self._unless_unwanted(self._take_turn(workers))
            else:  # it is let go with this attempt, as any other: no two may write one journal
                await workers.enter_async_context(self._spare.pop_all())
            self._office.check_room()
            lines = [await self._line(stack, peer) for peer in plan.passive]
            place = await self._common_place(lines, plan)
            self._agreed = True
            at_work = worker or await self._hire(workers)
            await asyncio.to_thread(course.journal.rewind, place)
            for line in lines:
                await line.send(proposal.GoOn(place))
            if course.state == "interrupted":
                course.move("resume")
                self._log(f"{course.run} goes on from place {place}")
            course.attempt(place)

            async def to_the_end() -> int:
                if gate is not None:
                    with self._diary.at_the_ledger("the run under way"):
                        await gate.go_on(place)
                reached = await at_work.work(place, self._trace, gate)
                self._diary.worked()
                for line in lines:
                    await line.send(proposal.RunEnds())
                watching.cancel()
                return reached

            watching = asyncio.ensure_future(self._watch())
            reached = await together(to_the_end(), watching, *(_seen_off(line) for line in lines))
        return await self._finish(reached, gate)

    async def _hire(self, stack: AsyncExitStack) -> Worker:
        office, run = self._office, self._course.run
        passing = partial(dialled, office.dial, run)
        return await stack.enter_async_context(hired(office, run, self._course.plan, passing, self._diary))

    async def _line(self, stack: AsyncExitStack, peer: str) -> Channel:
        transport = await self._office.dial(peer, f"/proposals/{self._course.run}")
        # the line's own trace: its silence while the run lasts is not waiting
        trace = Trace(self._office.clocks.monotonic)
        setting = Setting(proposal.STEPS, proposal.ACTIVE, self._course.run, trace, LIFELINE)
        return await stack.enter_async_context(CheckedChannel(transport, setting))

    async def _common_place(self, lines: Sequence[Channel], plan: Plan) -> int:
        """The latest place that all parties keep."""
        common = frozenset(await asyncio.to_thread(self._course.journal.places))
        for line in lines:
            common &= await self._agreement(line, plan)
        return max(common, default=0)

    async def _agreement(self, line: Channel, plan: Plan) -> frozenset[int]:
        patience = self._office.home.settings.patience
        try:
            with self._diary.waiting(line.peer, "its agreement"):
                async with asyncio.timeout(patience):
                    return await proposal.propose(line, plan)
        except TimeoutError:
            raise PeerLost(
                "silent-peer",
                f"{line.peer} did not answer our proposal for {patience:g} s",
                peer=line.peer,
                remedy=f"ask {line.peer} whether its party is overloaded",
            ) from None

    async def _watch(self) -> None:
        """Ends the attempt when the run is no longer wanted."""
        await self._unwanted.wait()
        raise cancelled(self._office.name, self._course.run)

    async def _finish(self, place: int, gate: Gate | None) -> RunReport:
        course = self._course
        led = led_of(course.journal, place)
        if led.reference is not None:
            self._office.home.keep_reference(led.reference)
        self._office.home.keep_share(led.share)
        if gate is not None:
            self._trace.emit(StepBegan("ledger"))
            with self._diary.at_the_ledger("the run finished"):
                await gate.finish(encode_share(led.share), led.quality)
        report = summarise(course.run, course.plan, led, self._tally.costs())
        course.move("finish", msgspec.json.encode(report))
        self._log(f"{course.run} finished: {report.common} rows in common, {report.rounds} rounds")
        return report

    # ── what comes between ────────────────────────────────────────────────────────────────────────────

    async def _interrupted(self, error: ParleyError, gate: Gate | None) -> None:
        """Note that the run stands still, and why; a second attempt that fails changes nothing."""
        if self._course.state == "running":
            self._log.because(error).say("warning", f"{self._course.run} is interrupted: {lines_of(error)}")
            self._course.stop("interrupt", error)
            if gate is not None and self._agreed:  # else it has not begun, and nobody waits for it
                await gate.pause(error)
        else:
            self._diary.stands_still(error)

    async def _stand_still(self, seconds: float) -> None:
        self._hurried.clear()
        until = time.strftime("%H:%M", time.localtime(self._course.deadline))
        with self._trace.phase("interrupted", 1, "attempts") as phase, suppress(TimeoutError):
            phase.advance(0, f"{self._course.why}; goes on by itself until {until}")
            async with asyncio.timeout(seconds):
                await self._hurried.wait()

    async def _failed(self, error: BaseException) -> None:
        """Note how the run ended; one that our own stopping interrupts goes on when we are back."""
        if isinstance(error, asyncio.CancelledError):
            if self._course.state == "running":
                self._course.stop("interrupt", error)
            return
        gate = self._office.gate(self._course.run)
        if gate is not None:
            await gate.end(error)
        self._course.stop("cancel" if cancels(error) else "fail", error)
        log = self._log.because(known(error))
        log.say(level_of(error), f"{self._course.run} failed: {lines_of(error)}")


async def _seen_off(line: Channel) -> None:
    await line.recv(proposal.Ended)
