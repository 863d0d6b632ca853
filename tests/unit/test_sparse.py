"""The sparse tree against a naive reference; order, deletion, persistence, and proofs both ways."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley._native import SparseNodes
from parley.crypto.hashing import tag_prefix
from parley.ledger.sparse import EMPTY, SparseProof, SparseTree, verify_proof


def h(tag, data):
    return hashlib.sha256(tag_prefix(f"parley/sparse/{tag}/v1") + data).digest()


def leaf(key, value):
    return h("leaf", key + h("value", value))


def naive(entries, depth=0):
    """The definition, with the whole map in hand at every node."""
    if not entries:
        return EMPTY
    if len(entries) == 1:
        return leaf(*next(iter(entries.items())))
    halves = ({}, {})
    for key, value in entries.items():
        halves[key[depth // 8] >> (7 - depth % 8) & 1][key] = value
    return h("node", naive(halves[0], depth + 1) + naive(halves[1], depth + 1))


# Keys that share long prefixes, so that deep chains, collapses and splits all happen; and random ones.
near = st.builds(
    lambda first, at, last: bytes([first]) + bytes(at) + bytes([1 << last]) + bytes(30 - at),
    st.sampled_from([0, 1, 0x80, 0xFF]),
    st.integers(0, 30),
    st.integers(0, 7),
)
keys = near | st.binary(min_size=32, max_size=32)
maps = st.dictionaries(keys, st.binary(max_size=4), max_size=40)
changes = st.dictionaries(keys, st.none() | st.binary(max_size=4), max_size=20)


def applied(entries, batch):
    merged = entries | batch
    return {key: value for key, value in merged.items() if value is not None}


@settings(deadline=None, max_examples=60)
@given(maps)
def test_the_root_is_that_of_the_definition(entries):
    assert SparseTree({}).update(EMPTY, entries) == naive(entries)


@settings(deadline=None, max_examples=60)
@given(st.lists(changes, max_size=6), st.data())
def test_batches_add_up_and_every_earlier_root_stays(batches, data):
    store = {}
    tree = SparseTree(store)
    history = [(EMPTY, {})]
    for batch in batches:
        root, entries = history[-1]
        known = data.draw(st.lists(st.sampled_from(sorted(entries)), max_size=5)) if entries else []
        batch |= {key: data.draw(st.none() | st.binary(max_size=2)) for key in known}
        history.append((tree.update(root, batch), applied(entries, batch)))
        assert history[-1][0] == naive(history[-1][1])
    for root, entries in history:
        for key in {key for _, seen in history for key in seen}:
            assert verify_proof(root, key, entries.get(key), tree.prove(root, key))


@settings(deadline=None, max_examples=60)
@given(maps, st.randoms(use_true_random=False))
def test_order_does_not_matter(entries, random):
    tree = SparseTree({})
    root, order = EMPTY, list(entries)
    random.shuffle(order)
    for key in order:
        root = tree.update(root, {key: entries[key]})
    assert root == naive(entries)


@settings(deadline=None, max_examples=60)
@given(maps, maps)
def test_what_is_deleted_was_as_if_never_there(entries, extra):
    tree = SparseTree({})
    extra = {key: value for key, value in extra.items() if key not in entries}
    before = tree.update(EMPTY, entries)
    full = tree.update(before, extra)
    assert tree.update(full, dict.fromkeys(extra)) == before
    root = full
    for key in extra:
        root = tree.update(root, {key: None})
    assert root == before
    assert tree.update(full, dict.fromkeys(entries | extra)) == EMPTY


@settings(deadline=None, max_examples=60)
@given(maps, keys)
def test_changing_nothing_writes_nothing_new(entries, key):
    store = {}
    tree = SparseTree(store)
    root = tree.update(EMPTY, entries)
    before = dict(store)
    assert tree.update(root, {}) == root
    assert tree.update(root, entries) == root
    assert tree.update(root, {key: entries.get(key)}) == root
    assert store == before


@settings(deadline=None, max_examples=60)
@given(maps, keys, st.binary(max_size=4))
def test_a_proof_shows_one_thing_only(entries, key, value):
    tree = SparseTree({})
    root = tree.update(EMPTY, entries)
    for asked in (key, *list(entries)[:3]):
        proof, held = tree.prove(root, asked), entries.get(asked)
        assert verify_proof(root, asked, held, proof)
        if value != held:
            assert not verify_proof(root, asked, value, proof)
        if held is not None:
            assert not verify_proof(root, asked, None, proof)
        assert not verify_proof(bytes([root[0] ^ 1]) + root[1:], asked, held, proof)


@settings(deadline=None, max_examples=60)
@given(maps.filter(bool), st.data())
def test_a_corrupted_proof_is_refused(entries, data):
    tree = SparseTree({})
    root = tree.update(EMPTY, entries)
    key = data.draw(st.sampled_from(sorted(entries)) | keys)
    held = entries.get(key)
    siblings, other = tree.prove(root, key)
    bad = [SparseProof((*siblings, EMPTY), other), SparseProof(siblings * 257 + (EMPTY,) * 257, other)]
    if siblings:
        at = data.draw(st.integers(0, len(siblings) - 1))
        flipped = bytes([siblings[at][0] ^ 1]) + siblings[at][1:]
        bad += [
            SparseProof((*siblings[:at], flipped, *siblings[at + 1 :]), other),
            SparseProof((*siblings[:at], siblings[at][:31], *siblings[at + 1 :]), other),
            SparseProof(siblings[:at] + siblings[at + 1 :], other),
        ]
    if other:
        bad += [SparseProof(siblings), SparseProof(siblings, (other[0], bytes(32)))]
        bad += [SparseProof(siblings, (key, other[1])), SparseProof(siblings, (other[0][:31], other[1]))]
    for proof in bad:
        assert not verify_proof(root, key, held, proof)


def test_absence_is_not_shown_by_a_leaf_that_lies_elsewhere():
    left, right = bytes(32), b"\xff" * 32
    tree = SparseTree({})
    root = tree.update(EMPTY, {left: b"l", right: b"r"})
    siblings, _ = tree.prove(root, left)
    wanted = b"\x01" + bytes(31)
    assert verify_proof(root, wanted, None, tree.prove(root, wanted))
    away = SparseProof(tree.prove(root, right).siblings, (left, h("value", b"l")))
    assert not verify_proof(root, right, None, away)
    assert not verify_proof(root, left, None, SparseProof(siblings, (left, h("value", b"l"))))


def test_a_leaf_put_in_the_wrong_place_shows_no_absence():
    left, right = bytes(32), b"\xff" * 32
    misplaced = h("node", leaf(right, b"r") + EMPTY)
    proof = SparseProof((EMPTY,), (right, h("value", b"r")))
    assert not verify_proof(misplaced, left, None, proof)
    deep = h("node", h("node", leaf(b"\x40" + bytes(31), b"r") + EMPTY) + EMPTY)
    proof = SparseProof((EMPTY, EMPTY), (b"\x40" + bytes(31), h("value", b"r")))
    assert not verify_proof(deep, left, None, proof)
    assert verify_proof(
        h("node", h("node", leaf(b"\x20" + bytes(31), b"r") + EMPTY) + EMPTY),
        left,
        None,
        SparseProof((EMPTY, EMPTY), (b"\x20" + bytes(31), h("value", b"r"))),
    )


def test_the_empty_tree_proves_absence():
    tree = SparseTree({})
    assert tree.update(EMPTY, {}) == EMPTY
    assert tree.update(EMPTY, {bytes(32): None}) == EMPTY
    assert tree.prove(EMPTY, bytes(32)) == SparseProof(())
    assert verify_proof(EMPTY, bytes(32), None, SparseProof(()))
    assert not verify_proof(EMPTY, bytes(32), b"", SparseProof(()))
    assert not verify_proof(EMPTY, bytes(31), None, SparseProof(()))


@settings(deadline=None, max_examples=60)
@given(st.lists(changes, min_size=1, max_size=6), st.integers(0, 5), st.data())
def test_discarding_a_root_leaves_exactly_the_others(batches, at, data):
    store = {}
    tree = SparseTree(store)
    roots, maps_ = [EMPTY], [{}]
    for batch in batches:
        roots.append(tree.update(roots[-1], batch))
        maps_.append(applied(maps_[-1], batch))
    order = data.draw(st.permutations(range(1, len(roots))))
    keep = set(order[at:])
    for gone in order[:at]:
        tree.discard(roots[gone], [roots[n] for n in order[order.index(gone) + 1 :]])
    fresh = {}
    for n in keep:
        SparseTree(fresh).update(EMPTY, maps_[n])
        for key in maps_[n]:
            assert verify_proof(roots[n], key, maps_[n][key], tree.prove(roots[n], key))
    assert store == fresh


def same_nodes(nodes, store):
    return len(nodes) == len(store) and all(nodes[digest] == record for digest, record in store.items())


@settings(deadline=None, max_examples=80)
@given(st.lists(changes, max_size=6), st.data())
def test_the_crate_and_a_dictionary_hold_the_same_nodes(batches, data):
    here, there = SparseNodes(), {}
    root, entries = EMPTY, {}
    for batch in batches:
        known = data.draw(st.lists(st.sampled_from(sorted(entries)), max_size=5)) if entries else []
        batch |= {key: data.draw(st.none() | st.binary(max_size=2)) for key in known}
        entries = applied(entries, batch)
        changed = SparseTree(here).update(root, batch)
        assert changed == SparseTree(there).update(root, batch)
        assert same_nodes(here, there)
        if data.draw(st.booleans()):
            assert SparseTree(here).discard(root, (changed,)) == SparseTree(there).discard(root, (changed,))
            assert same_nodes(here, there)
        for key in entries:
            assert SparseTree(here).prove(changed, key) == SparseTree(there).prove(changed, key)
        root = changed


@pytest.mark.parametrize("store", [dict, SparseNodes])
def test_a_node_that_is_missing_is_named_and_nothing_is_written(store):
    nodes = store()
    tree = SparseTree(nodes)
    root = tree.update(EMPTY, {bytes([n]) * 32: b"" for n in range(9)})
    left, away = len(nodes), bytes([1]) * 32
    for attempt in (
        lambda: nodes[away],
        lambda: tree.update(away, {bytes(32): b"other"}),
        lambda: tree.discard(away, (root,)),
        lambda: tree.discard(root, (away,)),
        lambda: tree.prove(away, bytes(32)),
    ):
        with pytest.raises(KeyError) as caught:
            attempt()
        assert caught.value.args == (away,)
    assert len(nodes) == left
    assert tree.update(root, {bytes([3]) * 32: b""}) == root


@pytest.mark.parametrize("store", [dict, SparseNodes])
def test_a_key_has_32_bytes(store):
    with pytest.raises(ValueError, match=r"32.*31|31.*32"):
        SparseTree(store()).update(EMPTY, {bytes(31): b""})
