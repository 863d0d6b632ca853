"""Standing grants: an owner lets plans of one kind through, within a quota and until a time.

What a plan may use at most (its runs, its predictions) is taken from the grant when the plan is let through,
so that no later act can go beyond the quota.
"""

from typing import Annotated

from msgspec import Meta

from parley.ledger.contract.approvals import enter_approval
from parley.ledger.contract.fields import Column, Count, Digest, Height, Name, Party, Positive, Text, Time
from parley.ledger.contract.plans import Plan, find_plan
from parley.ledger.contract.refusal import refuse
from parley.ledger.contract.rule import HOLDER, NOT_REMOVED, Act, Body, Rule
from parley.ledger.contract.state import Draft, Record


class Kind(Record, frozen=True):
    """Which plans a grant lets through.

    Attributes:
        proposer: whose.
        algorithm: with which algorithm.
        purpose: for which purpose, word for word.
        table: on which table of the owner.
        columns: on which of its columns at most, labels included, ascending.
    """

    PATH = ""

    proposer: Party
    algorithm: Name
    purpose: Text
    table: Name
    columns: Annotated[tuple[Column, ...], Meta(max_length=4096)]

    def lets_through(self, owner: str, plan: Plan) -> bool:
        """Whether ``plan`` is of this kind, as far as ``owner`` is concerned.

        A plan that names no column of the owner asks for all that the owner allows; no grant speaks for that.
        """
        terms, part = plan.terms, plan.terms.part(owner)
        wanted = part.columns if part.label is None else (*part.columns, part.label)
        return (
            plan.proposer == self.proposer
            and terms.algorithm == self.algorithm
            and terms.purpose == self.purpose
            and part.table == self.table
            and len(wanted) > 0
            and all(column in self.columns for column in wanted)
        )


class Quota(Record, frozen=True):
    """An amount of use: runs, and predictions of the models that they make."""

    PATH = ""

    runs: int
    predictions: Count


class Grant(Record, frozen=True):
    """A standing grant.

    Attributes:
        owner: who gave it.
        kind: which plans it lets through.
        quota: how much use it lets through altogether.
        used: how much of that is taken.
        until: time to which it holds; plans let through end by then too.
        revoked: whether the owner has ended it; plans let through before stay approved.
        height: of the last change by the owner.
    """

    PATH = "grant/<id>"

    owner: str
    kind: Kind
    quota: Quota
    used: Quota
    until: int
    revoked: bool
    height: Height


class Give(Body, frozen=True):
    """Give a grant, whose id is the digest of this transaction; the fields are those of `Grant`."""

    kind: Kind
    runs: Positive
    predictions: Count
    until: Time


class Revoke(Body, frozen=True):
    """End a grant of one's own.

    Attributes:
        grant: its id.
    """

    grant: Digest


class Use(Body, frozen=True):
    """Let a plan of one's own through by a grant.

    Attributes:
        grant: its id.
        plan: which.
    """

    grant: Digest
    plan: Digest


def give(act: Act[Give]) -> None:
    """Enter a grant."""
    body = act.body
    if body.until <= act.now:
        refuse("time-out-of-range", f"until {body.until} seen from {act.now}")
    grant = Grant(
        owner=act.sender.name,
        kind=body.kind,
        quota=Quota(runs=body.runs, predictions=body.predictions),
        used=Quota(runs=0, predictions=0),
        until=body.until,
        revoked=False,
        height=act.height,
    )
    act.draft.put(grant_path(act.digest), grant)


def revoke(act: Act[Revoke]) -> None:
    """Mark a grant as revoked."""
    grant = find_grant(act.draft, act.body.grant)
    if act.sender.name != grant.owner:
        refuse("not-permitted", act.sender.name)
    if grant.revoked:
        refuse("grant-revoked", act.body.grant[:16])
    act.draft.put(grant_path(act.body.grant), grant.but(revoked=True, height=act.height))


def use(act: Act[Use]) -> None:
    """Approve a plan on behalf of the owner of a grant, and take what it may use from the quota."""
    grant = find_grant(act.draft, act.body.grant)
    plan = find_plan(act.draft, act.body.plan)
    limits = plan.terms.limits
    if act.sender.name != plan.proposer:
        refuse("not-permitted", act.sender.name)
    if grant.revoked:
        refuse("grant-revoked", act.body.grant[:16])
    if act.now > grant.until or limits.until > grant.until:
        refuse("grant-expired", f"the grant holds until {grant.until}")
    if not grant.kind.lets_through(grant.owner, plan):
        refuse("grant-mismatch", act.body.grant[:16])
    used = Quota(runs=grant.used.runs + limits.runs, predictions=grant.used.predictions + limits.predictions)
    if used.runs > grant.quota.runs or used.predictions > grant.quota.predictions:
        left = grant.quota.runs - grant.used.runs
        refuse("grant-exhausted", f"{left} runs are left of {grant.quota.runs}")
    enter_approval(act, act.body.plan, grant.owner, act.body.grant)
    act.draft.put(grant_path(act.body.grant), grant.but(used=used))


def find_grant(draft: Draft, grant: str) -> Grant:
    """The grant; refused with ``grant-unknown``."""
    return draft.find(Grant, grant_path(grant)) or refuse("grant-unknown", grant[:16])


def grant_path(grant: str) -> str:
    """Where a grant stands."""
    return f"grant/{grant}"


RULES = (
    Rule("grant.give", Give, give, roles=HOLDER),
    Rule("grant.revoke", Revoke, revoke, standing=NOT_REMOVED),
    Rule("grant.use", Use, use),
)
