"""A sparse Merkle tree: one root over a map from 256-bit keys to values, with proofs of presence and absence.

Bit d of a key, the most significant first, says where its path goes at depth d. An empty subtree has the
constant hash `EMPTY`; a subtree with a single key is that key's leaf, however high it stands; any other
subtree is a node over its two halves. So the shape, and the root, depend on the map alone and not on the
order of changes (the compact tree of Dahlberg, Pulls, Peeters, "Efficient sparse Merkle trees", NordSec 2016,
with leaves raised as in Gao, Hu, Wu, "Jellyfish Merkle tree", 2021).

    leaf  = H("parley/sparse/leaf/v1",  key ‖ H("parley/sparse/value/v1", value))
    node  = H("parley/sparse/node/v1",  left ‖ right)
    EMPTY = 32 zero bytes

with H as in `crypto.hashing`. Going down from a root, each hash opens in one way only, and the key says where
to go; hence no root has proofs of both presence and absence of one key.

Trees whose nodes are in `SparseNodes` are changed by the crate, in a tenth of the time; it leaves the very
nodes there that the code here leaves in any other store, and the tests compare the two.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from parley._native import SparseNodes
from parley.crypto.hashing import TaggedHash, tag_prefix

KEY_BYTES: Final = 32
KEY_BITS: Final = 256
EMPTY: Final = bytes(32)

_LEAF: Final = tag_prefix("parley/sparse/leaf/v1")
_NODE: Final = tag_prefix("parley/sparse/node/v1")
_VALUE: Final = TaggedHash("parley/sparse/value/v1")

_NODE_RECORD: Final = 64
"""Bytes of a stored node: both halves. A stored leaf has one more, its mark: key, hash of value, ``L``."""
_LEAF_MARK: Final = b"L"

NodeStore: TypeAlias = MutableMapping[bytes, bytes]
"""Where nodes are kept, by hash: a dictionary, an adapter of a data base. Several trees may share one."""


class SparseProof(NamedTuple):
    """What shows that a key has a value, or none.

    Attributes:
        siblings: the hashes beside the path, from the root downwards; 32 bytes each.
        other: where the path ends at another key's leaf, that key and the hash of its value.

    """

    siblings: tuple[bytes, ...]
    other: tuple[bytes, bytes] | None = None


class _Leaf(NamedTuple):
    key: int
    digest: bytes


class SparseTree:
    """Roots over maps, in a node store. Nothing is overwritten: earlier roots remain until discarded."""

    def __init__(self, store: NodeStore | SparseNodes) -> None:
        self._store = store

    def update(self, root: bytes, changes: Mapping[bytes, bytes | None]) -> bytes:
        """The root of the map under ``root`` after ``changes``: key to new value, or None to remove it."""
        if isinstance(self._store, SparseNodes):
            return self._store.update(root, dict(changes))
        pending = _Pending(self._store, changes)
        changed = pending.apply(root, 0, 0, len(changes))
        self._store.update(pending.written)
        return changed

    def prove(self, root: bytes, key: bytes) -> SparseProof:
        """The proof of what ``key`` has under ``root``; `KeyError` if a node has been discarded."""
        number = _number(key)
        siblings: list[bytes] = []
        digest, depth = root, 0
        while digest != EMPTY:
            record = self._store[digest]
            if len(record) != _NODE_RECORD:
                other = None if record[:32] == key else (record[:32], record[32:64])
                return SparseProof(tuple(siblings), other)
            right = number >> (KEY_BITS - 1 - depth) & 1
            siblings.append(record[:32] if right else record[32:])
            digest = record[32:] if right else record[:32]
            depth += 1
        return SparseProof(tuple(siblings))

    def discard(self, root: bytes, keep: Iterable[bytes]) -> int:
        """Forget the nodes of ``root`` that no root in ``keep`` has; how many those were.

        In `SparseNodes` exactly one is kept.
        """
        kept = frozenset(keep)
        if isinstance(self._store, SparseNodes):
            (other,) = kept
            return self._store.discard(root, other)
        gone = self._not_in(root, *kept) if len(kept) == 1 else list(self._only_in(root, kept, 0))
        for digest in gone:
            del self._store[digest]
        return len(gone)

    def _not_in(self, root: bytes, kept: bytes) -> list[bytes]:
        """`_only_in` for a single kept tree, which is the usual case: without a generator for each node."""
        store, gone, pairs = self._store, [], [(root, kept, 0)]
        while pairs:
            digest, other, depth = pairs.pop()
            if digest in (EMPTY, other):
                continue
            record = store[digest]
            if len(record) != _NODE_RECORD:
                if not self._has_leaf(other, digest, _number(record[:32]), depth):
                    gone.append(digest)
                continue
            gone.append(digest)
            beside = store[other] if other != EMPTY else b""
            left, right = (beside[:32], beside[32:]) if len(beside) == _NODE_RECORD else (other, other)
            pairs += ((record[:32], left, depth + 1), (record[32:], right, depth + 1))
        return gone

    def _only_in(self, digest: bytes, keep: frozenset[bytes], depth: int) -> Iterable[bytes]:
        """The nodes under ``digest`` that are not under any of ``keep``, which stand at the same place.

        A leaf is not at the same depth in all trees, so a kept leaf is followed down as if it had not been
        raised, and a leaf is looked for down the kept trees.
        """
        if digest == EMPTY or digest in keep:
            return
        record = self._store[digest]
        if len(record) != _NODE_RECORD:
            if not any(self._has_leaf(other, digest, _number(record[:32]), depth) for other in keep):
                yield digest
            return
        yield digest
        for right, half in enumerate((record[:32], record[32:])):
            below = frozenset(self._half(other, right) for other in keep)
            yield from self._only_in(half, below, depth + 1)

    def _half(self, digest: bytes, right: int) -> bytes:
        """One half of a kept subtree; of a leaf, the leaf itself, which matches on the side where it lies."""
        if digest == EMPTY:
            return EMPTY
        record = self._store[digest]
        if len(record) == _NODE_RECORD:
            return record[32:] if right else record[:32]
        return digest

    def _has_leaf(self, digest: bytes, leaf: bytes, number: int, depth: int) -> bool:
        while digest not in (EMPTY, leaf) and len(self._store[digest]) == _NODE_RECORD:
            digest = self._half(digest, number >> (KEY_BITS - 1 - depth) & 1)
            depth += 1
        return digest == leaf


def verify_proof(root: bytes, key: bytes, value: bytes | None, proof: SparseProof) -> bool:
    """Whether ``proof`` shows that under ``root`` the key has ``value``, or that it has none."""
    siblings, other = proof
    if len(key) != KEY_BYTES or len(siblings) > KEY_BITS or any(len(one) != len(EMPTY) for one in siblings):
        return False
    number = _number(key)
    digest = EMPTY
    if value is not None:
        if other is not None:
            return False
        digest = _leaf_hash(key, _VALUE(value))
    elif other is not None:
        if not _is_neighbour(other, key, len(siblings)):
            return False
        digest = _leaf_hash(*other)
    for depth in reversed(range(len(siblings))):
        right = number >> (KEY_BITS - 1 - depth) & 1
        digest = _node_hash(siblings[depth], digest) if right else _node_hash(digest, siblings[depth])
    return digest == root


class _Pending:
    """One batch of changes on its way into the tree: sorted by key, each node visited and hashed once."""

    def __init__(self, store: NodeStore, changes: Mapping[bytes, bytes | None]) -> None:
        self._store = store
        self.written: dict[bytes, bytes] = {}
        order = sorted(changes)
        self._keys = [_number(key) for key in order]
        self._leaves = [self._new_leaf(key, changes[key]) for key in order]

    def apply(self, digest: bytes, depth: int, low: int, high: int) -> bytes:
        """What the subtree ``digest`` becomes by changes ``low`` to ``high`` − 1, all of them inside it."""
        if low == high:
            return digest
        if high - low == 1:
            return self._apply_one(digest, depth, low)
        record = self._store[digest] if digest != EMPTY else b""
        if len(record) != _NODE_RECORD:
            return self._build(self._merged(digest, record, low, high), depth)
        left, right = record[:32], record[32:]
        middle = bisect_left(self._keys, self._first_right(self._keys[low], depth), low, high)
        new_left = self.apply(left, depth + 1, low, middle)
        new_right = self.apply(right, depth + 1, middle, high)
        if new_left == left and new_right == right:
            return digest
        return self._join(new_left, new_right)

    def _apply_one(self, digest: bytes, depth: int, at: int) -> bytes:
        """`apply` for a single change: straight down its path and up again."""
        key, new, top = self._keys[at], self._leaves[at], digest
        store, path = self._store, []
        record = store[digest] if digest != EMPTY else b""
        shift = KEY_BITS - 1 - depth
        while len(record) == _NODE_RECORD:
            left, right = record[:32], record[32:]
            goes_right = key >> shift & 1
            path.append((goes_right, left if goes_right else right))
            digest = right if goes_right else left
            record = store[digest] if digest != EMPTY else b""
            shift -= 1
        changed = self._build(self._merged(digest, record, at, at + 1), KEY_BITS - 1 - shift)
        if changed == digest:
            return top
        lone = changed in (new, EMPTY)
        for goes_right, sibling in reversed(path):
            if lone and EMPTY in (sibling, changed):
                left, right = (sibling, changed) if goes_right else (changed, sibling)
                changed = self._join(left, right)
                lone = len(self._record(changed)) != _NODE_RECORD
                continue
            pair = sibling + changed if goes_right else changed + sibling
            changed = hashlib.sha256(_NODE + pair).digest()
            self.written[changed] = pair
            lone = False
        return changed

    def _merged(self, digest: bytes, record: bytes, low: int, high: int) -> list[_Leaf]:
        """The leaves after the changes, in order, of a subtree that had one leaf or none."""
        keys = self._keys
        found = [_Leaf(keys[at], self._leaves[at]) for at in range(low, high) if self._leaves[at] != EMPTY]
        if record:
            old = _number(record[:32])
            at = bisect_left(keys, old, low, high)
            if at == high or keys[at] != old:
                found.append(_Leaf(old, digest))
                found.sort()
        return found

    def _build(self, leaves: Sequence[_Leaf], depth: int) -> bytes:
        """The subtree at ``depth`` over these leaves, which are in order."""
        if not leaves:
            return EMPTY
        if len(leaves) == 1:
            return leaves[0].digest
        middle = bisect_left(leaves, (self._first_right(leaves[0].key, depth),))
        left, right = self._build(leaves[:middle], depth + 1), self._build(leaves[middle:], depth + 1)
        return self._node(left, right)

    @staticmethod
    def _first_right(key: int, depth: int) -> int:
        """The least key in the right half of the subtree at ``depth`` that ``key`` lies in."""
        shift = KEY_BITS - 1 - depth
        return (key >> shift | 1) << shift

    def _join(self, left: bytes, right: bytes) -> bytes:
        """The subtree of two halves; a leaf whose other half is empty takes the place of both."""
        if EMPTY in (left, right):
            other = right if left == EMPTY else left
            if len(self._record(other)) != _NODE_RECORD:
                return other
        return self._node(left, right)

    def _record(self, digest: bytes) -> bytes:
        if digest == EMPTY:
            return b""
        return self.written.get(digest) or self._store[digest]

    def _node(self, left: bytes, right: bytes) -> bytes:
        pair = left + right
        digest = hashlib.sha256(_NODE + pair).digest()
        self.written[digest] = pair
        return digest

    def _new_leaf(self, key: bytes, value: bytes | None) -> bytes:
        if len(key) != KEY_BYTES:
            raise ValueError(f"key of {len(key)} bytes in a sparse tree; it must have {KEY_BYTES}")
        if value is None:
            return EMPTY
        pair = key + _VALUE(value)
        digest = hashlib.sha256(_LEAF + pair).digest()
        self.written[digest] = pair + _LEAF_MARK
        return digest


def _number(key: bytes) -> int:
    return int.from_bytes(key, "big")


def _leaf_hash(key: bytes, value_hash: bytes) -> bytes:
    return hashlib.sha256(_LEAF + key + value_hash).digest()


def _node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(_NODE + left + right).digest()


def _is_neighbour(other: tuple[bytes, bytes], key: bytes, depth: int) -> bool:
    """Whether the path of ``key`` leads, for ``depth`` steps, to the leaf of another key."""
    other_key, value_hash = other
    if len(other_key) != KEY_BYTES or len(value_hash) != len(EMPTY) or other_key == key:
        return False
    return (_number(other_key) ^ _number(key)) >> (KEY_BITS - depth) == 0
