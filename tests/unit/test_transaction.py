"""The signed envelope: canonical, bound to its key, its consortium and its purpose."""

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley.crypto.signatures import SigningKey, verify, verify_all
from parley.ledger.encoding import EncodingError, decode, encode
from parley.ledger.transaction import DOMAIN, SignedTransaction, Transaction, open_signed, sign

KEY = SigningKey.from_seed(bytes(range(32)))
BODY = {"run": "r1", "round": 3, "root": "ab" * 32}


def propose(**changes):
    members = {
        "consortium": "01" * 32,
        "sender": "bank",
        "key": KEY.key_id,
        "type": "round.commit",
        "body": BODY,
        "expires": 100,
        "nonce": "02" * 16,
    }
    return Transaction(**(members | changes))


def altered(signed, change):
    outer = json.loads(signed.data)
    change(outer)
    return encode(outer)


def test_what_is_signed_opens_to_the_same_and_verifies():
    signed = sign(propose(), KEY)
    opened = open_signed(signed.data)
    assert opened == signed
    assert opened.verify(KEY.public)
    assert opened.payload == opened.transaction.encoded()
    assert opened.digest == opened.transaction.digest
    assert decode(signed.data)["transaction"] == decode(signed.payload)


def test_the_bytes_and_the_id_are_fixed():
    signed = sign(propose(key=KEY.key_id), KEY)
    assert signed.digest.hex() == "a444804f431c532637da1d636670e5d503a2942ddf3fb465175e28505577c47b"
    assert signed.signature.hex() == (
        "ce62b131c30e96394408e1b56f1d5663cf458e1c79420de9de564009ebf06eca"
        "c3b932e22ba03afce8694995ff1611430215f51a1fbf1ca465192cf0a47e3d03"
    )


def test_the_id_does_not_depend_on_the_signature():
    signed = sign(propose(), KEY)
    other = open_signed(altered(signed, lambda outer: outer.update(signature="00" * 64)))
    assert other.digest == signed.digest
    assert not other.verify(KEY.public)


@pytest.mark.parametrize(
    "change",
    [
        {"consortium": "03" * 32},
        {"sender": "operator"},
        {"type": "round.close"},
        {"body": BODY | {"round": 4}},
        {"expires": 101},
        {"nonce": "03" * 16},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_member_is_signed(change):
    signed = sign(propose(), KEY)
    other = open_signed(altered(signed, lambda outer: outer["transaction"].update(change)))
    assert not other.verify(KEY.public)
    assert other.digest != signed.digest


def test_a_signature_by_another_key_than_the_one_named_is_refused():
    other = SigningKey.generate()
    with pytest.raises(ValueError, match="names key"):
        sign(propose(), other)
    assert not sign(propose(), KEY).verify(other.public)


def test_a_key_vouches_only_for_what_names_it():
    other = SigningKey.from_seed(bytes(32))
    transaction = propose()
    payload = transaction.encoded()
    signed = SignedTransaction.assemble(transaction, payload, other.sign(DOMAIN, payload))
    assert verify(*signed.claim(other.public))
    assert not signed.verify(other.public)


def test_the_signature_serves_no_other_purpose():
    signed = sign(propose(), KEY)
    assert verify(KEY.public, DOMAIN, signed.payload, signed.signature)
    assert not verify(KEY.public, "parley/vote/v1", signed.payload, signed.signature)


@pytest.mark.parametrize(
    ("change", "member"),
    [
        ({"consortium": "01" * 31}, "consortium"),
        ({"consortium": "0A" * 32}, "consortium"),
        ({"consortium": 1}, "consortium"),
        ({"key": ""}, "key"),
        ({"nonce": "02" * 17}, "nonce"),
        ({"sender": "Bank"}, "sender"),
        ({"sender": "a" * 33}, "sender"),
        ({"sender": "bank\n"}, "sender"),
        ({"sender": None}, "sender"),
        ({"type": "Round"}, "type"),
        ({"type": "a..b"}, "type"),
        ({"type": "a.b.c.d.e"}, "type"),
        ({"body": []}, "body"),
        ({"body": None}, "body"),
        ({"expires": -1}, "expires"),
        ({"expires": 2**53}, "expires"),
        ({"expires": True}, "expires"),
        ({"expires": "1"}, "expires"),
    ],
)
def test_malformed_members_are_named(change, member):
    with pytest.raises(EncodingError) as caught:
        propose(**change)
    assert caught.value.path == (member,)
    if change in ({"expires": 2**53}, {"sender": "bank\n"}):
        return  # these have no encoding at all
    data = altered(sign(propose(), KEY), lambda outer: outer["transaction"].update(change))
    with pytest.raises(EncodingError) as caught:
        open_signed(data)
    assert caught.value.path == ("transaction", member)


names = st.sampled_from(("consortium", "key", "nonce", "sender", "type"))
pieces = st.sampled_from(
    ("", "\n", "a", "A", "0", "-", ".", "é", "01" * 16, "bank\nround.commit", "02" * 16 + "\n")
)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(names, st.integers(0, 64), st.integers(0, 64), pieces), min_size=1, max_size=4))
def test_the_names_that_pass_together_pass_one_by_one(edits):
    members = {name: getattr(propose(), name) for name in ("consortium", "key", "nonce", "sender", "type")}
    for name, first, length, piece in edits:
        members[name] = members[name][:first] + piece + members[name][first + length :]
    with suppress(EncodingError):
        propose(**members)._check_names()
        return
    with pytest.raises(EncodingError) as caught:
        propose(**members)
    assert caught.value.path[0] in members


@pytest.mark.parametrize(
    "change",
    [
        lambda outer: outer.pop("alg"),
        lambda outer: outer.update(alg="rsa"),
        lambda outer: outer.update(alg=["ed25519"]),
        lambda outer: outer.update(extra=1),
        lambda outer: outer.update(signature="00" * 63),
        lambda outer: outer.update(signature="AA" * 64),
        lambda outer: outer.update(signature=7),
        lambda outer: outer.update(transaction=[]),
        lambda outer: outer["transaction"].pop("nonce"),
        lambda outer: outer["transaction"].update(extra=1),
    ],
)
def test_malformed_envelopes_are_refused(change):
    with pytest.raises(EncodingError):
        open_signed(altered(sign(propose(), KEY), change))


@pytest.mark.parametrize("data", [b"", b"[]", b"1", b"{}", b"null", b"\xff"])
def test_what_is_no_envelope_is_refused(data):
    with pytest.raises(EncodingError):
        open_signed(data)


def test_an_envelope_over_the_limit_is_refused():
    with pytest.raises(EncodingError, match="limit"):
        sign(propose(body={"note": "x" * 65_300}), KEY)
    with pytest.raises(EncodingError, match="limit"):
        open_signed(sign(propose(), KEY).data, limit=100)


@settings(deadline=None)
@given(st.data())
def test_no_changed_byte_goes_unnoticed(data):
    signed = sign(propose(), KEY)
    at = data.draw(st.integers(0, len(signed.data) - 1))
    changed = bytearray(signed.data)
    changed[at] ^= data.draw(st.integers(1, 255))
    try:
        other = open_signed(bytes(changed))
    except EncodingError:
        return
    assert not other.verify(KEY.public)


def test_many_envelopes_are_checked_at_once():
    signed = [sign(propose(nonce=f"{n:032x}"), KEY) for n in range(20)]
    assert verify_all([one.claim(KEY.public) for one in signed], 2) == [True] * 20
