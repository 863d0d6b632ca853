"""The first state of a ledger: who founds the consortium, with which keys, thresholds and engine."""

from typing import Annotated, Final

from msgspec import Meta

from parley.crypto.hashing import TaggedHash
from parley.ledger.contract.consortium import (
    CONSORTIUM,
    COUNT,
    ENGINE,
    THRESHOLDS,
    VERSIONS,
    Consortium,
    ContractVersions,
    Engine,
    Era,
    LedgerCount,
    Threshold,
    Thresholds,
)
from parley.ledger.contract.fields import EngineKind, Party, Positive, PublicKey, Role, Text, Time, ascending
from parley.ledger.contract.members import Member, enter_key, member_path
from parley.ledger.contract.refusal import refuse
from parley.ledger.contract.state import Draft, Record, Write
from parley.ledger.encoding import Value, encode

_HASH: Final = TaggedHash("parley/ledger/genesis/v1")
TWO_THIRDS: Final = Threshold(yes=2, out_of=3)
DEFAULT_THRESHOLDS: Final = Thresholds(
    admit=TWO_THIRDS,
    remove=TWO_THIRDS,
    suspend=TWO_THIRDS,
    reinstate=TWO_THIRDS,
    threshold=TWO_THIRDS,
    version=TWO_THIRDS,
    sequencer=TWO_THIRDS,
    engine=TWO_THIRDS,
)


class Founder(Record, frozen=True):
    """A member from the beginning.

    Attributes:
        name: as in its certificate.
        role: what it may do.
        signing: its public keys, one of each kind.
        cosigning: see `Member`.
        recovery: see `Member`.
    """

    PATH = ""

    name: Party
    role: Role
    signing: PublicKey
    cosigning: PublicKey
    recovery: PublicKey


class Genesis(Record, frozen=True):
    """All that a ledger begins with; the consortium's id is its hash.

    Attributes:
        name: of the consortium, for people.
        founders: ascending by name, at least one.
        time: of the foundation.
        nonce: makes two consortia of the same members differ.
        engine: what orders the transactions.
        sequencer: the founder that orders in the embedded engine; nobody in CometBFT.
        version: of the contract.
        thresholds: by kind of vote.
    """

    PATH = ""

    name: Text
    founders: Annotated[tuple[Founder, ...], Meta(min_length=1, max_length=64)]
    time: Time
    nonce: Text
    engine: EngineKind = "embedded"
    sequencer: Party | None = None
    version: Positive = 1
    thresholds: Thresholds = DEFAULT_THRESHOLDS


def consortium_id(spec: Genesis) -> str:
    """The id that every transaction of the ledger names."""
    return _HASH(encode(spec.value())).hex()


def genesis(spec: Genesis) -> tuple[Write, ...]:
    """The first state, ascending by key.

    Raises:
        Refusal: founders out of order, a key twice, a threshold or a sequencer that cannot be.
    """
    draft = Draft(_Nothing())
    names = [founder.name for founder in spec.founders]
    if not ascending(names):
        refuse("genesis-invalid", "founders must ascend by name, each once")
    if (spec.engine == "embedded") != (spec.sequencer in names):
        refuse("genesis-invalid", "the embedded engine, and no other, has a founder as its sequencer")
    for kind in Thresholds.__struct_fields__:
        threshold: Threshold = getattr(spec.thresholds, kind)
        threshold.check()
    for founder in spec.founders:
        _enter(draft, founder)
    draft.put(CONSORTIUM, Consortium(id=consortium_id(spec), name=spec.name))
    draft.put(COUNT, LedgerCount(receipts=0, height=0, time=spec.time))
    draft.put(ENGINE, Engine(kind=spec.engine, sequencer=spec.sequencer, height=0))
    draft.put(THRESHOLDS, spec.thresholds)
    draft.put(VERSIONS, ContractVersions(eras=(Era(height=0, version=spec.version),)))
    return draft.writes()


def _enter(draft: Draft, founder: Founder) -> None:
    member = Member(
        name=founder.name,
        role=founder.role,
        standing="active",
        since=0,
        cause="genesis",
        signing=enter_key(draft, founder.name, "signing", founder.signing, 0),
        cosigning=enter_key(draft, founder.name, "cosigning", founder.cosigning, 0),
        recovery=enter_key(draft, founder.name, "recovery", founder.recovery, 0),
    )
    draft.put(member_path(founder.name), member)


class _Nothing:
    """The state before the first."""

    def get(self, key: str) -> Value:  # noqa: ARG002
        return None

    def keys(self, prefix: str) -> tuple[str, ...]:  # noqa: ARG002
        return ()
