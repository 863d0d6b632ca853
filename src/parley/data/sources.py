"""Where a table comes from: a file, an object in a store, a query, or a frame in memory; and reading it."""

import csv
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import polars as pl

from parley.core.errors import UsageError
from parley.data.cells import require_column
from parley.data.frames import frame_of
from parley.data.objects import S3, Storage, Store, check_options, key_of, store_of
from parley.data.queries import check_query
from parley.data.sql import SQL_SCHEMES, dialect_of, read_sql
from parley.data.text_files import read_text
from parley.data.urls import redacted

__all__ = [
    "CsvSource",
    "ParquetSource",
    "S3Source",
    "Source",
    "SqlSource",
    "frame_of",
    "parse_source",
    "read",
]

_CSV_ENDINGS: Final = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
_PARQUET_ENDINGS: Final = (".parquet", ".pq")
_NOT_THERE: Final = ("404", "NotFound", "not found", "NoSuchKey", "expanded paths were empty")


@dataclass(frozen=True, slots=True)
class CsvSource:
    """A text file with a header, UTF-8, perhaps gzipped; separated by comma, semicolon, tab or bar."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class ParquetSource:
    """A Parquet file."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class S3Source:
    """An object in an S3-compatible store, text or Parquet, or all parts ``*.parquet`` under a prefix.

    Attributes:
        url: ``s3://bucket/key``, with options behind a question mark; it holds no secret.

    """

    url: str

    def __post_init__(self) -> None:
        """Refuse a url that names no object."""
        check_options(self.url)

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True, repr=False)
class SqlSource:
    """The rows of one SELECT.

    Attributes:
        url: ``sqlite:///file.db``, or ``postgresql://user:${VARIABLE}@host/database`` or the same with
            ``mysql`` or ``mariadb``; what stands in ``${…}`` is looked up in the environment at reading.
        query: one SELECT.

    """

    url: str
    query: str

    def __post_init__(self) -> None:
        """Refuse a query that is not a SELECT."""
        check_query(self.query, dialect_of(self.url))

    def __str__(self) -> str:
        return redacted(self.url)

    def __repr__(self) -> str:
        return f"SqlSource(url={redacted(self.url)!r}, query={self.query!r})"


Source: TypeAlias = CsvSource | ParquetSource | S3Source | SqlSource


def parse_source(text: str, query: str | None = None) -> Source:
    """The source that a path or url names.

    Raises:
        UsageError: ``source-unknown``, ``sql-query-missing``, ``sql-query-unneeded``, ``sql-not-select`` or
            ``s3-option``.

    """
    if text.startswith(SQL_SCHEMES):
        if query is None:
            raise UsageError(
                "sql-query-missing",
                f"the database {redacted(text)} was named without a query",
                remedy="give the SELECT whose rows are the table",
            )
        return SqlSource(text, query)
    name = key_of(text) if text.startswith(S3) else text
    if (name is text and "://" in text) or not name.lower().endswith(_CSV_ENDINGS + _PARQUET_ENDINGS):
        raise UsageError(
            "source-unknown",
            f"{redacted(text)!r} is no kind of table Parley can read",
            remedy="give a .csv, .csv.gz, .tsv or .parquet file, on disk or as s3://bucket/key, or with"
            " a query a sqlite:///, postgresql://, mysql:// or mariadb:// url",
        )
    if query is not None:
        raise UsageError(
            "sql-query-unneeded",
            f"a query was given for {text!r}, which is no database",
            remedy="leave the query out, or name a database",
        )
    if name is not text:
        return S3Source(text)
    path = Path(text).expanduser()
    return CsvSource(path) if text.lower().endswith(_CSV_ENDINGS) else ParquetSource(path)


def read(
    source: Source, environment: Mapping[str, str] = os.environ, columns: Sequence[str] | None = None
) -> pl.DataFrame:
    """The rows of a source, at least one.

    Args:
        source: what to read.
        environment: where the variables of a url are looked up, and the credentials of an object store.
        columns: those to read, which memory then is needed for; all if none are named.

    Raises:
        UsageError: ``source-missing``, ``source-unreadable``, ``source-empty``,
            ``source-duplicate-columns``, ``column-unknown``, or what ``parley.data.sql.read_sql`` and
            ``parley.data.objects.store_of`` raise.

    """
    match source:
        case SqlSource(url, query):
            frame = read_sql(url, query, environment, columns)
        case S3Source(url):
            frame = _read_object(store_of(url, environment), key_of(url), columns)
        case CsvSource(path) | ParquetSource(path):
            frame = _read_file(path, columns)
    if not frame.height or not frame.width:
        raise _empty(source)
    return frame


def _read_file(path: Path, columns: Sequence[str] | None) -> pl.DataFrame:
    """Read by the ending of the name, with foreign errors made ours."""
    if not path.is_file():
        raise UsageError("source-missing", f"there is no file {str(path)!r}", remedy="check the path")
    try:
        if path.name.lower().endswith(_PARQUET_ENDINGS):
            return _read_parquet(path, columns)
        return read_text(path, columns)
    except pl.exceptions.NoDataError:
        raise _empty(path) from None
    except pl.exceptions.DuplicateError as error:
        raise UsageError(
            "source-duplicate-columns", f"{str(path)!r}: {error}", remedy="give each column a name of its own"
        ) from error
    except (pl.exceptions.PolarsError, OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        raise UsageError(
            "source-unreadable",
            f"{str(path)!r} cannot be read: {str(error).splitlines()[0]}",
            remedy="check that the file is whole and readable; text must be UTF-8 with one header line",
        ) from error


def _read_object(store: Store, key: str, columns: Sequence[str] | None) -> pl.DataFrame:
    """Read by the ending of the key, with the store's errors made ours and no secret in them."""
    try:
        if key.lower().endswith(_PARQUET_ENDINGS):
            return _read_parquet(store.place, columns, store.storage)
        return read_text(store.place, columns, store.storage)
    except pl.exceptions.NoDataError:
        raise _empty(store.place) from None
    except (pl.exceptions.PolarsError, OSError, csv.Error) as error:
        text = store.without_secrets(str(error))
        if isinstance(error, FileNotFoundError) or any(mark in text for mark in _NOT_THERE):
            raise UsageError(
                "source-missing",
                f"there is no object {store.place}",
                remedy="check bucket, key and endpoint, and that these credentials may list and read it",
            ) from None
        raise UsageError(
            "source-unreadable",
            f"{store.place} cannot be read: {(text.splitlines() or [type(error).__name__])[0][:300]}",
            remedy="check endpoint, region, credentials and the key; text must be UTF-8 with one header line",
        ) from None


def _read_parquet(
    place: Path | str, columns: Sequence[str] | None, storage: Storage | None = None
) -> pl.DataFrame:
    rows = pl.scan_parquet(
        place,
        glob=isinstance(place, str) and "*" in place,
        hive_partitioning=False,
        storage_options=None if storage is None else dict(storage),
        credential_provider=None,
    )
    names = rows.collect_schema().names()
    for name in columns or ():
        require_column(name, names)
    wanted = [name for name in names if columns is None or name in columns]
    return rows.select(wanted).collect(engine="streaming")


def _empty(source: object) -> UsageError:
    return UsageError(
        "source-empty", f"{str(source)!r} has no rows", remedy="give a table with a header and rows"
    )
