"""What concerns the consortium as a whole: name, thresholds, engine, contract versions, the count."""

from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta

from parley.ledger.contract.fields import EngineKind, Height, Positive, Text, Time
from parley.ledger.contract.refusal import refuse
from parley.ledger.contract.state import Draft, Record

VoteKind: TypeAlias = Literal[
    "admit", "remove", "suspend", "reinstate", "threshold", "version", "sequencer", "engine"
]
CONSORTIUM = "meta/consortium"
COUNT = "meta/count"
ENGINE = "meta/engine"
THRESHOLDS = "meta/thresholds"
VERSIONS = "meta/versions"
REPLACED_TO_THE_END: Final = 4
"""Version from which on a sequencer may be replaced although its last height has been decided."""


class Threshold(Record, frozen=True):
    """The part of an electorate that must say yes: at least ``yes / out_of`` of it, more than one half.

    Attributes:
        yes: numerator.
        out_of: denominator.
    """

    PATH = ""

    yes: Annotated[int, Meta(ge=1, le=1000)]
    out_of: Annotated[int, Meta(ge=1, le=1000)]

    def check(self) -> None:
        """Refuse what lies outside (1/2, 1]."""
        if not self.out_of < 2 * self.yes <= 2 * self.out_of:
            refuse("threshold-invalid", f"{self.yes} of {self.out_of}")

    def needed(self, voters: int) -> int:
        """How many of ``voters`` must say yes."""
        return -(-voters * self.yes // self.out_of)


class Consortium(Record, frozen=True):
    """Who shares this ledger.

    Attributes:
        id: digest of the genesis; every transaction names it.
        name: for people.
    """

    PATH = "meta/consortium"

    id: str
    name: Text


class LedgerCount(Record, frozen=True):
    """What every transaction moves on, refused ones too.

    Attributes:
        receipts: receipts given so far.
        height: of the block of the last one.
        time: the contract's time: the latest of all blocks so far.
    """

    PATH = "meta/count"

    receipts: int
    height: int
    time: Time


class Engine(Record, frozen=True):
    """What orders the transactions.

    Attributes:
        kind: embedded or CometBFT.
        sequencer: the member whose machine orders in the embedded engine; after a move, did so until then.
        height: first height at which this holds.
    """

    PATH = "meta/engine"

    kind: EngineKind
    sequencer: str | None
    height: Height


class Thresholds(Record, frozen=True):
    """The threshold of each kind of vote."""

    PATH = "meta/thresholds"

    admit: Threshold
    remove: Threshold
    suspend: Threshold
    reinstate: Threshold
    threshold: Threshold
    version: Threshold
    sequencer: Threshold
    engine: Threshold

    def one(self, kind: VoteKind) -> Threshold:
        """The threshold of one kind."""
        threshold: Threshold = getattr(self, kind)
        return threshold


class Era(Record, frozen=True):
    """From ``height`` on the rules of ``version`` hold."""

    PATH = ""

    height: int
    version: Positive


class ContractVersions(Record, frozen=True):
    """Every era so far and to come, ascending by height. So history replays under the rules of its day."""

    PATH = "meta/versions"

    eras: tuple[Era, ...]

    def at(self, height: int) -> int:
        """The version whose rules hold at ``height``."""
        return max((era.height, era.version) for era in self.eras if era.height <= height)[1]


def may_be_replaced(draft: Draft, height: int) -> bool:
    """Whether a member's machine orders the block of ``height``, and that block may name another.

    The first three versions of the contract say no as soon as the members have decided to leave the embedded
    engine. The version is read from the state: a proposal of one may be decided under the next.
    """
    engine = draft.known(Engine, ENGINE)
    if engine.kind == "embedded":
        return True
    version = draft.known(ContractVersions, VERSIONS).at(height)
    return version >= REPLACED_TO_THE_END and height < engine.height
