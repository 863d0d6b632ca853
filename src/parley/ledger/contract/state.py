"""The state as the rules see it: a read-only view, typed records on it, and a draft of what changes.

The state is a mapping from readable paths (``member/bank``, ``run/run-7/…``) to canonical values. A record
type says how the value under its paths looks; inside the contract nobody handles the bare value.
"""

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Protocol, Self, TypeVar

import msgspec

from parley.ledger.encoding import Value

Write = tuple[str, Value]
"""A key and its new value; ``None`` deletes the key, no key ever holds ``None``."""

_ENCODER = msgspec.json.Encoder(order="sorted")
_DECODER = msgspec.json.Decoder()


class View(Protocol):
    """The state before a transaction."""

    def get(self, key: str) -> Value:
        """The value under ``key``, ``None`` if there is none; the caller does not change it."""

    def keys(self, prefix: str) -> Iterable[str]:
        """The keys that begin with ``prefix``, ascending; a lazy iterator is welcome, few are read."""


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The root of all record types. ``PATH`` says where they stand, for people and for the specification."""

    PATH: ClassVar[str]

    def value(self) -> dict[str, Value]:
        """The canonical value: objects in ascending key order, arrays as lists."""
        plain: dict[str, Value] = _DECODER.decode(_ENCODER.encode(self))
        return plain

    @classmethod
    def of(cls, value: Value) -> Self:
        """The record with the value ``value``; `msgspec.ValidationError` if it is of another shape."""
        return msgspec.convert(value, cls)

    def but(self, **changes: Any) -> Self:  # noqa: ANN401 (the fields are the record's own)
        """A copy with some fields changed."""
        return msgspec.structs.replace(self, **changes)


R = TypeVar("R", bound=Record)


class Draft:
    """A view with changes laid over it. The view below is never changed.

    Every transaction asks for the same few records, so what has been read is kept: by the view, if it has
    ``records`` for that, else here.
    """

    __slots__ = ("_changes", "_records", "_view")

    def __init__(self, view: View) -> None:
        self._view = view
        self._changes: dict[str, Record | None] = {}
        kept: dict[str, Record] | None = getattr(view, "records", None)
        self._records = {} if kept is None else kept

    def find(self, kind: type[R], path: str) -> R | None:
        """The record at ``path``, or nothing."""
        if path in self._changes:
            changed = self._changes[path]
            return changed if isinstance(changed, kind) else None
        read = self._records.get(path)
        if isinstance(read, kind):
            return read
        value = self._view.get(path)
        if value is None:
            return None
        record = self._records[path] = msgspec.convert(value, kind)
        return record

    def known(self, kind: type[R], path: str) -> R:
        """The record at ``path`` that the rules themselves put there."""
        record = self.find(kind, path)
        if record is None:
            raise KeyError(path)
        return record

    def has(self, path: str) -> bool:
        """Whether something stands at ``path``."""
        if path in self._changes:
            return self._changes[path] is not None
        return self._view.get(path) is not None

    def put(self, path: str, record: Record) -> None:
        """Write a record."""
        self._changes[path] = record

    def drop(self, path: str) -> None:
        """Delete what stands at ``path``."""
        self._changes[path] = None

    def forget(self) -> None:
        """Take all changes back."""
        self._changes.clear()

    def paths(self, prefix: str) -> list[str]:
        """The paths that begin with ``prefix``, ascending, with the changes so far."""
        stored = [key for key in self._view.keys(prefix) if self._changes.get(key, _UNCHANGED) is not None]
        added = [
            key for key, record in self._changes.items() if record is not None and key.startswith(prefix)
        ]
        return sorted(dict.fromkeys(stored + added))

    def stored(self, prefix: str) -> Iterator[str]:
        """The paths below ``prefix`` before any change, ascending, one at a time."""
        return iter(self._view.keys(prefix))

    def writes(self) -> tuple[Write, ...]:
        """The changes, ascending by key."""
        return tuple(
            [
                (path, None if (record := self._changes[path]) is None else record.value())
                for path in sorted(self._changes)
            ]
        )


class _Unchanged(Record, frozen=True):
    """Stands for a path without a change."""

    PATH = ""


_UNCHANGED = _Unchanged()
