"""Whose signature counts under a checkpoint, by the state the checkpoint commits to."""

from parley.ledger.contract.consortium import CONSORTIUM, ENGINE, Consortium, Engine
from parley.ledger.contract.members import Key, Member, active_members, key_path, member_path
from parley.ledger.contract.state import Draft, View
from parley.ledger.notes import Kind, NoteKey


def origin(view: View) -> str:
    """The name of this ledger's log in checkpoints."""
    return f"parley/{Draft(view).known(Consortium, CONSORTIUM).id}"


def sequencer(view: View) -> str:
    """The member that orders; empty where another engine does."""
    return Draft(view).known(Engine, ENGINE).sequencer or ""


def log_key(view: View) -> NoteKey:
    """The key by which the sequencer signs checkpoints as the log."""
    draft = Draft(view)
    member = draft.known(Member, member_path(sequencer(view)))
    return NoteKey(origin(view), Kind.ED25519, _public(draft, member))


def cosigner_keys(view: View) -> tuple[NoteKey, ...]:
    """The keys of all active members as cosigners, ascending by name."""
    draft = Draft(view)
    return tuple(
        NoteKey(member.name, Kind.COSIGNATURE_V1, _public(draft, member)) for member in active_members(draft)
    )


def quorum(view: View) -> int:
    """How many members must have signed for a checkpoint to be final: more than half."""
    return len(active_members(Draft(view))) // 2 + 1


def _public(draft: Draft, member: Member) -> bytes:
    return bytes.fromhex(draft.known(Key, key_path(member.cosigning)).public)
