"""Reading a query's rows from SQLite or PostgreSQL, without the means to change anything there.

Checks, in order:

1. the query is one SELECT (or WITH … SELECT), so nothing can end the transaction it runs in;
2. the database is opened read-only: ``mode=ro`` for SQLite, a READ ONLY transaction for PostgreSQL;
3. no error text holds a password.
"""

import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

import polars as pl

from parley.core.errors import UsageError
from parley.data.cells import require_distinct
from parley.data.urls import POSTGRES_SCHEMES, filled, redacted, with_patience, without_secrets

_CHUNK_ROWS: Final = 50_000
_PATIENCE: Final = 10
"""Seconds to wait for a database that does not answer."""
_SQLITE: Final = "sqlite:///"
SQL_SCHEMES: Final = (_SQLITE, *POSTGRES_SCHEMES)
"""How the url of a database may begin."""

_QUOTED: Final = re.compile(
    r"'(?:[^']|'')*'"
    r'|"(?:[^"]|"")*"'
    r"|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$"
    r"|--[^\n]*"
    r"|/\*.*?\*/",
    re.DOTALL,
)
_LARGEST: Final = 2**63

_PLAIN_TYPES: Final[tuple[tuple[set[type], pl.DataType | type[pl.DataType]], ...]] = (
    (set(), pl.Null),
    ({bool}, pl.Boolean),
    ({int, float}, pl.Float64),
    ({str}, pl.String),
    ({bytes}, pl.Binary),
    ({date}, pl.Date),
    ({time}, pl.Time),
    ({timedelta}, pl.Duration("us")),
)
"""Python types of a column's cells, and the column type that holds them all."""


def check_query(query: str) -> None:
    """Refuse anything but a single SELECT.

    Raises:
        UsageError: ``sql-not-select``.

    """
    bare = _QUOTED.sub(" ", query).strip().rstrip(";").strip()
    words = bare.split(None, 1)
    if not words or words[0].lower() not in {"select", "with"} or ";" in bare:
        raise UsageError(
            "sql-not-select",
            "the query of a table must be one SELECT statement",
            remedy="write one query that begins with SELECT or WITH; views can hold what is more involved",
        )


def read_sql(url: str, query: str, environment: Mapping[str, str]) -> pl.DataFrame:
    """The rows of ``query``, fetched in blocks.

    Args:
        url: ``sqlite:///file.db`` or ``postgresql://user:${VARIABLE}@host/database``.
        query: one SELECT.
        environment: where ``${VARIABLE}`` is looked up.

    Raises:
        UsageError: ``source-missing``, ``source-variable-unset``, ``sql-not-select``, ``sql-connection``,
            ``sql-failed``, ``sql-type``, ``source-duplicate-columns``, or ``postgres-driver-missing``.

    """
    check_query(query)
    if url.startswith(_SQLITE):
        blocks = _sqlite_blocks(Path(url.removeprefix(_SQLITE)).expanduser(), query)
    else:
        blocks = _postgres_blocks(url, query, environment)
    try:
        return pl.concat(blocks, how="vertical_relaxed", rechunk=True)
    except pl.exceptions.PolarsError:
        raise UsageError(
            "sql-type",
            "a column of the query holds values of types that have nothing in common",
            remedy="CAST the column to one type in the query",
        ) from None


def _sqlite_blocks(path: Path, query: str) -> Iterator[pl.DataFrame]:
    if not path.is_file():
        raise UsageError(
            "source-missing",
            f"there is no SQLite file {str(path)!r}",
            remedy="check the path; sqlite:///name is relative, sqlite:////name absolute",
        )
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as connection:
            connection.execute("PRAGMA query_only = ON")
            cursor = connection.execute(query)
            names = [column[0] for column in cursor.description]
            yield from _blocks(names, iter(lambda: cursor.fetchmany(_CHUNK_ROWS), []))
    except sqlite3.Error as error:
        raise _failed(f"SQLite refused the query on {str(path)!r}: {error}") from None


def _postgres_blocks(url: str, query: str, environment: Mapping[str, str]) -> Iterator[pl.DataFrame]:
    try:
        import psycopg  # noqa: PLC0415  an extra, needed only here
    except ImportError:
        raise UsageError(
            "postgres-driver-missing",
            "reading from PostgreSQL needs a driver that is not installed",
            remedy="run: pip install 'parley[postgres]'",
        ) from None
    full = filled(url, environment)
    try:
        connection = psycopg.connect(with_patience(full, _PATIENCE), application_name="parley")
    except psycopg.Error as error:
        raise UsageError(
            "sql-connection",
            f"cannot connect to {redacted(url)}: {without_secrets(error, full)}",
            remedy="check host, port, database, user and password; `psql` with the same url should work",
        ) from None
    try:
        with closing(connection):
            connection.read_only = True
            with connection.cursor(name="parley") as cursor:
                cursor.execute(query.strip().rstrip(";").encode())
                names = [column.name for column in cursor.description or ()]
                yield from _blocks(names, iter(lambda: cursor.fetchmany(_CHUNK_ROWS), []))
    except psycopg.Error as error:
        text = without_secrets(error, full)
        raise _failed(f"PostgreSQL refused the query on {redacted(url)}: {text}") from None


def _failed(what: str) -> UsageError:
    return UsageError(
        "sql-failed", what, remedy="try the query in the database's own client, then correct it"
    )


def _blocks(names: Sequence[str], chunks: Iterable[list[tuple[object, ...]]]) -> Iterator[pl.DataFrame]:
    """A frame for each chunk of rows, after an empty one that holds the names."""
    require_distinct(names, "query")
    yield pl.DataFrame({name: pl.Series([], dtype=pl.Null) for name in names})
    for rows in chunks:
        cells = zip(*rows, strict=True)
        yield pl.DataFrame([_column(name, values) for name, values in zip(names, cells, strict=True)])


def _column(name: str, values: Sequence[Any]) -> pl.Series:
    """Cells as the drivers give them, as one typed column; whole decimals are integers."""
    types = {type(value) for value in values} - {type(None)}
    if Decimal in types and types <= {int, float, Decimal}:
        values, types = _without_decimals(values)
    if types == {int}:
        small = all(value is None or -_LARGEST <= value < _LARGEST for value in values)
        return pl.Series(name, values, dtype=pl.Int64 if small else pl.Int128)
    if types == {datetime}:
        return _instants(name, values)
    for accepted, dtype in _PLAIN_TYPES:
        if types <= accepted:
            return pl.Series(name, values, dtype=dtype, strict=False)
    if types <= {int, float, str, bool, UUID}:
        return pl.Series(name, [None if value is None else str(value) for value in values], dtype=pl.String)
    raise UsageError(
        "sql-type",
        f"column {name!r} of the query holds {' and '.join(sorted(kind.__name__ for kind in types))}",
        remedy=f"CAST {name} to numbers or text in the query, or leave it out",
    )


def _without_decimals(values: Sequence[int | float | Decimal | None]) -> tuple[list[Any], set[type]]:
    numbers = [value for value in values if value is not None]
    whole = all(not isinstance(value, float) and value == value // 1 for value in numbers)
    kind = int if whole else float
    return [None if value is None else kind(value) for value in values], {kind}


def _instants(name: str, values: Sequence[datetime | None]) -> pl.Series:
    zoned = any(value is not None and value.tzinfo is not None for value in values)
    return pl.Series(name, values, dtype=pl.Datetime("us", "UTC" if zoned else None))
