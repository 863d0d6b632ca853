"""Reading a query's rows from PostgreSQL: a cursor of the server's in a READ ONLY transaction."""

from collections.abc import Mapping, Sequence
from contextlib import closing

import polars as pl

from parley.core.errors import UsageError
from parley.data.queries import narrowed, plain
from parley.data.rows import gathered, wanted_of
from parley.data.urls import PATIENCE, filled, redacted, with_patience, without_secrets


def read_postgres(
    url: str, query: str, environment: Mapping[str, str], columns: Sequence[str] | None
) -> pl.DataFrame:
    """The rows of a checked query; see `parley.data.sql.read_sql`."""
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
        connection = psycopg.connect(with_patience(full, PATIENCE), application_name="parley")
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
