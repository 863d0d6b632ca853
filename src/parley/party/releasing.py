"""Releasing a model for predictions: our consent, and what standing grants let us say for other owners.

A release comes into force when every owner has consented to the same quota and end. What our people leave
open is what the plan allows, so that owners who leave it open consent to the same.
"""

from typing import Final

import msgspec

from parley.core.errors import UsageError
from parley.ledger.contract.grants import Grant, grant_path
from parley.ledger.contract.models import Consent, Model, Release, consent_path, model_path
from parley.ledger.contract.plans import Approval, Plan, approval_path, plan_path
from parley.ledger.contract.state import Draft
from parley.ledger.encoding import Value
from parley.party.ledger import PartyLedger

_SHORT: Final = 12
"""Letters of a grant's id that are told."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A release as our people want it.

    Attributes:
        model: which.
        predictions: how many; None: as many as the plan has left.
        until: seconds since 1970; None: as long as the plan allows.
    """

    model: str
    predictions: int | None = None
    until: int | None = None


class Consented(msgspec.Struct, frozen=True, kw_only=True):
    """Our consent to a release, and what it came to.

    Attributes:
        model: which.
        record: number of its receipt.
        quota: predictions consented to.
        until: time to which, seconds since 1970.
        status: of the model now; ``released`` too while an earlier release is in force.
        in_force: whether this release is, as every owner has consented to it.
        granted: owners for whom a grant of theirs spoke.
        missing: owners that have not consented to these very terms.
        refused: in words, which grants the contract refused.
    """

    model: str
    record: int
    quota: int
    until: int
    status: str
    in_force: bool
    granted: tuple[str, ...]
    missing: tuple[str, ...]
    refused: tuple[str, ...]


def model_and_plan(draft: Draft, model: str) -> tuple[Model, Plan]:
    """A model as the ledger has it, and its plan.

    Raises:
        UsageError: the ledger has none of that name.
    """
    found = draft.find(Model, model_path(model))
    if found is None:
        raise UsageError(
            "model-not-on-ledger",
            f"our copy of the ledger has no model {model!r}",
            remedy="a model comes there when its run has finished: see `parley ledger show`",
        )
    return found, draft.known(Plan, plan_path(found.plan))


def terms_of(draft: Draft, wanted: Wanted) -> Release:
    """The terms that are wanted, with what was left open as the plan allows.

    Raises:
        UsageError: the ledger has no such model, or the plan has no predictions left.
    """
    model, plan = model_and_plan(draft, wanted.model)
    limits = plan.terms.limits
    unused = 0 if model.release is None else model.release.quota - model.used
    left = limits.predictions - plan.predictions + unused
    if wanted.predictions is None and left < 1:
        raise UsageError(
            "nothing-to-release",
            f"the plan of {wanted.model} allows {limits.predictions:,} predictions, and none of them is left",
            remedy="propose a plan with more `predictions` in its [limits], and train by that",
        )
    return Release(
        quota=left if wanted.predictions is None else wanted.predictions,
        until=limits.until if wanted.until is None else wanted.until,
    )


async def release(ledger: PartyLedger, wanted: Wanted) -> Consented:
    """Consent to a release, for us and for whoever let the plan through by a grant to us.

    Raises:
        UsageError: as `terms_of`.
        PolicyRefused: the contract refuses our consent.
    """
    terms = terms_of(ledger.draft, wanted)
    body: dict[str, Value] = {"model": wanted.model, "release": terms.value()}
    receipt = await ledger.demand("model.release", body)
    granted, refused = await _speak_for_others(ledger, wanted.model, terms)
    draft = ledger.draft
    model, _ = model_and_plan(draft, wanted.model)
    missing = lacking(draft, wanted.model, terms)
    return Consented(
        model=wanted.model,
        record=receipt.number,
        quota=terms.quota,
        until=terms.until,
        status=model.status,
        in_force=not missing,
        granted=granted,
        missing=missing,
        refused=refused,
    )


def consents(draft: Draft, model: str) -> dict[str, Consent]:
    """By owner, the consents that wait for others; none once their release is in force."""
    _, plan = model_and_plan(draft, model)
    found = {owner: draft.find(Consent, consent_path(model, owner)) for owner in plan.terms.parties}
    return {owner: consent for owner, consent in found.items() if consent is not None}


def lacking(draft: Draft, model: str, terms: Release) -> tuple[str, ...]:
    """Owners that have not consented to these terms, if anybody has: a release in force needs nobody."""
    given = consents(draft, model)
    if not any(each.release == terms for each in given.values()):
        return ()
    _, plan = model_and_plan(draft, model)
    return tuple(owner for owner in plan.terms.parties if owner not in given or given[owner].release != terms)


async def _speak_for_others(
    ledger: PartyLedger, model: str, terms: Release
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Use the grants that cover the release; for whom, and in words which were refused."""
    granted: list[str] = []
    refused: list[str] = []
    for owner in lacking(ledger.draft, model, terms):
        grant = _grant_of(ledger.draft, model, owner, ledger.member.name, terms)
        if not grant:
            continue
        body: dict[str, Value] = {"grant": grant, "model": model, "release": terms.value()}
        receipt = await ledger.transact("grant.release", body)
        if receipt.accepted:
            granted.append(owner)
        else:
            words = f"grant {grant[:_SHORT]} of {owner} refused as record {receipt.number}: {receipt.reason}"
            refused.append(words)
    return tuple(granted), tuple(refused)


def _grant_of(draft: Draft, model: str, owner: str, speaker: str, terms: Release) -> str:
    """The grant by which ``speaker`` may consent for ``owner``; empty if there is none that covers it."""
    found, _ = model_and_plan(draft, model)
    approval = draft.find(Approval, approval_path(found.plan, owner))
    if approval is None or approval.verdict != "approved" or approval.grant is None:
        return ""
    grant = draft.known(Grant, grant_path(approval.grant))
    covered = grant.kind.proposer == speaker and not grant.revoked and terms.until <= grant.until
    return approval.grant if covered else ""
