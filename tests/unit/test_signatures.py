"""Ed25519 with domains: what verifies, what is refused, and that no signature serves two purposes."""

import copy
import hashlib
import pickle
from itertools import product

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from parley.crypto import signatures
from parley.crypto.hashing import TaggedHash, tag_prefix
from parley.crypto.signatures import Claim, SigningKey, is_public_key, key_id, verify, verify_all, verify_note

DOMAIN = "parley/test/v1"
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
KEY = SigningKey.from_seed(bytes(range(32)))

MANY = 130
"""So many signatures by one key are verified with a table of its multiples."""

# All encodings, canonical or not, of the eight points of small order (Chalkias et al., SSR 2020, table 1).
_Y8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
SMALL = [
    (y | sign << 255).to_bytes(32, "little") for y in (0, 1, P - 1, P, P + 1, _Y8, P - _Y8) for sign in (0, 1)
]


def test_matches_rfc_8032_section_7_1_test_2_when_nothing_is_framed():
    seed = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    public = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    signature = (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    key = SigningKey.from_seed(seed)
    assert key.public.hex() == public
    assert key._held().sign(b"\x72").hex() == signature
    assert signatures._verified(key.public, b"\x72", bytes.fromhex(signature))


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_a_signature_verifies_for_its_own_message_and_domain_only(message):
    signature = KEY.sign(DOMAIN, message)
    assert verify(KEY.public, DOMAIN, message, signature)
    assert not verify(KEY.public, DOMAIN, message + b"\0", signature)
    assert not verify(KEY.public, DOMAIN + "x", message, signature)
    assert not verify(SigningKey.generate().public, DOMAIN, message, signature)


def test_domain_and_message_cannot_trade_bytes():
    assert not verify(KEY.public, "ab", b"c", KEY.sign("a", b"bc"))


def test_a_note_is_never_a_framed_message_and_back():
    text = b"origin\n1\nroot\n"
    assert verify_note(KEY.public, text, KEY.sign_note(text))
    assert not verify(KEY.public, DOMAIN, text, KEY.sign_note(text))
    framed = signatures._framed(DOMAIN, b"message\n")
    with pytest.raises(ValueError, match="control characters"):
        KEY.sign_note(framed)
    assert not verify_note(KEY.public, framed, KEY.sign(DOMAIN, b"message\n"))


@pytest.mark.parametrize("text", [b"", b"no newline", b"tab\t\n", b"\xff\n", b"nul\0\n"])
def test_what_is_no_note_is_not_signed_as_one(text):
    with pytest.raises(ValueError, match="note"):
        KEY.sign_note(text)


@pytest.mark.parametrize("public", SMALL, ids=bytes.hex)
def test_public_keys_of_small_order_are_refused(public):
    assert not is_public_key(public)
    # R = neutral element, S = 0 satisfies the equation for A of order one whatever the message.
    assert not verify(public, DOMAIN, b"any", bytes([1]) + bytes(63))


def test_the_points_of_order_eight_double_to_points_of_order_four():
    d = -121665 * pow(121666, -1, P) % P
    for y in (_Y8, P - _Y8):
        assert (d * y**4 + 2 * y * y) % P == 1
        assert y in signatures._SMALL_ORDER_Y


def test_the_library_alone_would_accept_the_neutral_element():
    neutral = Ed25519PublicKey.from_public_bytes(bytes([1]) + bytes(31))
    neutral.verify(bytes([1]) + bytes(63), b"any")


@pytest.mark.parametrize("y", range(P, 2**255), ids=lambda y: f"p+{y - P}")
def test_public_keys_with_y_not_reduced_are_refused(y):
    assert not is_public_key(y.to_bytes(32, "little"))


def test_a_public_key_off_the_curve_is_refused():
    off = [y for y in range(2, 40) if not is_public_key(y.to_bytes(32, "little"))]
    assert 2 in off
    assert 10 < len(off) < 28


def test_s_not_reduced_is_refused():
    signature = KEY.sign(DOMAIN, b"message")
    s = int.from_bytes(signature[32:], "little") + L
    assert not verify(KEY.public, DOMAIN, b"message", signature[:32] + s.to_bytes(32, "little"))


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_wrong_lengths_are_refused(size):
    signature = KEY.sign(DOMAIN, b"m")
    assert not verify(bytes(size), DOMAIN, b"m", signature)
    assert not verify(KEY.public, DOMAIN, b"m", bytes(size) if size != 64 else bytes(65))
    with pytest.raises(ValueError, match="seed"):
        SigningKey.from_seed(bytes(size))


def test_every_flipped_bit_is_noticed():
    signature = bytearray(KEY.sign(DOMAIN, b"message"))
    for bit in range(8 * len(signature)):
        signature[bit // 8] ^= 1 << bit % 8
        assert not verify(KEY.public, DOMAIN, b"message", bytes(signature))
        signature[bit // 8] ^= 1 << bit % 8


@pytest.mark.parametrize("domain", ["", "x" * 256, "dömain"])
def test_a_domain_is_1_to_255_ascii_characters(domain):
    with pytest.raises(ValueError, match=r"domain|ascii"):
        KEY.sign(domain, b"")


def test_the_secret_is_neither_shown_nor_copied():
    seed = bytearray(range(32))
    key = SigningKey.from_seed(seed)
    assert seed == bytes(32)
    assert key.public == KEY.public
    assert repr(key) == f"SigningKey({key.key_id[:16]}, secret not shown)"
    for copying in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            copying(key)
    key.destroy()
    with pytest.raises(ValueError, match="destroyed"):
        key.sign(DOMAIN, b"")


def test_a_key_is_taken_from_pem():
    secret = Ed25519PrivateKey.generate()
    pem = secret.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key = SigningKey.from_private(serialization.load_pem_private_key(pem, None))
    assert key.public == secret.public_key().public_bytes_raw()
    with pytest.raises(ValueError, match="X25519"):
        SigningKey.from_private(X25519PrivateKey.generate())


def test_key_ids_depend_on_key_and_algorithm():
    assert key_id(KEY.public) == KEY.key_id
    assert len({key_id(KEY.public), key_id(KEY.public, "other"), key_id(bytes(32))}) == 3


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_many_claims_are_answered_in_order(threads):
    good = Claim(KEY.public, DOMAIN, b"m", KEY.sign(DOMAIN, b"m"))
    claims = [good if n % 3 else good._replace(message=b"other") for n in range(101)]
    assert verify_all(claims, threads) == [n % 3 != 0 for n in range(101)]
    assert verify_all([], threads) == []


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=300), st.lists(st.integers(0, 8 * 96 - 1), max_size=2))
def test_many_at_once_get_the_verdicts_of_openssl_whatever_bits_are_flipped(message, bits):
    data = bytearray(KEY.public + KEY.sign(DOMAIN, message))
    for bit in bits:
        data[bit // 8] ^= 1 << bit % 8
    flipped = Claim(bytes(data[:32]), DOMAIN, message, bytes(data[32:]))
    assert verify_all([flipped]) == [verify(*flipped)] == [data == KEY.public + KEY.sign(DOMAIN, message)]
    assert verify_all([flipped] * MANY) == [verify(*flipped)] * MANY


@pytest.mark.parametrize("size", [0, 31, 32, 33, 63, 65])
def test_wrong_lengths_are_refused_among_many_too(size):
    good = Claim(KEY.public, DOMAIN, b"m", KEY.sign(DOMAIN, b"m"))
    wrong = [good._replace(signature=bytes(size)), good._replace(public=bytes(size)), good]
    assert verify_all(wrong) == [verify(*claim) for claim in wrong] == [False, False, True]


def plus(first, second):
    """The sum of two points (RFC 8032, section 5.1.4, in affine coordinates)."""
    (x, y), (u, v) = first, second
    twist = -121665 * pow(121666, -1, P) * x * y * u * v
    return (
        (x * v + y * u) * pow(1 + twist, -1, P) % P,
        (y * v + x * u) * pow(1 - twist, -1, P) % P,
    )


def times(scalar, point):
    found = (0, 1)
    for bit in f"{scalar:b}":
        found = plus(found, found)
        found = plus(found, point) if bit == "1" else found
    return found


def point_of(encoded):
    y = int.from_bytes(encoded, "little") & 2**255 - 1
    square = (y * y - 1) * pow(-121665 * pow(121666, -1, P) * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if x * x % P == square else x * pow(2, (P - 1) // 4, P) % P
    assert x * x % P == square
    return (x if x & 1 == encoded[31] >> 7 else -x % P), y % P


def encodings(point):
    """Every encoding of a point: the canonical one, and those with y ≥ p or the sign of no x."""
    x, y = point
    ys = [y] if y + P >= 2**255 else [y, y + P]
    return [(y | sign << 255).to_bytes(32, "little") for y in ys for sign in ({x & 1} if x else {0, 1})]


def test_many_at_once_get_the_verdicts_of_openssl_on_every_edge_of_the_equation():
    """A and R with and without a part of small order, or nothing else; every encoding; S below L or not."""
    base = point_of((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
    eighth = point_of(_Y8.to_bytes(32, "little"))
    small = [times(number, eighth) for number in range(8)]
    assert len({*small}) == 8
    claims, cofactored = [], 0
    for a, r in product((0, 0x1234567 << 200), (0, 0x89ABCDE << 180)):
        keys = [plus(times(a, base), one) for one in small]
        nonces = [plus(times(r, base), one) for one in small]
        for (i, key), (j, nonce) in product(enumerate(keys), enumerate(nonces)):
            for public, commitment in product(encodings(key), encodings(nonce)):
                message = bytes([i, j])
                hashed = hashlib.sha512(commitment + public + signatures._framed(DOMAIN, message)).digest()
                k = int.from_bytes(hashed, "little") % L
                cofactored += (k * i + j) % 8 != 0
                s = (r + k * a) % L
                for given_s in (s, s + L, (s + 1) % L):
                    signature = commitment + given_s.to_bytes(32, "little")
                    claims.append(Claim(public, DOMAIN, message, signature))
    verdicts = verify_all(claims, 2)
    assert verdicts == [verify(*claim) for claim in claims]
    assert (
        verify_all(claims * 16, 2) == verdicts * 16
    )  # now the keys are known, those of the group with a table
    # of mixed order, one in eight satisfies the equation as it is; times the cofactor, all do
    assert 8 < sum(verdicts) < 64 < cofactored


def test_many_at_once_get_the_verdicts_of_openssl_on_encodings_of_no_point_and_beyond_p():
    good = KEY.sign(DOMAIN, b"m")
    odd = [
        (y | sign << 255).to_bytes(32, "little") for y in (*range(20), *range(P, 2**255)) for sign in (0, 1)
    ]
    claims = [Claim(KEY.public, DOMAIN, b"m", one + good[32:]) for one in odd]
    claims += [Claim(one, DOMAIN, b"m", good) for one in odd]
    claims += [Claim(one, DOMAIN, b"m", other + bytes(32)) for one, other in zip(odd, odd, strict=True)]
    claims += [
        Claim(KEY.public, DOMAIN, b"m", good[:32] + (L + n).to_bytes(32, "little")) for n in (-1, 0, 1)
    ]
    assert verify_all(claims) == [verify(*claim) for claim in claims] == [False] * len(claims)


def test_hash_tags_begin_no_other_and_are_bounded():
    tags = ["a", "ab", "parley/key/v1", "x" * 255]
    assert not any(tag_prefix(a).startswith(tag_prefix(b)) for a in tags for b in tags if a != b)
    assert TaggedHash("a")(b"bc") != TaggedHash("ab")(b"c")
    for tag in ("", "x" * 256):
        with pytest.raises(ValueError, match="tag"):
            tag_prefix(tag)
