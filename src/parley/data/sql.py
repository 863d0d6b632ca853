"""Reading a query's rows from a database, without the means to change anything there.

Checks, in order:

1. the query is one SELECT (or WITH … SELECT), so nothing can end the transaction it runs in;
2. the database is opened read-only: ``mode=ro`` for SQLite, a READ ONLY transaction elsewhere;
3. no error text holds a password.

Rows are fetched a few thousand at a time from the server's side, and typed at once; of columns that are
not used nothing is kept, and where that cannot change the order of rows they are not asked for either.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote

import polars as pl

from parley.core.errors import UsageError
from parley.data.mysql import MYSQL, read_mysql
from parley.data.postgres import read_postgres
from parley.data.queries import Dialect, check_query, narrowed
from parley.data.rows import gathered, wanted_of
from parley.data.urls import POSTGRES_SCHEMES

SQLITE: Final = "sqlite:///"
SQL_SCHEMES: Final = (SQLITE, *POSTGRES_SCHEMES, *MYSQL)
"""How the url of a database may begin."""


def dialect_of(url: str) -> Dialect:
    """How queries are written at the database of that url."""
    return "mysql" if url.startswith(MYSQL) else "standard"


def read_sql(
    url: str, query: str, environment: Mapping[str, str], columns: Sequence[str] | None = None
) -> pl.DataFrame:
    """The rows of ``query``, of all columns or of those named.

    Args:
        url: ``sqlite:///file.db``, ``postgresql://user:${VARIABLE}@host/database`` or the same with
            ``mysql`` or ``mariadb``.
        query: one SELECT.
        environment: where ``${VARIABLE}`` is looked up.
        columns: those to read; all if none are named.

    Raises:
        UsageError: ``source-missing``, ``source-variable-unset``, ``sql-not-select``, ``sql-connection``,
            ``sql-option``, ``sql-failed``, ``sql-type``, ``source-duplicate-columns``, ``column-unknown``,
            ``postgres-driver-missing`` or ``mysql-driver-missing``.

    """
    check_query(query, dialect_of(url))
    if url.startswith(SQLITE):
        return _read_sqlite(Path(url.removeprefix(SQLITE)).expanduser(), query, columns)
    if url.startswith(MYSQL):
        return read_mysql(url, query, environment, columns)
    return read_postgres(url, query, environment, columns)


def _read_sqlite(path: Path, query: str, columns: Sequence[str] | None) -> pl.DataFrame:
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
            wanted = wanted_of(names, columns)
            if wanted != names and (fewer := narrowed(query, wanted)):
                cursor, names = connection.execute(fewer), wanted
            return gathered(names, wanted, cursor.fetchmany)
    except sqlite3.Error as error:
        raise UsageError(
            "sql-failed",
            f"SQLite refused the query on {str(path)!r}: {error}",
            remedy="try the query in the database's own client, then correct it",
        ) from None
