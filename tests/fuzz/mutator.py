"""Makes inputs that are almost right out of right ones, the same from the same seed."""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec

MOST = 1 << 18
"""Bytes of the longest input."""

_NUMBERS = (
    0,
    1,
    2,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**53,
    2**63 - 1,
    2**63,
    2**64 - 1,
)
_OPENING = (b"\x91", b"\x81\xa1a", b"[", b'{"a":', b"\x0a\x7f", b"\x30\x80", b"a.", b"\xdd\xff\xff\xff\xff")
_DEPTHS = (1, 17, 200, 3000, 40_000)
_DIGITS = re.compile(rb"-?\d+")
_NESTED = 60
_LEAVES = (
    None,
    True,
    0,
    -1,
    2**53 - 1,
    2**53,
    2**63,
    -(2**63),
    1.5,
    "",
    "a",
    "é",
    "\x00",
    "a" * 300,
    [],
    {},
    [[]],
    {"": 0},
)


class Mutator:
    """Draws inputs from a source of chance.

    Args:
        seed: equal seeds draw equal inputs.
    """

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self._on_bytes = (
            self._flip, self._set, self._cut, self._drop, self._double, self._repeat, self._insert,
            self._splice, self._length, self._nest, self._number,
        )  # fmt: skip

    def draw(self, seeds, tree=None):
        """An input like those of ``seeds``.

        Args:
            seeds: right ones.
            tree: how to read and write them as values; none if they are only bytes.
        """
        data = self.chance.choice(seeds)
        if tree is not None and self.chance.random() < 0.7:
            data = self._through(data, tree)
            if self.chance.random() < 0.7:
                return data
        for _ in range(self.chance.choice((1, 1, 1, 2, 3, 6))):
            data = self.chance.choice(self._on_bytes)(data, seeds)[:MOST]
        return data

    # ── bytes ─────────────────────────────────────────────────────────────────────────────────────────

    def _at(self, data):
        return self.chance.randint(0, len(data))

    def _span(self, data):
        begin = self._at(data)
        return begin, min(len(data), begin + self.chance.choice((1, 2, 4, 8, 32, 33, 100, 1000)))

    def _flip(self, data, _seeds):
        if not data:
            return data
        changed = bytearray(data)
        changed[self.chance.randrange(len(data))] ^= 1 << self.chance.randrange(8)
        return bytes(changed)

    def _set(self, data, _seeds):
        at = self._at(data)
        return (
            data[:at]
            + bytes([self.chance.choice((0, 1, 0x7F, 0x80, 0xC1, 0xFF, 0x0A, 0x22))])
            + data[at + 1 :]
        )

    def _cut(self, data, _seeds):
        return data[: self._at(data)]

    def _drop(self, data, _seeds):
        begin, end = self._span(data)
        return data[:begin] + data[end:]

    def _double(self, data, _seeds):
        begin, end = self._span(data)
        return data[:end] + data[begin:end] + data[end:]

    def _repeat(self, data, _seeds):
        begin, end = self._span(data)
        return data[:begin] + data[begin:end] * self.chance.choice((3, 50, 4000)) + data[end:]

    def _insert(self, data, _seeds):
        at = self._at(data)
        return data[:at] + self.chance.randbytes(self.chance.choice((1, 4, 32, 500))) + data[at:]

    def _splice(self, data, seeds):
        other = self.chance.choice(seeds)
        return data[: self._at(data)] + other[self._at(other) :]

    def _length(self, data, _seeds):
        """A number, such as a length, that says something else."""
        at, size = self._at(data), self.chance.choice((1, 2, 4, 8))
        number = self.chance.choice(_NUMBERS) % (1 << 8 * size)
        return data[:at] + number.to_bytes(size, self.chance.choice(("big", "little"))) + data[at + size :]

    def _nest(self, data, _seeds):
        at = self._at(data)
        return data[:at] + self.chance.choice(_OPENING) * self.chance.choice(_DEPTHS) + data[at:]

    def _number(self, data, _seeds):
        """A number that is written in digits."""
        found = list(_DIGITS.finditer(data))
        if not found:
            return data
        one = self.chance.choice(found)
        drawn = self.chance.choice((*_NUMBERS, -1, None))
        text = b"9" * 5000 if drawn is None else b"%d" % drawn
        return data[: one.start()] + text + data[one.end() :]

    # ── values ────────────────────────────────────────────────────────────────────────────────────────

    def _through(self, data, tree):
        try:
            value = tree.read(data)
        except (msgspec.MsgspecError, ValueError):  # a seed of another kind
            return self.chance.choice(self._on_bytes)(data, (data,))
        parts = list(_parts(value))
        depth = self.chance.choice(_DEPTHS)
        parts.append(msgspec.Raw(tree.opening * depth + tree.zero + tree.closing * depth))
        for _ in range(self.chance.choice((1, 1, 2, 4))):
            value = self._changed(value, parts)
        try:
            return tree.write(value)
        except (TypeError, ValueError, OverflowError, RecursionError):  # it cannot be written so
            return data

    def _changed(self, value, parts):
        """The value with one of its parts changed."""
        if isinstance(value, dict) and value and self.chance.random() < 0.85:
            changed, key = dict(value), self.chance.choice(list(value))
            match self.chance.randrange(8):
                case 0:
                    del changed[key]
                case 1:
                    changed["x" if self.chance.random() < 0.5 else self.chance.choice(list(value))] = (
                        changed.pop(key)
                    )
                case _:
                    changed[key] = self._changed(changed[key], parts)
            return changed
        if isinstance(value, list) and value and self.chance.random() < 0.85:
            at = self.chance.randrange(len(value))
            match self.chance.randrange(9):
                case 0:
                    return value[:at] + value[at + 1 :]
                case 2:
                    return [*value, self._leaf(None, parts)]
                case 1:
                    return value[:at] + [value[at]] * self.chance.choice((2, 3, 70)) + value[at:]
                case _:
                    return [*value[:at], self._changed(value[at], parts), *value[at + 1 :]]
        return self._leaf(value, parts)

    def _leaf(self, value, parts):  # noqa: PLR0911 (a case for each kind of value)
        kind = self.chance.randrange(6)
        if kind == 0:
            return parts[-1] if self.chance.random() < 0.2 else self.chance.choice(parts)
        if kind == 1:
            return self.chance.choice(_LEAVES)
        if kind == 2:
            nested = value
            for _ in range(self.chance.choice((1, 16, _NESTED))):
                nested = [nested] if self.chance.random() < 0.5 else {"a": nested}
            return nested
        if isinstance(value, bool) or value is None:
            return self.chance.choice((True, False, None, 0))
        if isinstance(value, int):
            return self.chance.choice((value + 1, value - 1, -value, *_NUMBERS))
        if isinstance(value, bytes):
            return self.chance.choice(self._on_bytes)(value, (value,))[:MOST]
        if isinstance(value, str):
            return self.chance.choice(self._on_bytes)(value.encode(), (b"a",))[:MOST].decode(errors="ignore")
        return self.chance.choice(_LEAVES)


def _parts(value):
    """All values within a value, itself included."""
    yield value
    if isinstance(value, dict):
        for one in value.values():
            yield from _parts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _parts(one)


@dataclass(frozen=True)
class Tree:
    """How values are read and written.

    Attributes:
        read: a value from bytes.
        write: bytes from a value.
        zero: a value as bytes.
        opening, closing: bytes around a value that put it into a container.
    """

    read: Callable[[bytes], Any]
    write: Callable[[Any], bytes]
    zero: bytes
    opening: bytes
    closing: bytes

    def behind(self, head):
        """The same behind some bytes that do not change."""
        return replace(
            self,
            read=lambda data: self.read(data[len(head) :]),
            write=lambda value: head + self.write(value),
        )


JSON = Tree(msgspec.json.decode, msgspec.json.Encoder(order="sorted").encode, b"0", b"[", b"]")
MSGPACK = Tree(msgspec.msgpack.decode, msgspec.msgpack.encode, b"\x00", b"\x91", b"")
