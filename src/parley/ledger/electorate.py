"""Whose signature counts under a checkpoint, by the state the checkpoint commits to."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from parley.crypto.signatures import SigningKey
from parley.ledger.contract import log_origin
from parley.ledger.contract.consortium import CONSORTIUM, ENGINE, Consortium, Engine
from parley.ledger.contract.members import Key, Member, active_members, key_path, member_path
from parley.ledger.contract.state import Draft, View
from parley.ledger.contract.takeover import TAKEOVER, LastTakeover
from parley.ledger.notes import Kind, NoteError, NoteKey, NoteSignature
from parley.ledger.replica import Replica


@dataclass(frozen=True, slots=True)
class Electorate:
    """The active members of one state as cosigners.

    Attributes:
        keys: ascending by name.
        quorum: how many of them make a checkpoint final: more than half.
    """

    keys: tuple[NoteKey, ...]
    quorum: int

    @classmethod
    def of(cls, view: View) -> "Electorate":
        """That of a state."""
        draft = Draft(view)
        members = active_members(draft)
        keys = tuple(
            NoteKey(member.name, Kind.COSIGNATURE_V1, _public(draft, member.cosigning)) for member in members
        )
        return cls(keys, len(members) // 2 + 1)

    def key(self, name: str) -> NoteKey | None:
        """The key of one member; None unless it is active."""
        return next((key for key in self.keys if key.name == name), None)

    def good(self, text: str, lines: Iterable[NoteSignature]) -> tuple[NoteSignature, ...]:
        """Those of ``lines`` that are cosignatures of ``text`` by these members, one of each at most."""
        known = {(key.name, key.key_hash): key for key in self.keys}
        found: dict[str, NoteSignature] = {}
        for line in lines:
            key = known.get((line.name, line.key_hash))
            if key is not None and line.name not in found and holds(key, text, line):
                found[line.name] = line
        return tuple(found.values())


def holds(key: NoteKey, text: str, line: NoteSignature) -> bool:
    """Whether ``line`` is a signature of ``text`` by ``key``."""
    if (line.name, line.key_hash) != (key.name, key.key_hash):
        return False
    try:
        key.statement(text, line.signature)
    except NoteError:
        return False
    return True


def origin(view: View) -> str:
    """The name of this ledger's log in checkpoints."""
    return log_origin(Draft(view).known(Consortium, CONSORTIUM).id)


def sequencer(view: View, height: int) -> str:
    """The member that orders the block of ``height`` behind this state; empty where another engine does."""
    engine = Draft(view).known(Engine, ENGINE)
    moved = engine.kind != "embedded" and height >= engine.height
    return "" if moved or engine.sequencer is None else engine.sequencer


def ends(replica: Replica) -> bool:
    """Whether the embedded engine orders no block behind this state, since the members have left it."""
    if not replica.size:
        return False
    engine = Draft(replica.state).known(Engine, ENGINE)
    return engine.kind != "embedded" and replica.height + 1 >= engine.height


def sealer(before: View, after: View, height: int) -> NoteKey | None:
    """The key that seals the block of ``height``: its sequencer's, as the log; None where nobody may.

    The state before the block says who orders it, and with which key; the genesis, and a block that makes
    its own author the sequencer (`contract.takeover`), say so themselves.
    """
    founding = Draft(before).find(Engine, ENGINE) is None
    last = Draft(after).find(LastTakeover, TAKEOVER)
    view = after if founding or (last is not None and last.height == height) else before
    name = sequencer(view, height)
    if not name:
        return None
    draft = Draft(view)
    return NoteKey(
        origin(after), Kind.ED25519, _public(draft, draft.known(Member, member_path(name)).cosigning)
    )


def sealers(before: View, after: View, height: int) -> tuple[NoteKey, ...]:
    """The keys of which one has sealed the block of ``height``.

    The sequencer's; or where CometBFT orders, that of any member, since each seals its own copy, and who
    forges one is contradicted by the headers of the chain.
    """
    key = sealer(before, after, height)
    if key is not None:
        return (key,)
    return tuple(log_keys(after)) if Draft(after).known(Engine, ENGINE).kind == "cometbft" else ()


def log_keys(view: View) -> dict[NoteKey, str]:
    """Every key that a member ever had for checkpoints, as a key of the log; with the member."""
    return {key: member for key, member in checkpoint_keys(view).items() if key.kind is Kind.ED25519}


def checkpoint_keys(view: View) -> dict[NoteKey, str]:
    """The same keys, each as one of the log and as one of its member."""
    return _in_notes(view, _cosigning_keys(view))


def proving_keys(view: View) -> dict[NoteKey, str]:
    """The same without those that may be stolen, whose signatures prove nothing against the member."""
    return _in_notes(view, (key for key in _cosigning_keys(view) if not key.stolen))


def _in_notes(view: View, keys: Iterable[Key]) -> dict[NoteKey, str]:
    name = origin(view)
    return {
        NoteKey(said, kind, bytes.fromhex(key.public)): key.member
        for key in keys
        for said, kind in ((name, Kind.ED25519), (key.member, Kind.COSIGNATURE_V1))
    }


def _cosigning_keys(view: View) -> Iterator[Key]:
    draft = Draft(view)
    keys = (draft.known(Key, path) for path in draft.paths("key/"))
    return (key for key in keys if key.kind == "cosigning")


def held(keys: Sequence[SigningKey], name: str, view: View) -> SigningKey:
    """Of the keys that a member holds the one that is its cosigning key in a state; else the first."""
    if len(keys) == 1:
        return keys[0]
    current = cosigning_key(view, name)
    return next((key for key in keys if key.public == current), keys[0])


def cosigning_key(view: View, name: str) -> bytes:
    """The public half of a member's cosigning key in a state; empty for whoever has none there."""
    draft = Draft(view)
    member = draft.find(Member, member_path(name))
    return b"" if member is None or not member.cosigning else _public(draft, member.cosigning)


def _public(draft: Draft, identifier: str) -> bytes:
    return bytes.fromhex(draft.known(Key, key_path(identifier)).public)
