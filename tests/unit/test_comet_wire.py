"""Protobuf: our records, the encoding's algebra, and every kind of malformed bytes."""

from dataclasses import dataclass
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley.core.errors import PeerMisbehaved
from parley.ledger.engines.cometbft.parts import Timestamp
from parley.ledger.engines.cometbft.wire import Field, Scalar, decode, decode_varint, encode, encode_varint


@dataclass(frozen=True)
class Inner:
    number: Annotated[int, Field(1)] = 0


@dataclass(frozen=True)
class Outer:
    text: Annotated[str, Field(20)] = ""
    content: Annotated[bytes, Field(2)] = b""
    wide: Annotated[int, Field(3, Scalar.UINT64)] = 0
    narrow: Annotated[int, Field(4, Scalar.INT32)] = 0
    short: Annotated[int, Field(5, Scalar.UINT32)] = 0
    signed: Annotated[int, Field(6)] = 0
    truth: Annotated[bool, Field(7)] = False
    inner: Annotated[Inner | None, Field(8)] = None
    many: Annotated[tuple[bytes, ...], Field(9)] = ()
    inners: Annotated[tuple[Inner, ...], Field(10)] = ()


@dataclass(frozen=True)
class Newer(Outer):
    added: Annotated[str, Field(11)] = ""
    later: Annotated[Inner | None, Field(500)] = None


inners = st.builds(Inner, st.integers(-(2**63), 2**63 - 1))
fields = {
    "text": st.text(),
    "content": st.binary(),
    "wide": st.integers(0, 2**64 - 1),
    "narrow": st.integers(-(2**31), 2**31 - 1),
    "short": st.integers(0, 2**32 - 1),
    "signed": st.integers(-(2**63), 2**63 - 1),
    "truth": st.booleans(),
    "inner": st.none() | inners,
    "many": st.lists(st.binary()).map(tuple),
    "inners": st.lists(inners).map(tuple),
}
outers = st.builds(Outer, **fields)


def decoded_or_none(data):
    """The record, or None for the one error that is allowed."""
    try:
        return decode(Outer, data)
    except PeerMisbehaved:
        return None


@given(st.integers(0, 2**64 - 1))
def test_a_varint_comes_back_with_its_end(value):
    assert decode_varint(b"x" + encode_varint(value) + b"y", 1) == (value, 1 + len(encode_varint(value)))


@given(st.integers(0, 2**64 - 1))
def test_every_beginning_of_a_varint_is_incomplete(value):
    encoded = encode_varint(value)
    assert all(decode_varint(encoded[:end], 0) is None for end in range(len(encoded)))


@pytest.mark.parametrize("encoded", [b"\xff" * 10, b"\xff" * 9 + b"\x02", b"\x80" * 11])
def test_a_varint_beyond_64_bits_is_malformed(encoded):
    with pytest.raises(PeerMisbehaved):
        decode_varint(encoded, 0)


@given(outers)
def test_a_record_comes_back(record):
    assert decode(Outer, encode(record)) == record


@given(st.builds(Newer, **fields, added=st.text(), later=st.none() | inners))
def test_unknown_fields_are_skipped(record):
    older = decode(Outer, encode(record))
    assert all(getattr(older, name) == getattr(record, name) for name in fields)


def test_unknown_fields_of_fixed_width_are_skipped():
    assert decode(Inner, b"\x79" + bytes(8) + b"\x08\x05" + b"\x7d" + bytes(4)) == Inner(5)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_record_or_malformed(data):
    record = decoded_or_none(data)
    assert record is None or decode(Outer, encode(record)) == record


@given(outers, st.data())
def test_a_damaged_record_is_a_record_or_malformed(record, data):
    encoded = bytearray(encode(record))
    if encoded:
        encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    record = decoded_or_none(bytes(encoded[: data.draw(st.integers(0, len(encoded)))]))
    assert record is None or decode(Outer, encode(record)) == record


@pytest.mark.parametrize(
    ("kind", "encoded"),
    {
        "truncated": (Outer, b"\x12\x05abc"),
        "field number 0": (Outer, b"\x00\x01"),
        "a group": (Outer, b"\x0b"),
        "wire type 7": (Outer, b"\x0f"),
        "wrong wire type": (Inner, b"\x0a\x01a"),
        "twice": (Inner, b"\x08\x01\x08\x01"),
        "not UTF-8": (Outer, b"\xa2\x01\x01\xff"),
        "neither true nor false": (Outer, b"\x38\x02"),
        "above uint32": (Outer, b"\x28" + encode_varint(2**32)),
        "below int32": (Outer, b"\x20" + encode_varint(2**64 - 2**31 - 1)),
        "key without value": (Inner, b"\x08"),
    }.values(),
)
def test_what_is_not_the_expected_form_is_malformed(kind, encoded):
    with pytest.raises(PeerMisbehaved):
        decode(kind, encoded)


def test_fields_are_written_by_number_and_defaults_left_out():
    assert (
        encode(Outer(text="z", content=b"a", inner=Inner())) == b"\x12\x01a" + b"\x42\x00" + b"\xa2\x01\x01z"
    )


@given(st.integers(-(2**70), 2**70))
def test_a_time_in_nanoseconds_comes_back(nanoseconds):
    time = Timestamp.at(nanoseconds)
    assert time.nanoseconds == nanoseconds
    assert 0 <= time.nanos < 10**9
