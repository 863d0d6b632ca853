"""The parts of ABCI messages: times, validators, events, results, misbehaviour.

Field numbers are those of the published definition (``proto/tendermint/abci/types.proto``, package
``tendermint.abci``, with ``crypto/keys.proto`` beside it); what each part means is in the ABCI 2.0
specification, "Methods", section "Data Types". Fields that nothing here reads are left out: the decoder
skips them.
"""

import enum
from dataclasses import dataclass
from typing import Annotated, Final

from parley.ledger.engines.cometbft.wire import Field, Scalar

_SECOND: Final = 1_000_000_000


@dataclass(frozen=True)
class Timestamp:
    """``google.protobuf.Timestamp``, and with the same two fields ``google.protobuf.Duration``."""

    seconds: Annotated[int, Field(1)] = 0
    nanos: Annotated[int, Field(2, Scalar.INT32)] = 0

    @property
    def nanoseconds(self) -> int:
        """Since 1970, in UTC; negative before it."""
        return self.seconds * _SECOND + self.nanos

    @classmethod
    def at(cls, nanoseconds: int) -> "Timestamp":
        """The record of a time in nanoseconds since 1970."""
        return cls(*divmod(nanoseconds, _SECOND))


@dataclass(frozen=True)
class PublicKey:
    """A validator's key; Ed25519 is the only kind a consortium's genesis allows."""

    ed25519: Annotated[bytes, Field(1)] = b""


@dataclass(frozen=True)
class ValidatorUpdate:
    """A validator's key with its voting power; power 0 removes it."""

    pub_key: Annotated[PublicKey | None, Field(1)] = None
    power: Annotated[int, Field(2)] = 0


@dataclass(frozen=True)
class Validator:
    """A validator as blocks name it: by address."""

    address: Annotated[bytes, Field(1)] = b""
    power: Annotated[int, Field(3)] = 0


class MisbehaviourKind(enum.IntEnum):
    """What a validator was caught at; the numbers are the published ones."""

    UNKNOWN = 0
    DUPLICATE_VOTE = 1
    LIGHT_CLIENT_ATTACK = 2


@dataclass(frozen=True)
class Misbehaviour:
    """Evidence that the engine has checked and put into a block."""

    kind: Annotated[int, Field(1, Scalar.INT32)] = 0
    validator: Annotated[Validator | None, Field(2)] = None
    height: Annotated[int, Field(3)] = 0
    time: Annotated[Timestamp | None, Field(4)] = None
    total_voting_power: Annotated[int, Field(5)] = 0


@dataclass(frozen=True)
class EventAttribute:
    """A key and a value of an event, and whether nodes index it."""

    key: Annotated[str, Field(1)] = ""
    value: Annotated[str, Field(2)] = ""
    index: Annotated[bool, Field(3)] = False


@dataclass(frozen=True)
class Event:
    """Something by which transactions and blocks can be found; no part of the app hash."""

    kind: Annotated[str, Field(1)] = ""
    attributes: Annotated[tuple[EventAttribute, ...], Field(2)] = ()


@dataclass(frozen=True)
class ExecTxResult:
    """What became of one transaction of a block; code and data are part of the next header."""

    code: Annotated[int, Field(1, Scalar.UINT32)] = 0
    data: Annotated[bytes, Field(2)] = b""
    log: Annotated[str, Field(3)] = ""
    events: Annotated[tuple[Event, ...], Field(7)] = ()
    codespace: Annotated[str, Field(8)] = ""
