"""One member's log: its replica and its database moving together, and the only place that signs.

What both the sequencer and a cosigner do goes through here, so that nothing is signed that is not on
disk, and nothing twice. Not safe for several threads at once; a member's engine gives it one thread.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from parley.core.errors import UsageError
from parley.crypto.signatures import SigningKey
from parley.ledger import electorate
from parley.ledger.block import Leaf
from parley.ledger.checkpoint import Checkpoint
from parley.ledger.contract import Dropped, takeover
from parley.ledger.contract.state import Draft
from parley.ledger.electorate import Electorate, holds
from parley.ledger.encoding import Value, encode
from parley.ledger.engines import evidence
from parley.ledger.engines.embedded import loading
from parley.ledger.engines.embedded.high_water import HIGH_WATER_FILE, HighWater, Mark
from parley.ledger.engines.embedded.promises import PROMISE_FILE, PromiseFile, Succession
from parley.ledger.engines.embedded.store import LedgerStore, StoredBlock, StoredLeaf, StoreFailed
from parley.ledger.merkle import Frontier, leaf_hash
from parley.ledger.notes import Kind, NoteKey, NoteSignature, SignedNote, cosign, parse_note
from parley.ledger.replica import Executed, Overlay, Replica
from parley.ledger.transaction import Transaction, sign


class MemberLog:
    """The ledger as one member has it on disk.

    Args:
        folder: where the database and evidence of forks lie.
        name: of the member.
        key: its cosigning key.
        consortium: origin of the ledger it must be, where that is known beforehand; else empty.
        marks: where the high-water mark and the promise lie, which bind the key: beside it, so that who
            loses the database does not forget what was signed; by default the folder.

    Raises:
        UsageError: ``ledger-damaged`` or ``high-water-damaged``; a file does not hold what was written.
    """

    def __init__(
        self, folder: Path, name: str, key: SigningKey, consortium: str = "", marks: Path | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.name = name
        self.consortium = consortium
        self._folder = folder
        self._keys = [key]
        self._high_water = HighWater((marks or folder) / HIGH_WATER_FILE)
        self.promise = PromiseFile((marks or folder) / PROMISE_FILE)
        self._store = LedgerStore(folder / "ledger.db")
        try:
            self.replica = loading.replica_of(self._store, name)
            self.final_size = self._store.final_size
            self._numbers = self._store.numbers()
        except BaseException:
            self._store.close()
            raise
        self._electorates = {self.size: Electorate.of(self.replica.state)} if self.size else {}

    @property
    def _key(self) -> SigningKey:
        """The key to sign with, by the state behind the log."""
        return electorate.held(self._keys, self.name, self.replica.state)

    def hold(self, key: SigningKey) -> None:
        """Hold another key too, which is signed with once the ledger says so."""
        self._keys.append(key)

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

    # ── what may be signed ────────────────────────────────────────────────────────────────────────────

    @property
    def signed(self) -> Mark:
        """The highest checkpoint this member is known to have signed."""
        return self._high_water.mark

    @property
    def era(self) -> int:
        """Epoch of the last takeover in this log; 0 if there was none."""
        return takeover.epoch_of(self.replica.state) if self.size else 0

    def last_takeover(self) -> takeover.LastTakeover | None:
        """The last takeover in this log."""
        return Draft(self.replica.state).find(takeover.LastTakeover, takeover.TAKEOVER)

    def may_sign(self) -> bool:
        """Whether this log has all that this member ever signed for, and nothing else was promised."""
        return self._may_sign(self.size, self.era)

    def _may_sign(self, size: int, era: int) -> bool:
        """Whether a checkpoint of this size and era, behind our log, may be signed.

        What was signed in an earlier era and is not in this log was never final; a second checkpoint of the
        same size is not signed all the same.
        """
        mark = self.signed
        if not all(map(self._is_given_up, self.promise.successors(era))):
            return False
        if mark.size and mark.era < era:
            return size > mark.size
        return not mark.size or (mark.size <= self.size and self.root_at(mark.size).hex() == mark.root)

    def _is_given_up(self, successor: str) -> bool:
        """Whether the embedded engine has ended here, and the one we have promised does not take over.

        Who has signed the last block states it in any promise, and no takeover stands behind it. So where the
        rest is no majority, none can come: the successor signs, and takes nothing over from then on; then
        whoever has promised it may sign as well.
        """
        voters, note = self._electorates.get(self.size), self.note(self.size)
        if voters is None or note is None or not electorate.ends(self.replica):
            return False
        signed = {line.name for line in voters.good(note.text, note.signatures)}
        return len(voters.keys) - len(signed) < voters.quorum and successor in {self.name, *signed}

    def is_contradicted(self) -> bool:
        """Whether we have signed for something that is not in this log, however it may grow.

        What was signed before a takeover only keeps us silent until the log is longer.
        """
        mark = self.signed
        if not mark.size or mark.era != self.era or mark.size > self.size:
            return False
        return self.root_at(mark.size).hex() != mark.root

    def admit_signed(self, note: SignedNote) -> bool:
        """Remember a checkpoint that we sealed and have forgotten, when another member shows it to us.

        False if it is not our own seal.
        """
        own = NoteKey(electorate.origin(self.replica.state), Kind.ED25519, self._key.public)
        if not any(holds(own, note.text, line) for line in note.signatures):
            return False
        checkpoint = Checkpoint.parse(note.text)
        if checkpoint.size > self.signed.size:
            self._raise_to(checkpoint.size, checkpoint.root, note)
        return True

    def why_not_signing(self) -> str:
        """What keeps `may_sign` from being true, in words."""
        mark, made = self.signed, self.promise.made
        if made is not None and made.epoch > self.era:
            return f"{self.name} has promised that {made.successor} orders, and waits for it"
        if mark.era < self.era:
            return (
                f"{self.name} signed for {mark.size} leaves before the takeover, and signs beyond them only"
            )
        if mark.size > self.size:
            return f"{self.name} has signed for {mark.size} leaves and holds only {self.size}"
        return f"{self.name} has signed for another log of {mark.size} leaves than the one it holds"

    def _check_may_sign(self, size: int, era: int) -> None:
        if not self._may_sign(size, era):
            raise UsageError(
                "ledger-rolled-back",
                self.why_not_signing(),
                remedy="leave the party running: it signs again when it has caught up with the other members",
            )

    def is_cosigner(self) -> bool:
        """Whether our state has this member, with the key held here, among those that sign."""
        current = self._electorates.get(self.size)
        key = None if current is None else current.key(self.name)
        return key is not None and key.public == self._key.public

    # ── blocks ────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, spec: Value) -> None:
        """Write the genesis as the member that orders."""
        self.seal(self.replica.begin(spec))

    def prepare(self, transactions: Sequence[bytes], time: int) -> tuple[Executed, dict[bytes, Dropped]]:
        """As the sequencer: the next block, not yet written."""
        return self.replica.prepare(transactions, time)

    def seal(self, executed: Executed, time: int | None = None) -> SignedNote:
        """As the sequencer: sign a block as the log, and write it; only then may anyone see the signature.

        With ``time`` it is cosigned too.

        Raises:
            UsageError: ``not-the-sequencer``: the block is not ours to seal, or not with this key;
                ``ledger-rolled-back``.
        """
        after = Overlay(self.replica.state, executed.writes)
        self._check_may_sign(executed.size, takeover.epoch_of(after))
        key = electorate.sealer(self.replica.state, after, executed.height)
        if key is None or key.public != self._key.public:
            raise UsageError(
                "not-the-sequencer",
                f"{self.name} does not hold the key that seals block {executed.height}",
                remedy="let the sequencer's machine order, with the cosigning key that is on the ledger",
            )
        checkpoint = Checkpoint.seal(
            electorate.origin(after), executed.size, executed.root, executed.state_root
        )
        note = checkpoint.sign(self._key)
        own, ours = Electorate.of(after).key(self.name), electorate.held(self._keys, self.name, after)
        if time is not None and own is not None and own.public == ours.public:
            note = note.with_signatures([cosign(self.name, note.text, ours, time)])
        self.write(executed, note)
        self._raise_to(executed.size, executed.root, note)
        return note

    def write(self, executed: Executed, note: SignedNote) -> None:
        """Write an executed block behind the log and go on from it; of the note, what counts.

        Raises:
            StoreFailed: the disk did not take it; the log is as it was.
        """
        after = Overlay(self.replica.state, executed.writes)
        voters = Electorate.of(after)
        cosignatures = voters.good(note.text, note.signatures)
        key = electorate.sealer(self.replica.state, after, executed.height)
        seals = [line for line in note.signatures if key is not None and holds(key, note.text, line)][:1]
        final = len(cosignatures) >= voters.quorum
        leaves = tuple(
            StoredLeaf(data, leaf_hash(data), digest, receipt)
            for data, digest, receipt in zip(
                executed.leaves, executed.digests, _receipts(executed), strict=True
            )
        )
        stored = SignedNote(note.text, (*seals, *cosignatures)).encoded()
        block = StoredBlock(executed.height, self.size, leaves, stored, final)
        self._store.append(block, executed.writes.items())
        self._numbers |= {digest: block.first + place for place, digest in enumerate(executed.digests)}
        self.replica.adopt(executed)
        self._electorates[self.size] = voters
        if final:
            self._is_final(self.size)

    def cut(self, replica: Replica) -> None:
        """Go back to ``replica``, an earlier state of this very log; our own transactions become pending.

        Raises:
            ValueError: something final would be lost.
        """
        if not self.final_size <= replica.size <= self.size:
            raise ValueError(f"log of {self.size} leaves, {self.final_size} final, cut to {replica.size}")
        tail = self._store.leaves(replica.size, self.size)
        opened = [Leaf.decoded(leaf.data).opened() for leaf in tail]
        ours = {one.digest: one.data for one in opened if one.transaction.sender == self.name}
        self._store.cut(replica.size, replica.state.entries(), ours)
        for one in opened:
            del self._numbers[one.digest]
        self.replica = replica
        self._electorates = {self.size: Electorate.of(replica.state)}

    # ── promises ──────────────────────────────────────────────────────────────────────────────────────

    @property
    def key_id(self) -> str:
        """Id of the cosigning key."""
        return self._key.key_id

    def promise_to(self, successor: str, epoch: int) -> Succession:
        """Promise, on disk, that another member orders from now on; nothing of an earlier epoch is signed."""
        mark = self.signed
        bare = takeover.Promise(
            member=self.name, era=mark.era, size=mark.size, root=mark.root or "00" * 32, signature=""
        )
        consortium = electorate.origin(self.replica.state).removeprefix("parley/")
        text = takeover.promised(consortium, epoch, successor, bare)
        made = Succession(epoch, successor, bare.but(signature=self._key.sign(takeover.DOMAIN, text).hex()))
        try:
            self.promise.keep(made)
        except OSError as error:
            raise StoreFailed(self._folder / "promise.json", error) from error
        return made

    def signed_transaction(self, transaction: Transaction) -> bytes:
        """The envelope of a transaction that the cosigning key signs."""
        return sign(transaction, self._key).data

    # ── signatures ────────────────────────────────────────────────────────────────────────────────────

    def cosign(self, time: int) -> SignedNote:
        """Sign the checkpoint of our whole log; what it binds us to is on disk before it is given away.

        Raises:
            UsageError: ``ledger-rolled-back``: we signed for more than we have; ``not-a-cosigner``.
        """
        self._check_may_sign(self.size, self.era)
        note = self.note(self.size)
        if note is None or not self.is_cosigner():
            raise UsageError(
                "not-a-cosigner",
                f"the ledger does not have {self.name} as an active member with the key held here",
                remedy="wait for the first blocks, for admission, or load the key that is on the ledger",
            )
        own = cosign(self.name, note.text, self._key, time)
        self._raise_to(self.size, self.replica.frontier.root(), note.with_signatures([own]))
        return SignedNote(note.text, (own,))

    def note(self, size: int) -> SignedNote | None:
        """The checkpoint of a size with the signatures known."""
        data = self._store.note(size)
        return None if data is None else parse_note(data)

    def add_signatures(self, size: int, lines: Iterable[NoteSignature]) -> SignedNote | None:
        """Keep those signatures under a checkpoint of ours that count; the note if it is final now."""
        voters, note = self._electorates.get(size), self.note(size)
        if voters is None or note is None:
            return None
        added = note.with_signatures(voters.good(note.text, lines))
        final = self.is_final(added)
        if added != note:
            self._store.keep_note(size, added.encoded(), final=final)
        if final:
            self._is_final(size)
        return added if final else None

    def is_final(self, note: SignedNote) -> bool:
        """Whether the note is that of a size of ours not long past, and a majority has signed it."""
        size = Checkpoint.parse(note.text).size
        voters, ours = self._electorates.get(size), self.note(size)
        if voters is None or ours is None or ours.text != note.text:
            return False
        return len(voters.good(note.text, note.signatures)) >= voters.quorum

    def _is_final(self, size: int) -> None:
        self.final_size = max(self.final_size, size)
        self._electorates = {
            past: voters for past, voters in self._electorates.items() if past >= self.final_size
        }

    def root_at(self, size: int) -> bytes:
        """The root our log had when it had so many leaves."""
        if size == self.size:
            return self.replica.frontier.root()
        note = self.note(size)
        if note is not None:
            return Checkpoint.parse(note.text).root
        frontier = Frontier()
        for digest in self._store.hashes(size):
            frontier.append(digest)
        return frontier.root()

    # ── what must not be forgotten ────────────────────────────────────────────────────────────────────

    def keep_evidence(self, what: str, first: SignedNote, second: SignedNote) -> str:
        """Write two signed notes that cannot both be honest beside the database; the name of the file."""
        keys = electorate.checkpoint_keys(self.replica.state)
        kept = (evidence.well_signed(keys, note)[1] for note in (first, second))
        return evidence.keep_evidence(self._folder, what, *kept)

    def _raise_to(self, size: int, root: bytes, note: SignedNote) -> None:
        try:
            self._high_water.raise_to(Mark(size, root.hex(), note.encoded().decode(), self.era))
        except OSError as error:
            raise StoreFailed(self._high_water.path, error) from error


def not_fetched(member: str) -> UsageError:
    """The error of what needs the ledger at a member that has nothing of it."""
    return UsageError(
        "ledger-not-fetched",
        f"{member} has nothing of its consortium's ledger yet",
        remedy="leave the party running: it asks the other members for the ledger; "
        "`parley ledger status` says whom, and one of them has to be running",
    )


def _receipts(executed: Executed) -> list[bytes]:
    """The receipts as they are stored; the genesis has none."""
    return [encode(receipt.value()) for receipt in executed.receipts] or [b"{}"]
