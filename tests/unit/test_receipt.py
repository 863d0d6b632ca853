"""A receipt proves a transaction to an outsider; each of its checks refuses what it is there for."""

import json

import pytest

from parley.crypto.signatures import SigningKey
from parley.ledger import notes
from parley.ledger.block import Leaf
from parley.ledger.checkpoint import Checkpoint
from parley.ledger.encoding import EncodingError, encode
from parley.ledger.merkle import Frontier, inclusion_proof, leaf_hash
from parley.ledger.notes import Kind, NoteKey
from parley.ledger.proof import CHECKS, Receipt, ReceiptRefused, Trust, verify_receipt
from parley.ledger.transaction import Transaction, sign

ORIGIN = "parley.example/credit"
CONSORTIUM = "0c" * 32
SENDER = SigningKey.from_seed(bytes([7]) * 32)
LOG = SigningKey.from_seed(bytes([1]) * 32)
MEMBERS = {
    name: SigningKey.from_seed(bytes([n]) * 32) for n, name in enumerate(("bank", "operator", "regulator"), 2)
}
TRUST = Trust(
    consortium=CONSORTIUM,
    origin=ORIGIN,
    log=(NoteKey(ORIGIN, Kind.ED25519, LOG.public),),
    cosigners=tuple(NoteKey(name, Kind.COSIGNATURE_V1, key.public) for name, key in MEMBERS.items()),
)


def envelope(n, consortium=CONSORTIUM):
    transaction = Transaction(
        consortium=consortium,
        sender="bank",
        key=SENDER.key_id,
        type="round.commit",
        body={"round": n},
        expires=100,
        nonce=f"{n:032x}",
    )
    return Leaf(n + 1, 1000 + n, sign(transaction, SENDER).data).encoded()


def receipt(index=5, size=11, cosigners=("bank", "operator"), origin=ORIGIN, consortium=CONSORTIUM):
    leaves = [envelope(n, consortium) for n in range(size)]
    frontier, nodes = Frontier(), {}
    for leaf in leaves:
        nodes |= {(level, at): digest for level, at, digest in frontier.append(leaf_hash(leaf))}
    head = Checkpoint.seal(origin, size, frontier.root(), bytes(range(32)))
    lines = [notes.cosign(name, head.text, MEMBERS[name], 1000 + n) for n, name in enumerate(cosigners)]
    proof = inclusion_proof(index, size, lambda level, at: nodes[level, at])
    return Receipt(
        leaves[index], SENDER.public, index, proof, head.sign(LOG).with_signatures(lines).encoded()
    )


def refused(data, trust=TRUST, quorum=2):
    with pytest.raises(ReceiptRefused) as caught:
        verify_receipt(data, trust, quorum)
    assert CHECKS[caught.value.check - 1] in str(caught.value)
    return caught.value.check


def altered(**changes):
    good = receipt()
    members = {name: changes.get(name, getattr(good, name)) for name in Receipt.__struct_fields__}
    return Receipt(**members).encoded()


def test_a_good_receipt_shows_what_was_agreed():
    good = receipt()
    assert Receipt.decoded(good.encoded()) == good
    proven = verify_receipt(good.encoded(), TRUST, 2)
    assert Leaf.decoded(good.leaf).signed == proven.signed.data
    assert proven.signed.transaction.body == {"round": 5}
    assert (proven.index, proven.checkpoint.size) == (5, 11)
    assert proven.checkpoint.state_root == bytes(range(32))
    assert proven.cosigners == ("bank", "operator")
    assert proven.time == 1001


def test_without_a_quorum_only_the_log_vouches():
    proven = verify_receipt(receipt(cosigners=()).encoded(), TRUST, 0)
    assert (proven.cosigners, proven.time) == ((), None)


def test_the_docstring_numbers_the_checks():
    assert all(f"\n{n}. " in verify_receipt.__globals__["__doc__"] for n in range(1, len(CHECKS) + 1))


def reshaped(change):
    members = json.loads(receipt().encoded())
    change(members)
    return encode(members, 10**6)


@pytest.mark.parametrize(
    "change",
    [
        lambda members: members.pop("index"),
        lambda members: members.update(extra=1),
        lambda members: members.update(index=-1),
        lambda members: members.update(index=True),
        lambda members: members.update(index="5"),
        lambda members: members.update(proof={}),
        lambda members: members.update(proof=["00" * 32] * 65),
        lambda members: members.update(proof=["00" * 31]),
        lambda members: members.update(proof=[None]),
        lambda members: members.update(public="00"),
        lambda members: members.update(checkpoint=1),
        lambda members: members.update(leaf="0"),
        lambda members: members.update(leaf="AB"),
    ],
    ids=range(13),
)
def test_check_1_refuses_malformed_receipts(change):
    data = reshaped(change)
    assert refused(data) == 1
    with pytest.raises(EncodingError):
        Receipt.decoded(data)


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{}", b"\xff"])
def test_check_1_refuses_what_is_no_receipt(data):
    assert refused(data) == 1
    assert refused(receipt().encoded() + b"\n") == 1


def test_check_2_refuses_malformed_and_foreign_transactions():
    assert refused(altered(leaf=b"{}")) == 2
    assert refused(receipt(consortium="0d" * 32).encoded()) == 2


def test_check_3_refuses_another_key_and_a_bad_signature():
    assert refused(altered(public=LOG.public)) == 3
    good = receipt().leaf
    at = good.index(b'"signature":"') + 13
    flipped = b"1" if good[at : at + 1] == b"0" else b"0"
    assert refused(altered(leaf=good[:at] + flipped + good[at + 1 :])) == 3


def test_check_4_refuses_other_logs_and_other_heads():
    assert refused(altered(checkpoint=b"")) == 4
    assert refused(receipt(origin="parley.example/other").encoded()) == 4
    stranger = (NoteKey(ORIGIN, Kind.ED25519, SigningKey.from_seed(bytes([9]) * 32).public),)
    assert refused(receipt().encoded(), TRUST._replace(log=stranger)) == 4
    elsewhere = NoteKey("parley.example/other", Kind.ED25519, LOG.public)
    assert refused(receipt(origin="parley.example/other").encoded(), TRUST._replace(log=(elsewhere,))) == 4
    assert refused(altered(checkpoint=receipt().checkpoint.replace(b"\n11\n", b"\n12\n"))) == 4
    stateless = Checkpoint(ORIGIN, 11, bytes(32))
    assert refused(altered(checkpoint=stateless.sign(LOG).encoded())) == 4


def test_check_5_counts_distinct_trusted_members():
    assert refused(receipt(cosigners=("bank",)).encoded()) == 5
    assert refused(receipt(cosigners=()).encoded()) == 5
    assert refused(receipt().encoded(), quorum=3) == 5
    assert refused(receipt().encoded(), TRUST._replace(cosigners=TRUST.cosigners[1:])) == 5
    twice = NoteKey("alias", Kind.COSIGNATURE_V1, MEMBERS["bank"].public)
    good = receipt(cosigners=("bank",))
    note = notes.parse_note(good.checkpoint)
    aliased = note.with_signatures([notes.cosign("alias", note.text, MEMBERS["bank"], 7)]).encoded()
    assert refused(altered(checkpoint=aliased), TRUST._replace(cosigners=(*TRUST.cosigners, twice))) == 5
    plain = NoteKey("operator", Kind.ED25519, MEMBERS["operator"].public)
    uncounted = note.with_signatures([notes.sign("operator", note.text, MEMBERS["operator"])]).encoded()
    assert refused(altered(checkpoint=uncounted), TRUST._replace(cosigners=(*TRUST.cosigners, plain))) == 5
    bad = notes.cosign("operator", note.text + "x\n", MEMBERS["operator"], 7)
    assert refused(altered(checkpoint=note.with_signatures([bad]).encoded()), quorum=1) == 5


def test_check_6_refuses_another_place_and_another_proof():
    good = receipt()
    assert refused(altered(index=4)) == 6
    assert refused(altered(index=11)) == 6
    assert refused(altered(proof=good.proof[1:])) == 6
    assert refused(altered(proof=(bytes(32), *good.proof[1:]))) == 6
    assert refused(altered(leaf=envelope(6))) == 6
