"""A party's catalogue: whom it knows, which tables it registered, what it ran; in whichever database."""

from collections.abc import Iterable, Sequence
from types import MappingProxyType
from typing import Final, Literal, Self

import msgspec

from parley.core.errors import UsageError
from parley.data.profile import TableProfile
from parley.store.database import Database, Execute, Row, Value
from parley.store.migrations import TABLES, begin, bring_up_to_date


class Peer(msgspec.Struct, frozen=True):
    """A party we know: where it listens (empty: it dials us) and the certificate it must present."""

    name: str
    address: str
    certificate: str


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """Where the columns of an id come from when a model is used.

    Attributes:
        source: address of a database, or ``python:package.module:function``; empty: the registered table.
        query: SELECT statement with ``:id`` or ``:ids`` where the source is a database.
        age: seconds for which what was read or fetched counts.
        entries: ids held at most; the registered table is held whole.
        deadline: seconds within which the source must answer.
    """

    source: str = ""
    query: str | None = None
    age: int = 86_400
    entries: int = 100_000
    deadline: float = 2.0


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
        serving: the source when a model is used; none: the registered table, read again every day.
    """

    name: str
    source: str
    query: str | None = None
    id: str
    columns: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    partners: tuple[str, ...] = ()
    profile: TableProfile | None = None
    serving: Serving | None = None


RunState = Literal["queued", "awaiting", "running", "interrupted", "finished", "failed", "cancelled"]


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
        priority: among those that wait for their turn; the higher, the sooner.
    """

    id: str
    began: float
    role: str
    plan: str
    state: RunState
    outcome: msgspec.Raw = msgspec.Raw(b"null")
    since: float = 0.0
    attempts: int = 0
    priority: int = 0


class Catalogue:
    """The tables of `migrations`, brought up to date.

    A method is one transaction: done whole or not at all.

    Args:
        database: where they are.

    Raises:
        UsageError: as `migrations.bring_up_to_date`, and whatever `store.database` names; all methods too.
        BudgetExhausted: ``disk-full``; all methods too.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        bring_up_to_date(database)

    @classmethod
    def create(cls, database: Database) -> Self:
        """Make the tables in an empty database."""
        begin(database)
        return cls(database)

    def _rows(self, statement: str, *values: Value) -> list[Row]:
        return self.database.read(lambda execute: execute(statement, *values))

    def _change(self, statement: str, *values: Value) -> list[Row]:
        return self.database.write(lambda execute: execute(statement, *values))

    # ── peers and invitations ─────────────────────────────────────────────────────────────────────────

    def keep_peer(self, peer: Peer) -> None:
        """Add a peer or replace what is known of it."""
        self._change(KEEP["peers"], peer.name, peer.address, peer.certificate)

    def peers(self) -> dict[str, Peer]:
        """All peers by name."""
        rows = self._rows("SELECT name, address, certificate FROM peers ORDER BY name")
        return {row[0]: Peer(*row) for row in rows}

    def peer(self, name: str) -> Peer:
        """One peer.

        Raises:
            UsageError: it is not known.
        """
        peers = self.peers()
        if name not in peers:
            raise unknown_peer(name, peers)
        return peers[name]

    def keep_invitation(self, name: str, certificate: str, until: float) -> None:
        """Let a newcomer knock with a certificate, until a time in seconds since 1970."""
        self._change(KEEP["invitations"], name, certificate, until)

    def invitations(self, now: float) -> dict[str, str]:
        """Certificates of those who may knock, by name."""
        return dict(self._rows("SELECT name, certificate FROM invitations WHERE until > ?", now))

    def drop_invitation(self, name: str) -> None:
        """The newcomer has come in."""
        self._change("DELETE FROM invitations WHERE name = ?", name)

    # ── tables ────────────────────────────────────────────────────────────────────────────────────────

    def keep_table(self, table: TableRecord) -> None:
        """Register a table or replace its registration."""
        self._change(KEEP["tables"], table.name, msgspec.json.encode(table))

    def tables(self) -> dict[str, TableRecord]:
        """All registered tables by name."""
        rows = self._rows("SELECT record FROM tables ORDER BY name")
        tables = (msgspec.json.decode(record, type=TableRecord) for (record,) in rows)
        return {table.name: table for table in tables}

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

    # ── runs ──────────────────────────────────────────────────────────────────────────────────────────

    def keep_run(self, run: RunRecord) -> None:
        """Note a run, or where it stands now."""
        self._change(KEEP["runs"], run.id, run.began, msgspec.json.encode(run))

    def has_run(self, run: str) -> bool:
        """Whether a run is noted."""
        return bool(self._rows("SELECT 1 FROM runs WHERE id = ?", run))

    def run(self, run: str) -> RunRecord | None:
        """One run, if it is noted."""
        rows = self._rows("SELECT record FROM runs WHERE id = ?", run)
        return msgspec.json.decode(rows[0][0], type=RunRecord) if rows else None

    def runs(self) -> list[RunRecord]:
        """All runs, oldest first."""
        rows = self._rows("SELECT record FROM runs ORDER BY began, id")
        return [msgspec.json.decode(record, type=RunRecord) for (record,) in rows]

    def forget_runs(self, runs: Iterable[str]) -> None:
        """Let go of what is noted of some runs."""
        gone = tuple(runs)

        def work(execute: Execute) -> None:
            for run in gone:
                execute("DELETE FROM runs WHERE id = ?", run)

        self.database.write(work)

    # ── the store itself ──────────────────────────────────────────────────────────────────────────────

    def claim(self, owner: str) -> None:
        """Make sure that the tables are those of one home.

        Raises:
            UsageError: ``store-of-another``.
        """
        query = "SELECT value FROM about WHERE name = 'owner'"

        def work(execute: Execute) -> list[Row]:
            execute(
                "INSERT INTO about (name, value) VALUES ('owner', ?) ON CONFLICT (name) DO NOTHING", owner
            )
            return execute(query)

        ((found,),) = self._rows(query) or self.database.write(work)
        if found != owner:
            raise UsageError(
                "store-of-another",
                f"the store {self.database.place} is that of another home",
                remedy="name another schema, with store_schema in parley.toml, or another database",
            )


def unknown_peer(name: str, known: Iterable[str]) -> UsageError:
    """The error of a peer that nobody has told us of."""
    return UsageError(
        "unknown-peer",
        f"party {name!r} is not known here; known are {', '.join(known) or 'none'}",
        remedy="exchange certificates and run `parley peer add`",
    )


def _keeping(table: str, columns: Sequence[str]) -> str:
    key, *others = columns
    values = ", ".join("?" for _ in columns)
    changes = ", ".join(f"{each} = excluded.{each}" for each in others)
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values}) "  # noqa: S608 (words of ours)
        f"ON CONFLICT ({key}) DO UPDATE SET {changes}"
    )


KEEP: Final = MappingProxyType({table: _keeping(table, columns) for table, columns in TABLES.items()})
"""Statements that add a row to a table, or replace the one with the same key."""
