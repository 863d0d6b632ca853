"""Where a table comes from: a file, a query, or a frame in memory; and reading it."""

import csv
import gzip
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, TypeAlias

import polars as pl

from parley.core.errors import UsageError
from parley.data.cells import parsed, require_distinct
from parley.data.frames import frame_of
from parley.data.sql import SQL_SCHEMES, check_query, read_sql
from parley.data.urls import redacted

__all__ = ["CsvSource", "ParquetSource", "Source", "SqlSource", "frame_of", "parse_source", "read"]

_CSV_ENDINGS: Final = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
_PARQUET_ENDINGS: Final = (".parquet", ".pq")
_SEPARATORS: Final = ",;\t|"
_NUMBER_GAPS: Final = ("NA", "N/A", "NULL", "null", "NaN", "nan", "-")
"""What stands for a missing number in a column of numbers; in a column of text these are words."""
_LEADING_MARK: Final = r"^\s*(\+|-?0\d)"
"""A plus or a leading zero: a code such as 0049 or 00123, not a quantity."""


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


@dataclass(frozen=True, slots=True, repr=False)
class SqlSource:
    """The rows of one SELECT.

    Attributes:
        url: ``sqlite:///file.db`` or ``postgresql://user:${VARIABLE}@host/database``; what stands in
            ``${…}`` is looked up in the environment at reading.
        query: one SELECT.

    """

    url: str
    query: str

    def __post_init__(self) -> None:
        """Refuse a query that is not a SELECT."""
        check_query(self.query)

    def __str__(self) -> str:
        return redacted(self.url)

    def __repr__(self) -> str:
        return f"SqlSource(url={redacted(self.url)!r}, query={self.query!r})"


Source: TypeAlias = CsvSource | ParquetSource | SqlSource


def parse_source(text: str, query: str | None = None) -> Source:
    """The source that a path or database url names.

    Raises:
        UsageError: ``source-unknown``, ``sql-query-missing``, ``sql-query-unneeded`` or ``sql-not-select``.

    """
    if text.startswith(SQL_SCHEMES):
        if query is None:
            raise UsageError(
                "sql-query-missing",
                f"the database {redacted(text)} was named without a query",
                remedy="give the SELECT whose rows are the table",
            )
        return SqlSource(text, query)
    if "://" in text or not text.lower().endswith(_CSV_ENDINGS + _PARQUET_ENDINGS):
        raise UsageError(
            "source-unknown",
            f"{redacted(text)!r} is no kind of table Parley can read",
            remedy="give a .csv, .csv.gz or .parquet file, or a sqlite:/// or postgresql:// url with a query",
        )
    if query is not None:
        raise UsageError(
            "sql-query-unneeded",
            f"a query was given for the file {text!r}",
            remedy="leave the query out, or name a database",
        )
    path = Path(text).expanduser()
    return CsvSource(path) if text.lower().endswith(_CSV_ENDINGS) else ParquetSource(path)


def read(source: Source, environment: Mapping[str, str] = os.environ) -> pl.DataFrame:
    """The rows of a source, at least one.

    Args:
        source: what to read.
        environment: where the variables of a database url are looked up.

    Raises:
        UsageError: ``source-missing``, ``source-unreadable``, ``source-empty``,
            ``source-duplicate-columns``, or what ``parley.data.sql.read_sql`` raises.

    """
    match source:
        case SqlSource(url, query):
            frame = read_sql(url, query, environment)
        case CsvSource(path):
            frame = _read_file(path)
        case ParquetSource(path):
            frame = _read_file(path)
    if not frame.height or not frame.width:
        raise _empty(source)
    return frame


def _read_file(path: Path) -> pl.DataFrame:
    """Read by the ending of the name, with foreign errors made ours."""
    if not path.is_file():
        raise UsageError("source-missing", f"there is no file {str(path)!r}", remedy="check the path")
    try:
        if path.name.lower().endswith(_PARQUET_ENDINGS):
            return pl.read_parquet(path, glob=False)
        return _read_csv(path)
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


def _read_csv(path: Path) -> pl.DataFrame:
    """Types are inferred from every row; integers written with a leading zero or plus stay text."""
    separator = _check_header(path)
    frame = pl.read_csv(path, separator=separator, infer_schema_length=None, try_parse_dates=True, glob=False)
    whole = [name for name, dtype in frame.schema.items() if dtype.is_integer()]
    if whole:
        written = pl.read_csv(path, separator=separator, columns=whole, infer_schema=False, glob=False)
        codes = [column for column in written if column.str.contains(_LEADING_MARK).any()]
        frame = frame.with_columns(codes)
    return frame.with_columns([_numbers_with_gaps(column) for column in frame if column.dtype == pl.String])


def _check_header(path: Path) -> str:
    """The separator of the file, once its column names are known to be distinct."""
    with _opened(path) as file:
        first = file.readline()
        separator = max(_SEPARATORS, key=first.count)
        file.seek(0)
        names = next(csv.reader(file, delimiter=separator), [])
    require_distinct(names, "file")
    return separator


def _opened(path: Path) -> IO[str]:
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _numbers_with_gaps(column: pl.Series) -> pl.Series:
    """The column as numbers if all its cells are, but for marks such as NA; else the column itself."""
    cells = column.set(column.is_in(_NUMBER_GAPS), None)
    if cells.null_count() in (column.null_count(), len(column)) or cells.str.contains(_LEADING_MARK).any():
        return column
    values, strays = parsed(cells)
    return column if len(strays) else values


def _empty(source: object) -> UsageError:
    return UsageError(
        "source-empty", f"{str(source)!r} has no rows", remedy="give a table with a header and rows"
    )
