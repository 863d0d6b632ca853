"""What a party uses of its ledger's engine, whichever it is.

The embedded engine (`embedded.member.LedgerMember`) and CometBFT (`cometbft.member.CometMember`) both offer
it. The state that `log.replica` shows changes only between two steps of the event loop on which `run` is.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal, Protocol

from parley.core.conversation import Channel
from parley.crypto.signatures import SigningKey
from parley.ledger.contract import Receipt
from parley.ledger.engines.embedded.store import LedgerStore
from parley.ledger.notes import SignedNote
from parley.ledger.replica import Replica
from parley.ledger.transaction import SignedTransaction


@dataclass(frozen=True)
class Condition:
    """How an engine does.

    Attributes:
        engine: which.
        height: of its last block; CometBFT counts those without transactions too.
        last_block: when that was made, seconds since 1970; 0 if there was none.
        voters: members whose machines make blocks: the sequencer, or the validators.
        connected: members whose machines ours is connected to.
        trouble: why no blocks come, as far as this member can say, and which members have signed another
            ledger than ours; empty while all is well.
    """

    engine: Literal["embedded", "cometbft"]
    height: int
    last_block: float
    voters: tuple[str, ...]
    connected: tuple[str, ...]
    trouble: str = ""


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

    async def condition(self) -> Condition:
        """How it does just now."""

    def hold(self, key: SigningKey) -> None:
        """Hold another cosigning key too, which is signed with once the ledger says so."""

    async def promise(self, successor: str) -> int:
        """Promise that another member orders from now on, the sequencer being lost; returns the epoch.

        Raises:
            UsageError: ``not-a-successor``; ``no-sequencer`` where no single member orders;
                ``move-decided``.

        """

    async def serve_follower(self, channel: Channel) -> None:
        """Talk to a member that follows us as the sequencer."""

    async def gossip_as_called(self, channel: Channel) -> None:
        """Our side of a comparison that another member began."""

    def changes(self) -> AsyncIterator[int]:
        """The final size, now and whenever it grows."""
