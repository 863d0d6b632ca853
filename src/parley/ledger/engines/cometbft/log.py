"""The ledger of one party on CometBFT: its replica and its database, moving together.

Everything here is final: the engine has decided it. The checkpoint behind a block carries this party's own
signatures, as the log and as a cosigner; that the others agree is in the chain, whose every header has the
hash of the checkpoint before it (`app_hash`) and is signed by two thirds of the voting power. Their
cosignatures come beside the chain (`witnessing`), so that exports and receipts show it without the chain.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from parley.core.errors import UsageError
from parley.crypto.hashing import TaggedHash
from parley.crypto.signatures import SigningKey
from parley.ledger.block import Leaf
from parley.ledger.checkpoint import Checkpoint
from parley.ledger.contract.consortium import ENGINE, Engine
from parley.ledger.contract.state import Draft
from parley.ledger.contract.takeover import epoch_of
from parley.ledger.electorate import Electorate, cosigning_key, held, holds, log_keys, origin
from parley.ledger.encoding import EncodingError, encode
from parley.ledger.engines.cometbft.store import ChainStore, ExecutedBlock, Position
from parley.ledger.engines.embedded.high_water import NO_MARK, Mark
from parley.ledger.engines.embedded.store import StoredBlock, StoredLeaf
from parley.ledger.engines.evidence import Disagreement, keep_evidence
from parley.ledger.merkle import Frontier, leaf_hash
from parley.ledger.notes import NoteError, NoteSignature, SignedNote, cosign, parse_note
from parley.ledger.replica import Executed, Overlay, Remembering, Replica

_UNSIGNED: Final = NoteSignature("unsigned", bytes(4), bytes(64))
"""Stands under a checkpoint that we must not sign, until another's seal does: no note goes without a line."""
_APP_HASH: Final = TaggedHash("parley/cometbft/app/v1")
DATABASE: Final = "ledger.db"


def app_hash(checkpoint: Checkpoint) -> bytes:
    """What the nodes agree on: the tagged hash of the checkpoint's text.

    It covers consortium, number of leaves, root of the log and root of the state, and nothing that a block
    without transactions would change.
    """
    return _APP_HASH(checkpoint.text.encode())


class ChainLog:
    """The ledger as one party on CometBFT has it.

    Args:
        folder: where the database lies; that of the embedded engine, if the consortium has moved.
        name: of the party.
        key: its cosigning key, which is its validator's.
        mark: the highest checkpoint that it has signed under the embedded engine.

    Attributes:
        withholds: whether it cosigns no further checkpoint.

    Raises:
        UsageError: ``ledger-damaged``: the database does not match its own last checkpoint.

    """

    def __init__(self, folder: Path, name: str, key: SigningKey, mark: Mark = NO_MARK) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.name = name
        self.withholds = False
        self._mark = mark
        self._folder = folder
        self._keys = [key]
        self.store = ChainStore(folder / DATABASE)
        try:
            self.position = self.store.position()
            self.replica = _loaded(self.store, name)
        except BaseException:
            self.store.close()
            raise
        self._numbers = self.store.numbers()
        self._cosigned = self.store.final_size
        self._electorates = {self.size: Electorate.of(self.replica.state)} if self.size else {}

    def hold(self, key: SigningKey) -> None:
        """Hold another key too, which is signed with once the ledger says so."""
        self._keys.append(key)

    @property
    def cosigned_size(self) -> int:
        """Leaves for which a majority of the members has signed, as far as this party knows."""
        return self._cosigned

    @property
    def embedded_size(self) -> int:
        """Leaves that the embedded engine has ordered; 0 if the consortium began on CometBFT."""
        return self.store.size_before(Draft(self.replica.state).known(Engine, ENGINE).height)

    @property
    def size(self) -> int:
        """Leaves."""
        return self.replica.size

    @property
    def final_size(self) -> int:
        """Leaves that are final: all."""
        return self.replica.size

    @property
    def voting_key(self) -> bytes:
        """The public half of the key with which our node votes on the next block of the chain.

        A validator's key that a block has changed acts two blocks later, so it is the cosigning key in the
        state before the last block. Empty before we have one.
        """
        return bytes.fromhex(self.position.voting) or cosigning_key(self.replica.state, self.name)

    def number(self, digest: bytes) -> int | None:
        """The leaf of the transaction with this digest, if it is in the log."""
        return self._numbers.get(digest)

    def note(self, size: int) -> SignedNote | None:
        """The checkpoint of a size."""
        data = self.store.note(size)
        return None if data is None else parse_note(data)

    def root_at(self, size: int) -> bytes:
        """The root the log had when it had so many leaves."""
        frontier = Frontier()
        for digest in self.store.hashes(size):
            frontier.append(digest)
        return frontier.root()

    def checkpoint(self) -> Checkpoint:
        """The checkpoint of the log as it stands."""
        replica = self.replica
        return Checkpoint.seal(
            origin(replica.state), replica.size, replica.frontier.root(), replica.state.root
        )

    def checkpoint_after(self, executed: Executed) -> Checkpoint:
        """The checkpoint of the log with a block behind it."""
        state = Overlay(self.replica.state, executed.writes)
        return Checkpoint.seal(origin(state), executed.size, executed.root, executed.state_root)

    def start_over(self) -> None:
        """Forget what was executed and never committed."""
        self.replica = _loaded(self.store, self.name)

    def commit(self, blocks: Sequence[Executed], position: Position) -> None:
        """Write what a block of the chain has executed, all or nothing; `adopt` follows."""
        written = [ExecutedBlock(self._stored(executed), executed.writes) for executed in blocks]
        self.store.commit(written, position)

    def adopt(self, blocks: Sequence[Executed], position: Position) -> None:
        """Go on from what was committed; blocks that the replica has already are counted only."""
        for executed in blocks:
            first = executed.size - len(executed.leaves)
            self._numbers |= {digest: first + place for place, digest in enumerate(executed.digests)}
            if executed.height > self.replica.height:
                self.replica.adopt(executed)
            self._electorates[executed.size] = Electorate.of(self.replica.state)
        self.position = position

    def add_signatures(self, size: int, lines: Iterable[NoteSignature]) -> None:
        """Keep those signatures under a checkpoint of ours that count; of one not long past."""
        voters, note = self._electorates.get(size), self.note(size)
        if voters is None or note is None:
            return
        good = voters.good(note.text, note.with_signatures(lines).signatures)
        added = note.with_signatures(good)
        if _UNSIGNED in note.signatures:
            keys = log_keys(self.replica.state)
            seals = [line for line in lines if any(holds(key, note.text, line) for key in keys)]
            added = SignedNote(note.text, (*seals, *good)) if seals else added
        final = len(good) >= voters.quorum
        if added != note:
            self.store.keep_note(size, added.encoded(), final=final)
        if final:
            self._cosigned = max(self._cosigned, size)
        for past in [at for at in list(self._electorates) if at < self._cosigned]:
            self._electorates.pop(past, None)  # in place: the party's thread may add one meanwhile

    def is_majority(self, note: SignedNote) -> bool:
        """Whether a majority of the members has cosigned another checkpoint of a size not long past."""
        voters = self._electorates.get(Checkpoint.parse(note.text).size)
        return voters is not None and len(voters.good(note.text, note.signatures)) >= voters.quorum

    def keep_evidence(self, found: Disagreement) -> str:
        """Write both notes beside the database; the name of the file.

        Raises:
            StoreFailed: the disk did not take it.
        """
        return keep_evidence(self._folder, found.what, found.ours, found.theirs)

    def _stored(self, executed: Executed) -> StoredBlock:
        """The block as it is written; its checkpoint is signed as of the block's time."""
        sealed = self.checkpoint_after(executed)
        key = held(self._keys, self.name, Overlay(self.replica.state, executed.writes))
        own = () if self.withholds else (cosign(self.name, sealed.text, key, executed.time),)
        note = sealed.sign(key).with_signatures(own)
        if self._has_signed_another(executed):
            own, note = (), SignedNote(sealed.text, (_UNSIGNED,))
        receipts = [encode(receipt.value()) for receipt in executed.receipts] or [b"{}"]
        leaves = tuple(
            StoredLeaf(data, leaf_hash(data), digest, receipt)
            for data, digest, receipt in zip(executed.leaves, executed.digests, receipts, strict=True)
        )
        first = executed.size - len(leaves)
        voters = Electorate.of(Overlay(self.replica.state, executed.writes))
        alone = len(voters.good(note.text, own)) >= voters.quorum
        return StoredBlock(executed.height, first, leaves, note.encoded(), alone)

    def _has_signed_another(self, executed: Executed) -> bool:
        """Whether we may have signed another checkpoint of this size, behind a sequencer that was replaced.

        What it made was never final, but two of one size by one key are proof against whoever signed them.
        Until the log is longer, the others' signatures stand for ours, as with the embedded engine.
        """
        era = epoch_of(Overlay(self.replica.state, executed.writes))
        return self._mark.era < era and executed.size <= self._mark.size


def _loaded(store: ChainStore, name: str) -> Replica:
    """The replica as it was left.

    Numbered checks: 1 every leaf has the hash that stands beside it; 2 the last checkpoint has the root of
    the leaves and 3 the root of the state.
    """
    frontier = Frontier()
    last = b""
    for leaf in store.leaves(0, store.size):
        # 1
        if leaf_hash(leaf.data) != leaf.hash:
            raise _damaged(name, f"leaf {frontier.size} has another hash than was written")
        frontier.append(leaf.hash)
        last = leaf.data
    if not frontier.size:
        return Replica({}, frontier, verify=Remembering())
    try:
        checkpoint = Checkpoint.parse(parse_note(store.note(frontier.size) or b"").text)
        height, time = (0, 0) if frontier.size == 1 else _where(last)
        replica = Replica(store.state(), frontier, height, time, Remembering())
        if (checkpoint.root, checkpoint.state_root) != (frontier.root(), replica.state.root):  # 2, 3
            raise _damaged(name, f"it does not match its own checkpoint of {frontier.size} leaves")
    except (NoteError, EncodingError) as error:
        raise _damaged(name, str(error)) from None
    return replica


def _where(leaf: bytes) -> tuple[int, int]:
    read = Leaf.decoded(leaf)
    return read.height, read.time


def _damaged(name: str, what: str) -> UsageError:
    return UsageError(
        "ledger-damaged",
        f"the ledger of {name} is not as it was written: {what}",
        remedy="move the database away and start again; the node has every block since the genesis",
    )
