"""Reading a query's rows from PostgreSQL: a cursor of the server's in a READ ONLY transaction."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import polars as pl

from parley.core.errors import UsageError
from parley.data.queries import narrowed, plain
from parley.data.rows import gathered, wanted_of
from parley.data.urls import PATIENCE, filled, redacted, with_patience, without_secrets

if TYPE_CHECKING:
    from psycopg import Connection


def read_postgres(
    url: str, query: str, environment: Mapping[str, str], columns: Sequence[str] | None
) -> pl.DataFrame:
    """The rows of a checked query; see `parley.data.sql.read_sql`."""
    connection = connect(url, environment)
    import psycopg  # noqa: PLC0415  an extra, needed only here

    full = filled(url, environment)
    try:
        with closing(connection):
            with connection.cursor(name="parley") as cursor:
                cursor.execute(plain(query).encode())
                names = [column.name for column in cursor.description or ()]
                wanted = wanted_of(names, columns)
                fewer = narrowed(query, wanted) if wanted != names else None
                if not fewer:
                    return gathered(names, wanted, cursor.fetchmany)
            with connection.cursor(name="parley") as cursor:
                cursor.execute(fewer.encode())
                return gathered(wanted, wanted, cursor.fetchmany)
    except psycopg.Error as error:
        raise UsageError(
            "sql-failed",
            f"PostgreSQL refused the query on {redacted(url)}: {without_secrets(error, full)}",
            remedy="try the query in the database's own client, then correct it",
        ) from None


def connect(url: str, environment: Mapping[str, str], silence: float | None = None) -> "Connection[Any]":
    """A connection whose transactions may only read.

    Args:
        url: with variables, perhaps.
        environment: where they are looked up.
        silence: seconds after which a server that acknowledges nothing is given up.

    Raises:
        UsageError: ``postgres-driver-missing``, ``source-variable-unset`` or ``sql-connection``.
    """
    try:
        import psycopg  # noqa: PLC0415  an extra, needed only here
    except ImportError:
        raise UsageError(
            "postgres-driver-missing",
            "reading from PostgreSQL needs a driver that is not installed",
            remedy="run: pip install 'parley[postgres]'",
        ) from None
    full = filled(url, environment)
    given_up = None if silence is None else int(silence * 1000)
    try:
        connection = psycopg.connect(
            with_patience(full, PATIENCE), application_name="parley", tcp_user_timeout=given_up
        )
    except psycopg.Error as error:
        raise UsageError(
            "sql-connection",
            f"cannot connect to {redacted(url)}: {without_secrets(error, full)}",
            remedy="check host, port, database, user and password; `psql` with the same url should work",
        ) from None
    connection.read_only = True
    return connection
