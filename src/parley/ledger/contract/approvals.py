"""Proposing a plan, and what the owners of the tables in it say."""

from parley.ledger.contract.fields import Digest, Text
from parley.ledger.contract.members import find_member
from parley.ledger.contract.plans import (
    Approval,
    Plan,
    Terms,
    approval_path,
    check_terms,
    find_plan,
    plan_id,
    plan_path,
)
from parley.ledger.contract.refusal import refuse
from parley.ledger.contract.rule import HOLDER, NOT_REMOVED, Act, Body, Rule
from parley.ledger.contract.runs import advance, end, live_runs
from parley.ledger.contract.tables import is_registered


class ProposePlan(Body, frozen=True):
    """Ask the owners; a proposer that is a party approves by that.

    Attributes:
        terms: all that they must know.
    """

    terms: Terms


class ApprovePlan(Body, frozen=True):
    """Agree to the use of one's table.

    Attributes:
        plan: hash of proposer and terms.
    """

    plan: Digest


class ObjectToPlan(Body, frozen=True):
    """Reject or withdraw a plan.

    Attributes:
        plan: which.
        why: for people.
    """

    plan: Digest
    why: Text


def propose(act: Act[ProposePlan]) -> None:
    """Enter a plan."""
    terms, draft, sender = act.body.terms, act.draft, act.sender.name
    check_terms(terms, act.now)
    identifier = plan_id(sender, terms)
    if draft.has(plan_path(identifier)):
        refuse("plan-known", identifier[:16])
    for part in terms.parts:
        party = find_member(draft, part.party)
        if party.standing != "active" or party.role != "holder":
            refuse("party-not-active", part.party)
        if not is_registered(draft, part.party, part.table):
            refuse("table-unknown", f"{part.party}/{part.table}")
    plan = Plan(
        proposer=sender, terms=terms, status="open", approvals=(), runs=0, predictions=0, height=act.height
    )
    draft.put(plan_path(identifier), plan)
    if sender in terms.parties:
        enter_approval(act, identifier, sender, None)


def approve(act: Act[ApprovePlan]) -> None:
    """Enter an owner's approval."""
    enter_approval(act, act.body.plan, act.sender.name, None)


def reject(act: Act[ObjectToPlan]) -> None:
    """An owner that has not approved says no; that is the end of the plan."""
    plan = find_plan(act.draft, act.body.plan)
    plan.terms.part(act.sender.name)
    if plan.status != "open":
        refuse("plan-decided", plan.status)
    if act.sender.name in plan.approvals:
        refuse("approved-already", "withdraw the plan instead")
    rejection = Approval(verdict="rejected", grant=None, why=act.body.why, height=act.height)
    act.draft.put(approval_path(act.body.plan, act.sender.name), rejection)
    _close(act, act.body.plan, plan.but(status="rejected", height=act.height), "plan-rejected")


def withdraw(act: Act[ObjectToPlan]) -> None:
    """The proposer or an owner takes its word back; runs under way end, models stay."""
    plan, sender = find_plan(act.draft, act.body.plan), act.sender.name
    if sender != plan.proposer and sender not in plan.terms.parties:
        refuse("not-permitted", sender)
    if plan.status not in ("open", "approved"):
        refuse("plan-decided", plan.status)
    withdrawal = Approval(verdict="withdrawn", grant=None, why=act.body.why, height=act.height)
    act.draft.put(approval_path(act.body.plan, sender), withdrawal)
    _close(act, act.body.plan, plan.but(status="withdrawn", height=act.height), "plan-withdrawn")


def enter_approval(act: Act[Body], identifier: str, owner: str, grant: str | None) -> None:
    """Write ``owner``'s approval; the last one approves the plan and the runs that wait for it."""
    draft, plan = act.draft, find_plan(act.draft, identifier)
    plan.terms.part(owner)
    if plan.status != "open":
        refuse("plan-decided", plan.status)
    if owner in plan.approvals:
        refuse("approved-already", owner)
    if act.now > plan.terms.limits.until:
        refuse("plan-expired", f"at {plan.terms.limits.until}")
    approval = Approval(verdict="approved", grant=grant, why="", height=act.height)
    draft.put(approval_path(identifier, owner), approval)
    approvals = tuple(sorted((*plan.approvals, owner)))
    plan = plan.but(approvals=approvals)
    if approvals == plan.terms.parties:
        plan = plan.but(status="approved", height=act.height)
        for run in live_runs(draft, identifier):
            advance(act, run, "approve")
    draft.put(plan_path(identifier), plan)


def _close(act: Act[Body], identifier: str, plan: Plan, reason: str) -> None:
    """Write a plan that is over, and cancel its runs."""
    for run in live_runs(act.draft, identifier):
        end(act, run, "cancel", reason)
    act.draft.put(plan_path(identifier), plan)


RULES = (
    Rule("plan.propose", ProposePlan, propose),
    Rule("plan.approve", ApprovePlan, approve, roles=HOLDER),
    Rule("plan.reject", ObjectToPlan, reject, standing=NOT_REMOVED, roles=HOLDER),
    Rule("plan.withdraw", ObjectToPlan, withdraw, standing=NOT_REMOVED),
)
