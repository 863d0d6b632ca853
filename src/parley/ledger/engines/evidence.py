"""Two signed checkpoints of one size that differ: who has signed which, and the file that keeps both."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from parley.core.errors import UsageError
from parley.core.files import write_atomically
from parley.crypto.signatures import key_id
from parley.ledger.checkpoint import Checkpoint, contradict
from parley.ledger.contract import View
from parley.ledger.contract.evidence import Checkpoints
from parley.ledger.electorate import holds, proving_keys
from parley.ledger.engines.embedded.store import StoreFailed
from parley.ledger.notes import NoteError, NoteKey, NoteSignature, SignedNote, parse_note

EVIDENCE_LIMIT: Final = 100
"""Files of evidence that are kept; a liar cannot fill the disk."""


@dataclass(frozen=True)
class Disagreement:
    """Another checkpoint of a size that we have, and whose word it is.

    Attributes:
        size: leaves.
        signers: members that have signed the other one, ascending.
        convicted: those of them that have signed ours too, with the same key: on that the contract suspends
            them (`contract.evidence.Checkpoints`).
        ours: our own note.
        theirs: the other one. Neither has a signature that does not hold, since one such line would make
            evidence worthless.
    """

    size: int
    signers: tuple[str, ...]
    convicted: tuple[str, ...]
    ours: SignedNote
    theirs: SignedNote

    @property
    def what(self) -> str:
        """In words."""
        if self.convicted:
            return f"{' and '.join(self.convicted)} signed two ledgers of {self.size} leaves"
        return f"{' and '.join(self.signers)} signed another ledger of {self.size} leaves than ours"


def disagreement(keys: Mapping[NoteKey, str], ours: SignedNote, theirs: SignedNote) -> Disagreement | None:
    """What it means that somebody shows another checkpoint; None if it proves nothing.

    Numbered checks: 1 they are of one ledger and size, and of different leaves or states; 2 a member has
    signed the other one.

    Args:
        keys: of the members for checkpoints (`electorate.proving_keys`), with the member.
        ours: our note.
        theirs: the other one, of which nothing is known.

    Raises:
        NoteError: the other one is no checkpoint.
    """
    own, other = Checkpoint.parse(ours.text), Checkpoint.parse(theirs.text)
    # 1
    if not contradict(own, other):
        return None
    # 2
    (said, theirs), (ours_said, ours) = well_signed(keys, theirs), well_signed(keys, ours)
    if not said:
        return None
    signers = {keys[key] for key in said}
    convicted = {keys[key] for key in said if key.public in {key.public for key in ours_said}}
    return Disagreement(other.size, tuple(sorted(signers)), tuple(sorted(convicted)), ours, theirs)


def well_signed(keys: Iterable[NoteKey], note: SignedNote) -> tuple[set[NoteKey], SignedNote]:
    """Which of some keys have signed a note, and the note with those signatures alone.

    Names and hashes of keys may coincide, the hash being short; so every key is tried that a line may be of.
    """
    good: dict[NoteKey, NoteSignature] = {}
    for key in keys:
        lines = (line for line in note.signatures if (line.name, line.key_hash) == (key.name, key.key_hash))
        held = next((line for line in lines if holds(key, note.text, line)), None)
        if held is not None:
            good[key] = held
    return {*good}, SignedNote(note.text, tuple(dict.fromkeys(good.values())))


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of evidence."""

    what: str
    notes: tuple[str, str]


def convictions(view: View, data: bytes) -> dict[str, Checkpoints]:
    """What a file of evidence proves, and against whom: proofs for ``evidence.submit``, by member.

    Args:
        view: the state, whose keys count.
        data: of the file, which may come from anybody.

    Raises:
        UsageError: ``evidence-proves-nothing``: it is no such file, or convicts nobody.
    """
    keys = proving_keys(view)
    try:
        first, second = (parse_note(note.encode()) for note in msgspec.json.decode(data, type=_Kept).notes)
        found = disagreement(keys, first, second)
    except (msgspec.MsgspecError, NoteError, UnicodeError) as error:
        raise _proves_nothing(f"it is no file of evidence: {error}") from None
    if found is None or not found.convicted:
        raise _proves_nothing("no member has signed two checkpoints of one size that differ")
    (ours, _), (theirs, _) = well_signed(keys, found.ours), well_signed(keys, found.theirs)
    both = {key.public for key in ours} & {key.public for key in theirs}
    return {
        keys[key]: Checkpoints(
            key=key_id(key.public),
            name=keys[key],
            first=found.ours.encoded().hex(),
            second=found.theirs.encoded().hex(),
        )
        for key in keys
        if key.public in both
    }


def _proves_nothing(why: str) -> UsageError:
    return UsageError(
        "evidence-proves-nothing",
        f"the file convicts nobody: {why}",
        remedy="name an evidence-….json of the ledger's folder whose `what` says that a member signed two",
    )


def keep_evidence(folder: Path, what: str, first: SignedNote, second: SignedNote) -> str:
    """Write two signed notes that cannot both be honest beside a database; the name of the file.

    The name is empty if there are `EVIDENCE_LIMIT` of them already.

    Raises:
        StoreFailed: the disk did not take it.
    """
    notes = [first.encoded().decode(), second.encoded().decode()]
    content = json.dumps({"what": what, "notes": notes}, ensure_ascii=False, indent=1).encode()
    name = f"evidence-{hashlib.sha256(content).hexdigest()[:16]}.json"
    if (folder / name).exists():
        return name
    if len(list(folder.glob("evidence-*.json"))) >= EVIDENCE_LIMIT:
        return ""
    try:
        write_atomically(folder / name, content)
    except OSError as error:
        raise StoreFailed(folder / name, error) from error
    return name


def where(name: str) -> str:
    """Where evidence is, in words, by what `keep_evidence` has returned."""
    return (
        f"both signed notes are in {name}"
        if name
        else f"{EVIDENCE_LIMIT} files of evidence are there already"
    )
