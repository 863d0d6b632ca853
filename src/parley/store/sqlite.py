"""The party's store as a file in its home."""

import sqlite3
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Final, Literal, Self

from parley.core.errors import ParleyError, UsageError
from parley.core.files import no_room
from parley.store.database import Execute, Row, T, Value, Work, failed, unreachable

_TURN: Final = 10.0
"""Seconds to wait for our turn to write."""
_NO_ROOM: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)
"""What SQLite says of a full disk: writing to a file, and making the one that readers share."""
_BUSY: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_BROKEN: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_PRIMARY: Final = 0xFF
"""The part of an error's code that names its kind."""


class SqliteDatabase:
    """A file; every transaction opens it anew, so threads and processes may share it.

    Args:
        path: where.

    Raises:
        UsageError: ``store-missing``: it is not there.
    """

    kind = "SQLite"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._uri = f"{path.absolute().as_uri()}?mode=rw"  # opens a file that is there, and makes none
        self.place = str(path)
        if not path.is_file():
            raise UsageError(
                "store-missing",
                f"there is no {path}, which holds the party's peers, tables and runs",
                remedy="restore it from a backup, or name the party's store in parley.toml",
            )
        # without it SQLite would make files to open it by, and on a full disk not even reading would work
        self._holding = sqlite3.connect(self._uri, uri=True, timeout=_TURN, check_same_thread=False)
        weakref.finalize(self, self._holding.close)
        with self._told():
            self._holding.execute("PRAGMA user_version").fetchone()

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make the file, empty."""
        path.touch(mode=0o600)
        database = cls(path)
        with database._told(), closing(sqlite3.connect(database._uri, uri=True)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
        return database

    def read(self, work: Work[T]) -> T:
        """A transaction that changes nothing."""
        return self._transaction("BEGIN", work)

    def write(self, work: Work[T]) -> T:
        """A transaction beside which nobody else writes."""
        return self._transaction("BEGIN IMMEDIATE", work)

    def alone(self, work: Work[T]) -> T:
        """The same: in a file tables are changed as rows are."""
        return self.write(work)

    def _transaction(self, begin: Literal["BEGIN", "BEGIN IMMEDIATE"], work: Work[T]) -> T:
        connecting = sqlite3.connect(self._uri, uri=True, timeout=_TURN, isolation_level=None)
        with self._told(), closing(connecting) as connection:

            def execute(statement: str, *values: Value) -> list[Row]:
                return connection.execute(statement, values).fetchall()

            connection.execute(begin)
            try:
                result = work(execute)
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            return result

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Says in our own words what the file cannot do."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise self._problem(error) from error

    def _problem(self, error: sqlite3.DatabaseError) -> ParleyError:
        code = getattr(error, "sqlite_errorcode", 0)
        if code in _NO_ROOM:
            return no_room(self.path)
        if code & _PRIMARY in _BUSY:
            return unreachable(self.place, f"others have been writing to it for {_TURN:g} s")
        if code & _PRIMARY in _BROKEN:
            return UsageError(
                "store-damaged",
                f"{self.path} cannot be read: {error}",
                remedy="stop the party and restore it from a backup",
            )
        return failed(self.place, str(error))

    def version(self, execute: Execute) -> int:
        """How many steps were done; the head of the file says so, and earlier releases look there."""
        ((version,),) = execute("PRAGMA user_version")
        return int(version)

    def note_version(self, execute: Execute, version: int) -> None:
        """Note how many steps were done."""
        execute(f"PRAGMA user_version = {version:d}")

    def size(self) -> int:
        """Bytes of the file and of what was written to it last."""
        files = (self.path, self.path.with_name(f"{self.path.name}-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def damage(self) -> str:
        """What is broken in the file."""
        (answer,) = self.read(lambda execute: execute("PRAGMA quick_check(1)"))[0]
        return "" if answer == "ok" else str(answer)

    def exposure(self) -> str:
        """Nothing: nobody stands between us and a file."""
        return ""

    def hold(self) -> nullcontext[Callable[[], None]]:
        """Nothing: whoever holds the home holds the file in it."""
        return nullcontext(lambda: None)

    def put_aside(self) -> Path:
        """Rename the file, so that nobody takes it for the store any more; returns where it is."""
        with self._told():
            self._holding.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self.close()
        aside = self.path.with_name(f"{self.path.name}.moved")
        for number in range(1, 1000):
            if not aside.exists():
                break
            aside = self.path.with_name(f"{self.path.name}.moved-{number}")
        return self.path.rename(aside)

    def close(self) -> None:
        """Close the file."""
        self._holding.close()
