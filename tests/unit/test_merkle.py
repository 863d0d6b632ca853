"""The Merkle log against published vectors and against the recursive definitions of RFC 9162."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley.ledger.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root,
    root_at,
    verify_consistency,
    verify_inclusion,
)

VECTORS = json.loads((Path(__file__).parent / "vectors" / "merkle.json").read_text())
SMALL, ARGON = VECTORS["small"], VECTORS["argon2020"]
LEAVES = [bytes.fromhex(leaf) for leaf in SMALL["leaves"]]
ROOTS = [EMPTY_ROOT, *(bytes.fromhex(digest) for digest in SMALL["roots"])]


def hashes(texts):
    return tuple(bytes.fromhex(text) for text in texts)


def split(leaves):
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return k


def mth(leaves):
    """RFC 9162, section 2.1.1, as written."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    k = split(leaves)
    return hashlib.sha256(b"\1" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m, leaves):
    """RFC 9162, section 2.1.3.1, as written."""
    if len(leaves) == 1:
        return ()
    k = split(leaves)
    if m < k:
        return (*path(m, leaves[:k]), mth(leaves[k:]))
    return (*path(m - k, leaves[k:]), mth(leaves[:k]))


def subproof(m, leaves, *, known):
    """RFC 9162, section 2.1.4.1, as written."""
    if m == len(leaves):
        return () if known else (mth(leaves),)
    k = split(leaves)
    if m <= k:
        return (*subproof(m, leaves[:k], known=known), mth(leaves[k:]))
    return (*subproof(m - k, leaves[k:], known=False), mth(leaves[:k]))


def grown(leaves):
    """A frontier over the leaves, and the source of all nodes that it gave out."""
    frontier, nodes = Frontier(), {}
    for leaf in leaves:
        for level, position, digest in frontier.append(leaf_hash(leaf)):
            assert (level, position) not in nodes
            nodes[level, position] = digest
    return frontier, lambda level, position: nodes[level, position]


def leaves_of(size):
    return [b"leaf %d" % n for n in range(size)]


def test_published_roots():
    for size in range(len(LEAVES) + 1):
        assert root(LEAVES[:size]) == ROOTS[size]


@pytest.mark.parametrize(
    "vector", SMALL["inclusion"], ids=lambda vector: f"{vector['index']}of{vector['size']}"
)
def test_published_inclusion_proofs(vector):
    index, size, proof = vector["index"], vector["size"], hashes(vector["proof"])
    _, node = grown(LEAVES[:size])
    assert inclusion_proof(index, size, node) == proof
    assert verify_inclusion(leaf_hash(LEAVES[index]), index, size, proof, ROOTS[size])


@pytest.mark.parametrize(
    "vector", SMALL["consistency"], ids=lambda vector: f"{vector['first']}to{vector['second']}"
)
def test_published_consistency_proofs(vector):
    first, second, proof = vector["first"], vector["second"], hashes(vector["proof"])
    _, node = grown(LEAVES)
    assert consistency_proof(first, second, node) == proof
    assert verify_consistency(first, second, proof, ROOTS[first], ROOTS[second])


def test_proofs_of_a_real_certificate_log():
    leaf, size = leaf_hash(bytes.fromhex(ARGON["leaf"])), ARGON["size"]
    top, inclusion = bytes.fromhex(ARGON["root"]), hashes(ARGON["inclusion"])
    assert verify_inclusion(leaf, ARGON["index"], size, inclusion, top)
    assert not verify_inclusion(leaf, ARGON["index"] + 1, size, inclusion, top)
    first, first_root = ARGON["first"], bytes.fromhex(ARGON["first_root"])
    consistency = hashes(ARGON["consistency"])
    assert verify_consistency(first, size, consistency, first_root, top)
    assert not verify_consistency(first + 1, size, consistency, first_root, top)


def test_every_small_tree_equals_its_definition():
    leaves = leaves_of(40)
    _, node = grown(leaves)
    for size in range(1, 41):
        top = mth(leaves[:size])
        assert root_at(size, node) == root(leaves[:size]) == top
        for m in range(size):
            proof = inclusion_proof(m, size, node)
            assert proof == path(m, leaves[:size])
            assert verify_inclusion(leaf_hash(leaves[m]), m, size, proof, top)
            proof = consistency_proof(m + 1, size, node)
            assert proof == subproof(m + 1, leaves[:size], known=True)
            assert verify_consistency(m + 1, size, proof, mth(leaves[: m + 1]), top)


@settings(deadline=None)
@given(st.integers(1, 2000), st.data())
def test_larger_trees(size, data):
    leaves = leaves_of(size)
    frontier, node = grown(leaves)
    first = data.draw(st.integers(1, size))
    index = data.draw(st.integers(0, first - 1))
    old, new = root_at(first, node), root_at(size, node)
    assert new == frontier.root()
    assert verify_inclusion(leaf_hash(leaves[index]), index, first, inclusion_proof(index, first, node), old)
    assert verify_consistency(first, size, consistency_proof(first, size, node), old, new)


def corruptions(proof):
    yield (*proof, bytes(32))
    yield (bytes(32), *proof)
    for at in range(len(proof)):
        yield proof[:at] + proof[at + 1 :]
        yield (*proof[:at], bytes([proof[at][0] ^ 1]) + proof[at][1:], *proof[at + 1 :])
        yield (*proof[:at], proof[at][:31], *proof[at + 1 :])
        if at and proof[at - 1] != proof[at]:
            yield (*proof[: at - 1], proof[at], proof[at - 1], *proof[at + 1 :])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 13, 16, 21])
def test_corrupted_inclusion_proofs_are_refused(size):
    leaves = leaves_of(size)
    _, node = grown(leaves)
    top = root_at(size, node)
    for index in range(size):
        leaf, proof = leaf_hash(leaves[index]), inclusion_proof(index, size, node)
        for bad in corruptions(proof):
            assert not verify_inclusion(leaf, index, size, bad, top)
        for other in range(-1, size + 2):
            assert verify_inclusion(leaf, other, size, proof, top) == (other == index)
        assert not verify_inclusion(leaf, index, size, proof, bytes(32))
        assert not verify_inclusion(leaf[:31], index, size, proof, top)
        assert not verify_inclusion(leaf_hash(b"other"), index, size, proof, top)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 13, 16, 21])
def test_corrupted_consistency_proofs_are_refused(size):
    leaves = leaves_of(size)
    _, node = grown(leaves)
    new = root_at(size, node)
    for first in range(1, size + 1):
        old, proof = root_at(first, node), consistency_proof(first, size, node)
        for bad in corruptions(proof):
            assert not verify_consistency(first, size, bad, old, new)
        for other in range(-1, size + 2):
            if other != first:
                assert not verify_consistency(other, size, proof, old, new)
        assert not verify_consistency(first, size, proof, bytes(32), new)
        assert not verify_consistency(first, size, proof, old, bytes(32))
        assert not verify_consistency(first, size, proof, old[:31], new)


def test_a_changed_history_has_no_consistency_proof():
    leaves = leaves_of(11)
    _, node = grown([*leaves[:3], b"changed", *leaves[4:]])
    assert not verify_consistency(5, 11, consistency_proof(5, 11, node), mth(leaves[:5]), root_at(11, node))


def test_any_tree_begins_with_the_empty_one():
    assert verify_consistency(0, 5, (), EMPTY_ROOT, mth(leaves_of(5)))
    assert verify_consistency(0, 0, (), EMPTY_ROOT, EMPTY_ROOT)
    assert not verify_consistency(0, 5, (), bytes(32), mth(leaves_of(5)))
    assert not verify_consistency(0, 5, (bytes(32),), EMPTY_ROOT, mth(leaves_of(5)))


def test_proofs_of_what_is_not_there_are_not_made():
    _, node = grown(leaves_of(5))
    for index, size in ((5, 5), (-1, 5), (0, 0)):
        with pytest.raises(ValueError, match="no leaf"):
            inclusion_proof(index, size, node)
    for first, second in ((0, 5), (6, 5), (-1, 5)):
        with pytest.raises(ValueError, match="no consistency proof"):
            consistency_proof(first, second, node)


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(0, 20))
def test_a_frontier_goes_on_from_its_bytes(size, more):
    frontier, _ = grown(leaves_of(size))
    copy, read = frontier.copy(), Frontier.decoded(frontier.encoded())
    assert read.size == size
    assert read.peaks == frontier.peaks
    for grew in (read, frontier):
        for n in range(more):
            grew.append(leaf_hash(b"more %d" % n))
    assert read.root() == frontier.root()
    assert copy.size == size


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(7),
        bytes(9),
        bytes(8 + 32),
        (3).to_bytes(8, "big") + bytes(32),
        b"\xff" * 8 + bytes(64 * 32),
    ],
)
def test_a_malformed_frontier_is_refused(data):
    with pytest.raises(ValueError, match=r"frontier|tree"):
        Frontier.decoded(data)
    with pytest.raises(ValueError, match="leaf hash"):
        Frontier().append(b"short")


def test_a_leaf_is_never_a_node():
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != node_hash(left, right)


def test_leaves_taken_together_give_the_frontier_that_they_give_one_by_one():
    for first in range(10):
        for more in range(20):
            one_by_one, _ = grown(leaves_of(first + more))
            together, _ = grown(leaves_of(first))
            together.extend(leaves_of(first + more)[first:])
            assert together.encoded() == one_by_one.encoded()
