"""Protobuf, as far as ABCI needs it: frozen records to bytes and back.

A record is a frozen dataclass whose fields are annotated with their number in the published
definition, ``height: Annotated[int, Field(5)] = 0``. The Python type decides how a field travels: ``int``
and ``bool`` as a varint (`Scalar` says which), ``bytes`` and ``str`` with their length before them, a
record nested likewise, ``X | None`` as a nested record that may be absent, ``tuple[X, ...]`` repeated.

Encoding leaves out default values and writes fields by number, so the bytes are those that CometBFT
writes for the same content. Decoding skips unknown fields and refuses everything else that is not the
one expected form: a wrong wire type, a single field that comes twice, a number outside its range,
text that is not UTF-8, truncation. What it builds is bounded by the size of the message, which the
caller bounds; a count of its own would let a proposer of many tiny transactions halt honest nodes.

Source: Protocol Buffers, "Encoding" (varints, wire types, field order, unknown fields).
"""

import dataclasses
import enum
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeVar

from parley.core.errors import PeerMisbehaved

PEER: Final = "the CometBFT node"
"""How errors name the other end."""

Record = TypeVar("Record")

_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5
_WIDTH: Final = {_FIXED64: 8, _FIXED32: 4}
_VARINT_BYTES: Final = 10
_MORE: Final = 0x80
_WORD: Final = 1 << 64
_MAX_NUMBER: Final = (1 << 29) - 1


class Scalar(enum.Enum):
    """Which integer a varint stands for: lowest and highest value."""

    INT64 = (-(1 << 63), (1 << 63) - 1)
    INT32 = (-(1 << 31), (1 << 31) - 1)
    UINT64 = (0, (1 << 64) - 1)
    UINT32 = (0, (1 << 32) - 1)


@dataclass(frozen=True)
class Field:
    """The place of a field in its message.

    Args:
        number: the field number of the published definition.
        scalar: which integer, for a field of type ``int``.

    """

    number: int
    scalar: Scalar = Scalar.INT64


def malformed(what: str) -> PeerMisbehaved:
    """The error for bytes that are not the message that was expected."""
    return PeerMisbehaved(
        "abci-malformed",
        f"{PEER} sent bytes that cannot be read: {what}",
        peer=PEER,
        remedy="check that the node is the pinned CometBFT version",
    )


# Varints


def encode_varint(value: int) -> bytes:
    """An integer of 0 ≤ value < 2^64, seven bits to a byte, lowest first."""
    out = bytearray()
    while value >= _MORE:
        out.append(value & (_MORE - 1) | _MORE)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode_varint(data: bytes | bytearray | memoryview, at: int) -> tuple[int, int] | None:
    """The integer that begins at ``at`` and where it ends; None if the data ends first.

    Raises:
        PeerMisbehaved: it does not fit 64 bits.

    """
    value = 0
    for place, byte in enumerate(data[at : at + _VARINT_BYTES]):
        value |= (byte & (_MORE - 1)) << (7 * place)
        if byte < _MORE:
            if value >= _WORD:
                break
            return value, at + place + 1
    else:
        if len(data) - at < _VARINT_BYTES:
            return None
    raise malformed("a varint of more than 64 bits")


# Records


def encode(record: object) -> bytes:
    """The protobuf encoding of a record."""
    out = bytearray()
    for slot in _layout(type(record)):
        value = getattr(record, slot.name)
        if slot.repeated:
            for item in value:
                out += slot.key + slot.codec.encode(item)
        elif value is not None and (slot.codec.nested or value != slot.codec.zero):
            out += slot.key + slot.codec.encode(value)
    return bytes(out)


def decode(kind: type[Record], data: bytes | memoryview) -> Record:
    """The record of a kind that the bytes encode.

    Raises:
        PeerMisbehaved: the bytes are not such a record, by the rules at the top of this file.

    """
    slots = {slot.number: slot for slot in _layout(kind)}
    single: dict[str, object] = {}
    repeated: dict[str, list[object]] = {slot.name: [] for slot in slots.values() if slot.repeated}
    for number, wire_type, raw in _fields(memoryview(data)):
        slot = slots.get(number)
        if slot is None:
            continue
        if slot.codec.wire_type != wire_type:
            raise malformed(f"field {number} of {kind.__name__} has wire type {wire_type}")
        value = slot.codec.decode(raw)
        if slot.repeated:
            repeated[slot.name].append(value)
        elif slot.name in single:
            raise malformed(f"field {number} of {kind.__name__} comes twice")
        else:
            single[slot.name] = value
    return kind(**single, **{name: tuple(values) for name, values in repeated.items()})


def delimited_field(number: int, content: bytes) -> bytes:
    """One field of a number with the given content."""
    return encode_varint(number << 3 | _DELIMITED) + with_length(content)


def with_length(content: bytes) -> bytes:
    """The content with its length before it, as it is nested and as it stands on a stream."""
    return encode_varint(len(content)) + content


def fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and raw value of each field in turn: the integer of a varint, or the content."""
    return ((number, raw) for number, _, raw in _fields(data))


# Inside


@dataclass(frozen=True)
class _Codec:
    """How the values of one Python type travel."""

    wire_type: int
    encode: Callable[[Any], bytes]
    """A value to the bytes after the key."""
    decode: Callable[[Any], object]
    """A value from the integer of a varint, or from the content of what has a length."""
    zero: object = None
    """The value that is left out."""
    nested: bool = False
    """A nested record is written even if all of its fields are left out."""


@dataclass(frozen=True)
class _Slot:
    """One field of a record."""

    name: str
    number: int
    key: bytes
    codec: _Codec
    repeated: bool


def _fields(data: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Number, wire type and raw value of each field in turn."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire_type = key >> 3, key & 7
        if not 1 <= number <= _MAX_NUMBER:
            raise malformed(f"field number {number}")
        if wire_type == _VARINT:
            value, at = _varint(data, at)
            yield number, wire_type, value
            continue
        if wire_type == _DELIMITED:
            length, at = _varint(data, at)
        elif wire_type in _WIDTH:
            length = _WIDTH[wire_type]
        else:
            raise malformed(f"wire type {wire_type}")
        if length > len(data) - at:
            raise malformed("a field is longer than its message")
        yield number, wire_type, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    found = decode_varint(data, at)
    if found is None:
        raise malformed("the message ends within a varint")
    return found


def _slots(kind: type) -> tuple[_Slot, ...]:
    """The fields of a record by number."""
    hints = typing.get_type_hints(kind, include_extras=True)
    slots = [_slot(field.name, hints[field.name]) for field in dataclasses.fields(kind)]
    return tuple(sorted(slots, key=lambda slot: slot.number))


_layout: Final[Callable[[type], tuple[_Slot, ...]]] = cache(_slots)


def _slot(name: str, annotation: object) -> _Slot:
    python_type, place = typing.get_args(annotation)
    repeated = typing.get_origin(python_type) is tuple
    if repeated or isinstance(python_type, types.UnionType):
        python_type = typing.get_args(python_type)[0]
    codec = _codec(python_type, place.scalar)
    return _Slot(name, place.number, encode_varint(place.number << 3 | codec.wire_type), codec, repeated)


def _codec(kind: type, scalar: Scalar) -> _Codec:
    if kind is bool:
        return _Codec(_VARINT, encode_varint, _to_bool, zero=False)
    if kind is int:
        return _integer(scalar)
    if kind is str:
        return _Codec(_DELIMITED, lambda text: with_length(text.encode()), _to_text, zero="")
    if kind is bytes:
        return _Codec(_DELIMITED, with_length, bytes, zero=b"")
    return _Codec(
        _DELIMITED, lambda record: with_length(encode(record)), lambda raw: decode(kind, raw), nested=True
    )


def _integer(scalar: Scalar) -> _Codec:
    """Negative numbers travel as 64-bit two's complement, whatever their own width."""
    low, high = scalar.value

    def to_bytes(value: int) -> bytes:
        return encode_varint(value % _WORD)

    def from_raw(raw: int) -> int:
        value = raw - _WORD if low < 0 and raw >= _WORD // 2 else raw
        if not low <= value <= high:
            raise malformed(f"{value} is no {scalar.name.lower()}")
        return value

    return _Codec(_VARINT, to_bytes, from_raw, zero=0)


def _to_bool(raw: int) -> bool:
    if raw > 1:
        raise malformed(f"{raw} is neither true nor false")
    return bool(raw)


def _to_text(raw: memoryview) -> str:
    try:
        return str(raw, "utf-8")
    except UnicodeDecodeError as error:
        raise malformed("text that is not UTF-8") from error
