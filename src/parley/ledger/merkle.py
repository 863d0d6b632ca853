"""The append-only Merkle tree of RFC 9162, section 2.1 (the same as that of RFC 6962): roots and proofs.

A tree of n leaves is split at the largest power of two below n. A subtree that is complete never changes
again; node (level, position) is the one over the 2^level leaves from position·2^level on. `Frontier` keeps
the few complete subtrees that make up the whole, and gives out every node as it is completed; who keeps those
nodes can prove anything about the tree, now and as it was at any earlier size.

The first byte of what is hashed tells leaves (0x00) from nodes (0x01); it is the domain tag of that RFC.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, Self

HASH_BYTES: Final = 32
MAX_SIZE: Final = 2**63 - 1
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()

Proof = tuple[bytes, ...]
NodeSource = Callable[[int, int], bytes]
"""Gives the hash of the complete subtree (level, position); asked only for such as are complete."""


class Node(NamedTuple):
    """A complete subtree: its hash, and that it covers the leaves from ``position``·2^``level`` on."""

    level: int
    position: int
    digest: bytes


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf: SHA-256(0x00 ‖ data)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a node: SHA-256(0x01 ‖ left ‖ right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(leaves: Iterable[bytes]) -> bytes:
    """The root over the data of all leaves, in order."""
    frontier = Frontier()
    frontier.extend(leaves)
    return frontier.root()


class Frontier:
    """What must be kept to append to a tree and know its root: one hash per complete subtree.

    Attributes:
        size: number of leaves.

    """

    __slots__ = ("_peaks", "size")

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        self.size = size
        self._peaks = list(peaks)
        if not 0 <= size <= MAX_SIZE:
            raise ValueError(f"tree of {size} leaves; it must have 0 to {MAX_SIZE}")
        if len(self._peaks) != size.bit_count() or any(len(peak) != HASH_BYTES for peak in self._peaks):
            raise ValueError(
                f"frontier of {size} leaves must hold {size.bit_count()} hashes of {HASH_BYTES} bytes"
            )

    @property
    def peaks(self) -> Proof:
        """The hashes of the complete subtrees, from the largest (the leftmost) to the smallest."""
        return tuple(self._peaks)

    def append(self, leaf: bytes) -> list[Node]:
        """Add the hash of a leaf; the nodes that are complete now, from the leaf upwards."""
        if len(leaf) != HASH_BYTES:
            raise ValueError(f"leaf hash of {len(leaf)} bytes; it must have {HASH_BYTES}")
        position, level, peaks = self.size, 0, self._peaks
        nodes = [Node(0, position, leaf)]
        while position & 1:
            leaf = node_hash(peaks.pop(), leaf)
            position >>= 1
            level += 1
            nodes.append(Node(level, position, leaf))
        peaks.append(leaf)
        self.size += 1
        return nodes

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add the hashes of the leaves with these data; for who has no use for the nodes."""
        peaks, size = self._peaks, self.size
        for data in leaves:
            digest, position = leaf_hash(data), size
            while position & 1:
                digest = node_hash(peaks.pop(), digest)
                position >>= 1
            peaks.append(digest)
            size += 1
        self.size = size

    def root(self) -> bytes:
        """The root of the tree as it stands."""
        return _folded(self._peaks) if self._peaks else EMPTY_ROOT

    def encoded(self) -> bytes:
        """Size in eight bytes, big-endian, then the peaks."""
        return self.size.to_bytes(8, "big") + b"".join(self._peaks)

    @classmethod
    def decoded(cls, data: bytes) -> Self:
        """The frontier that `encoded` wrote; `ValueError` for anything else."""
        if len(data) < 8 or (len(data) - 8) % HASH_BYTES:  # noqa: PLR2004 (the eight bytes of the size)
            raise ValueError(f"frontier of {len(data)} bytes is neither empty nor whole")
        peaks = [data[start : start + HASH_BYTES] for start in range(8, len(data), HASH_BYTES)]
        return cls(int.from_bytes(data[:8], "big"), peaks)

    def copy(self) -> Self:
        """Another frontier that grows on its own."""
        return type(self)(self.size, self._peaks)


def root_at(size: int, node: NodeSource) -> bytes:
    """The root of the tree when it had ``size`` leaves."""
    return _spanned(0, size, node) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, node: NodeSource) -> Proof:
    """The audit path of leaf ``index`` in the tree of ``size`` leaves (RFC 9162, section 2.1.3.1)."""
    if not 0 <= index < size:
        raise ValueError(f"no leaf {index} in a tree of {size}")
    path = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(_spanned(middle, high, node))
            high = middle
        else:
            path.append(_spanned(low, middle, node))
            low = middle
    return tuple(reversed(path))


def consistency_proof(first: int, second: int, node: NodeSource) -> Proof:
    """That the tree of ``second`` leaves begins with the one of ``first`` (RFC 9162, section 2.1.4.1)."""
    if not 0 < first <= second:
        raise ValueError(f"no consistency proof from {first} to {second} leaves; give 0 < first ≤ second")
    path = []
    low, high = 0, second
    while high != first:
        middle = low + _split(high - low)
        if first <= middle:
            path.append(_spanned(middle, high, node))
            high = middle
        else:
            path.append(_spanned(low, middle, node))
            low = middle
    if low:
        path.append(_spanned(low, high, node))
    return tuple(reversed(path))


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether ``proof`` shows leaf hash ``leaf`` at ``index`` under ``root`` (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < size <= MAX_SIZE or not _are_hashes(leaf, root, *proof):
        return False
    inner = (index ^ (size - 1)).bit_length()  # levels at which the sibling may stand on the right
    if len(proof) != inner + (index >> inner).bit_count():
        return False
    digest = leaf
    for level, sibling in enumerate(proof):
        left = level >= inner or index >> level & 1
        digest = node_hash(sibling, digest) if left else node_hash(digest, sibling)
    return digest == root


def verify_consistency(
    first: int, second: int, proof: Sequence[bytes], first_root: bytes, second_root: bytes
) -> bool:
    """Whether ``proof`` shows that the second tree begins with the first (RFC 9162, section 2.1.4.2).

    Any tree begins with the empty one; that takes an empty proof and the right root of the empty tree.
    """
    if not 0 <= first <= second <= MAX_SIZE or not _are_hashes(first_root, second_root, *proof):
        return False
    if first == second:
        return not proof and first_root == second_root
    if first == 0:
        return not proof and first_root == EMPTY_ROOT
    path = list(proof) if first & (first - 1) else [first_root, *proof]
    if not path:
        return False
    old, new = first - 1, second - 1
    while old & 1:
        old, new = old >> 1, new >> 1
    old_digest = new_digest = path[0]
    for digest in path[1:]:
        if new == 0:
            return False
        if old & 1 or old == new:
            old_digest, new_digest = node_hash(digest, old_digest), node_hash(digest, new_digest)
            while old and not old & 1:
                old, new = old >> 1, new >> 1
        else:
            new_digest = node_hash(new_digest, digest)
        old, new = old >> 1, new >> 1
    return new == 0 and old_digest == first_root and new_digest == second_root


def _split(size: int) -> int:
    """The largest power of two below ``size``, which is at least two."""
    return 1 << (size - 1).bit_length() - 1


def _spanned(low: int, high: int, node: NodeSource) -> bytes:
    """The hash over leaves ``low`` to ``high`` − 1; ``low`` is where a subtree of that many leaves begins."""
    peaks = []
    while low < high:
        level = (high - low).bit_length() - 1
        peaks.append(node(level, low >> level))
        low += 1 << level
    return _folded(peaks)


def _folded(peaks: Sequence[bytes]) -> bytes:
    """The hash over complete subtrees of falling size."""
    digest = peaks[-1]
    for peak in reversed(peaks[:-1]):
        digest = node_hash(peak, digest)
    return digest


def _are_hashes(*digests: bytes) -> bool:
    return all(len(digest) == HASH_BYTES for digest in digests)
