"""What a member checks before it signs a block, and what it makes of the checkpoints of others."""

from collections.abc import Sequence
from dataclasses import dataclass

from parley.ledger import electorate
from parley.ledger.checkpoint import Checkpoint
from parley.ledger.engines.embedded.log import MemberLog
from parley.ledger.notes import NoteError, NoteKey, SignedNote, parse_note
from parley.ledger.replica import Executed, IllegalBlock, Overlay, Replica


class Rejected(Exception):
    """What another member sent must not be believed: a stable code and what is wrong."""

    def __init__(self, code: str, what: str) -> None:
        super().__init__(what)
        self.code = code


class Forked(Exception):
    """Two notes that one member signed and that cannot both be honest.

    Attributes:
        member: who signed both.
        what: in words.
        ours: the note that belongs to our log.
        theirs: the one that contradicts it.
    """

    def __init__(self, member: str, what: str, ours: SignedNote, theirs: SignedNote) -> None:
        super().__init__(what)
        self.member = member
        self.what = what
        self.ours = ours
        self.theirs = theirs


def take(log: MemberLog, first: int, leaves: Sequence[bytes], note_data: bytes) -> bool:
    """Execute a block of the sequencer's, compare, and write it behind our log.

    Numbered checks: 1 it begins where our log ends; 2 every leaf is admissible and its execution legal;
    3 the checkpoint is of this ledger and size; 4 its log root is ours; 5 its state root is ours, and it
    says nothing else; 6 the member that may seal this block has signed it.

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
    executed, note = checked(log, log.replica, leaves, note_data)
    log.write(executed, note)
    return True


def checked(
    log: MemberLog, replica: Replica, leaves: Sequence[bytes], note_data: bytes
) -> tuple[Executed, SignedNote]:
    """Checks 2 to 6 of `take`, of a block behind ``replica``; nothing is written."""
    # 2
    try:
        executed = replica.execute(leaves)
    except IllegalBlock as error:
        raise Rejected("block-illegal", str(error)) from None
    after = Overlay(replica.state, executed.writes)
    origin = electorate.origin(after)
    note, checkpoint = _read(note_data)
    # 3
    if log.consortium not in ("", origin):
        raise Rejected("consortium-other", f"keeps the ledger {origin}")
    if (checkpoint.origin, checkpoint.size) != (origin, executed.size):
        raise Rejected("checkpoint-other", f"sent a checkpoint of {checkpoint.origin}, {checkpoint.size}")
    # 4
    if checkpoint.root != executed.root:
        raise Rejected("log-root-differs", f"sealed another log of {executed.size} leaves than it sent")
    # 5
    ours = Checkpoint.seal(origin, executed.size, executed.root, executed.state_root)
    if note.text != ours.text:
        raise Rejected("state-root-differs", f"sealed another state at height {executed.height} than ours")
    # 6
    key = electorate.sealer(replica.state, after, executed.height)
    if key is None or not _signed_by(note, key):
        raise Rejected("checkpoint-bad", "sent a checkpoint that the sequencer has not signed")
    return executed, note


def compare(log: MemberLog, note_data: bytes) -> Checkpoint | None:
    """Compare another member's checkpoint with our log.

    Numbered checks: 1 it is well-formed and of this ledger; 2 a key that was a member's for checkpoints has
    signed it as the log; 3 if it is not longer than our log, it is the checkpoint we have of that size, or
    else its signer is another member than ours had.

    Returns:
        The checkpoint, if it is longer than our log; else None.

    Raises:
        Rejected: 1 or 2 failed, or one signed as the log that never was the sequencer.
        Forked: the sequencer has signed two logs.
    """
    # 1
    note, checkpoint = _read(note_data)
    state = log.replica.state
    if checkpoint.origin != electorate.origin(state):
        raise Rejected("checkpoint-other", f"showed a checkpoint of {checkpoint.origin}")
    # 2
    signers = {key: name for key, name in electorate.log_keys(state).items() if _signed_by(note, key)}
    if not signers:
        raise Rejected("checkpoint-bad", "showed a checkpoint that no sequencer has signed")
    # 3
    if checkpoint.size > log.size:
        return checkpoint
    ours = log.note(checkpoint.size)
    if ours is not None and ours.text == note.text:
        return None
    if ours is None and not log.era:
        ours = log.note(log.size)  # without a takeover, no honest log has had another boundary there
    proving = electorate.proving_keys(state)
    for key, name in signers.items():
        if ours is not None and key in proving and _signed_by(ours, key):
            what = f"{name} has signed two logs of {checkpoint.size} leaves"
            raise Forked(name, what, ours, note)
    raise Rejected("checkpoint-bad", f"showed a checkpoint of {checkpoint.size} leaves by another sequencer")


@dataclass(frozen=True, slots=True)
class Cosignature:
    """A member's cosignature under a checkpoint of ours."""

    size: int
    note: SignedNote


def cosignature(log: MemberLog, member: str, note_data: bytes) -> Cosignature | None:
    """What another member sent as its cosignature; None if it is of no use, for instance of a new key.

    Raises:
        Rejected: the note is malformed, or signed badly.
        Forked: the member has signed another log than ours.
    """
    note, checkpoint = _read(note_data)
    voters = electorate.Electorate.of(log.replica.state)
    key = voters.key(member)
    lines = [line for line in note.signatures if line.name == member]
    if key is None or not any(line.key_hash == key.key_hash for line in lines):
        return None
    if not voters.good(note.text, lines):
        raise Rejected("cosignature-bad", "sent a cosignature that does not hold")
    ours = log.note(checkpoint.size)
    if ours is None:
        return None
    if ours.text != note.text:
        raise Forked(member, f"{member} has signed another log of {checkpoint.size} leaves", ours, note)
    return Cosignature(checkpoint.size, SignedNote(note.text, tuple(lines)))


def _read(data: bytes) -> tuple[SignedNote, Checkpoint]:
    try:
        note = parse_note(data)
        return note, Checkpoint.parse(note.text)
    except NoteError as error:
        raise Rejected("checkpoint-bad", f"sent a checkpoint that does not hold: {error}") from None


def _signed_by(note: SignedNote, key: NoteKey) -> bool:
    return any(electorate.holds(key, note.text, line) for line in note.signatures)
