"""Predictions: batches of answered requests, counted against the model's release."""

from parley.ledger.contract.fields import Count, Digest, Height, Name, Positive
from parley.ledger.contract.grants import find_grant
from parley.ledger.contract.models import Release, approved_by_grant, consent, find_model, model_path
from parley.ledger.contract.plans import find_plan
from parley.ledger.contract.refusal import refuse
from parley.ledger.contract.rule import HOLDER, Act, Body, Rule
from parley.ledger.contract.runs import check_parties
from parley.ledger.contract.state import Record


class Batch(Record, frozen=True):
    """Answered requests.

    Attributes:
        root: Merkle root over them, so that each can be proven later.
        count: how many.
        height: when.
    """

    PATH = "prediction/<run>/<batch>"

    root: str
    count: int
    height: Height


class CommitBatch(Body, frozen=True):
    """Account for answered requests.

    Attributes:
        model: which.
        batch: number of the batch, from 0 without a gap.
        root: Merkle root over the requests.
        count: how many.
    """

    model: Name
    batch: Count
    root: Digest
    count: Positive


class ReleaseByGrant(Body, frozen=True):
    """Consent to a release for an owner whose grant let the plan through.

    Attributes:
        grant: its id.
        model: which.
        release: the terms.
    """

    grant: Digest
    model: Name
    release: Release


def commit(act: Act[CommitBatch]) -> None:
    """Enter a batch and count it."""
    body = act.body
    model = find_model(act.draft, body.model)
    if act.sender.name != model.active:
        refuse("not-the-active-party", act.sender.name)
    if model.status == "withdrawn":
        refuse("model-withdrawn", body.model)
    if model.release is None:
        refuse("model-not-released", body.model)
    if act.now > model.release.until:
        refuse("release-expired", f"at {model.release.until}")
    check_parties(act.draft, find_plan(act.draft, model.plan))
    if body.batch != model.batches:
        refuse("batch-gap", f"batch {body.batch} where {model.batches} is due")
    used = model.used + body.count
    if used > model.release.quota:
        refuse("quota-exceeded", f"{body.count} where {model.release.quota - model.used} are left")
    batch = Batch(root=body.root, count=body.count, height=act.height)
    act.draft.put(batch_path(body.model, body.batch), batch)
    act.draft.put(model_path(body.model), model.but(used=used, batches=model.batches + 1))


def release_by_grant(act: Act[ReleaseByGrant]) -> None:
    """Speak for an owner whose grant covers the model's plan."""
    grant = find_grant(act.draft, act.body.grant)
    model = find_model(act.draft, act.body.model)
    if act.sender.name != grant.kind.proposer:
        refuse("not-permitted", act.sender.name)
    if grant.revoked:
        refuse("grant-revoked", act.body.grant[:16])
    if act.body.release.until > grant.until:
        refuse("grant-expired", f"the grant holds until {grant.until}")
    if not approved_by_grant(act.draft, model, grant.owner, act.body.grant):
        refuse("grant-mismatch", act.body.grant[:16])
    consent(act, act.body.model, grant.owner, act.body.release, act.body.grant)


def batch_path(run: str, batch: int) -> str:
    """Where a batch of predictions stands."""
    return f"prediction/{run}/{batch:09}"


RULES = (
    Rule("prediction.commit", CommitBatch, commit, roles=HOLDER),
    Rule("grant.release", ReleaseByGrant, release_by_grant),
)
