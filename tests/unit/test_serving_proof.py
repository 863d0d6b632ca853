"""A proof of one prediction holds as it was made, and for nothing else."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley.ledger import notes
from parley.ledger.block import Leaf
from parley.ledger.checkpoint import Checkpoint
from parley.ledger.encoding import encode, hexed
from parley.ledger.merkle import Frontier, inclusion_proof, leaf_hash
from parley.ledger.predictions import prediction_leaf, prediction_salt
from parley.ledger.proof import Receipt, ReceiptRefused
from parley.ledger.transaction import Transaction, sign
from parley.serving.proof import FORMAT, MAX_BYTES, is_proof, verify

from tests.unit.test_receipt import CONSORTIUM, LOG, MEMBERS, ORIGIN, SENDER, TRUST

KEY = bytes(range(32))
IDS = ["a", "Ünal", "c", "d", "e"]
MARGIN = -2.5
PLACE = 1


def tree(leaves):
    frontier, nodes = Frontier(), {}
    for leaf in leaves:
        nodes |= {(level, at): digest for level, at, digest in frontier.append(leaf)}
    return frontier.root(), lambda place: inclusion_proof(place, len(leaves), lambda *at: nodes[at])


def committed(body, kind="prediction.commit"):
    """The receipt of a transaction."""
    asked = Transaction(
        consortium=CONSORTIUM,
        sender="bank",
        key=SENDER.key_id,
        type=kind,
        body=body,
        expires=100,
        nonce="0" * 32,
    )
    envelope = Leaf(1, 1000, sign(asked, SENDER).data).encoded()
    root, path = tree([leaf_hash(envelope), leaf_hash(b"another")])
    head = Checkpoint.seal(ORIGIN, 2, root, bytes(32))
    lines = [notes.cosign(name, head.text, MEMBERS[name], 1000) for name in ("bank", "operator")]
    note = head.sign(LOG).with_signatures(lines).encoded()
    return Receipt(envelope, SENDER.public, 0, path(0), note).encoded()


def made(receipt=None, **changed):
    """A proof, with some of its members changed."""
    leaves = [
        prediction_leaf(prediction_salt(KEY, place), each.encode(), 0, (MARGIN,))
        for place, each in enumerate(IDS)
    ]
    root, path = tree(leaves)
    body = {"model": "run-1", "batch": 3, "root": root.hex(), "count": len(IDS)}
    members = {
        "basis": "joint",
        "format": FORMAT,
        "id": hexed(IDS[PLACE].encode()),
        "index": PLACE,
        "margins": hexed(struct.pack(">d", MARGIN)),
        "proof": [hexed(each) for each in path(PLACE)],
        "receipt": hexed(committed(body) if receipt is None else receipt),
        "salt": hexed(prediction_salt(KEY, PLACE)),
    }
    return encode(members | changed, MAX_BYTES)


HONEST = made()


def test_it_shows_who_was_asked_about_and_what_was_answered():
    shown = verify(HONEST, TRUST, 2)
    assert (shown.model, shown.batch, shown.id, shown.basis) == ("run-1", 3, "Ünal", "joint")
    assert shown.margins == (MARGIN,)
    assert is_proof(HONEST)
    for each in (*IDS[:PLACE], *IDS[PLACE + 1 :]):
        assert hexed(each.encode()) + '"' not in HONEST.decode().replace(hexed(IDS[PLACE].encode()), "")


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(HONEST) - 1), st.integers(0, 7))
def test_with_any_bit_flipped_it_proves_nothing(place, bit):
    spoilt = bytearray(HONEST)
    spoilt[place] ^= 1 << bit
    with pytest.raises(ReceiptRefused):
        verify(bytes(spoilt), TRUST, 2)


@pytest.mark.parametrize(
    "changed",
    [
        {"id": hexed(b"a")},
        {"basis": "active-only"},
        {"basis": []},
        {"margins": hexed(struct.pack(">d", 2.5))},
        {"margins": ""},
        {"margins": "00"},
        {"index": 0},
        {"index": -1},
        {"index": 10**15},
        {"index": True},
        {"proof": []},
        {"proof": None},
        {"proof": 5},
        {"proof": ["00" * 32] * 70},
        {"salt": "00"},
        {"id": hexed(b"\xff")},
        {"more": 1},
    ],
)
def test_what_says_something_else_is_refused(changed):
    with pytest.raises(ReceiptRefused):
        verify(made(**changed), TRUST, 2)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"round": 1}, "round.commit"),
        ({}, "prediction.commit"),
        ({"model": "m", "batch": 0, "root": 5, "count": 1}, "prediction.commit"),
        ({"model": "m", "batch": 0, "root": "00", "count": 1}, "prediction.commit"),
        ({"model": "m", "batch": 0, "root": "00" * 32, "count": "1"}, "prediction.commit"),
        ({"model": "m", "batch": 0, "root": "00" * 32, "count": -1}, "prediction.commit"),
        ({"model": "m", "batch": 0, "root": "00" * 32, "count": 5}, "prediction.commit"),
    ],
)
def test_a_member_that_signed_something_else_has_committed_to_nothing(body, kind):
    with pytest.raises(ReceiptRefused):
        verify(made(committed(body, kind)), TRUST, 2)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b"\xff", b"[" * 5000])
def test_what_is_no_proof_is_refused(data):
    with pytest.raises(ReceiptRefused):
        verify(data, TRUST, 2)
