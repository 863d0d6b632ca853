"""The state of the ledger at one member: blocks go in, state roots and receipts come out.

Both engines and the offline verifier run this same code, so equal blocks give equal roots. Nothing here
reads a clock or a file.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from parley._native import SparseNodes
from parley.crypto.hashing import TaggedHash
from parley.ledger.block import Batch, Leaf, genesis_leaf, read_genesis
from parley.ledger.contract import (
    Block,
    Dropped,
    Genesis,
    Receipt,
    Verify,
    View,
    Write,
    admit,
    apply,
    genesis,
)
from parley.ledger.contract.refusal import Refusal
from parley.ledger.contract.state import Record
from parley.ledger.encoding import EncodingError, Value, encode_again
from parley.ledger.merkle import Frontier
from parley.ledger.sparse import EMPTY, SparseTree
from parley.ledger.transaction import SignedTransaction, open_signed

_STATE_KEY: Final = TaggedHash("parley/state/key/v1")
GENESIS_DIGEST: Final = bytes(32)
"""Stands where a transaction's digest would, for leaf 0."""

MERGED: Final = 64
"""From so many new keys on, a block's are merged into the sorted ones rather than inserted one by one."""


class IllegalBlock(Exception):
    """A block that no honest orderer makes: it names the leaf and what is wrong with it."""


class StateMap:
    """The state as a map with sorted keys and a root.

    Args:
        entries: what it holds at the beginning.
    """

    def __init__(self, entries: Mapping[str, Value]) -> None:
        self._entries = dict(entries)
        self._keys = sorted(self._entries)
        self._tree = SparseTree(SparseNodes())
        self.root = self.root_after(self._entries)

    def get(self, key: str) -> Value:
        """The value under ``key``, ``None`` if there is none."""
        return self._entries.get(key)

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys that begin with ``prefix``, ascending."""
        place = bisect_left(self._keys, prefix)
        while place < len(self._keys) and self._keys[place].startswith(prefix):
            yield self._keys[place]
            place += 1

    def root_after(self, changes: Mapping[str, Value]) -> bytes:
        """The root that the state would have with these changes; nothing changes yet."""
        root = getattr(self, "root", EMPTY)
        return self._tree.update(
            root,
            {
                state_key(key): None if value is None else encode_again(value)
                for key, value in changes.items()
            },
        )

    def adopt(self, changes: Mapping[str, Value], root: bytes) -> None:
        """Make the changes; ``root`` is what `root_after` said of them."""
        new = []
        for key, value in changes.items():
            known = key in self._entries
            if value is None:
                if known:
                    del self._entries[key]
                    del self._keys[bisect_left(self._keys, key)]
            else:
                self._entries[key] = value
                if not known:
                    new.append(key)
        _insert(self._keys, new)
        if root != self.root:
            self._tree.discard(self.root, (root,))
        self.root = root

    def entries(self) -> Mapping[str, Value]:
        """All of it."""
        return self._entries

    @property
    def tree(self) -> SparseTree:
        """For proofs under `root`."""
        return self._tree


def _insert(keys: list[str], new: list[str]) -> None:
    """Add keys to sorted ones: by a merge, unless they are so few that moving the rest for each is less."""
    if len(new) < MERGED:
        for key in new:
            insort(keys, key)
    else:
        keys += sorted(new)
        keys.sort()


def state_key(key: str) -> bytes:
    """Where a path of the state stands in the sparse tree."""
    return _STATE_KEY(key.encode())


class Overlay:
    """Changes laid over a view, while a block is executed.

    Attributes:
        records: read so far from the values as they are now.
    """

    def __init__(self, below: View, changes: Mapping[str, Value] | None = None) -> None:
        self._below = below
        self.records: dict[str, Record] = {}
        self._changes: dict[str, Value] = {}
        self._keys: list[str] = []
        self._new: list[str] = []
        self.lay((changes or {}).items())

    @property
    def changes(self) -> Mapping[str, Value]:
        """All changes so far, later ones already over earlier ones."""
        return self._changes

    def lay(self, writes: Iterable[Write]) -> None:
        """Change more."""
        for key, value in writes:
            if key not in self._changes:
                self._new.append(key)
            self._changes[key] = value
            self.records.pop(key, None)

    def get(self, key: str) -> Value:
        """The value under ``key`` with the changes so far."""
        return self._changes[key] if key in self._changes else self._below.get(key)

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys that begin with ``prefix``, ascending, with the changes so far; one at a time."""
        if self._new:
            _insert(self._keys, self._new)
            self._new.clear()
        place, changed = bisect_left(self._keys, prefix), self._keys
        for stored in self._below.keys(prefix):
            while place < len(changed) and changed[place] < stored:
                if self._changes[changed[place]] is not None:
                    yield changed[place]
                place += 1
            if stored not in self._changes:
                yield stored
        while place < len(changed) and changed[place].startswith(prefix):
            if self._changes[changed[place]] is not None:
                yield changed[place]
            place += 1


@dataclass(frozen=True, slots=True)
class Executed:
    """A block after its execution, before anyone has adopted it.

    Attributes:
        height: of the block.
        time: of the block.
        leaves: as the log hashes them.
        digests: of the transactions, in order.
        receipts: in order.
        writes: changes of the state, later ones already over earlier ones.
        state_root: of the state after the block.
        frontier: of the log after the block.
    """

    height: int
    time: int
    leaves: tuple[bytes, ...]
    digests: tuple[bytes, ...]
    receipts: tuple[Receipt, ...]
    writes: Mapping[str, Value]
    state_root: bytes
    frontier: Frontier

    @property
    def size(self) -> int:
        """Leaves of the log after the block."""
        return self.frontier.size

    @property
    def root(self) -> bytes:
        """Root of the log after the block."""
        return self.frontier.root()


class Replica:
    """One member's copy: the log's frontier, height, time and the state.

    Args:
        state: entries of the state.
        frontier: of the log.
        height: of the last block; −1 before the genesis.
        time: of the last block.
        verify: says whether a signature is good; so that many can be checked together.

    Attributes:
        verify: as it was given.
    """

    def __init__(
        self,
        state: Mapping[str, Value],
        frontier: Frontier,
        height: int = -1,
        time: int = 0,
        verify: Verify | None = None,
    ) -> None:
        self.verify = verify or signed_by
        self.state = StateMap(state)
        self.frontier = frontier
        self.height = height
        self.time = time

    @property
    def size(self) -> int:
        """Leaves of the log."""
        return self.frontier.size

    def begin(self, spec: Value) -> Executed:
        """The genesis block; its only leaf is the specification."""
        course = _Course(self.state, Block(0, 0), self.verify)
        course.overlay.lay(genesis(Genesis.of(spec)))
        course.digests.append(GENESIS_DIGEST)
        return self._executed(0, 0, (genesis_leaf(spec),), course)

    def prepare(self, transactions: Sequence[bytes], time: int) -> tuple[Executed, dict[bytes, Dropped]]:
        """Make the next block of those transactions that may be executed; says why the others may not.

        The block may be empty. A transaction that an earlier one makes inadmissible is dropped too.
        """
        height, time = self.height + 1, max(time, self.time)
        course = _Course(self.state, Block(height, time), self.verify)
        dropped: dict[bytes, Dropped] = {}
        kept: list[bytes] = []
        for data in transactions:
            reason = course.take(data)
            if reason is None:
                kept.append(data)
            else:
                dropped[data] = reason
        leaves = Batch(height, time, tuple(kept)).leaves()
        return self._executed(height, time, leaves, course), dropped

    def execute(self, leaves: Sequence[bytes]) -> Executed:
        """Execute the next block.

        Raises:
            IllegalBlock: it is not the next, or holds what may not be executed.
        """
        if self.height < 0:
            return self._execute_genesis(leaves)
        return self.execute_read(leaves, [self._leaf(place, data) for place, data in enumerate(leaves)])

    def execute_read(self, leaves: Sequence[bytes], opened: Sequence[Leaf]) -> Executed:
        """`execute` behind the genesis, for who has read the leaves: ``opened`` is what they decode to."""
        if not opened:
            raise IllegalBlock(f"block {self.height + 1} holds nothing")
        height, time = self.height + 1, opened[0].time
        course = _Course(self.state, Block(height, time), self.verify)
        for number, leaf in enumerate(opened, start=self.size):
            if (leaf.height, leaf.time) != (height, time) or time < self.time:
                raise IllegalBlock(f"leaf {number} has another height or time than its block")
            reason = course.take(leaf.signed)
            if reason is not None:
                raise IllegalBlock(f"leaf {number} is inadmissible: {reason.code}, {reason.reason}")
        return self._executed(height, time, tuple(leaves), course)

    def adopt(self, executed: Executed) -> None:
        """Make an executed block the last one."""
        self.state.adopt(executed.writes, executed.state_root)
        self.frontier = executed.frontier
        self.height, self.time = executed.height, executed.time

    def _execute_genesis(self, leaves: Sequence[bytes]) -> Executed:
        try:
            (leaf,) = leaves
            return self.begin(read_genesis(leaf))
        except (ValueError, TypeError, Refusal) as error:
            raise IllegalBlock(f"the log does not begin with a genesis: {error}") from None

    def _leaf(self, place: int, data: bytes) -> Leaf:
        try:
            return Leaf.decoded(data)
        except EncodingError as error:
            raise IllegalBlock(f"leaf {self.size + place} cannot be read: {error}") from None

    def _executed(self, height: int, time: int, leaves: tuple[bytes, ...], course: "_Course") -> Executed:
        frontier = self.frontier.copy()
        frontier.extend(leaves)
        writes = course.overlay.changes
        root = self.state.root_after(writes)
        digests, receipts = tuple(course.digests), tuple(course.receipts)
        return Executed(height, time, leaves, digests, receipts, writes, root, frontier)


class _Course:
    """The execution of one block, transaction by transaction."""

    def __init__(self, view: View, block: Block, verify: Verify) -> None:
        self._verify = verify
        self.overlay = Overlay(view)
        self.digests: list[bytes] = []
        self.receipts: list[Receipt] = []
        self._block = block

    def take(self, data: bytes) -> Dropped | None:
        """Execute one transaction; or say why it may not be."""
        try:
            signed = open_signed(data)
        except EncodingError as error:
            return Dropped("malformed", str(error))
        admitted = admit(self.overlay, signed, self._block, self._verify)
        if isinstance(admitted, Dropped):
            return admitted
        digest = signed.digest
        outcome = apply(self.overlay, admitted, self._block, digest=digest.hex())
        self.overlay.lay(outcome.writes)
        self.digests.append(digest)
        self.receipts.append(outcome.receipt)
        return None


class Remembering:
    """Says whether signatures are good, and remembers the last good ones, by envelope and key.

    For whoever checks a transaction when it arrives and executes it later.

    Args:
        limit: how many are remembered.
    """

    def __init__(self, limit: int = 4096) -> None:
        self._limit = limit
        self._good: dict[tuple[bytes, bytes], None] = {}

    def __call__(self, envelope: SignedTransaction, public: bytes) -> bool:
        """Whether the envelope was signed with that key."""
        claim = sha256(envelope.data).digest(), public
        if claim in self._good:
            return True
        good = signed_by(envelope, public)
        if good:
            self._good[claim] = None
            if len(self._good) > self._limit:
                del self._good[next(iter(self._good))]
        return good


def signed_by(envelope: SignedTransaction, public: bytes) -> bool:
    """Whether the envelope was signed with that key."""
    return envelope.verify(public)
