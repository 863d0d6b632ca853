"""The canonical encoding against its vectors, a slow reference, and whatever hypothesis can think of."""

import json
import sys
import unicodedata
from enum import StrEnum
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from parley import _native
from parley.ledger import characters, encoding
from parley.ledger.encoding import MAX_INT, EncodingError, decode, encode, encode_again, hexed, unhexed

VECTORS = json.loads((Path(__file__).parent / "vectors" / "encoding.json").read_text())


def reference(value):
    """RFC 8785, section 3.2, spelled out for the subset."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return "{" + ",".join(f"{reference(key)}:{reference(value[key])}" for key in keys) + "}"
    return "[" + ",".join(reference(item) for item in value) + "]"


def lists(value):
    """What comes back: tuples have become lists."""
    if isinstance(value, dict):
        return {key: lists(item) for key, item in value.items()}
    return [lists(item) for item in value] if isinstance(value, (list, tuple)) else value


plain = st.text().map(lambda text: unicodedata.normalize("NFC", text)).filter(characters.is_plain)
keys = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=8)
scalars = st.none() | st.booleans() | st.integers(-MAX_INT, MAX_INT) | plain
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(keys, inner),
    max_leaves=30,
)


@pytest.mark.parametrize("vector", VECTORS["accepted"], ids=lambda vector: vector["why"])
def test_accepted_vectors(vector):
    data = bytes.fromhex(vector["hex"])
    assert encode(vector["value"]) == data
    assert decode(data) == vector["value"]
    assert reference(vector["value"]).encode() == data


@pytest.mark.parametrize("vector", VECTORS["rejected"], ids=lambda vector: vector["why"])
def test_rejected_vectors(vector):
    data = bytes.fromhex(vector["head"]) * vector.get("times", 1) + bytes.fromhex(vector.get("tail", ""))
    with pytest.raises(EncodingError):
        decode(data)


@settings(deadline=None)
@given(values)
def test_round_trip_and_reference(value):
    data = encode(value)
    assert data == reference(value).encode()
    assert decode(data) == lists(value)


@settings(deadline=None)
@given(st.binary(max_size=40) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(b'"\xed\xa0\x80"')
def test_arbitrary_bytes_are_refused_or_are_the_encoding(data):
    try:
        value = decode(data)
    except EncodingError:
        return
    assert encode(value) == data


@settings(deadline=None)
@given(values, st.data())
def test_one_changed_byte_is_refused_or_another_value(value, data):
    text = bytearray(encode(value))
    text[data.draw(st.integers(0, len(text) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        other = decode(bytes(text))
    except EncodingError:
        return
    assert encode(other) == bytes(text) != encode(value)


@settings(deadline=None)
@given(values)
def test_any_other_layout_of_the_same_json_is_refused(value):
    data = encode(value)
    for text in (
        json.dumps(value),
        json.dumps(value, indent=1),
        json.dumps(value, ensure_ascii=False) + "\n",
    ):
        if text.encode() != data:
            with pytest.raises(EncodingError):
                decode(text.encode())


class Colour(StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (1.0, ()),
        ({"a": {"b": [0, 2.5]}}, ("a", "b", 1)),
        ({"a": float("nan")}, ("a",)),
        ([MAX_INT + 1], (0,)),
        ([-MAX_INT - 1], (0,)),
        (b"bytes", ()),
        ({"a": bytearray()}, ("a",)),
        ({"a": {1, 2}}, ("a",)),
        (Colour.RED, ()),
        ({"a": [{"é": 1}]}, ("a", 0, "'\\xe9'")),
        ({1: 1}, ("1",)),
        ({"a\n": 1}, ("a\n",)),
        ([["\x7f"]], (0, 0)),
        ({"k": "\ud800"}, ("k",)),
        ({"k": "e\u0301"}, ("k",)),
    ],
    ids=ascii,
)
def test_values_outside_the_subset_are_refused_with_their_path(value, path):
    with pytest.raises(EncodingError) as caught:
        encode(value)
    assert caught.value.path == path
    assert str(caught.value).startswith("$")


def nested(depth, innermost):
    for _ in range(depth):
        innermost = [innermost]
    return innermost


def outcome(encoder, *arguments):
    try:
        return encoder(*arguments)
    except EncodingError as error:
        return str(error)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**54), 2**54)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=30,
)


@given(anything, st.integers(0, 60))
@example([[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]], 60)
@example({"é": MAX_INT, "b": "\\"}, 60)
def test_what_was_read_from_json_is_encoded_again_as_anything_is(value, limit):
    read = json.loads(json.dumps(value))
    assert outcome(encode_again, read) == outcome(encode, read)
    assert outcome(encode_again, read, limit) == outcome(encode, read, limit)


def test_sixteen_containers_may_be_nested_and_no_more():
    assert decode(encode(nested(15, {"a": 1}))) == nested(15, {"a": 1})
    for value in (nested(16, {"a": 1}), nested(17, 1), nested(16, [])):
        with pytest.raises(EncodingError, match="deep"):
            encode(value)
    loop = []
    loop.append(loop)
    with pytest.raises(EncodingError, match="deep"):
        encode(loop)


def test_the_limit_counts_bytes_of_the_encoding():
    assert len(encode("é" * 9, limit=20)) == 20
    with pytest.raises(EncodingError, match="20 bytes; the limit is 19"):
        encode("é" * 9, limit=19)
    with pytest.raises(EncodingError, match="20 bytes; the limit is 19"):
        decode(encode("é" * 9), limit=19)
    assert len(encode("x" * 65_534)) == 65_536
    with pytest.raises(EncodingError):
        encode("x" * 65_535)


def test_errors_name_the_offset():
    with pytest.raises(EncodingError) as caught:
        decode(b'{"a":1, "b":2}')
    assert caught.value.offset == 7
    assert str(caught.value) == "byte 7: not canonical; expected b'\"b\":2}' here"


@settings(deadline=None)
@given(st.binary(max_size=50))
def test_bytes_travel_as_lower_case_hexadecimal(data):
    assert unhexed(hexed(data)) == data
    assert unhexed(hexed(data), len(data)) == data
    with pytest.raises(EncodingError, match="bytes"):
        unhexed(hexed(data), len(data) + 1)


@pytest.mark.parametrize("text", ["0", "0G", "AB", " ab", "ab ", "a b0", "ab\n", "\uff41\uff42"])
def test_other_hexadecimal_is_refused(text):
    with pytest.raises(EncodingError):
        unhexed(text)


def test_the_repertoire_is_that_of_unicode_14():
    accepted = {code for first, last in characters.runs() for code in range(first, last + 1)}
    assert (
        len(accepted) + 95 == 144_762 - 65 + 137_468
    )  # graphic, format (DerivedGeneralCategory); private use
    assert {0xE9, 0x4E00, 0x1F600, 0x10FFFD, 0x2028, 0xE000} <= accepted
    excluded = {0x80, 0x9F, 0x378, 0xD800, 0xDFFF, 0xFFFE, 0xFDD0, 0x10FFFF, 0x1FAE8, 0x11F00}
    assert not excluded & accepted


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="a later Python has the tables of a later Unicode")
def test_the_repertoire_agrees_with_the_tables_of_python_3_11():
    assert unicodedata.unidata_version == characters.UNICODE_VERSION
    runs = characters.runs()
    accepted = {code for first, last in runs for code in range(first, last + 1)} | set(range(0x20, 0x7F))
    assigned = {
        c for c in range(sys.maxunicode + 1) if unicodedata.category(chr(c)) not in ("Cc", "Cn", "Cs")
    }
    assert accepted == assigned


TEXTS = st.lists(st.sampled_from([*'{}[]:,"-.eE0123456789aé\\u\x7f\n', "true", "null", '":', "9" * 15]))


@settings(deadline=None, max_examples=300)
@given(TEXTS.map("".join).map(str.encode) | values.map(json.dumps).map(str.encode) | values.map(encode))
@example(b"9" * 15)
@example(b"[" * 16 + b"]" * 16)
def test_a_text_that_shows_that_it_is_plain_holds_nothing_outside_the_subset(text):
    if not _native.plain_json(text):
        return
    try:
        value = encoding._parse(text)
    except EncodingError:
        return
    encoding._check(value, 0)


@pytest.mark.parametrize(
    "text",
    [b"1e5", b"1.5", b"-0.0", b"9" * 16, b"[" * 17 + b"]" * 17, b'"\\n"', '"é"'.encode(), b'"\x7f"'],
)
def test_a_text_that_may_hold_what_is_outside_does_not_show_that_it_is_plain(text):
    assert not _native.plain_json(text)


def test_the_usual_transaction_shows_that_it_is_plain():
    assert _native.plain_json(
        encode({"body": {"rows": 10, "root": "1e5" * 9, "of": [None, True, False, -7]}})
    )
