"""What a party uses of its ledger's engine, whichever it is.

The embedded engine (`embedded.member.LedgerMember`) and CometBFT (`cometbft.member.CometMember`) both offer
it. The state that `log.replica` shows changes only between two steps of the event loop on which `run` is.
"""

from collections.abc import AsyncIterator
from typing import Protocol

from parley.ledger.contract import Receipt
from parley.ledger.engines.embedded.store import LedgerStore
from parley.ledger.notes import SignedNote
from parley.ledger.replica import Replica
from parley.ledger.transaction import SignedTransaction


class Log(Protocol):
    """One member's copy of the ledger."""

    @property
    def store(self) -> LedgerStore:
        """Its database."""

    @property
    def replica(self) -> Replica:
        """The state that this member has executed, with height and time of the last block."""

    @property
    def size(self) -> int:
        """Leaves."""

    @property
    def final_size(self) -> int:
        """Leaves that nobody can take back."""

    def number(self, digest: bytes) -> int | None:
        """The leaf of the transaction with this digest, if it is in the log."""

    def note(self, size: int) -> SignedNote | None:
        """The checkpoint of a size with the signatures known."""

    def root_at(self, size: int) -> bytes:
        """The root the log had when it had so many leaves."""


class LedgerEngine(Protocol):
    """One member's engine."""

    @property
    def name(self) -> str:
        """Of the member."""

    @property
    def log(self) -> Log:
        """The member's copy of the ledger."""

    @property
    def leader(self) -> str:
        """The member whose machine orders the transactions; empty where no single one does."""

    @property
    def halted(self) -> str:
        """Why this member takes no part any more; empty while it does."""

    async def run(self) -> None:
        """Keep the engine going until cancelled; leaves the log closed."""

    async def submit(self, signed: SignedTransaction, patience: float = 30.0) -> Receipt:
        """Get a transaction into the log; returns its receipt once it is final.

        Raises:
            PolicyRefused: it was dropped: malformed, expired, replayed, or of an unknown key.
            PeerLost: it did not become final in ``patience`` seconds; it may yet.

        """

    async def place(self, signed: SignedTransaction, patience: float = 30.0) -> Receipt:
        """Get a transaction into our own log, final or not; returns its receipt."""

    def changes(self) -> AsyncIterator[int]:
        """The final size, now and whenever it grows."""
