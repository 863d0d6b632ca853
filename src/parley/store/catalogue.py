"""A party's catalogue in SQLite: whom it knows, which tables it registered, what it ran."""

import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import msgspec

from parley.core.errors import UsageError
from parley.core.files import no_room
from parley.data.profile import TableProfile

VERSION: Final = 1
_SCHEMA: Final = """
    CREATE TABLE peers (name TEXT PRIMARY KEY, address TEXT NOT NULL, certificate TEXT NOT NULL);
    CREATE TABLE tables (name TEXT PRIMARY KEY, record BLOB NOT NULL);
    CREATE TABLE invitations (name TEXT PRIMARY KEY, certificate TEXT NOT NULL, until REAL NOT NULL);
    CREATE TABLE runs (id TEXT PRIMARY KEY, began REAL NOT NULL, record BLOB NOT NULL);
"""


_NO_ROOM: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)
"""What SQLite says of a full disk: writing to a file, and making the one that readers share."""


class Peer(msgspec.Struct, frozen=True):
    """A party we know: where it listens (empty: it dials us) and the certificate it must present."""

    name: str
    address: str
    certificate: str


class TableRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A registered table.

    Attributes:
        name: how plans call it.
        source: path of a file, or address of a database.
        query: SELECT statement where the source is a database.
        id: column that names the rows.
        columns: features that plans may use; none named means all but id and label.
        categorical: columns that are categories whatever their type.
        partners: parties whose plans may use the table.
        profile: what its columns were like then, to see drift by; it never leaves the home. None of a table
            that an earlier release registered.
    """

    name: str
    source: str
    query: str | None = None
    id: str
    columns: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    partners: tuple[str, ...] = ()
    profile: TableProfile | None = None


RunState = Literal["awaiting", "running", "interrupted", "finished", "failed", "cancelled"]


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A run.

    Attributes:
        id: its identifier; the model it makes has the same.
        began: seconds since 1970.
        role: ours in it, ``active`` or ``passive``.
        plan: JSON as `encode_plan` writes it.
        state: where it stands; see `parley.party.runstate`.
        outcome: JSON: the report of a finished run, the error of any other that does not go on.
        since: when it came to stand there, seconds since 1970.
        attempts: how often it was begun or gone on with.
    """

    id: str
    began: float
    role: str
    plan: str
    state: RunState
    outcome: msgspec.Raw = msgspec.Raw(b"null")
    since: float = 0.0
    attempts: int = 0


class Catalogue:
    """The tables of `_SCHEMA`; every method opens the file anew, so threads and processes may share it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # without it SQLite would make files to open it by, and on a full disk not even reading would work
        holding = sqlite3.connect(path, timeout=10, check_same_thread=False)
        weakref.finalize(self, holding.close)
        with self._open() as database:
            holding.execute("PRAGMA user_version").fetchone()
            (found,) = database.execute("PRAGMA user_version").fetchone()
        if found != VERSION:
            raise UsageError(
                "catalogue-version",
                f"{path} has catalogue version {found}, this release reads {VERSION}",
                remedy="use the release of Parley that made the folder",
            )

    @staticmethod
    def create(path: Path) -> None:
        """Make the file."""
        database = sqlite3.connect(path)
        try:
            database.executescript(f"PRAGMA journal_mode = WAL; {_SCHEMA} PRAGMA user_version = {VERSION};")
        finally:
            database.close()
        path.chmod(0o600)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        database = sqlite3.connect(self._path, timeout=10)
        try:
            with database:
                yield database
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode in _NO_ROOM:
                raise no_room(self._path) from error
            raise
        finally:
            database.close()

    def keep_peer(self, peer: Peer) -> None:
        """Add a peer or replace what is known of it."""
        with self._open() as database:
            row = (peer.name, peer.address, peer.certificate)
            database.execute("INSERT OR REPLACE INTO peers VALUES (?, ?, ?)", row)

    def peers(self) -> dict[str, Peer]:
        """All peers by name."""
        with self._open() as database:
            rows = database.execute("SELECT name, address, certificate FROM peers ORDER BY name").fetchall()
        return {row[0]: Peer(*row) for row in rows}

    def peer(self, name: str) -> Peer:
        """One peer.

        Raises:
            UsageError: it is not known.
        """
        peers = self.peers()
        if name not in peers:
            raise UsageError(
                "unknown-peer",
                f"party {name!r} is not known here; known are {', '.join(peers) or 'none'}",
                remedy="exchange certificates and run `parley peer add`",
            )
        return peers[name]

    def keep_invitation(self, name: str, certificate: str, until: float) -> None:
        """Let a newcomer knock with a certificate, until a time in seconds since 1970."""
        with self._open() as database:
            database.execute(
                "INSERT OR REPLACE INTO invitations VALUES (?, ?, ?)", (name, certificate, until)
            )

    def invitations(self, now: float) -> dict[str, str]:
        """Certificates of those who may knock, by name."""
        with self._open() as database:
            query = "SELECT name, certificate FROM invitations WHERE until > ?"
            return dict(database.execute(query, (now,)).fetchall())

    def drop_invitation(self, name: str) -> None:
        """The newcomer has come in."""
        with self._open() as database:
            database.execute("DELETE FROM invitations WHERE name = ?", (name,))

    def keep_table(self, table: TableRecord) -> None:
        """Register a table or replace its registration."""
        with self._open() as database:
            row = (table.name, msgspec.json.encode(table))
            database.execute("INSERT OR REPLACE INTO tables VALUES (?, ?)", row)

    def tables(self) -> dict[str, TableRecord]:
        """All registered tables by name."""
        with self._open() as database:
            rows = database.execute("SELECT record FROM tables ORDER BY name").fetchall()
        return {
            table.name: table for table in (msgspec.json.decode(row[0], type=TableRecord) for row in rows)
        }

    def table(self, name: str) -> TableRecord:
        """One registered table.

        Raises:
            UsageError: there is none of that name.
        """
        tables = self.tables()
        if name not in tables:
            raise UsageError(
                "unknown-table",
                f"table {name!r} is not registered; registered are {', '.join(tables) or 'none'}",
                remedy="register it with `parley data add`",
            )
        return tables[name]

    def keep_run(self, run: RunRecord) -> None:
        """Note a run, or where it stands now."""
        with self._open() as database:
            row = (run.id, run.began, msgspec.json.encode(run))
            database.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?)", row)

    def has_run(self, run: str) -> bool:
        """Whether a run is noted."""
        with self._open() as database:
            return database.execute("SELECT 1 FROM runs WHERE id = ?", (run,)).fetchone() is not None

    def run(self, run: str) -> RunRecord | None:
        """One run, if it is noted."""
        with self._open() as database:
            row = database.execute("SELECT record FROM runs WHERE id = ?", (run,)).fetchone()
        return None if row is None else msgspec.json.decode(row[0], type=RunRecord)

    def runs(self) -> list[RunRecord]:
        """All runs, oldest first."""
        with self._open() as database:
            rows = database.execute("SELECT record FROM runs ORDER BY began").fetchall()
        return [msgspec.json.decode(row[0], type=RunRecord) for row in rows]
