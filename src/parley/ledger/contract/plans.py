"""Plans: what is to be done, and that every owner of a table in it agreed to that very text.

A plan is named by the hash of all its terms and its proposer, so an approval can mean nothing else.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta

from parley.crypto.hashing import TaggedHash
from parley.ledger.contract.fields import (
    Column,
    Count,
    Digest,
    Height,
    Name,
    Party,
    Patience,
    Positive,
    Text,
    Time,
    ascending,
)
from parley.ledger.contract.refusal import refuse
from parley.ledger.contract.state import Draft, Record
from parley.ledger.encoding import encode

MOST_ROUNDS: Final = 999_999_999
"""What the width of a round's number in a path allows."""
_HASH: Final = TaggedHash("parley/ledger/plan/v1")


class Part(Record, frozen=True):
    """What one party brings.

    Attributes:
        party: the member.
        table: its registered table.
        columns: features, ascending.
        label: the column to be predicted; at exactly one party, the active one.
    """

    PATH = ""

    party: Party
    table: Name
    columns: Annotated[tuple[Column, ...], Meta(max_length=4096)]
    label: Column | None


class Limits(Record, frozen=True):
    """How far the plan goes.

    Attributes:
        rows: common rows at most.
        rounds: training rounds of a run at most.
        runs: how often it may be run.
        predictions: released for all its models together.
        until: time after which nothing new is done by it.
        patience: seconds that a run may stand still.
    """

    PATH = ""

    rows: Positive
    rounds: Annotated[int, Meta(ge=1, le=MOST_ROUNDS)]
    runs: Positive
    predictions: Count
    until: Time
    patience: Patience


class Terms(Record, frozen=True):
    """All that an owner must know before it approves.

    Attributes:
        document: digest of the complete plan with the algorithm's parameters, which the parties exchange.
        purpose: why.
        algorithm: its name.
        parts: one for each party, ascending by party, at least two.
        limits: how far it goes.
        learns: digest of the statement of what each party learns.
    """

    PATH = ""

    document: Digest
    purpose: Text
    algorithm: Name
    parts: Annotated[tuple[Part, ...], Meta(min_length=2, max_length=64)]
    limits: Limits
    learns: Digest

    @property
    def parties(self) -> tuple[str, ...]:
        """The parties, ascending."""
        return tuple(part.party for part in self.parts)

    @property
    def active(self) -> str:
        """The party with the label."""
        return next(part.party for part in self.parts if part.label is not None)

    def part(self, party: str) -> Part:
        """What ``party`` brings; refused with ``not-an-owner``."""
        for part in self.parts:
            if part.party == party:
                return part
        return refuse("not-an-owner", party)


class Plan(Record, frozen=True):
    """A proposed plan and where it stands.

    Attributes:
        proposer: who proposed it.
        terms: what it says.
        status: approved once every party has; rejected and withdrawn are final.
        approvals: parties that approved it, ascending.
        runs: how many have been proposed by it.
        predictions: how many of its predictions have been released.
        height: of the last change of status.
    """

    PATH = "plan/<plan>"

    proposer: str
    terms: Terms
    status: Literal["open", "approved", "rejected", "withdrawn"]
    approvals: tuple[str, ...]
    runs: int
    predictions: int
    height: Height


class Approval(Record, frozen=True):
    """What one party said to one plan.

    Attributes:
        verdict: approved, rejected or, later, withdrawn.
        grant: id of the standing grant that let it through, if none of the party's people did.
        why: of a rejection or a withdrawal; else empty.
        height: when.
    """

    PATH = "approval/<plan>/<member>"

    verdict: Literal["approved", "rejected", "withdrawn"]
    grant: str | None
    why: str
    height: Height


def plan_id(proposer: str, terms: Terms) -> str:
    """The plan's name: a hash of its proposer and all its terms."""
    return _HASH(encode({"proposer": proposer, "terms": terms.value()})).hex()


def find_plan(draft: Draft, plan: str) -> Plan:
    """The plan; refused with ``plan-unknown``."""
    return draft.find(Plan, plan_path(plan)) or refuse("plan-unknown", plan[:16])


def check_terms(terms: Terms, now: int) -> None:
    """Refuse terms that contradict themselves or are past their time."""
    parties = terms.parties
    if not ascending(parties):
        refuse("plan-invalid", "parties must ascend, each once")
    if sum(1 for part in terms.parts if part.label is not None) != 1:
        refuse("plan-invalid", "exactly one party must name a label")
    for part in terms.parts:
        if not ascending(part.columns):
            refuse("plan-invalid", f"the columns of {part.party} must ascend, each once")
        if part.label in part.columns:
            refuse("plan-invalid", f"the label of {part.party} is among its columns")
    if terms.limits.until <= now:
        refuse("plan-expired", f"at {terms.limits.until}")


def plan_path(plan: str) -> str:
    """Where a plan stands."""
    return f"plan/{plan}"


def approval_path(plan: str, member: str) -> str:
    """Where a party's word on a plan stands."""
    return f"approval/{plan}/{member}"
