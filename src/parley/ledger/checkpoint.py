"""Checkpoints: what the ledger was at one size, signed, in the format of C2SP tlog-checkpoint.

The text of the note is

    <origin>
    <number of leaves, decimal>
    <root of the log, base64>
    parley-state/v1 <root of the contract's state, base64>

The fourth line is an extension line, which the format leaves to the log. tlog-checkpoint advises against
extensions because monitors cannot audit them; ours can be audited by replaying the leaves, and every member
that cosigns has done so: its cosignature (tlog-cosignature, type 0x04) states both that the log only grew and
that the state root is the one the contract gives. Checkpoints of other logs, without that line, are read too.
"""

import base64
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Self

from parley.crypto.signatures import SigningKey
from parley.ledger import notes
from parley.ledger.merkle import HASH_BYTES, MAX_SIZE
from parley.ledger.notes import NoteError, NoteKey, SignedNote, Statement

_STATE: Final = "parley-state/v1 "
_MANDATORY_LINES: Final = 3


class Checkpoint(NamedTuple):
    """The head of a log. Made by `seal` or `parse`, which check it.

    Attributes:
        origin: which log it is of.
        size: number of leaves.
        root: 32 bytes, `merkle` root over the leaves.
        extensions: further lines of the text, as they stand.

    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @classmethod
    def seal(cls, origin: str, size: int, root: bytes, state_root: bytes) -> Self:
        """The checkpoint of a Parley ledger; ``state_root`` is the `sparse` root of the contract's state."""
        if not notes.is_key_name(origin):
            raise NoteError(f"origin {origin!r} is empty or has a space or a plus")
        for what, digest in (("log", root), ("state", state_root)):
            if len(digest) != HASH_BYTES:
                raise NoteError(f"root of the {what} has {len(digest)} bytes; it must have {HASH_BYTES}")
        if not 0 <= size <= MAX_SIZE:
            raise NoteError(f"log of {size} leaves; it must have 0 to {MAX_SIZE}")
        return cls(origin, size, root, (_STATE + base64.b64encode(state_root).decode(),))

    @classmethod
    def parse(cls, text: str) -> Self:
        """The checkpoint in the text of a note; `NoteError` if it is malformed."""
        if not text.endswith("\n"):
            raise NoteError("text of a checkpoint must end in a newline")
        lines = text[:-1].split("\n")
        if len(lines) < _MANDATORY_LINES or not all(lines):
            raise NoteError("checkpoint must have three lines or more, none of them empty")
        origin, size, root, *extensions = lines
        if not size.isascii() or not size.isdigit() or str(int(size[:20])) != size or int(size) > MAX_SIZE:
            raise NoteError(f"size of a checkpoint must be a decimal number from 0 to {MAX_SIZE}")
        return cls(origin, int(size), _hash("root of the log", root), tuple(extensions))

    @property
    def text(self) -> str:
        """The text of the note: what is signed."""
        lines = (self.origin, str(self.size), base64.b64encode(self.root).decode(), *self.extensions)
        return "".join(line + "\n" for line in lines)

    @property
    def state_root(self) -> bytes:
        """The root of the contract's state; `NoteError` if the checkpoint does not carry exactly one."""
        found = [line for line in self.extensions if line.startswith(_STATE)]
        if len(found) != 1:
            raise NoteError(
                f"checkpoint of {self.origin!r} has {len(found)} lines with a state root; expected one"
            )
        return _hash("root of the state", found[0].removeprefix(_STATE))

    def sign(self, key: SigningKey) -> SignedNote:
        """The note signed by the log itself, whose key has the origin as its name (tlog-checkpoint)."""
        return SignedNote(self.text, (notes.sign(self.origin, self.text, key),))


class Verified(NamedTuple):
    """A checkpoint, and who is known to have signed it."""

    checkpoint: Checkpoint
    statements: tuple[Statement, ...]


class Fork(NamedTuple):
    """Proof of fraud: the ``signers`` put their names to two different logs or states of one size.

    Anybody can check it again with `fork_evidence` and the two notes.
    """

    first: Checkpoint
    second: Checkpoint
    signers: tuple[NoteKey, ...]


def open_checkpoint(data: bytes, keys: Iterable[NoteKey]) -> Verified:
    """The checkpoint in a signed note, and which ``keys`` signed it; `NoteError` if none did or one badly."""
    note = notes.parse_note(data)
    statements = note.verified(keys)
    return Verified(Checkpoint.parse(note.text), statements)


def fork_evidence(a: bytes, b: bytes, keys: Sequence[NoteKey]) -> Fork | None:
    """The proof that some of ``keys`` signed two different checkpoints of one origin and size, if that is so.

    ``a`` and ``b`` are signed notes; `NoteError` if one is malformed or signed by none of the keys. A key
    counts once whichever way it signed, plainly or as a cosigner.
    """
    first, second = open_checkpoint(a, keys), open_checkpoint(b, keys)
    one, other = first.checkpoint, second.checkpoint
    if not contradict(one, other):
        return None
    both = {said.key.public for said in first.statements} & {said.key.public for said in second.statements}
    named = {said.key.public: said.key for said in first.statements if said.key.public in both}
    return Fork(one, other, tuple(named.values())) if named else None


def contradict(one: Checkpoint, other: Checkpoint) -> bool:
    """Whether two checkpoints are of one origin and size, and cannot both be true."""
    return (one.origin, one.size) == (other.origin, other.size) and _claimed(one) != _claimed(other)


def _claimed(checkpoint: Checkpoint) -> tuple[bytes, tuple[str, ...]]:
    """What cannot honestly be said in two ways of one size: the root, and the state that follows from it."""
    states = tuple(line for line in checkpoint.extensions if line.startswith(_STATE))
    return checkpoint.root, states


def _hash(what: str, text: str) -> bytes:
    digest = notes.decoded_base64(text)
    if len(digest) != HASH_BYTES:
        raise NoteError(f"{what} has {len(digest)} bytes; it must have {HASH_BYTES}")
    return digest
