"""What goes into the contract beside the state, and what comes out."""

from dataclasses import dataclass
from typing import Final

import msgspec

from parley.ledger.contract.state import Write
from parley.ledger.encoding import Value

ACCEPTED: Final = "accepted"
REFUSED: Final = "refused"


@dataclass(frozen=True, slots=True)
class Block:
    """Where in the history a transaction stands.

    Attributes:
        height: of the block, ascending.
        time: seconds since 1970 from the engine; if it goes back, the contract's time stands still.
    """

    height: int
    time: int


class Receipt(msgspec.Struct, frozen=True):
    """What became of one transaction.

    Attributes:
        number: 1 for the first transaction of the ledger, and so on without a gap.
        transaction: its digest in hexadecimal.
        status: ``accepted`` or ``refused``.
        code: ``accepted``, or the stable code of the refusal.
        reason: the refusal in words; empty after an acceptance.
    """

    number: int
    transaction: str
    status: str
    code: str
    reason: str

    def value(self) -> dict[str, Value]:
        """As a canonical value."""
        return {
            "code": self.code,
            "number": self.number,
            "reason": self.reason,
            "status": self.status,
            "transaction": self.transaction,
        }

    @property
    def accepted(self) -> bool:
        """Whether the transaction changed the state."""
        return self.status == ACCEPTED


class Outcome(msgspec.Struct, frozen=True):
    """What `apply` gives: the changes of the state, ascending by key, and the receipt."""

    writes: tuple[Write, ...]
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Dropped:
    """Input that was not a transaction to be executed; it leaves no trace in the state.

    Attributes:
        code: stable.
        reason: in words.
    """

    code: str
    reason: str
