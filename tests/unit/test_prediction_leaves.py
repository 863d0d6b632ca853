"""The leaves of answered predictions: the kernel against the definition, and the root over them."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley import _native as native
from parley.ledger import merkle
from parley.ledger.predictions import BASES, prediction_entry, prediction_leaf, prediction_salt

KEY = bytes(range(32))


def spread(ids):
    """Ids in one text, and where each lies."""
    ends = np.cumsum([0, *map(len, ids)]).astype(np.uint64)
    return b"".join(ids), np.stack((ends[:-1], ends[1:]), axis=1)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.binary(max_size=150), max_size=20),
    st.integers(0, 4),
    st.integers(0, 2**64 - 21),
    st.randoms(use_true_random=False),
)
def test_leaves_are_those_of_the_definition(ids, outputs, first, random):
    basis = np.array([random.randrange(len(BASES)) for _ in ids], dtype=np.uint8)
    choices = [0.0, -0.0, float("inf"), float("nan"), 5e-324, random.gauss(0, 9)]
    margins = np.array([[random.choice(choices) for _ in ids] for _ in range(outputs)]).reshape(
        outputs, len(ids)
    )
    data, spans = spread(ids)
    for threads in (1, 2):
        leaves = native.prediction_leaves(data, spans, basis, margins, KEY, first, threads)
        for i, identifier in enumerate(ids):
            salt = prediction_salt(KEY, first + i)
            assert leaves[i].tobytes() == prediction_leaf(
                salt, identifier, int(basis[i]), margins[:, i].tolist()
            )


def test_many_leaves_on_many_threads_are_those_on_one():
    ids = [f"person-{i}".encode() for i in range(2500)]
    data, spans = spread(ids)
    basis, margins = np.zeros(len(ids), dtype=np.uint8), np.arange(len(ids), dtype=np.float64)[None]
    one, two = (native.prediction_leaves(data, spans, basis, margins, KEY, 7, threads) for threads in (1, 2))
    assert np.array_equal(one, two)
    assert one[2400].tobytes() == prediction_leaf(prediction_salt(KEY, 2407), ids[2400], 0, [2400.0])


def test_an_entry_is_written_byte_by_byte_as_specified():
    salt = hashlib.sha256(b"PARLEY-PREDICTION-SALT-V1-" + KEY + bytes(7) + b"\x05").digest()
    assert prediction_salt(KEY, 5) == salt
    text = b"PARLEY-PREDICTION-ENTRY-V1-" + salt + b"\x00\x00\x00\x03" + b"ann" + b"\x01" + b"\x00\x02"
    text += bytes.fromhex("bff8000000000000") + bytes.fromhex("3fe0000000000000")
    entry = prediction_entry(salt, b"ann", BASES.index("active-only"), [-1.5, 0.5])
    assert entry == hashlib.sha256(text).digest()
    assert prediction_leaf(salt, b"ann", 1, [-1.5, 0.5]) == hashlib.sha256(b"\x00" + entry).digest()


def test_what_an_answer_says_cannot_change_without_its_leaf():
    salt = prediction_salt(KEY, 0)
    said = [
        (salt, b"ann", 0, [0.5]),
        (prediction_salt(KEY, 1), b"ann", 0, [0.5]),
        (prediction_salt(bytes(32), 0), b"ann", 0, [0.5]),
        (salt, b"anna", 0, [0.5]),
        (salt, b"ann", 1, [0.5]),
        (salt, b"ann", 0, [-0.5]),
        (salt, b"ann", 0, []),
        (salt, b"ann", 0, [0.5, 0.5]),
    ]
    assert len({prediction_leaf(*each) for each in said}) == len(said)


@pytest.mark.parametrize("size", [*range(20), 4095, 4096, 4097, 10_000])
def test_the_root_is_that_of_the_merkle_log(size):
    leaves = np.random.default_rng(size).integers(0, 256, (size, 32)).astype(np.uint8)
    frontier = merkle.Frontier()
    for leaf in leaves:
        frontier.append(leaf.tobytes())
    for threads in (1, 2):
        assert native.merkle_root(leaves, threads) == frontier.root()


def leaves_of(**changes):
    data, spans = spread([b"a", b"b"])
    given = {
        "data": data,
        "spans": spans,
        "basis": np.zeros(2, dtype=np.uint8),
        "margins": np.zeros((1, 2)),
        "key": KEY,
        "first": 0,
        "threads": 1,
    }
    return native.prediction_leaves(**(given | changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"basis": np.zeros(3, dtype=np.uint8)},
            r"basis: expected a C-contiguous uint8 array of shape \[2\]",
        ),
        (
            {"margins": np.zeros((1, 3))},
            r"margins: expected a C-contiguous float64 array of shape \[outputs, 2\]",
        ),
        ({"margins": np.zeros((1 << 16, 2))}, "margins: expected at most 65535 outputs, got 65536"),
        ({"key": KEY[1:]}, "key: expected 32 bytes, got 31"),
        ({"first": 2**64 - 1}, "first: expected first"),
        ({"threads": 0}, "threads: expected 1"),
        ({"data": b"a"}, "spans: expected a begin"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        leaves_of(**changes)


def test_hashes_of_another_length_and_threads_that_are_none_are_refused():
    with pytest.raises(ValueError, match="leaves: expected"):
        native.merkle_root(np.zeros((1, 31), dtype=np.uint8), 1)
    with pytest.raises(ValueError, match="threads: expected 1"):
        native.merkle_root(np.zeros((1, 32), dtype=np.uint8), 0)
    with pytest.raises(ValueError, match="salt key of 3 bytes"):
        prediction_salt(b"key", 0)
