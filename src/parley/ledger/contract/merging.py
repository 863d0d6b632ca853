"""Merging: every owner consents that one of them may hold the whole forest of a model.

From version 3 of the contract on. A merge cannot be taken back: what the receiver has, it has. So the words
of owners stand for a receiver alone, no grant speaks for an owner, and what was agreed stays on record.
"""

from parley.ledger.contract.fields import Height, Name, Party
from parley.ledger.contract.models import Model, WithdrawModel, find_model, withdraw
from parley.ledger.contract.plans import Plan, find_plan
from parley.ledger.contract.refusal import refuse
from parley.ledger.contract.rule import HOLDER, NOT_REMOVED, Act, Body, Rule
from parley.ledger.contract.state import Draft, Record


class MergeConsent(Record, frozen=True):
    """One owner's word on who may hold the whole forest; deleted when the merge is agreed.

    Attributes:
        receiver: the owner that may.
        height: when.
    """

    PATH = "merge/<run>/<owner>"

    receiver: str
    height: Height


class Merged(Record, frozen=True):
    """Every owner consented that the receiver may hold the whole forest; final.

    Attributes:
        height: when the last one did.
    """

    PATH = "merged/<run>/<receiver>"

    height: Height


class MergeModel(Body, frozen=True):
    """Consent to a merge; it is agreed when every owner consents to the same receiver.

    Attributes:
        model: which.
        receiver: an owner of a table in its plan.
    """

    model: Name
    receiver: Party


def merge(act: Act[MergeModel]) -> None:
    """Enter an owner's consent; the last equal one makes the merge final."""
    name, receiver = act.body.model, act.body.receiver
    model = find_model(act.draft, name)
    plan = find_plan(act.draft, model.plan)
    plan.terms.part(act.sender.name)
    plan.terms.part(receiver)
    _check_usable(act, model, plan)
    if act.draft.has(merged_path(name, receiver)):
        refuse("merged-already", receiver)
    word = MergeConsent(receiver=receiver, height=act.height)
    act.draft.put(merge_path(name, act.sender.name), word)
    given = [act.draft.find(MergeConsent, merge_path(name, party)) for party in plan.terms.parties]
    if all(one is not None and one.receiver == receiver for one in given):
        _forget(act.draft, name, plan)
        act.draft.put(merged_path(name, receiver), Merged(height=act.height))


def withdraw_with_merge(act: Act[WithdrawModel]) -> None:
    """Any owner ends the use of a model, and what was said of a merge that is not agreed."""
    withdraw(act)
    model = find_model(act.draft, act.body.model)
    _forget(act.draft, model.run, find_plan(act.draft, model.plan))


def merge_path(run: str, owner: str) -> str:
    """Where an owner's consent to a merge stands."""
    return f"merge/{run}/{owner}"


def merged_path(run: str, receiver: str) -> str:
    """Where it stands that a receiver may hold the whole forest."""
    return f"merged/{run}/{receiver}"


def _check_usable(act: Act[Body], model: Model, plan: Plan) -> None:
    """The model is whole and in use, and the time of its plan is not over."""
    if model.status not in ("trained", "released"):
        refuse("model-withdrawn" if model.status == "withdrawn" else "model-not-trained", model.status)
    if act.now > plan.terms.limits.until:
        refuse("plan-expired", f"at {plan.terms.limits.until}")


def _forget(draft: Draft, run: str, plan: Plan) -> None:
    """Delete the consents that wait."""
    for party in plan.terms.parties:
        if draft.has(merge_path(run, party)):
            draft.drop(merge_path(run, party))


RULES_3 = (
    Rule("model.merge", MergeModel, merge, roles=HOLDER),
    Rule("model.withdraw", WithdrawModel, withdraw_with_merge, standing=NOT_REMOVED),
)
"""What version 3 of the contract adds, and has instead."""
