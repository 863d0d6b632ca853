"""Plans on the ledger as they are shown: what they ask for, who has spoken, what each party would learn."""

import hashlib

import msgspec

from parley.ledger.contract.plans import Terms
from parley.party.chronicle import Proposed
from parley.party.report import Learnt
from parley.party.tables import allowed
from parley.privacy.leakage import foreseen, statement
from parley.store.home import Home


class PlanShown(msgspec.Struct, frozen=True):
    """A plan on the ledger.

    Attributes:
        id: whole.
        proposer: who wants it.
        status: open, approved, rejected, withdrawn, …
        approvals: parties that have approved it.
        missing: parties whose word it waits for.
        rejected: why, by party that is against it.
        runs: how often it was run.
        active: the party with the label.
        terms: what it asks for.
        ours: the columns it would use of ours where it names none.
        learnt: what each party would learn besides its piece of the model.
        known_statement: whether the proposer's release says the same about that as ours.
    """

    id: str
    proposer: str
    status: str
    approvals: tuple[str, ...]
    missing: tuple[str, ...]
    rejected: dict[str, str]
    runs: int
    active: str
    terms: Terms
    ours: tuple[str, ...]
    learnt: tuple[Learnt, ...]
    known_statement: bool


def plan_shown(home: Home, proposed: Proposed) -> PlanShown:
    """A plan of the ledger; reads our table if the plan means all its columns."""
    plan = proposed.plan
    against = {name: word.why for name, word in proposed.words.items() if word.verdict != "approved"}
    return PlanShown(
        id=proposed.id,
        proposer=plan.proposer,
        status=plan.status,
        approvals=plan.approvals,
        missing=proposed.missing if plan.status == "open" else (),
        rejected=against,
        runs=plan.runs,
        active=plan.terms.active,
        terms=plan.terms,
        ours=_our_columns(home, plan.terms),
        learnt=_learnt(plan.terms),
        known_statement=hashlib.sha256(statement().encode()).hexdigest() == plan.terms.learns,
    )


def _our_columns(home: Home, terms: Terms) -> tuple[str, ...]:
    """What of ours a plan would use that names no column: all that we allow."""
    for part in terms.parts:
        ours = part.party == home.settings.party and not part.columns and part.label is None
        record = home.catalogue.tables().get(part.table) if ours else None
        if record is not None:
            return allowed(record)
    return ()


def _learnt(terms: Terms) -> tuple[Learnt, ...]:
    """What each party will learn, the active one first."""
    passive = [party for party in terms.parties if party != terms.active]
    foresight = {peer: foreseen(terms.active, peer, terms.limits.rounds - 1) for peer in passive}
    to_active = tuple(fact for told, _ in foresight.values() for fact in told)
    return (Learnt(terms.active, to_active), *(Learnt(peer, told) for peer, (_, told) in foresight.items()))
