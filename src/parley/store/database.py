"""What the catalogue needs of a database: transactions, a version, a lock. Two databases give it.

    store.sqlite      a file in the home
    store.postgres    a schema of a PostgreSQL database

Statements are written once, with ``?`` for values, and mean the same in both. They keep to what both
know: TEXT, BLOB, REAL and INTEGER columns, ``INSERT … ON CONFLICT``, and texts ordered by their bytes.

    store-missing       there is no such file
    store-empty         the database is there, but nothing of ours is in it
    store-damaged       the file is no database, or broken
    store-unreachable   it does not answer, or others keep it busy; what was under way goes on by itself
    store-failed        it refused; what was to be written is not written
    disk-full           it has no room
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from parley.core.errors import UsageError
from parley.core.files import DISK_FULL

T = TypeVar("T")

Value: TypeAlias = str | bytes | int | float | None
Row: TypeAlias = tuple[Any, ...]

UNREACHABLE: Final = "store-unreachable"
"""The code of what goes on once the database answers again."""
RUNNING: Final = "party-running"
"""The code of what a second running party ends with."""
PASSING: Final = (DISK_FULL, UNREACHABLE)
"""Codes of errors after which the same can be tried again later."""


class Execute(Protocol):
    """Does one statement of a transaction."""

    def __call__(self, statement: str, *values: Value) -> list[Row]:
        """The rows that the statement gives; none if it gives none."""
        ...


Work: TypeAlias = Callable[[Execute], T]
"""The statements of one transaction. It may be called more than once until it is committed, and when a
connection breaks at the very end it may be committed twice: doing it twice must be like doing it once."""


class Database(Protocol):
    """A place for a party's tables; may be used by several threads, and opened by several processes."""

    kind: str
    """Whose product it is."""
    place: str
    """Where it is, for our own people; without secrets."""

    def read(self, work: Work[T]) -> T:
        """A transaction that sees one state of everything, and changes nothing."""
        ...

    def write(self, work: Work[T]) -> T:
        """A transaction that is done whole or not at all, as if no other were under way."""
        ...

    def alone(self, work: Work[T]) -> T:
        """The same, while no other process is in here either: for changes of the tables themselves."""
        ...

    def version(self, execute: Execute) -> int:
        """How many steps of `migrations` were done; 0 where nothing of ours is."""
        ...

    def note_version(self, execute: Execute, version: int) -> None:
        """Note how many steps were done, in the same transaction."""
        ...

    def size(self) -> int:
        """Bytes that it takes."""
        ...

    def damage(self) -> str:
        """What is broken in it though it answers, in words; empty if nothing is known to be."""
        ...

    def exposure(self) -> str:
        """Who else may read what we say to it, in words; empty if nobody."""
        ...

    def hold(self) -> AbstractContextManager[Callable[[], None]]:
        """Keep any other running party away from it while entered, from wherever it is started.

        Gives a function that makes sure of it anew, to be called now and then.

        Raises:
            UsageError: ``party-running``, on entering and of the function too.
        """
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


def unreachable(place: str, why: str) -> UsageError:
    """The error of a database that does not answer."""
    return UsageError(
        UNREACHABLE,
        f"the store {place} cannot be reached: {why}",
        remedy="see that it runs and lets us in, then try again; a running party goes on by itself",
        public="the store of a party cannot be reached",
    )


def failed(place: str, why: str) -> UsageError:
    """The error of a database that refuses."""
    return UsageError(
        "store-failed",
        f"the store {place} refused: {why}",
        remedy="correct what it says; `parley doctor` looks again",
        public="the store of a party failed",
    )


def running_already(who: str) -> UsageError:
    """The error of a second running party."""
    return UsageError(
        RUNNING,
        f"{who} is running already",
        remedy="stop the other process first; commands need no second one",
    )
