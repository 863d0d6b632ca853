"""Our pieces of joint models as they are shown, with what the ledger says of each model."""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal

import msgspec
import numpy as np

from parley.core.errors import UsageError
from parley.core.plan import decode_plan
from parley.learn.shares import ActiveShare, Feature, ModelShare
from parley.learn.trees import SplitRule
from parley.ledger.contract.models import Model, model_path
from parley.ledger.contract.plans import Plan
from parley.ledger.contract.runs import Run, run_path
from parley.party.chronicle import Chronicle
from parley.party.merging import receivers, words
from parley.party.releasing import consents, model_and_plan
from parley.store.home import Home

Role = Literal["active", "passive"]
_NO_LEDGER = frozenset({"no-consortium", "ledger-not-fetched"})
_ENDS = ("run.finish", "run.share")
"""Types of the records of which the last one completes a model."""


class ModelListed(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a model in a list.

    Attributes:
        model: identifier, that of its run.
        role: ours in it; empty if the piece cannot be read.
        trees: where we are the active party.
        columns: of ours in it.
        splits: of ours in it.
        status: on the ledger: ``forming``, ``trained``, ``released``, ``withdrawn``; empty if not there.
        quota: predictions of the release in force, or of the last one; null if there was none.
        used: predictions counted against it.
        until: time to which it holds, seconds since 1970.
        problem: why the piece cannot be read.
    """

    model: str
    role: Literal["active", "passive", ""] = ""
    trees: int | None = None
    columns: int | None = None
    splits: int | None = None
    status: str = ""
    quota: int | None = None
    used: int | None = None
    until: int | None = None
    problem: str = ""


class ConditionShown(msgspec.Struct, frozen=True):
    """What a split of ours tests: ``left`` says which rows go left; ``splits``: how many test it."""

    column: str
    left: str
    splits: int


class ColumnShown(msgspec.Struct, frozen=True):
    """A column of ours: the handle by which others know it (none if it is ours alone), and its splits."""

    column: str
    handle: str | None
    splits: int


class HolderShown(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds a piece of a model.

    Attributes:
        party: its name.
        role: in the model.
        committed: hash of its piece, as it committed to it on the ledger; empty if it has not.
        kept: of ours, whether the file here is that very one; null of others', and without a commitment.
    """

    party: str
    role: Role
    committed: str
    kept: bool | None = None


class MetricShown(msgspec.Struct, frozen=True):
    """A figure of a model's quality, as the active party stated it."""

    name: str
    value: float


class ReleaseShown(msgspec.Struct, frozen=True):
    """A release that every owner consented to.

    Attributes:
        quota: predictions allowed.
        used: counted so far.
        until: time to which it holds, seconds since 1970.
    """

    quota: int
    used: int
    until: int


class ConsentShown(msgspec.Struct, frozen=True):
    """An owner's consent to a release that waits for others.

    Attributes:
        party: the owner.
        quota: predictions.
        until: seconds since 1970.
        grant: id of the grant by which the active party spoke for it; empty if it did so itself.
    """

    party: str
    quota: int
    until: int
    grant: str


class RegisteredShown(msgspec.Struct, frozen=True, kw_only=True):
    """A model as the ledger has it.

    Attributes:
        plan: id of its plan.
        name: of the plan; empty where no run of it is known here.
        purpose: of the plan.
        record: number of the record that completed it, with the last piece; null while it is forming.
        status: ``forming``, ``trained``, ``released`` or ``withdrawn``.
        rounds: training rounds.
        metrics: of the active party, ascending by name.
        release: in force, or the last one; null if there was none.
        consents: to a release that waits for others, ascending by party.
        missing: owners that have not consented to it.
        left: predictions of the plan that may still be released, with what is left of this model's.
        until: time to which the plan allows a release, seconds since 1970.
        batches: of answered predictions, committed so far.
        merging: by owner, who may hold the whole forest as far as that owner is concerned, until all agree.
        merged: parties that may hold it, as every owner consented.
    """

    plan: str
    name: str
    purpose: str
    record: int | None
    status: str
    rounds: int
    metrics: tuple[MetricShown, ...]
    release: ReleaseShown | None
    consents: tuple[ConsentShown, ...]
    missing: tuple[str, ...]
    left: int
    until: int
    batches: int
    merging: dict[str, str]
    merged: tuple[str, ...]


class ModelShown(msgspec.Struct, frozen=True, kw_only=True):
    """Our piece of a model, and what the ledger says of the model.

    Attributes:
        model: identifier, that of its run.
        party: whose piece: ours.
        role: ours in it.
        digest: SHA-256 of the file of our piece, hexadecimal.
        holders: who holds a piece; without the ledger, those that our piece names.
        registered: what the ledger says; null if there is none, or it has no such model.
        columns: ours.
        splits: what our splits test, most frequent first.
        importances: what every party's columns are worth; known to the active party only.
    """

    model: str
    party: str
    role: Role
    digest: str
    holders: tuple[HolderShown, ...]
    registered: RegisteredShown | None
    columns: tuple[ColumnShown, ...]
    splits: tuple[ConditionShown, ...]
    importances: tuple[Feature, ...]


def models_listed(home: Home) -> tuple[ModelListed, ...]:
    """A line about each of our pieces, readable or not."""
    with _ledger(home) as ledger:
        return tuple(_listed(home, model, ledger) for model in home.models())


def model_shown(home: Home, model: str) -> ModelShown:
    """All of a piece, and what the ledger says.

    Raises:
        UsageError: we hold no such piece, or it cannot be read.
    """
    share = home.share(model)
    digest = hashlib.sha256(home.share_text(model)).hexdigest()
    with _ledger(home) as ledger:
        known = None if ledger is None else ledger.draft.find(Model, model_path(model))
        registered = None if ledger is None or known is None else _registered(home, ledger, known)
    return ModelShown(
        model=share.model,
        party=share.party,
        role=role_of(share),
        digest=digest,
        holders=_holders(share, digest, known),
        registered=registered,
        columns=_columns(share),
        splits=_conditions(share),
        importances=share.importances() if isinstance(share, ActiveShare) else (),
    )


def role_of(share: ModelShare) -> Role:
    """Ours in the model."""
    return "active" if isinstance(share, ActiveShare) else "passive"


def _columns(share: ModelShare) -> tuple[ColumnShown, ...]:
    counts = Counter(rule.column for rule in share.rules)
    passive = not isinstance(share, ActiveShare)
    return tuple(
        ColumnShown(column.name, f"#{place}" if passive else None, counts[place])
        for place, column in enumerate(share.columns)
    )


def _conditions(share: ModelShare) -> tuple[ConditionShown, ...]:
    """What is tested, most frequent first."""
    counts = Counter((share.columns[rule.column].name, _in_words(share, rule)) for rule in share.rules)
    found = [ConditionShown(column, left, splits) for (column, left), splits in counts.items()]
    return tuple(sorted(found, key=lambda each: (-each.splits, each.column, each.left)))


def _in_words(share: ModelShare, rule: SplitRule) -> str:
    column = share.columns[rule.column]
    left = np.zeros(column.bins.bin_count, dtype=np.bool_)
    left[list(rule.left_bins)] = True
    return column.bins.describe(column.name, left)


@contextmanager
def _ledger(home: Home) -> Iterator[Chronicle | None]:
    """Our copy of the ledger, if there is one."""
    with ExitStack() as stack:
        ledger = None
        try:
            ledger = stack.enter_context(Chronicle.open(home))
        except UsageError as error:
            if error.code not in _NO_LEDGER:
                raise
        yield ledger


def _listed(home: Home, model: str, ledger: Chronicle | None) -> ModelListed:
    known = None if ledger is None else ledger.draft.find(Model, model_path(model))
    released = None if known is None else known.release
    status = "" if known is None else known.status
    try:
        share = home.share(model)
    except UsageError as error:
        return ModelListed(model=model, status=status, problem=error.what)
    return ModelListed(
        model=model,
        role=role_of(share),
        trees=len(share.trees) if isinstance(share, ActiveShare) else None,
        columns=len(share.columns),
        splits=len(share.rules),
        status=status,
        quota=None if released is None else released.quota,
        used=None if known is None or released is None else known.used,
        until=None if released is None else released.until,
    )


def _holders(share: ModelShare, digest: str, known: Model | None) -> tuple[HolderShown, ...]:
    """The active party first; what a passive party's own piece does not say, the ledger does."""
    if isinstance(share, ActiveShare):
        names, active = share.owners, share.party
    elif known is None:
        names, active = (share.party,), ""
    else:
        passive = sorted(party for party in known.shares if party != known.active)
        names, active = (known.active, *passive), known.active
    committed = {} if known is None else known.shares
    return tuple(
        HolderShown(
            party=name,
            role="active" if name == active else "passive",
            committed=committed.get(name, ""),
            kept=committed[name] == digest if name == share.party and name in committed else None,
        )
        for name in names
    )


def _registered(home: Home, ledger: Chronicle, model: Model) -> RegisteredShown:
    _, plan = model_and_plan(ledger.draft, model.run)
    record = home.catalogue.run(model.run)
    given = consents(ledger.draft, model.run)
    unused = 0 if model.release is None or model.status == "withdrawn" else model.release.quota - model.used
    return RegisteredShown(
        plan=model.plan,
        name="" if record is None else decode_plan(record.plan.encode()).name,
        purpose=plan.terms.purpose,
        record=_completed(ledger, model),
        status=model.status,
        rounds=model.rounds,
        metrics=tuple(MetricShown(each.name, each.ppm / 1_000_000) for each in model.metrics),
        release=None
        if model.release is None
        else ReleaseShown(model.release.quota, model.used, model.release.until),
        consents=tuple(
            ConsentShown(owner, each.release.quota, each.release.until, each.grant or "")
            for owner, each in given.items()
        ),
        missing=_missing(plan, given) if given else (),
        left=plan.terms.limits.predictions - plan.predictions + unused,
        until=plan.terms.limits.until,
        batches=model.batches,
        merging=words(ledger.draft, model.run),
        merged=receivers(ledger.draft, model.run),
    )


def _missing(plan: Plan, given: Collection[str]) -> tuple[str, ...]:
    return tuple(owner for owner in plan.terms.parties if owner not in given)


def _completed(ledger: Chronicle, model: Model) -> int | None:
    """The record of the last piece: it stands in the block in which the run ended."""
    run = ledger.draft.known(Run, run_path(model.run))
    for entry in reversed(ledger.at(run.height) if run.state == "finished" else []):
        if entry.accepted and entry.type in _ENDS and entry.body["run"] == model.run:
            return entry.number
    return None
