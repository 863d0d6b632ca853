"""What the adversary does to one message or frame.

A rule takes the encoded message (or the whole frame) and returns what travels in its place. Messages
are edited as plain msgpack trees, ``[name, field, ...]``, so an edit need not respect any type.
"""

import asyncio
import math
import typing
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec


@dataclass
class Flow:
    """What a rule may use besides the message itself.

    Attributes:
        patience: seconds after which the victim gives up waiting.
        held: data to send after the next message.
        applied: whether the rule was reached.

    """

    patience: float
    held: list[bytes] = field(default_factory=list)
    applied: bool = False


Rule = Callable[[bytes, Flow], Awaitable[list[bytes]]]


async def drop(_data: bytes, _flow: Flow) -> list[bytes]:
    return []


async def repeat(data: bytes, _flow: Flow) -> list[bytes]:
    return [data, data]


async def swap(data: bytes, flow: Flow) -> list[bytes]:
    flow.held = [data]
    return []


async def delay(data: bytes, flow: Flow) -> list[bytes]:
    await asyncio.sleep(flow.patience * 2.5)
    return [data]


def cut(keep: Callable[[int], int]) -> Rule:
    """Only the first ``keep(length)`` bytes."""

    async def rule(data: bytes, _flow: Flow) -> list[bytes]:
        return [data[: keep(len(data))]]

    return rule


def prefixed(make: Callable[[int], int]) -> Rule:
    """The frame under another sequence number."""

    async def rule(data: bytes, _flow: Flow) -> list[bytes]:
        return [make(int.from_bytes(data[:8], "big")).to_bytes(8, "big") + data[8:]]

    return rule


async def lengthen(data: bytes, _flow: Flow) -> list[bytes]:
    return [data + b"\0"]


async def garble(data: bytes, _flow: Flow) -> list[bytes]:
    return [data[:8] + b"\xc1" * max(1, len(data) - 8)]


def retyped(other: type[msgspec.Struct]) -> Rule:
    """An empty message of another type in its place."""

    async def rule(_data: bytes, _flow: Flow) -> list[bytes]:
        return [msgspec.msgpack.encode(_blank(other))]

    return rule


def on_field(edit: Callable[[Any], Any], leaf: type) -> Callable[[int], Rule]:
    """A rule that edits the first ``leaf`` inside the field at a position of the message."""

    def make(position: int) -> Rule:
        async def rule(data: bytes, flow: Flow) -> list[bytes]:
            tree = msgspec.msgpack.decode(data)
            tree[position], done = _first(tree[position], leaf, edit)
            flow.applied = done
            return [msgspec.msgpack.encode(tree)]

        return rule

    return make


MESSAGE_RULES: dict[str, Rule] = {
    "drop": drop,
    "repeat": repeat,
    "swap": swap,
    "delay": delay,
    "cut-half": cut(lambda length: length // 2),
    "cut-last-byte": cut(lambda length: length - 1),
    "cut-all": cut(lambda _length: 0),
    "lengthen": lengthen,
}

FRAME_RULES: dict[str, Rule] = {
    "drop": drop,
    "repeat": repeat,
    "swap": swap,
    "cut-to-seven": cut(lambda _length: 7),
    "cut-to-number": cut(lambda _length: 8),
    "empty": cut(lambda _length: 0),
    "number-ahead": prefixed(lambda number: number + 1),
    "number-far-ahead": prefixed(lambda _number: 2**64 - 1),
    "number-behind": prefixed(lambda number: max(0, number - 1)),
    "garble": garble,
}

FIELD_RULES: dict[str, tuple[type, Any, Callable[[int], Rule]]] = {
    "bytes-halved": (bytes, "structure", on_field(lambda value: value[: len(value) // 2], bytes)),
    "bytes-emptied": (bytes, "structure", on_field(lambda _value: b"", bytes)),
    "bytes-lengthened": (bytes, "structure", on_field(lambda value: value + b"\0", bytes)),
    "list-shortened": (list, "structure", on_field(lambda value: value[:-1], list)),
    "list-lengthened": (list, "structure", on_field(lambda value: value + value[-1:], list)),
    "type-changed": (int, "structure", on_field(lambda _value: {"an": "object"}, int)),
    "invalid-text": (str, "structure", on_field(lambda _value: msgspec.Raw(b"\xa2\xff\xfe"), str)),
    "first-bit": (bytes, "value", on_field(lambda value: _flipped(value, 0), bytes)),
    "last-bit": (bytes, "value", on_field(lambda value: _flipped(value, -1), bytes)),
    "plus-one": (int, "value", on_field(lambda value: value + 1, int)),
    "negative": (int, "value", on_field(lambda value: -1 - abs(value), int)),
    "huge": (int, "value", on_field(lambda _value: 2**62, int)),
    "beyond": (int, "value", on_field(lambda _value: 2**64 - 1, int)),
    "inverted": (bool, "value", on_field(lambda value: not value, bool)),
    "not-a-number": (float, "value", on_field(lambda _value: math.nan, float)),
    "infinite": (float, "value", on_field(lambda _value: math.inf, float)),
    "text-changed": (str, "value", on_field(lambda value: value + "x", str)),
}


def _flipped(value: bytes, at: int) -> bytes:
    changed = bytearray(value or b"\0")
    changed[at] ^= 1
    return bytes(changed)


def _first(tree: Any, leaf: type, edit: Callable[[Any], Any]) -> tuple[Any, bool]:
    """The tree with its first ``leaf`` edited, and whether there was one."""
    if type(tree) is leaf:
        return edit(tree), True
    if isinstance(tree, list):
        for index, branch in enumerate(tree):
            edited, done = _first(branch, leaf, edit)
            if done:
                return [*tree[:index], edited, *tree[index + 1 :]], True
    return tree, False


def _blank(annotation: Any) -> Any:
    """The plainest value of a type, as a msgpack tree."""
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        tag = annotation.__struct_config__.tag
        values = [_blank(each.type) for each in msgspec.structs.fields(annotation)]
        return values if tag is None else [tag, *values]
    origin = typing.get_origin(annotation) or annotation
    if origin is typing.Annotated:
        return _blank(typing.get_args(annotation)[0])
    plain = {int: 0, float: 0.0, bool: False, str: "", bytes: b"", list: [], dict: {}}
    if origin is tuple:
        return [_blank(each) for each in typing.get_args(annotation) if each is not Ellipsis]
    return plain.get(origin)
