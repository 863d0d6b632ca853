"""What a member checks before it signs a block of the sequencer's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from parley.ledger.checkpoint import Checkpoint
from parley.ledger.contract import Block, Dropped, View, admit
from parley.ledger.engines.embedded import electorate
from parley.ledger.engines.embedded.log import MemberLog
from parley.ledger.notes import NoteError, parse_note
from parley.ledger.replica import IllegalBlock, Overlay, signed_by
from parley.ledger.transaction import open_signed


class Rejected(Exception):
    """A block that must not be signed: a stable code and what is wrong."""

    def __init__(self, code: str, what: str) -> None:
        super().__init__(what)
        self.code = code


def take(log: MemberLog, first: int, leaves: Sequence[bytes], note_data: bytes) -> bool:
    """Execute a block of the sequencer's, compare, and write it behind our log.

    Numbered checks: 1 it begins where our log ends; 2 every leaf is admissible and its execution legal;
    3 the checkpoint is of this ledger and size; 4 its log root is ours; 5 its state root is ours; 6 the
    member that the state names as sequencer has signed it.

    Returns:
        False if we have the block already.

    Raises:
        Rejected: a check failed; nothing was written.
    """
    # 1
    if first < log.size:
        return False
    if first > log.size:
        raise Rejected("block-gap", f"sent leaf {first} where leaf {log.size} was due")
    # 2
    try:
        executed = log.replica.execute(leaves)
    except IllegalBlock as error:
        raise Rejected("block-illegal", str(error)) from None
    after = Overlay(log.replica.state, executed.writes)
    try:
        note = parse_note(note_data)
        checkpoint = Checkpoint.parse(note.text)
        # 3
        if log.consortium not in ("", electorate.origin(after)):
            raise Rejected("consortium-other", f"keeps the ledger {electorate.origin(after)}")
        if (checkpoint.origin, checkpoint.size) != (electorate.origin(after), executed.size):
            raise Rejected("checkpoint-other", f"sent a checkpoint of {checkpoint.origin}, {checkpoint.size}")
        # 4
        if checkpoint.root != executed.root:
            raise Rejected("log-root-differs", f"sealed another log of {executed.size} leaves than it sent")
        # 5
        if checkpoint.state_root != executed.state_root:
            raise Rejected(
                "state-root-differs", f"sealed another state at height {executed.height} than ours"
            )
        # 6
        note.verified([electorate.log_key(after)])
    except NoteError as error:
        raise Rejected("checkpoint-bad", f"sent a checkpoint that does not hold: {error}") from None
    log.write(executed, note)
    return True


def compare(log: MemberLog, note_data: bytes) -> str | None:
    """Compare another member's checkpoint with our log; what differs, or None.

    Raises:
        Rejected: the checkpoint is malformed, or not signed by the sequencer.
    """
    try:
        note = parse_note(note_data)
        checkpoint = Checkpoint.parse(note.text)
        note.verified([electorate.log_key(log.replica.state), *electorate.cosigner_keys(log.replica.state)])
    except NoteError as error:
        raise Rejected("checkpoint-bad", f"showed a checkpoint that does not hold: {error}") from None
    if checkpoint.size > log.size or checkpoint.root == log.root_at(checkpoint.size):
        return None
    return f"two logs of {checkpoint.size} leaves are signed"


@dataclass
class Watch:
    """Transactions that somebody wants in, and since when; a sequencer may not ignore them for long.

    Attributes:
        clock: monotonic seconds.
        patience: seconds after which a transaction left out keeps us from signing.
    """

    clock: Callable[[], float]
    patience: float

    def __post_init__(self) -> None:
        self._since: dict[bytes, tuple[float, bytes]] = {}

    def note(self, digest: bytes, data: bytes) -> None:
        """Somebody wants this in."""
        self._since.setdefault(digest, (self.clock(), data))

    def settle(self, log: MemberLog) -> None:
        """Forget what has come in, or may not come in any more."""
        for digest, (_, data) in list(self._since.items()):
            if log.number(digest) is not None or objection(log, data) is not None:
                del self._since[digest]

    def overdue(self) -> list[bytes]:
        """What has been left out for too long."""
        now = self.clock()
        return [data for since, data in self._since.values() if now - since >= self.patience]

    def wanted(self) -> dict[bytes, bytes]:
        """Everything that somebody wants in, by digest."""
        return {digest: data for digest, (_, data) in self._since.items()}

    def waiting(self, after: float) -> list[bytes]:
        """What has been waiting for ``after`` seconds."""
        now = self.clock()
        return [data for since, data in self._since.values() if now - since >= after]


def objection(log: MemberLog, data: bytes) -> Dropped | None:
    """Why a transaction could not stand in the next block, or None if it could."""
    view: View = log.replica.state
    admitted = admit(view, data, Block(log.replica.height + 1, log.replica.time), signed_by)
    return admitted if isinstance(admitted, Dropped) else None


def digest_of(data: bytes) -> bytes:
    """The id of the transaction in an envelope; `EncodingError` if it is malformed."""
    return open_signed(data).digest
