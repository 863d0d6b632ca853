"""The party's store as a schema of a PostgreSQL database, which parties and other programs may share.

A server that restarts must not end the party, and one that hangs must not stop it:

1. every statement has to be answered within `ANSWER` seconds, or the connection is given up;
2. a transaction whose connection breaks is done again on a new one, for `PATIENCE` seconds, as connecting is;
3. after that everything is `store-unreachable`, at once, but for one attempt every `PAUSE` seconds, until
   one succeeds.

Transactions are serialisable, so that they mean what they mean in a file.
"""

import hashlib
import os
import re
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

import psycopg

from parley.core.errors import ParleyError
from parley.core.files import no_room
from parley.data.urls import filled, redacted, with_patience, without_secrets
from parley.store.database import Execute, Row, T, Value, Work, failed, running_already, unreachable

ANSWER: Final = 3.0
"""Seconds in which a statement must be answered."""
PATIENCE: Final = 3
"""Seconds for which what failed in passing is tried again, unless the url has another ``connect_timeout``;
no longer: a party's links wait meanwhile, and count as silent after four."""
PAUSE: Final = 4.0
"""Seconds between two attempts at a server that was given up."""
_TIMEOUT: Final = re.compile(r"[?&]connect_timeout=(\d+)")
_FIRST_PAUSE: Final = 0.05
_LAST_PAUSE: Final = 0.5

_DISK_FULL: Final = "53100"
_PASSING: Final = (
    "08",  # the connection broke
    "25006",  # it may only be read: another server has taken its place
    "25P03",  # we were too slow
    "40001",  # another transaction came between
    "40P01",  # so it did, and both waited
    "53300",  # it has no room for one more connection
    "55P03",  # a lock was not to be had
    "57014",  # it was too slow
    "57P",  # it is shut down, or starting
)
"""Beginnings of codes of errors that pass by themselves; those without any code came with a connection."""
_AS_POSTGRES: Final = {"TEXT": 'TEXT COLLATE "C"', "BLOB": "BYTEA", "REAL": "DOUBLE PRECISION"}
_TYPES: Final = re.compile(rf"\b({'|'.join(_AS_POSTGRES)})\b")

_SETTINGS: Final = (
    f"SET statement_timeout = {int(ANSWER * 1000)}",
    "SET idle_in_transaction_session_timeout = 30000",
    # a machine that went away with a lock is missed within half a minute
    "SET tcp_keepalives_idle = 10",
    "SET tcp_keepalives_interval = 5",
    "SET tcp_keepalives_count = 4",
)


class PostgresDatabase:
    """A schema of a database.

    Args:
        url: ``postgresql://user:${VARIABLE}@host/database?…``; its options are the server's own, such as
            ``sslmode`` and ``sslrootcert``.
        schema: ours in the database; made with the first tables.
        environment: where ``${VARIABLE}`` is looked up.

    Raises:
        UsageError: ``store-variable-unset``, ``bad-settings``.
    """

    kind = "PostgreSQL"

    def __init__(self, url: str, schema: str, environment: Mapping[str, str]) -> None:
        self.place = f"{redacted(url)}, schema {schema}"
        self._url = with_patience(filled(url, environment, "store-variable-unset", "bad-settings"), PATIENCE)
        stated = _TIMEOUT.search(self._url)
        self.patience = int(stated[1] if stated else 0) or PATIENCE
        self._schema = schema
        self._turn = threading.RLock()
        self._session: _Session | None = None
        self._given_up: float | None = None
        self._open: list[_Session] = []
        weakref.finalize(self, _close_all, self._open)

    # ── transactions ──────────────────────────────────────────────────────────────────────────────────

    def read(self, work: Work[T]) -> T:
        """A transaction that changes nothing."""
        return self._done(lambda session: session.transaction("BEGIN ISOLATION LEVEL REPEATABLE READ", work))

    def write(self, work: Work[T]) -> T:
        """A transaction as if no other were under way."""
        return self._done(lambda session: session.transaction("BEGIN ISOLATION LEVEL SERIALIZABLE", work))

    def alone(self, work: Work[T]) -> T:
        """The same, under a lock; it is taken before, as a transaction sees what was so when it began."""
        key = _key("migration", self._schema)

        def locked(session: "_Session") -> T:
            session.execute("SELECT pg_advisory_lock(?)", key)
            try:
                if not session.execute("SELECT 1 FROM pg_namespace WHERE nspname = ?", self._schema):
                    session.execute(f"CREATE SCHEMA {_quoted(self._schema)}")
                return session.transaction("BEGIN ISOLATION LEVEL SERIALIZABLE", work)
            finally:
                with suppress(psycopg.Error):
                    session.execute("SELECT pg_advisory_unlock(?)", key)

        return self._done(locked)

    def version(self, execute: Execute) -> int:
        """How many steps were done; a row of the table `about` says so."""
        ((there,),) = execute("SELECT to_regclass(?) IS NOT NULL", f"{_quoted(self._schema)}.about")
        rows = execute("SELECT value FROM about WHERE name = 'version'") if there else []
        return int(rows[0][0]) if rows else 0

    def note_version(self, execute: Execute, version: int) -> None:
        """Note how many steps were done."""
        execute("DELETE FROM about WHERE name = 'version'")
        execute("INSERT INTO about (name, value) VALUES ('version', ?)", str(version))

    def size(self) -> int:
        """Bytes of our tables and their indexes."""
        query = (
            "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND relnamespace = "
        )
        space = "(SELECT oid FROM pg_namespace WHERE nspname = ?)"
        ((size,),) = self.read(lambda execute: execute(query + space, self._schema))
        return int(size or 0)

    def damage(self) -> str:
        """Nothing: the server looks after its files."""
        return ""

    def exposure(self) -> str:
        """Whoever stands between us and the server, if nothing is encrypted."""
        private = self._done(lambda session: session.private)
        return "" if private else "the connection is not encrypted"

    def close(self) -> None:
        """Close the connection."""
        with self._turn:
            self._drop()

    # ── connections ───────────────────────────────────────────────────────────────────────────────────

    def open_session(self) -> "_Session":
        """A connection of one's own; may raise any error of the driver."""
        return _Session(self._url, self._schema)

    def _done(self, work: "Callable[[_Session], T]") -> T:
        """What ``work`` gives, done again while what fails may pass."""
        with self._turn:
            until = self._until()
            pause = _FIRST_PAUSE
            while True:
                try:
                    if self._session is None:
                        self._session = self.open_session()
                        self._open[:] = [self._session]
                    result = work(self._session)
                except psycopg.Error as error:
                    if not _conflicts(error):
                        self._drop()
                    if not _passes(error):
                        raise self.problem(error) from None
                    if time.monotonic() + pause > until:
                        self._given_up = time.monotonic()
                        raise self.problem(error) from None
                else:
                    self._given_up = None
                    return result
                time.sleep(pause)
                pause = min(2 * pause, _LAST_PAUSE)

    def _until(self) -> float:
        """Until when we keep trying, monotonic seconds.

        Raises:
            UsageError: the server was given up, and it is too soon to try again.
        """
        now = time.monotonic()
        if self._given_up is None:
            return now + self.patience
        if now < self._given_up + PAUSE:
            raise unreachable(self.place, "it did not answer a moment ago")
        return now

    def _drop(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    def problem(self, error: psycopg.Error) -> ParleyError:
        """An error of the driver in our own words, without secrets."""
        if error.sqlstate == _DISK_FULL:
            return no_room(self.place)
        why = without_secrets(error, self._url)
        return unreachable(self.place, why) if _passes(error) else failed(self.place, why)

    # ── the one running party ─────────────────────────────────────────────────────────────────────────

    @contextmanager
    def hold(self) -> Iterator[Callable[[], None]]:
        """Hold a lock of the database, on a connection of its own."""
        holder = _Holder(self, _key("party", self._schema))
        try:
            holder.take()
            yield holder.make_sure
        finally:
            holder.close()


class _Holder:
    """Holds a lock as long as its connection lives, and takes it again when that broke."""

    def __init__(self, database: PostgresDatabase, key: int) -> None:
        self._database = database
        self._key = key
        self._session: _Session | None = None
        self._backend = 0

    def take(self) -> None:
        """Take the lock; what held it before may take a moment to be gone.

        Raises:
            UsageError: ``party-running``, ``store-unreachable``.
        """
        until = time.monotonic() + self._database.patience
        while True:
            try:
                taken = self._taken()
            except psycopg.Error as error:
                self.close()
                if time.monotonic() > until or not _passes(error):
                    raise self._database.problem(error) from None
            else:
                if taken:
                    return
                if time.monotonic() > until:
                    raise running_already(f"the party whose store is {self._database.place}")
            time.sleep(_LAST_PAUSE)

    def make_sure(self) -> None:
        """Take the lock again if the connection broke.

        Raises:
            UsageError: ``party-running``: another has taken it; ``store-unreachable``.
        """
        try:
            if self._session is not None:
                self._session.execute("SELECT 1")
                return
        except psycopg.Error:
            self.close()
        try:
            self._end_former_session()
        except psycopg.Error as error:
            self.close()
            raise self._database.problem(error) from None
        self.take()

    def close(self) -> None:
        """Let go of the lock."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _open(self) -> "_Session":
        if self._session is None:
            self._session = self._database.open_session()
        return self._session

    def _taken(self) -> bool:
        session = self._open()
        ((taken,),) = session.execute("SELECT pg_try_advisory_lock(?)", self._key)
        if taken:
            self._backend = session.backend
        return bool(taken)

    def _end_former_session(self) -> None:
        """End what is left of our own broken connection at the server, if that still has the lock."""
        query = """
            SELECT pg_terminate_backend(pid) FROM pg_locks
            WHERE locktype = 'advisory' AND (classid::bigint << 32 | objid::bigint) = ? AND pid = ?
        """
        self._open().execute(query, self._key, self._backend)


class _Session:
    """One connection, on which every statement is answered in time or the connection is given up."""

    def __init__(self, url: str, schema: str) -> None:
        self._connection = psycopg.connect(
            url, autocommit=True, prepare_threshold=None, application_name="parley"
        )
        # the same socket under a number of our own, which stays ours until we close it
        self._plug = socket.socket(fileno=os.dup(self._connection.fileno()))
        self.backend = self._connection.info.backend_pid
        try:
            self.execute("; ".join((*_SETTINGS, f"SET search_path TO {_quoted(schema)}")))
        except BaseException:
            self.close()
            raise

    @property
    def private(self) -> bool:
        """Whether nobody on the way can read it: it is encrypted, or does not leave the machine."""
        host = self._connection.info.hostaddr or self._connection.info.host
        local = host.startswith(("/", "127.", "::1", "@"))
        return local or bool(self._connection.pgconn.ssl_in_use)

    def execute(self, statement: str, *values: Value) -> list[Row]:
        """The rows of one statement."""
        pulling = threading.Timer(ANSWER + 1, self._pull)  # the server itself has ended it by then
        pulling.daemon = True
        pulling.start()
        try:
            cursor = self._connection.execute(_spelled(statement).encode(), values or None)
            return cursor.fetchall() if cursor.description else []
        finally:
            pulling.cancel()

    def transaction(self, begin: str, work: Work[T]) -> T:
        """What ``work`` gives, committed."""
        self.execute(begin)
        try:
            result = work(self.execute)
        except BaseException:
            with suppress(psycopg.Error):
                self.execute("ROLLBACK")
            raise
        self.execute("COMMIT")
        return result

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
        self._plug.close()

    def _pull(self) -> None:
        with suppress(OSError):
            self._plug.shutdown(socket.SHUT_RDWR)


def _close_all(sessions: "list[_Session]") -> None:
    for session in sessions:
        session.close()


def _conflicts(error: psycopg.Error) -> bool:
    """Whether the connection is well, and only another transaction was in the way."""
    return (error.sqlstate or "").startswith("40")


def _passes(error: psycopg.Error) -> bool:
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return error.sqlstate.startswith(_PASSING)


def _spelled(statement: str) -> str:
    """A statement as PostgreSQL has it; quoted texts of ours hold none of these words."""
    if statement.lstrip().startswith(("CREATE", "ALTER")):
        statement = _TYPES.sub(lambda match: _AS_POSTGRES[match[1]], statement)
    return statement.replace("?", "%s")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _key(what: str, schema: str) -> int:
    """The number of a lock, below 2^63."""
    digest = hashlib.sha256(f"parley/store/v1/{what}/{schema}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
