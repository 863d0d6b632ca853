"""Models: how a run ends in one, how its owners release it, and how its predictions are counted."""

from typing import Annotated, Literal

from msgspec import Meta

from parley.ledger.contract.fields import (
    Digest,
    Height,
    Name,
    Positive,
    Signed,
    Time,
    ascending,
)
from parley.ledger.contract.plans import Approval, Plan, approval_path, find_plan, plan_path
from parley.ledger.contract.refusal import refuse
from parley.ledger.contract.rule import HOLDER, NOT_REMOVED, Act, Body, Rule
from parley.ledger.contract.runs import Run, advance, participation
from parley.ledger.contract.state import Draft, Record


class Metric(Record, frozen=True):
    """One figure of a model's quality.

    Attributes:
        name: such as ``auc``.
        ppm: its value in parts per million.
    """

    PATH = ""

    name: Name
    ppm: Signed


class Release(Record, frozen=True):
    """The terms on which a model may be used.

    Attributes:
        quota: predictions allowed.
        until: time to which they are.
    """

    PATH = ""

    quota: Positive
    until: Time


class Model(Record, frozen=True):
    """What a run made.

    Attributes:
        run: its run, whose name is also the model's.
        plan: its plan.
        active: the party that holds the label, and asks for predictions.
        shares: by owner, hash of its model share; empty until the run is finished.
        rounds: training rounds.
        metrics: of the active party, ascending by name.
        status: ``forming`` while the run is finishing; ``withdrawn`` is final.
        release: the terms of the release in force, if there ever was one.
        used: predictions counted against it.
        batches: batches of predictions committed so far, over all releases.
        height: of the last change of status or release.
    """

    PATH = "model/<run>"

    run: str
    plan: str
    active: str
    shares: dict[str, str]
    rounds: int
    metrics: tuple[Metric, ...]
    status: Literal["forming", "trained", "released", "withdrawn"]
    release: Release | None
    used: int
    batches: int
    height: Height


class Consent(Record, frozen=True):
    """One owner's word on a release; deleted when the release comes into force.

    Attributes:
        release: the terms.
        grant: id of the grant by which the active party spoke for the owner, if so.
    """

    PATH = "release/<run>/<owner>"

    release: Release
    grant: str | None


class Finish(Body, frozen=True):
    """Close training; the active party's word.

    Attributes:
        run: which.
        share: hash of its model share.
        metrics: ascending by name.
    """

    run: Name
    share: Digest
    metrics: Annotated[tuple[Metric, ...], Meta(max_length=32)]


class CommitShare(Body, frozen=True):
    """Commit to one's model share.

    Attributes:
        run: which.
        share: its hash.
    """

    run: Name
    share: Digest


class ReleaseModel(Body, frozen=True):
    """Consent to a release; it comes into force when every owner consents to the same terms.

    Attributes:
        model: which.
        release: the terms.
    """

    model: Name
    release: Release


class WithdrawModel(Body, frozen=True):
    """End the use of a model for good.

    Attributes:
        model: which.
    """

    model: Name


def finish(act: Act[Finish]) -> None:
    """No more rounds; the model begins to form."""
    body = act.body
    run = participation(act, body.run)
    if act.sender.name != run.active:
        refuse("not-the-active-party", act.sender.name)
    names = [metric.name for metric in body.metrics]
    if not ascending(names):
        refuse("metrics-invalid")
    moved = advance(act, run, "finish")
    if run.opened != run.closed:
        refuse("rounds-open", f"round {run.opened - 1} is open, round {run.closed - 1} closed")
    model = Model(
        run=run.id,
        plan=run.plan,
        active=run.active,
        shares={},
        rounds=run.closed - 1,
        metrics=body.metrics,
        status="forming",
        release=None,
        used=0,
        batches=0,
        height=act.height,
    )
    _take_share(act, moved, model, body.share)


def commit_share(act: Act[CommitShare]) -> None:
    """Enter a passive party's share; the last one completes the model."""
    run = participation(act, act.body.run)
    if act.sender.name in run.shares:
        refuse("share-known", act.sender.name)
    if run.state != "finishing":
        refuse("run-state", f"share while {run.state}")
    _take_share(act, run, find_model(act.draft, run.id), act.body.share)


def release(act: Act[ReleaseModel]) -> None:
    """Enter an owner's consent."""
    consent(act, act.body.model, act.sender.name, act.body.release, None)


def consent(act: Act[Body], name: str, owner: str, terms: Release, grant: str | None) -> None:
    """Write ``owner``'s consent; the last equal one brings the release into force."""
    model = find_model(act.draft, name)
    plan = find_plan(act.draft, model.plan)
    plan.terms.part(owner)
    if model.status not in ("trained", "released"):
        refuse("model-withdrawn" if model.status == "withdrawn" else "model-not-trained", model.status)
    if not act.now < terms.until <= plan.terms.limits.until:
        refuse("time-out-of-range", f"until {terms.until}; the plan ends at {plan.terms.limits.until}")
    released = _released_by(plan, model, terms)
    if released > plan.terms.limits.predictions:
        refuse("quota-exceeded", f"{released} of {plan.terms.limits.predictions} that the plan allows")
    act.draft.put(consent_path(name, owner), Consent(release=terms, grant=grant))
    given = [act.draft.find(Consent, consent_path(name, party)) for party in plan.terms.parties]
    if not all(one is not None and one.release == terms for one in given):
        return
    for party in plan.terms.parties:
        act.draft.drop(consent_path(name, party))
    act.draft.put(plan_path(model.plan), plan.but(predictions=released))
    act.draft.put(model_path(name), model.but(status="released", release=terms, used=0, height=act.height))


def withdraw(act: Act[WithdrawModel]) -> None:
    """Any owner ends the use of a model."""
    model = find_model(act.draft, act.body.model)
    plan = find_plan(act.draft, model.plan)
    plan.terms.part(act.sender.name)
    if model.status not in ("trained", "released"):
        refuse("model-withdrawn" if model.status == "withdrawn" else "model-not-trained", model.status)
    for party in plan.terms.parties:
        if act.draft.has(consent_path(model.run, party)):
            act.draft.drop(consent_path(model.run, party))
    act.draft.put(plan_path(model.plan), plan.but(predictions=plan.predictions - _unused(model)))
    act.draft.put(model_path(model.run), model.but(status="withdrawn", height=act.height))


def find_model(draft: Draft, run: str) -> Model:
    """The model; refused with ``model-unknown``."""
    return draft.find(Model, model_path(run)) or refuse("model-unknown", run)


def approved_by_grant(draft: Draft, model: Model, owner: str, grant: str) -> bool:
    """Whether ``owner`` approved the model's plan through ``grant``."""
    approval = draft.find(Approval, approval_path(model.plan, owner))
    return approval is not None and approval.verdict == "approved" and approval.grant == grant


def model_path(run: str) -> str:
    """Where a model stands."""
    return f"model/{run}"


def consent_path(run: str, owner: str) -> str:
    """Where an owner's consent to a release stands."""
    return f"release/{run}/{owner}"


def _take_share(act: Act[Body], run: Run, model: Model, share: str) -> None:
    """Enter the sender's share; the last one finishes the run."""
    shares = {**run.shares, act.sender.name: share}
    run = run.but(shares=shares)
    if len(shares) == len(run.committed):
        advance(act, run, "finished")
        model = model.but(shares=shares, status="trained", height=act.height)
    else:
        advance(act, run, "share")
    act.draft.put(model_path(run.id), model)


def _unused(model: Model) -> int:
    """What is left of the release in force."""
    return 0 if model.release is None else model.release.quota - model.used


def _released_by(plan: Plan, model: Model, terms: Release) -> int:
    """Predictions of the plan released by then; what is left of an earlier release is returned."""
    return plan.predictions - _unused(model) + terms.quota


RULES = (
    Rule("run.finish", Finish, finish, roles=HOLDER),
    Rule("run.share", CommitShare, commit_share, roles=HOLDER),
    Rule("model.release", ReleaseModel, release, roles=HOLDER),
    Rule("model.withdraw", WithdrawModel, withdraw, standing=NOT_REMOVED),
)
