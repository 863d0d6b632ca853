"""One connection to a database, over which rows are asked for by id.

1. The query is one SELECT; it runs in a transaction that may only read and is rolled back.
2. Ids are bound as parameters, never part of the text. PostgreSQL and SQLite get them beside the query; the
   driver of MySQL has no such way and writes them into it quoted by its own rules.
3. The server ends a query that takes longer than the deadline.
4. A connection that broke is made anew, once, and asked again.
5. No error text holds a password, and none an id: of what a database says only what is about the query's
   words is told.
"""

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias
from urllib.parse import quote

from parley.core.errors import UsageError
from parley.data import mysql, postgres
from parley.data.queries import parts_by_parameter, plain
from parley.data.sources import SqlSource
from parley.data.sql import SQLITE, dialect_of
from parley.data.urls import filled, redacted, without_secrets
from parley.serving.features.hands import late

Bound: TypeAlias = str | int
"""An id as it is bound."""
ONE: Final = "id"
SEVERAL: Final = "ids"

_STEPS: Final = 10_000
"""Of SQLite's machine, after which it looks at the time."""
_WORDS: Final = "42"
"""PostgreSQL's class of errors about the words of a query and the right to run it."""
_NO_SUCH_VALUE: Final = ("22P02", "22003", "22007", "22008")
"""An id that is none of the column's type: nobody has it."""
_MYSQL_LOST: Final = (2006, 2013, 0)
_MYSQL_LATE: Final = (3024, 1969, 1317)
_MYSQL_WORDS: Final = (1044, 1045, 1049, 1054, 1064, 1142, 1143, 1146)


@dataclass(frozen=True)
class Answered:
    """What a query gave.

    Attributes:
        names: of its columns.
        rows: as the driver gives them.
    """

    names: tuple[str, ...]
    rows: list[tuple[Any, ...]]


@dataclass(frozen=True)
class Statement:
    """A query by id.

    Attributes:
        parts: text, parameter, text, …
        parameter: ``id``, or ``ids``: a list in parentheses stands there.
    """

    parts: tuple[str, ...]
    parameter: str

    @classmethod
    def of(cls, source: SqlSource) -> "Statement":
        """Look for the query's parameter.

        Raises:
            UsageError: ``serving-parameter``.
        """
        parts = parts_by_parameter(plain(source.query), dialect_of(source.url))
        found = sorted(set(parts[1::2]))
        if found not in ([ONE], [SEVERAL]):
            shown = " and ".join(f":{name}" for name in found) or "no parameter"
            raise UsageError(
                "serving-parameter",
                f"the query to ask {source} by has {shown}",
                remedy="write `… where column = :id`, or `… where column in :ids` for many at once",
            )
        return cls(parts, found[0])

    def written(self, mark: Callable[[int], str], count: int, text: Callable[[str], str] = str) -> str:
        """The query for some ids, with a database's own marks for parameters, counted from 1."""
        marks = ", ".join(mark(number) for number in range(1, count + 1))
        place = f"({marks})" if self.parameter == SEVERAL else mark(1)
        return "".join(place if at % 2 else text(part) for at, part in enumerate(self.parts))

    @property
    def places(self) -> int:
        """How often the parameter stands in it."""
        return len(self.parts) // 2


class Line(Protocol):
    """A connection, made when it is first needed; for one thread."""

    def ask(self, ids: Sequence[Bound]) -> Answered:
        """The rows of some ids.

        Raises:
            UsageError: ``sql-connection``, ``sql-failed``, ``source-late`` and what connecting raises.
        """

    def close(self) -> None:
        """Let go of it."""


def line_to(source: SqlSource, deadline: float, environment: Mapping[str, str]) -> Line:
    """A connection to the database that a source names."""
    statement = Statement.of(source)
    if source.url.startswith(SQLITE):
        return _SqliteLine(source, statement, deadline)
    if source.url.startswith(mysql.MYSQL):
        return _MysqlLine(source, statement, deadline, environment)
    return _PostgresLine(source, statement, deadline, environment)


class _SqliteLine:
    def __init__(self, source: SqlSource, statement: Statement, deadline: float) -> None:
        self._source = source
        self._statement = statement
        self._deadline = deadline
        self._connection: sqlite3.Connection | None = None

    def ask(self, ids: Sequence[Bound]) -> Answered:
        try:
            connection = self._connection = self._connection or self._connected()
            until = time.monotonic() + self._deadline
            connection.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
            query = self._statement.written(lambda number: f"?{number}", len(ids))
            cursor = connection.execute(query, tuple(ids))
            return Answered(tuple(column[0] for column in cursor.description), cursor.fetchall())
        except OverflowError:  # a number beyond 64 bits, which no column holds
            return _each(self, ids)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
                raise late(str(self._source), self._deadline) from None
            raise _failed(self._source, str(error)) from None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> sqlite3.Connection:
        path = Path(self._source.url.removeprefix(SQLITE)).expanduser()
        if not path.is_file():
            raise UsageError(
                "source-missing", f"there is no SQLite file {str(path)!r}", remedy="check the path"
            )
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode=ro", uri=True, timeout=self._deadline, isolation_level=None
        )
        connection.execute("PRAGMA query_only = ON")
        return connection


class _PostgresLine:
    def __init__(
        self, source: SqlSource, statement: Statement, deadline: float, environment: Mapping[str, str]
    ) -> None:
        self._source = source
        self._statement = statement
        self._deadline = deadline
        self._environment = environment
        self._connection: Any = None

    def ask(self, ids: Sequence[Bound]) -> Answered:
        fresh = self._connection is None
        connection = self._connection = self._connection or self._connected()
        import psycopg  # noqa: PLC0415  an extra, needed only here

        try:
            try:
                cursor = psycopg.RawCursor(connection)
                query = self._statement.written(lambda number: f"${number}", len(ids))
                cursor.execute(query.encode(), list(ids))
                names = tuple(column.name for column in cursor.description or ())
                return Answered(names, cursor.fetchall())
            finally:
                if not connection.broken:
                    connection.rollback()
        except psycopg.errors.QueryCanceled:
            raise late(str(self._source), self._deadline) from None
        except psycopg.Error as error:
            if connection.broken or connection.closed:
                self.close()
                if not fresh:
                    return self.ask(ids)
            if error.sqlstate in _NO_SUCH_VALUE:
                return _each(self, ids)
            raise _failed(self._source, self._in_words(error)) from None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> Any:  # noqa: ANN401 (the driver is an extra)
        connection = postgres.connect(self._source.url, self._environment, self._deadline)
        connection.prepare_threshold = None  # what stands between may share connections out by transaction
        connection.execute(f"SET statement_timeout = {max(1, int(self._deadline * 1000))}")
        connection.commit()
        return connection

    def _in_words(self, error: Any) -> str:  # noqa: ANN401 (the driver is an extra)
        state = error.sqlstate or ""
        if state and not state.startswith(_WORDS):
            return f"{type(error).__name__} ({state})"
        return without_secrets(error, filled(self._source.url, self._environment))


class _MysqlLine:
    def __init__(
        self, source: SqlSource, statement: Statement, deadline: float, environment: Mapping[str, str]
    ) -> None:
        self._source = source
        self._statement = statement
        self._deadline = deadline
        self._environment = environment
        self._connection: Any = None

    def ask(self, ids: Sequence[Bound]) -> Answered:
        fresh = self._connection is None
        connection = self._connection = self._connection or self._connected()
        import pymysql  # noqa: PLC0415  an extra, needed only here

        query = self._statement.written(lambda _: "%s", len(ids), lambda part: part.replace("%", "%%"))
        try:
            with connection.cursor() as cursor:
                cursor.execute("START TRANSACTION READ ONLY")
                cursor.execute(query, tuple(ids) * self._statement.places)
                answered = Answered(tuple(each[0] for each in cursor.description), list(cursor.fetchall()))
            connection.rollback()
        except (pymysql.Error, OSError, UnicodeDecodeError) as error:
            self.close()
            code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
            if code in _MYSQL_LATE or isinstance(error, TimeoutError):
                raise late(str(self._source), self._deadline) from None
            if code in _MYSQL_LOST and not fresh:
                return self.ask(ids)
            known = str(error.args[-1]) if code in _MYSQL_WORDS else f"{type(error).__name__} ({code})"
            said = without_secrets(Exception(known), filled(self._source.url, self._environment))
            raise _failed(self._source, said) from None
        return answered

    def close(self) -> None:
        if self._connection is not None:
            with suppress(Exception):
                self._connection.close()
            self._connection = None

    def _connected(self) -> Any:  # noqa: ANN401 (the driver is an extra)
        connection = mysql.connect(self._source.url, self._environment, max(1, round(self._deadline) + 1))
        import pymysql  # noqa: PLC0415  an extra, needed only here

        try:
            maria = "MariaDB" in connection.get_server_info()
            limit = (
                f"max_statement_time = {self._deadline}"
                if maria
                else f"max_execution_time = {max(1, int(self._deadline * 1000))}"
            )
            with connection.cursor() as cursor:
                for statement in (*mysql.OPENING[:2], f"SET SESSION {limit}"):
                    cursor.execute(statement)
        except (pymysql.Error, OSError) as error:
            raise _failed(self._source, f"{type(error).__name__} while it was opened") from None
        return connection


def _each(line: Line, ids: Sequence[Bound]) -> Answered:
    """Ask in halves, so that an id which cannot be one there hides no other; alone it is unknown."""
    if len(ids) == 1:
        return Answered((), [])
    half = len(ids) // 2
    first, second = line.ask(ids[:half]), line.ask(ids[half:])
    return Answered(first.names or second.names, [*first.rows, *second.rows])


def _failed(source: SqlSource, said: str) -> UsageError:
    return UsageError(
        "sql-failed",
        f"the database refused the query on {redacted(source.url)}: {said}",
        remedy="try the query in the database's own client, then correct it with `parley data serve`",
    )
