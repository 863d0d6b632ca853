"""A run that we follow: one attempt for each time the active party proposes to go on."""

import asyncio
from typing import Final

import msgspec

from parley.core.conversation import Channel
from parley.core.errors import ParleyError, PeerLost, PolicyRefused
from parley.core.plan import Plan
from parley.core.trace import Trace
from parley.learn.shares import encode_share
from parley.party.course import Course
from parley.party.failures import cancelled, cancels, interrupts, lines_of
from parley.party.gate import Gate
from parley.party.office import Office
from parley.party.rendezvous import Rendezvous, waiting
from parley.party.run import Followed, Work, check, follow
from parley.protocols import proposal
from parley.protocols.together import together

_GOING_ON: Final = ("aligning", "training", "finishing", "finished", "paused")
"""Where a run may stand on the ledger when it goes on after an interruption."""


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
        self.meeting = Rendezvous(run, leader, office.home.settings.patience)
        self._began = course is not None
        self._unwanted = asyncio.Event()
        self._at_work: asyncio.Task[None] | None = None
        self._expiring: asyncio.Task[None] | None = None

    @property
    def under_way(self) -> bool:
        """Whether it is at work, or may go on."""
        waits = self.course is not None and self.course.state == "interrupted"
        return waits or self._at_work is not None

    def cancel(self) -> bool:
        """Our people no longer want the run; whether an attempt was under way that tells the others."""
        self._unwanted.set()
        return self._at_work is not None

    async def attempt(self, line: Channel, plan: Plan, trace: Trace) -> None:
        """Take part until the run is over, or something comes between.

        An attempt that is still under way has not noticed yet that its line is gone: it gives way.
        """
        if self._at_work is not None:
            self._at_work.cancel()
            await asyncio.wait([self._at_work])
        self.leave()
        meeting = self.meeting = Rendezvous(self.run, self.leader, self._office.home.settings.patience)
        at_work = self._at_work = asyncio.ensure_future(self._attempt(line, plan, trace))
        try:
            await at_work
        finally:
            meeting.dismiss()
            if self._at_work is at_work:
                self._at_work = None

    async def _attempt(self, line: Channel, plan: Plan, trace: Trace) -> None:
        office, gate = self._office, self._office.gate(self.run)
        office.admit(plan, line.peer)
        if gate is not None:  # before a row of ours is read; and what is no run of ours is not ours to fail
            await gate.enter(plan, line.peer, *(() if self.course is None else _GOING_ON))
        try:
            work = await self._work(plan, trace, gate)
            await asyncio.to_thread(check, work)
            course = self._begin(plan)
            place = await self._agree(line, work)
            followed = await self._follow(line, work, place, gate)
            office.home.keep_share(followed.share)
            await line.send(proposal.Ended())
            if gate is not None:
                await gate.hand_in(encode_share(followed.share))
        except BaseException as error:
            await self._over(error, gate)
            raise
        if course.state != "finished":
            course.move("finish", _outcome(followed))
        splits = len(followed.share.rules)
        office.log(f"{self.run} finished: {followed.common} rows in common, {splits} splits of ours")

    async def _work(self, plan: Plan, trace: Trace, gate: Gate | None) -> Work:
        opening = waiting(self.meeting, trace, None if gate is None else gate.transcript)
        return await asyncio.to_thread(self._office.work, self.run, plan, opening, trace, gate)

    async def _agree(self, line: Channel, work: Work) -> int:
        """Agree to take part; returns the place to go on from, once all have agreed."""
        places = await asyncio.to_thread(work.journal.places)
        patience = self._office.home.settings.patience
        try:
            async with asyncio.timeout(patience):
                place = await proposal.agree(line, work.plan, places)
        except TimeoutError:
            raise PeerLost(
                "silent-peer",
                f"{self.leader} did not begin {self.run} within {patience:g} s of our agreement",
                peer=self.leader,
                remedy=f"ask {self.leader} what its own log says of the run",
            ) from None
        self._began = True
        return place

    def _begin(self, plan: Plan) -> Course:
        if self.course is None:
            self.course = Course.begin(self._office, self.run, proposal.PASSIVE, plan, "running")
        elif self.course.state == "interrupted":
            self.course.move("resume")
        self.course.attempt()
        return self.course

    async def _follow(self, line: Channel, work: Work, place: int, gate: Gate | None) -> Followed:
        await asyncio.to_thread(work.journal.rewind, place)

        async def to_the_end() -> Followed:
            if gate is not None:
                await gate.go_on(place)
            followed = await follow(work, place)
            await hearing
            watching.cancel()
            return followed

        hearing = asyncio.ensure_future(_ended(line))
        watching = asyncio.ensure_future(self._watch())
        return await together(to_the_end(), hearing, watching)

    async def _watch(self) -> None:
        """Ends the attempt when the run is no longer wanted."""
        await self._unwanted.wait()
        raise cancelled(self._office.name, self.run)

    # ── what comes between ────────────────────────────────────────────────────────────────────────────

    async def _over(self, error: BaseException, gate: Gate | None) -> None:
        """Note why the attempt ended, and whether the run can go on."""
        course = self.course
        if course is not None and course.state == "running" and self._began and interrupts(error):
            course.stop("interrupt", error)
            self.expect()
            if gate is not None and isinstance(error, ParleyError):
                await gate.pause(error)
        elif course is None or course.state == "running":
            await self._give_up(error)

    async def _give_up(self, error: BaseException) -> None:
        gate = self._office.gate(self.run)
        if gate is not None:
            await gate.end("run.cancel" if cancels(error) else "run.fail", error)
        if self.course is not None:
            self.course.stop("cancel" if cancels(error) else "fail", error)

    def expect(self) -> None:
        """Wait for the active party to go on, as long as the run may stand still."""
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
                self._office.log(f"{self.run} failed: {lines_of(error)}")
                await self._give_up(error)
                return
            await asyncio.sleep(left)


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
