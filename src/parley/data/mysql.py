"""Reading a query's rows from MySQL or MariaDB: unbuffered, in a READ ONLY transaction, by PyMySQL.

How values arrive: whole decimals and BIT are integers, as BOOL and YEAR are already; unsigned integers
keep their size; a TIMESTAMP is an instant in UTC, a DATETIME has no time zone; a TIME is a duration, of any
length and sign; the zero date, which stands for none, is missing; binary strings cannot be learnt from.

Connections are encrypted: to another machine always, unless ``ssl-mode=DISABLED`` says otherwise, and with
the server's certificate checked where ``ssl-ca`` names an authority. One command is one statement, and the
server cannot ask for files of ours: the driver announces neither.
"""

import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import polars as pl

from parley.core.errors import UsageError
from parley.data.queries import narrowed, plain
from parley.data.rows import gathered, wanted_of
from parley.data.urls import PATIENCE, filled, redacted, without_secrets

if TYPE_CHECKING:
    from pymysql.connections import Connection

MYSQL: Final = ("mysql://", "mariadb://")
"""How the url of a MySQL or MariaDB database may begin."""

_PORT: Final = 3306
_SILENCE: Final = 600
"""Seconds within which the next rows, or the first ones, must come."""
_TEXT_OPTIONS: Final = ("ssl-ca", "ssl-cert", "ssl-key", "socket")
_SECONDS: Final = ("connect-timeout", "read-timeout")
_MODES: Final = ("DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY")
"""As MySQL's own client calls them, each stricter than the one before."""
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
OPENING: Final = (
    "SET SESSION time_zone = '+00:00'",
    "SET SESSION TRANSACTION READ ONLY",  # what ends a transaction by itself begins no writing one then
    "START TRANSACTION READ ONLY",
)
_TWICE: Final = 1060
"""The server's number for two columns of one name in a query within a query."""


def read_mysql(
    url: str, query: str, environment: Mapping[str, str], columns: Sequence[str] | None
) -> pl.DataFrame:
    """The rows of a checked query; see `parley.data.sql.read_sql`."""
    connection = connect(url, environment)
    import pymysql  # noqa: PLC0415  an extra, needed only here
    from pymysql.cursors import SSCursor  # noqa: PLC0415

    try:
        with closing(connection):
            with connection.cursor() as cursor:
                for statement in OPENING:
                    cursor.execute(statement)
            fewer = None if columns is None else _fewer(connection, query, columns)
            cursor = SSCursor(connection)
            try:
                cursor.execute(fewer or plain(query))
                names = [column[0] for column in cursor.description or ()]
                return gathered(names, wanted_of(names, columns), cursor.fetchmany)
            finally:
                _abandon(cursor)
    except (pymysql.Error, OSError, UnicodeDecodeError) as error:
        said = _in_words(error, filled(url, environment))
        raise UsageError(
            "sql-failed",
            f"the database refused the query on {redacted(url)}: {said}",
            remedy="try the query in the database's own client, then correct it",
        ) from None


def connect(url: str, environment: Mapping[str, str], silence: int = _SILENCE) -> "Connection[Any]":
    """A connection that has sent nothing yet but who we are.

    Args:
        url: with variables, perhaps.
        environment: where they are looked up.
        silence: seconds within which an answer must come, unless the url says so.

    Raises:
        UsageError: ``mysql-driver-missing``, ``source-variable-unset``, ``sql-option`` or ``sql-connection``.

    """
    try:
        import pymysql  # noqa: PLC0415  an extra, needed only here
    except ImportError:
        raise UsageError(
            "mysql-driver-missing",
            "reading from MySQL or MariaDB needs a driver that is not installed",
            remedy="run: pip install 'parley[mysql]'",
        ) from None
    full = filled(url, environment)
    address = _Address.of(full, url)
    try:
        return pymysql.connect(
            host=address.host,
            port=address.port,
            user=address.user,
            password=address.password.encode(),
            database=address.database,
            unix_socket=address.options.get("socket"),
            charset="utf8mb4",
            conv=_conversions(),
            local_infile=False,
            connect_timeout=address.seconds("connect-timeout", PATIENCE),
            read_timeout=address.seconds("read-timeout", silence),
            write_timeout=address.seconds("read-timeout", silence),
            program_name="parley",
            **address.encryption(),
        )
    except (pymysql.Error, OSError, RuntimeError, UnicodeError) as error:
        raise UsageError(
            "sql-connection",
            f"cannot connect to {redacted(url)}: {_in_words(error, full)}",
            remedy="check host, port, database, user, password and ssl-mode, and try another client",
        ) from None


@dataclass(frozen=True, repr=False)
class _Address:
    """What a url says."""

    host: str
    port: int
    user: str
    password: str
    database: str
    options: Mapping[str, str]

    @classmethod
    def of(cls, full: str, shown: str) -> "_Address":
        try:
            parts = urlsplit(full)
            port = parts.port or _PORT
        except ValueError:
            raise _bad_option(shown, "names no port between 1 and 65535") from None
        options = {name.replace("_", "-"): value for name, value in parse_qsl(parts.query)}
        for name in options:
            if name not in (*_TEXT_OPTIONS, *_SECONDS, "ssl-mode"):
                raise _bad_option(shown, f"has an option {name!r}, which there is not")
        for name in set(_SECONDS) & set(options):
            if not options[name].isdecimal() or not int(options[name]):
                raise _bad_option(shown, f"has an option {name} that is no number of seconds")
        options["ssl-mode"] = mode = _mode(parts.hostname or "localhost", options)
        if mode not in _MODES:
            raise _bad_option(shown, "has an ssl-mode that is none of " + ", ".join(_MODES))
        database = unquote(parts.path.removeprefix("/"))
        if not database or not parts.username:
            raise _bad_option(shown, "does not name user and database")
        return cls(
            parts.hostname or "localhost",
            port,
            unquote(parts.username),
            unquote(parts.password or ""),
            database,
            options,
        )

    def seconds(self, option: str, default: int) -> int:
        """How long something may take."""
        return int(self.options.get(option, default))

    def encryption(self) -> dict[str, Any]:
        """The driver's settings for the ssl-mode.

        Raises:
            OSError: a certificate or key cannot be read.
        """
        mode = self.options["ssl-mode"]
        if mode == "DISABLED":
            return {"ssl_disabled": True}
        if mode == "PREFERRED":
            return {}
        context = ssl.create_default_context(cafile=self.options.get("ssl-ca"))
        # certificates that the servers make for themselves lack what the strict rules want
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = mode == "VERIFY_IDENTITY"
        if mode == "REQUIRED":
            context.verify_mode = ssl.CERT_NONE
        if "ssl-cert" in self.options:
            context.load_cert_chain(self.options["ssl-cert"], self.options.get("ssl-key"))
        return {"ssl": context}


def _mode(host: str, options: Mapping[str, str]) -> str:
    """The ssl-mode that was said, or the one that fits: checked if it can be, encrypted if it must be."""
    if "ssl-mode" in options:
        return options["ssl-mode"].upper()
    if "ssl-ca" in options:
        return "VERIFY_IDENTITY"
    return "PREFERRED" if host in _LOOPBACK or "socket" in options else "REQUIRED"


def _fewer(connection: "Connection[Any]", query: str, columns: Sequence[str]) -> str | None:
    """The query for the columns that are used, if the database can be asked for them alone."""
    import pymysql  # noqa: PLC0415  an extra, needed only here

    if narrowed(query, columns, "mysql") is None:
        return None
    with connection.cursor() as cursor:
        try:
            cursor.execute(f"SELECT * FROM (\n{plain(query)}\n) AS parley_rows LIMIT 0")  # noqa: S608
        except pymysql.Error as error:
            if error.args[0] == _TWICE:
                return None  # the query itself tells which name is there twice
            raise
        names = [column[0] for column in cursor.description or ()]
    wanted = wanted_of(names, columns)
    return narrowed(query, wanted, "mysql") if wanted != names else None


def _abandon(cursor: Any) -> None:  # noqa: ANN401 (the driver has no types)
    """Leave a result half read: the driver would read all the rest of it first."""
    if cursor._result is not None:  # noqa: SLF001 (there is no other way)
        cursor._result.unbuffered_active = False  # noqa: SLF001


def _conversions() -> dict[Any, Callable[[Any], Any]]:
    """How the driver makes values of what the server sends, which is text but for BIT."""
    from pymysql.constants import FIELD_TYPE  # noqa: PLC0415
    from pymysql.converters import (  # noqa: PLC0415
        conversions,
        convert_date,
        convert_datetime,
    )

    def instant(text: str) -> datetime | None:
        value = _dated(convert_datetime(text))
        return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value

    own: dict[Any, Callable[[Any], Any]] = {
        FIELD_TYPE.BIT: int.from_bytes,
        FIELD_TYPE.DATE: lambda text: _dated(convert_date(text)),
        FIELD_TYPE.DATETIME: lambda text: _dated(convert_datetime(text)),
        FIELD_TYPE.TIMESTAMP: instant,
    }
    return {**conversions, **own}


def _dated(value: date | str) -> Any:  # noqa: ANN401 (a date, an instant or nothing)
    """The date; nothing for the zero date.

    Raises:
        UsageError: ``sql-type``: a date that is none, such as the 0th of May.
    """
    if not isinstance(value, str):
        return value
    if not value.strip("0-:. "):
        return None
    raise UsageError(
        "sql-type",
        f"the query gives {value!r}, which is no date",
        remedy="make such values NULL in the query, or CAST the column to text",
    )


def _in_words(error: Exception, full: str) -> str:
    """What the driver says, without its number and without secrets."""
    said = error.args[-1] if error.args and isinstance(error.args[-1], str) else error
    return without_secrets(Exception(said), full)


def _bad_option(shown: str, what: str) -> UsageError:
    return UsageError(
        "sql-option",
        f"the url {redacted(shown)} {what}",
        remedy="write mysql://user:${VARIABLE}@host:3306/database, then ? and, joined by &, ssl-mode=,"
        " ssl-ca=, ssl-cert=, ssl-key=, socket=, connect-timeout= or read-timeout=",
    )
