"""One member's log: its replica and its database moving together, and the only place that signs.

What both the sequencer and a cosigner do goes through here, so that nothing is signed that is not on
disk, and nothing twice.
"""

from collections.abc import Sequence
from pathlib import Path

from parley.core.errors import UsageError
from parley.crypto.signatures import SigningKey
from parley.ledger.checkpoint import Checkpoint
from parley.ledger.contract import Dropped
from parley.ledger.encoding import Value, decode, encode
from parley.ledger.engines.embedded import electorate
from parley.ledger.engines.embedded.store import HighWater, LedgerStore, StoredBlock, StoredLeaf
from parley.ledger.merkle import Frontier, leaf_hash
from parley.ledger.notes import NoteSignature, SignedNote, cosign, parse_note
from parley.ledger.replica import Executed, Overlay, Replica


class MemberLog:
    """The ledger as one member has it on disk.

    Args:
        folder: where the database and the high-water mark lie.
        name: of the member.
        key: its cosigning key.
        consortium: origin of the ledger it must be, where that is known beforehand; else empty.

    Raises:
        UsageError: the database was put back to an earlier day (``ledger-rolled-back``), or is damaged.
    """

    def __init__(self, folder: Path, name: str, key: SigningKey, consortium: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.name = name
        self.consortium = consortium
        self._key = key
        self._store = LedgerStore(folder / "ledger.db")
        self._high_water = HighWater(folder / "high-water.json")
        self.replica = self._loaded()
        self.final_size = self._store.final_size
        self._numbers = self._store.numbers()

    def _loaded(self) -> Replica:
        """The replica as it was left; log and state must be those of the last checkpoint."""
        size = self._store.size
        frontier = Frontier()
        for digest in self._store.hashes(size):
            frontier.append(digest)
        if not size:
            return Replica({}, frontier)
        note = self._store.note(size)
        last = self._store.leaves(size - 1, size)[0]
        where = decode(last.data, len(last.data))
        assert isinstance(where, dict)  # noqa: S101 (every leaf is an object)
        replica = Replica(
            self._store.state(), frontier, int(where.get("height", 0)), int(where.get("time", 0))
        )
        checkpoint = None if note is None else Checkpoint.parse(parse_note(note).text)
        sound = checkpoint is not None and (
            (checkpoint.root, checkpoint.state_root) == (frontier.root(), replica.state.root)
        )
        if not sound:
            raise UsageError(
                "ledger-damaged",
                f"the ledger of {self.name} does not match its own last checkpoint of {size} leaves",
                remedy="move the database away; the ledger is fetched again from the other members",
            )
        return replica

    @property
    def store(self) -> LedgerStore:
        """The database."""
        return self._store

    @property
    def size(self) -> int:
        """Leaves."""
        return self.replica.size

    def number(self, digest: bytes) -> int | None:
        """The leaf of the transaction with this digest, if it is in the log."""
        return self._numbers.get(digest)

    def may_sign(self) -> bool:
        """Whether this log has all that this member ever signed for."""
        size, root = self._high_water.read()
        if size > self.size:
            return False
        return not size or self.root_at(size).hex() == root

    def begin(self, spec: Value) -> None:
        """Write the genesis as the member that orders."""
        self.seal(self.replica.begin(spec))

    def prepare(self, transactions: Sequence[bytes], time: int) -> tuple[Executed, dict[bytes, Dropped]]:
        """As the sequencer: the next block, not yet written."""
        return self.replica.prepare(transactions, time)

    def seal(self, executed: Executed) -> SignedNote:
        """As the sequencer: sign a block as the log, and write it; only then may anyone see the signature."""
        state = Overlay(self.replica.state, executed.writes)
        checkpoint = Checkpoint.seal(
            electorate.origin(state), executed.size, executed.root, executed.state_root
        )
        note = checkpoint.sign(self._key)
        self.write(executed, note)
        self._high_water.raise_to(executed.size, executed.root.hex())
        return note

    def write(self, executed: Executed, note: SignedNote) -> None:
        """Write an executed block behind the log and go on from it."""
        leaves = tuple(
            StoredLeaf(data, leaf_hash(data), digest, receipt)
            for data, digest, receipt in zip(
                executed.leaves, executed.digests, _receipts(executed), strict=True
            )
        )
        block = StoredBlock(executed.height, self.size, leaves, note.encoded())
        self._store.append(block, executed.writes.items())
        self._numbers |= {digest: block.first + place for place, digest in enumerate(executed.digests)}
        self.replica.adopt(executed)

    def cosign(self, time: int) -> SignedNote:
        """Sign the checkpoint of our whole log; what it binds us to is on disk before it is given away.

        Raises:
            UsageError: ``ledger-rolled-back``; we signed for more than we have.
        """
        if not self.may_sign():
            raise UsageError(
                "ledger-rolled-back",
                f"{self.name} has signed for a longer or another log than the {self.size} leaves it holds",
                remedy="leave the party running: it signs again when it has caught up with the other members",
            )
        note = self.note(self.size)
        if note is None:
            raise UsageError(
                "ledger-empty", "there is nothing to sign yet", remedy="wait for the first block"
            )
        self._high_water.raise_to(self.size, self.replica.frontier.root().hex())
        return SignedNote(note.text, (cosign(self.name, note.text, self._key, time),))

    def note(self, size: int) -> SignedNote | None:
        """The checkpoint of a size with the signatures known."""
        data = self._store.note(size)
        return None if data is None else parse_note(data)

    def add_signatures(self, size: int, lines: Sequence[NoteSignature]) -> SignedNote | None:
        """Keep signatures under a checkpoint of ours; the note if it has become final, else None."""
        note = self.note(size)
        if note is None:
            return None
        note = note.with_signatures(lines)
        final = self.is_final(note)
        self._store.keep_note(size, note.encoded(), final=final)
        if final:
            self.final_size = max(self.final_size, size)
        return note if final else None

    def is_final(self, note: SignedNote) -> bool:
        """Whether a majority of the members, by our state, has signed the note."""
        keys = electorate.cosigner_keys(self.replica.state)
        known = {(key.name, key.key_hash) for key in keys}
        lines = [line for line in note.signatures if (line.name, line.key_hash) in known]
        if not lines:
            return False
        signed = SignedNote(note.text, tuple(lines)).verified(keys)
        return len(signed) >= electorate.quorum(self.replica.state)

    def root_at(self, size: int) -> bytes:
        """The root our log had when it had so many leaves."""
        if size == self.size:
            return self.replica.frontier.root()
        frontier = Frontier()
        for digest in self._store.hashes(size):
            frontier.append(digest)
        return frontier.root()


def _receipts(executed: Executed) -> list[bytes]:
    """The receipts as they are stored; the genesis has none."""
    return [encode(receipt.value()) for receipt in executed.receipts] or [b"{}"]
