"""A run that we follow: one attempt for each time the active party proposes to go on."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

import msgspec

from parley.core.conversation import Channel
from parley.core.errors import ParleyError, PeerAborted, PeerLost, PolicyRefused
from parley.core.plan import Plan
from parley.core.trace import Trace
from parley.learn.shares import encode_share
from parley.party.course import Course
from parley.party.failures import cancelled, cancels, interrupts, lines_of
from parley.party.gate import Gate
from parley.party.hiring import Worker, hired
from parley.party.office import Office
from parley.party.rendezvous import Rendezvous
from parley.party.run import Followed, followed_of
from parley.party.runstate import TERMINAL
from parley.protocols import proposal
from parley.protocols.together import together
from parley.store.journal import Journal

_GOING_ON: Final = ("aligning", "training", "finishing", "finished", "paused")
"""Where a run may stand on the ledger when it goes on after an interruption."""
_AGAIN: Final = 5.0
"""Seconds after which we ask a ledger again that was silent."""


class Following:
    """One run as a passive party takes part in it.

    Args:
        office: of our party.
        run: identifier.
        leader: the active party.
        course: where the run stands here, if it was under way before.
    """

    def __init__(self, office: Office, run: str, leader: str, course: Course | None = None) -> None:
        self._office = office
        self.run = run
        self.leader = leader
        self.course = course
        self._diary = office.diaries.of(run, proposal.PASSIVE)
        self._log = office.log.about(run=run, role=proposal.PASSIVE)
        self.meeting = Rendezvous(run, leader, office.home.settings.patience)
        self._agreed = self._began = course is not None
        self._unwanted = asyncio.Event()
        self._at_work: asyncio.Task[None] | None = None
        self._gives_way = False
        self._expiring: asyncio.Task[None] | None = None
        self._untold: Callable[[], Awaitable[None]] | None = None
        self._telling = asyncio.Lock()

    @property
    def under_way(self) -> bool:
        """Whether it is at work, or may go on."""
        waits = self.course is not None and self.course.state == "interrupted"
        return waits or self._at_work is not None

    @property
    def at_work(self) -> bool:
        """Whether an attempt is under way."""
        return self._at_work is not None

    def cancel(self) -> bool:
        """Our people no longer want the run; whether an attempt was under way that tells the others."""
        self._unwanted.set()
        return self._at_work is not None

    async def attempt(self, line: Channel, plan: Plan, workers: AsyncExitStack) -> None:
        """Take part until the run is over, or something comes between.

        An attempt that is still under way has not noticed yet that its line is gone: it gives way.

        Args:
            line: over which it was proposed.
            plan: what was.
            workers: left after the line, so that the active party hears the reason of an end first.
        """
        if self._at_work is not None:
            self._gives_way = True
            self._at_work.cancel()
            await asyncio.wait([self._at_work])
        self._gives_way = False
        self.leave()
        async with self._telling:  # a pause that arrived later would stop this attempt
            self._untold = None
        meeting = self.meeting = Rendezvous(self.run, self.leader, self._office.home.settings.patience)
        at_work = self._at_work = asyncio.ensure_future(self._attempt(line, plan, meeting, workers))
        try:
            await at_work
        finally:
            meeting.dismiss()
            if self._at_work is at_work:
                self._at_work = None

    async def _attempt(self, line: Channel, plan: Plan, meeting: Rendezvous, workers: AsyncExitStack) -> None:
        office, gate = self._office, self._office.gate(self.run)
        entered = None
        try:
            office.admit(plan, line.peer)
            office.check_room()
            if gate is not None:  # before a row of ours is read
                with self._diary.at_the_ledger("the run as it is proposed"):
                    await gate.enter(plan, line.peer, *(() if self.course is None else _GOING_ON))
            entered = gate  # what is no run of ours is not ours to fail
            hiring = hired(office, self.run, plan, meeting.conversation, self._diary)
            worker = await workers.enter_async_context(hiring)
            course = self._known(plan)
            place = await self._agree(line, plan, course.journal)
            course.attempt(place)
            await asyncio.to_thread(course.journal.rewind, place)
            if course.state == "interrupted":
                course.move("resume")
            reached = await self._follow(line, worker, course, place, gate)
            followed = followed_of(course.journal, reached)
            office.home.keep_share(followed.share)
            if gate is None:  # noted first: once it has heard this, the active party does not come back
                self._finished(course, followed)
            await line.send(proposal.Ended())
            if gate is not None:
                with self._diary.at_the_ledger("the run finished, and our share"):
                    await gate.hand_in(encode_share(followed.share))
                self._finished(course, followed)
        except BaseException as error:
            self._over(self._anew() if self._gives_way else error, entered)
            raise

    def _finished(self, course: Course, followed: Followed) -> None:
        if course.state == "finished":  # the active party had not heard it
            course.journal.close()
        else:
            course.move("finish", _outcome(followed))
        splits = len(followed.share.rules)
        self._log(f"{self.run} finished: {followed.common} rows in common, {splits} splits of ours")

    async def _agree(self, line: Channel, plan: Plan, journal: Journal) -> int:
        """Agree to take part; returns the place to go on from, once all have agreed."""
        places = await asyncio.to_thread(journal.places)
        patience = self._office.home.settings.patience
        try:
            async with asyncio.timeout(patience):
                await proposal.agree(line, plan, places)
                self._agreed = True
                with self._diary.waiting(self.leader, "its word to begin"):
                    place = await proposal.hear_place(line, places)
        except TimeoutError:
            raise PeerLost(
                "silent-peer",
                f"{self.leader} did not begin {self.run} within {patience:g} s of our agreement",
                peer=self.leader,
                remedy=f"ask {self.leader} what its own log says of the run",
            ) from None
        self._began = True
        return place

    def _known(self, plan: Plan) -> Course:
        """The course of the run; noted from now on."""
        if self.course is None:
            self.course = Course.begin(self._office, self.run, proposal.PASSIVE, plan, "running")
        return self.course

    async def _follow(
        self, line: Channel, worker: Worker, course: Course, place: int, gate: Gate | None
    ) -> int:
        sinks = self._office.sinks(course.record)
        trace = Trace(self._office.clocks.monotonic, self._diary, *sinks)

        async def to_the_end() -> int:
            if gate is not None:
                with self._diary.at_the_ledger("the run under way"):
                    await gate.go_on(place)
            reached = await worker.work(place, trace, gate)
            self._diary.worked()
            with self._diary.waiting(self.leader, "the end of the run"):
                await hearing
            watching.cancel()
            return reached

        hearing = asyncio.ensure_future(_ended(line))
        watching = asyncio.ensure_future(self._watch())
        return await together(to_the_end(), hearing, watching)

    async def _watch(self) -> None:
        """Ends the attempt when the run is no longer wanted."""
        await self._unwanted.wait()
        raise cancelled(self._office.name, self.run)

    # ── what comes between ────────────────────────────────────────────────────────────────────────────

    def _over(self, error: BaseException, gate: Gate | None) -> None:
        """Note why the attempt ended, and whether the run can go on."""
        course = self.course
        passing = self._goes_on_after(error)
        if course is not None and course.state not in TERMINAL:
            if not passing:
                course.stop("cancel" if cancels(error) else "fail", error)
            else:
                if course.state == "running":  # else it still stands still for the reason that it has
                    course.stop("interrupt", error)
                self.expect()
        if gate is not None:
            gate.let_go()
            if isinstance(error, ParleyError):
                self._untold = partial(gate.pause if passing else gate.end, error)

    def _goes_on_after(self, error: BaseException) -> bool:
        """Whether the active party will propose to go on.

        Between our agreement and its word to begin it does if it vanished, as it may have agreed; not
        if it says that somebody else is lost: then not all have agreed.
        """
        begun = self._began or (self._agreed and not isinstance(error, PeerAborted))
        return begun and interrupts(error)

    def _anew(self) -> PeerLost:
        """Why an attempt gave way to the next one."""
        return PeerLost(
            "peer-restarted",
            f"{self.leader} proposes to go on with {self.run}, so it had lost what was under way",
            peer=self.leader,
            remedy="nothing is to be done: the run goes on",
        )

    async def tell_ledger(self) -> None:
        """Say on the ledger how the last attempt ended, if it did not end well; the peers know by now."""
        async with self._telling:
            untold, self._untold = self._untold, None
            if untold is not None:
                await untold()

    async def _give_up(self, error: ParleyError) -> None:
        """End a run that stands still."""
        if self.course is not None:
            self.course.stop("cancel" if cancels(error) else "fail", error)
        gate = self._office.gate(self.run)
        if gate is not None:
            await gate.end(error)

    def expect(self) -> None:
        """Wait for the active party to go on or to have finished, as long as the run may stand still."""
        if self._expiring is None:
            self._expiring = asyncio.create_task(self._expire())

    def leave(self) -> None:
        """No longer wait for the active party."""
        if self._expiring is not None:
            self._expiring.cancel()
            self._expiring = None

    async def refuse(self) -> None:
        """Cancel a run that stands still."""
        self.leave()
        await self._give_up(cancelled(self._office.name, self.run))

    async def _expire(self) -> None:
        course = self.course
        assert course is not None  # noqa: S101 (what is expected has begun)
        while course.state == "interrupted":
            left = course.deadline - self._office.clocks.wall()
            if left <= 0:
                error = PeerLost(
                    "not-gone-on-with",
                    f"{self.leader} did not go on with {self.run}, which stood still because {course.why}",
                    peer=self.leader,
                    remedy=f"ask {self.leader} to run the plan again",
                )
                self._log.because(error).say("error", f"{self.run} failed: {lines_of(error)}")
                await self._give_up(error)
                return
            try:
                async with asyncio.timeout(left):
                    await self._finish_alone(course)
            except PolicyRefused as error:
                self._log.because(error).say("error", f"{self.run} failed: {lines_of(error)}")
                await self._give_up(error)
            except ParleyError:  # the ledger is silent: perhaps later
                await asyncio.sleep(min(left, _AGAIN))
            except TimeoutError:
                pass

    async def _finish_alone(self, course: Course) -> None:
        """Nothing but the ledger waits for us, if we are done and the active party has finished there.

        Raises:
            PolicyRefused: the run has failed there.
            ParleyError: the ledger is silent.
        """
        gate, places = self._office.gate(self.run), await asyncio.to_thread(course.journal.places)
        if gate is None or not places or course.journal.done(places[-1]) is None:
            await asyncio.Event().wait()  # only the active party can go on
            return
        try:
            await gate.finishing()
            await gate.go_on(places[-1])
            followed = followed_of(course.journal, places[-1])
            await gate.hand_in(encode_share(followed.share))
        finally:
            gate.let_go()
        self._finished(course, followed)


def may_go_on(course: Course, line: Channel, plan: Plan) -> None:
    """Whether a known run is one that its active party may propose to go on with. Numbered checks.

    Raises:
        PeerMisbehaved: it is somebody else's run, or another plan.
        PolicyRefused: it has ended here.
    """
    # 1. one that this peer leads, and 2. of the same plan
    if (
        course.role != proposal.PASSIVE
        or course.plan.active != line.peer
        or course.plan.digest != plan.digest
    ):
        raise line.fault("run-known", f"proposed {course.run}, a name that another run has here")
    # 3. that has not ended without a model
    if course.state == "cancelled":
        raise cancelled("we", course.run)
    if course.state == "failed":
        raise PolicyRefused(
            "run-over",
            f"{course.run} has failed here: {course.why}",
            remedy="run the plan again",
            public="the run has failed here; run the plan again",
        )


async def _ended(line: Channel) -> None:
    await line.recv(proposal.RunEnds)


def _outcome(followed: Followed) -> bytes:
    return msgspec.json.encode(
        {"entered": followed.entered, "common": followed.common, "splits": len(followed.share.rules)}
    )
