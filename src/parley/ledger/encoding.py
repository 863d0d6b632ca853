"""The one byte string of a value: a strict subset of RFC 8785 (JSON Canonicalization Scheme).

Everything that is hashed or signed on the ledger is written this way. The subset:

* integers only, of magnitude below 2^53 (RFC 8785 appendix D; RFC 7493 section 2.2); no other numbers;
* object keys of printable ASCII, ascending, each once;
* strings in normal form C, of characters that Unicode 14.0 assigns, none of them a control character
  (`characters`); hence the only escapes are those of the quotation mark and the reverse solidus;
* no white space; containers at most 16 deep; the whole within a limit.

Bytes travel as lower-case hexadecimal strings (`hexed`, `unhexed`). A byte string is accepted only if it
is what `encode` gives for the value read from it, so each value has one encoding and each encoding one value.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn, TypeAlias

import msgspec

from parley._native import plain_json
from parley.ledger.characters import is_plain

Value: TypeAlias = "bool | int | str | Sequence[Value] | Mapping[str, Value] | None"
"""What can be encoded; at run time exactly NoneType, bool, int, str, list, tuple or dict, no subclass."""

MAX_DEPTH: Final = 16
MAX_INT: Final = 2**53 - 1
DEFAULT_LIMIT: Final = 64 * 1024

_ENCODER: Final = msgspec.json.Encoder(order="sorted")
_DECODER: Final = msgspec.json.Decoder()
_OFFSET: Final = re.compile(r"\s*\(byte (\d+)\)$")
_TOO_DEEP: Final = f"containers more than {MAX_DEPTH} deep"


class EncodingError(ValueError):
    """A value that has no encoding, or bytes that are not one.

    Attributes:
        reason: what is wrong.
        path: keys and indices from the outermost value to the faulty one; empty for the whole.
        offset: the byte where the fault was noticed, if the fault is one of bytes.

    """

    def __init__(self, reason: str, path: tuple[str | int, ...] = (), offset: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path
        self.offset = offset

    def __str__(self) -> str:
        steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path)
        place = f"byte {self.offset}" if self.offset is not None else f"${steps}"
        return f"{place}: {self.reason}"


def encode(value: Value, limit: int = DEFAULT_LIMIT) -> bytes:
    """The canonical bytes of ``value``, at most ``limit`` of them; `EncodingError` if it has none."""
    _check(value, 0)
    data = _ENCODER.encode(value)
    if len(data) > limit:
        raise EncodingError(f"encoding has {len(data)} bytes; the limit is {limit}")
    return data


def encode_again(value: Value, limit: int = DEFAULT_LIMIT) -> bytes:
    """`encode` for a value that was read from JSON, by `decode` or as the value of a record.

    It is of JSON's own types, of which the text itself nearly always shows that all of it is in the subset.
    """
    data = _ENCODER.encode(value)
    return data if len(data) <= limit and plain_json(data) else encode(value, limit)


def decode(data: bytes, limit: int = DEFAULT_LIMIT) -> Value:
    """The value whose canonical encoding is ``data``; `EncodingError` for every other byte string."""
    if len(data) > limit:
        raise EncodingError(f"encoding has {len(data)} bytes; the limit is {limit}", offset=limit)
    value = _parse(data)
    if not plain_json(data):  # nearly every transaction shows by its text that all of it is in the subset
        _check(value, 0)
    canonical = _ENCODER.encode(value)
    if canonical != data:
        _refuse(data, canonical)
    return value


def hexed(data: bytes) -> str:
    """Bytes as the ledger writes them: two lower-case hexadecimal digits each."""
    return data.hex()


def unhexed(text: str, size: int | None = None) -> bytes:
    """The bytes that ``text`` is the one hexadecimal form of; exactly ``size`` of them if that is given."""
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if data.hex() != text:
        raise EncodingError("expected lower-case hexadecimal digits, two for each byte")
    if size is not None and len(data) != size:
        raise EncodingError(f"expected {size} bytes in hexadecimal; got {len(data)}")
    return data


def _parse(data: bytes) -> Value:
    """The value of any JSON text, canonical or not."""
    try:
        value: Value = _DECODER.decode(data)
    except RecursionError:
        raise EncodingError(_TOO_DEEP) from None
    except UnicodeDecodeError as error:
        raise EncodingError("not UTF-8", offset=error.start) from None
    except (msgspec.DecodeError, ValueError) as error:
        found = _OFFSET.search(str(error))
        offset = int(found[1]) if found else None
        raise EncodingError(f"not JSON: {_OFFSET.sub('', str(error))}", offset=offset) from None
    return value


def _check(value: object, depth: int) -> None:
    """Refuse whatever is outside the subset, naming the way to it. ``depth`` containers enclose it."""
    kind = type(value)
    if kind is str:
        if not is_plain(value):  # type: ignore[arg-type]
            raise EncodingError("string with a control or unassigned character, or not in normal form C")
    elif kind is int:
        if not -MAX_INT <= value <= MAX_INT:  # type: ignore[operator]
            raise EncodingError("integer of 2^53 or more in magnitude")
    elif kind is dict:
        _check_object(value, depth)  # type: ignore[arg-type]
    elif kind is list or kind is tuple:
        _check_array(value, depth)  # type: ignore[arg-type]
    elif value is not None and kind is not bool:
        raise EncodingError(f"{kind.__name__} has no encoding; integers, strings, lists and objects have")


def _check_object(value: dict[object, object], depth: int) -> None:
    if depth == MAX_DEPTH:
        raise EncodingError(_TOO_DEEP)
    key: object = ""
    try:
        for key, item in value.items():
            if type(key) is not str or not (key.isascii() and key.isprintable()):
                raise EncodingError("object key other than printable ASCII")  # noqa: TRY301 (gets its path below)
            if type(item) is str and item.isascii() and item.isprintable():
                continue  # most items; spares a call
            _check(item, depth + 1)
    except EncodingError as error:
        error.path = (key if isinstance(key, str) and key.isascii() else ascii(key), *error.path)
        raise


def _check_array(value: Sequence[object], depth: int) -> None:
    if depth == MAX_DEPTH:
        raise EncodingError(_TOO_DEEP)
    index = 0
    try:
        for index, item in enumerate(value):  # noqa: B007 (used when an item is refused)
            _check(item, depth + 1)
    except EncodingError as error:
        error.path = (index, *error.path)
        raise


def _refuse(data: bytes, canonical: bytes) -> NoReturn:
    """Say where ``data`` leaves the canonical form of its own value."""
    pairs = enumerate(zip(data, canonical, strict=False))
    offset = next((at for at, (got, due) in pairs if got != due), min(len(data), len(canonical)))
    due = canonical[offset : offset + 8]
    expected = f"{due!r}" if due else "the end"
    raise EncodingError(f"not canonical; expected {expected} here", offset=offset)
