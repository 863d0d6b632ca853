"""Runs: executions of an approved plan, moved along the table of `transitions`."""

from collections.abc import Iterable
from typing import Final

from parley.ledger.contract.fields import Digest, Height, Name
from parley.ledger.contract.members import Member, member_path
from parley.ledger.contract.plans import Limits, Plan, find_plan, plan_path
from parley.ledger.contract.refusal import refuse
from parley.ledger.contract.rule import HOLDER, NOT_REMOVED, Act, Body, Rule
from parley.ledger.contract.state import Draft, Record
from parley.ledger.contract.tables import is_registered
from parley.ledger.contract.transitions import TERMINAL, Event, State, move

RUNS_AT_ONCE: Final = 16
"""How many runs of one plan may be under way."""


class Run(Record, frozen=True):
    """One execution of a plan.

    Attributes:
        id: its name, chosen by who proposed it.
        plan: the plan.
        proposer: who proposed the run.
        active: the party that holds the label.
        limits: those of the plan.
        state: where it stands.
        left: the state in which it was paused.
        paused_by: who paused it and alone resumes it.
        committed: by participant, how many rounds it has committed to, with the alignment as round 0.
        rows: common rows, as the participants state them at the alignment.
        shares: by participant, hash of its model share.
        deadline: time after which anyone may declare the run failed.
        reason: code of a failure, pause or cancellation; else empty.
        ended_by: who ended it; empty while it lasts.
        height: of the last change.
    """

    PATH = "run/<run>"

    id: str
    plan: str
    proposer: str
    active: str
    limits: Limits
    state: State
    left: State | None
    paused_by: str | None
    committed: dict[str, int]
    rows: int | None
    shares: dict[str, str]
    deadline: int
    reason: str
    ended_by: str
    height: int

    @property
    def closed(self) -> int:
        """How many rounds all participants have committed to, with the alignment as round 0."""
        return min(self.committed.values())

    @property
    def opened(self) -> int:
        """How many rounds some participant has committed to, with the alignment as round 0."""
        return max(self.committed.values())


class Live(Record, frozen=True):
    """Marks a run that has not ended, so that the runs of a plan are found."""

    PATH = "live/<plan>/<run>"

    height: Height


class Propose(Body, frozen=True):
    """Propose to run a plan.

    Attributes:
        run: a new name.
        plan: which.
    """

    run: Name
    plan: Digest


class OfRun(Body, frozen=True):
    """What concerns a run and says nothing more.

    Attributes:
        run: which.
    """

    run: Name


class Stop(Body, frozen=True):
    """Pause, cancel or fail a run.

    Attributes:
        run: which.
        reason: a stable code.
    """

    run: Name
    reason: Name


def propose(act: Act[Propose]) -> None:
    """Enter a run; it is approved at once if its plan is."""
    body, draft, sender = act.body, act.draft, act.sender.name
    plan = find_plan(draft, body.plan)
    if draft.has(run_path(body.run)):
        refuse("run-known", body.run)
    if sender != plan.proposer and sender not in plan.terms.parties:
        refuse("not-permitted", sender)
    if plan.status not in ("open", "approved"):
        refuse("plan-decided", plan.status)
    check_startable(draft, plan, act.now)
    if plan.runs >= plan.terms.limits.runs:
        refuse("runs-exhausted", f"{plan.runs} of {plan.terms.limits.runs}")
    if len(draft.paths(f"live/{body.plan}/")) >= RUNS_AT_ONCE:
        refuse("runs-at-once", f"{RUNS_AT_ONCE}")
    run = Run(
        id=body.run,
        plan=body.plan,
        proposer=sender,
        active=plan.terms.active,
        limits=plan.terms.limits,
        state="proposed",
        left=None,
        paused_by=None,
        committed=dict.fromkeys(plan.terms.parties, 0),
        rows=None,
        shares={},
        deadline=act.now + plan.terms.limits.patience,
        reason="",
        ended_by="",
        height=act.height,
    )
    draft.put(plan_path(body.plan), plan.but(runs=plan.runs + 1))
    draft.put(live_path(run), Live(height=act.height))
    draft.put(run_path(run.id), run)
    if plan.status == "approved":
        advance(act, run, "approve")


def start(act: Act[OfRun]) -> None:
    """Open the gate: the active party begins the alignment."""
    run = find_run(act.draft, act.body.run)
    plan = find_plan(act.draft, run.plan)
    if act.sender.name != run.active:
        refuse("not-the-active-party", act.sender.name)
    if plan.status != "approved":
        refuse("plan-not-approved", plan.status)
    check_startable(act.draft, plan, act.now)
    advance(act, run, "start")


def pause(act: Act[Stop]) -> None:
    """Let a run stand still until the one who paused it resumes it."""
    run = participation(act, act.body.run)
    paused = run.but(left=run.state, paused_by=act.sender.name, reason=act.body.reason)
    advance(act, paused, "pause")


def resume(act: Act[OfRun]) -> None:
    """Go on where the run was paused."""
    run = participation(act, act.body.run)
    plan = find_plan(act.draft, run.plan)
    if run.paused_by not in (None, act.sender.name):
        refuse("not-permitted", f"{run.paused_by} paused the run")
    check_startable(act.draft, plan, act.now)
    moved = advance(act, run, "resume")
    act.draft.put(run_path(run.id), moved.but(left=None, paused_by=None, reason=""))


def cancel(act: Act[Stop]) -> None:
    """End a run by the will of its proposer or of an owner of a table in it."""
    run = find_run(act.draft, act.body.run)
    if act.sender.name != run.proposer and act.sender.name not in run.committed:
        refuse("not-permitted", act.sender.name)
    end(act, run, "cancel", act.body.reason)


def fail(act: Act[Stop]) -> None:
    """End a run that a participant cannot go on with."""
    run = participation(act, act.body.run)
    end(act, run, "fail", act.body.reason)


def expire(act: Act[OfRun]) -> None:
    """End a run that stood still for too long; any member may say so."""
    run = find_run(act.draft, act.body.run)
    if run.state not in TERMINAL and act.now <= run.deadline:
        refuse("deadline-ahead", f"{run.deadline - act.now} s")
    end(act, run, "fail", "deadline")


def find_run(draft: Draft, run: str) -> Run:
    """The run; refused with ``run-unknown``."""
    return draft.find(Run, run_path(run)) or refuse("run-unknown", run)


def participation(act: Act[Body], name: str) -> Run:
    """A run in which the sender takes part."""
    run = find_run(act.draft, name)
    if act.sender.name not in run.committed:
        refuse("not-a-participant", act.sender.name)
    return run


def check_startable(draft: Draft, plan: Plan, now: int) -> None:
    """Refuse a plan past its time, a party that is not active, a table that is withdrawn."""
    if now > plan.terms.limits.until:
        refuse("plan-expired", f"at {plan.terms.limits.until}")
    check_parties(draft, plan)
    for part in plan.terms.parts:
        if not is_registered(draft, part.party, part.table):
            refuse("table-unknown", f"{part.party}/{part.table}")


def check_parties(draft: Draft, plan: Plan) -> None:
    """Refuse what involves a party that is not an active member."""
    for part in plan.terms.parts:
        if draft.known(Member, member_path(part.party)).standing != "active":
            refuse("party-not-active", part.party)


def advance(act: Act[Body], run: Run, event: Event) -> Run:
    """Move a run along the table, renew its deadline, and write it; refused with ``run-state``."""
    state = move(run.state, event, run.left)
    if state is None:
        refuse("run-state", f"{event} while {run.state}")
    moved = run.but(state=state, deadline=act.now + run.limits.patience, height=act.height)
    act.draft.put(run_path(run.id), moved)
    if state in TERMINAL:
        act.draft.drop(live_path(run))
    return moved


def end(act: Act[Body], run: Run, event: Event, reason: str) -> None:
    """Move a run to where it ends without a model."""
    advance(act, run.but(reason=reason, ended_by=act.sender.name), event)


def live_runs(draft: Draft, plan: str) -> Iterable[Run]:
    """The runs of a plan that have not ended, ascending by name."""
    prefix = f"live/{plan}/"
    return [draft.known(Run, run_path(path.removeprefix(prefix))) for path in draft.paths(prefix)]


def run_path(run: str) -> str:
    """Where a run stands."""
    return f"run/{run}"


def live_path(run: Run) -> str:
    """Where the mark of a run that has not ended stands."""
    return f"live/{run.plan}/{run.id}"


RULES = (
    Rule("run.propose", Propose, propose, roles=HOLDER),
    Rule("run.start", OfRun, start, roles=HOLDER),
    Rule("run.pause", Stop, pause, standing=NOT_REMOVED),
    Rule("run.resume", OfRun, resume),
    Rule("run.cancel", Stop, cancel, standing=NOT_REMOVED),
    Rule("run.fail", Stop, fail, standing=NOT_REMOVED),
    Rule("run.expire", OfRun, expire),
)
