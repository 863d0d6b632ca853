"""Reading text with a header, cells divided by comma, semicolon, tab or bar: by streams, twice.

First every cell of the columns that are used is looked at and forgotten, which tells each column's type;
then these columns alone are read, typed. So memory holds what the columns take, and not the text.
"""

import csv
import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final

import polars as pl

from parley.data.cells import parsed, require_column, require_distinct
from parley.data.objects import Storage

_SEPARATORS: Final = ",;\t|"
_NUMBER_GAPS: Final = ("NA", "N/A", "NULL", "null", "NaN", "nan", "-")
"""What stands for a missing number in a column of numbers; in a column of text these are words."""
_LEADING_MARK: Final = r"^\s*(\+|-?0\d)"
"""A plus or a leading zero: a code such as 0049 or 00123, not a quantity."""
_LONG: Final = r"^\s*-?\d{19,}\s*$"
"""More digits than a quantity has; an integer of 64 bits may still hold them."""
_DAY_OR_TIME: Final = r"^(\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|\d{2}:\d{2}:\d{2})"
_BOOLEANS: Final = ("true", "false")
_NO_SEPARATOR: Final = "\x1f"


def read_text(
    place: str | Path, columns: Sequence[str] | None, storage: Storage | None = None
) -> pl.DataFrame:
    """The rows of a text file, or of an object where ``storage`` says how to get at it.

    A column is whole numbers, numbers, booleans, days or instants if all its cells are, and text
    otherwise; whole numbers written with a leading zero or plus, or longer than 64 bits, stay text.

    Args:
        place: a path or url; gzipped if that is how it ends.
        columns: those to read; all if none are named.
        storage: the options of the object store.

    Raises:
        UsageError: ``source-duplicate-columns`` or ``column-unknown``.
        pl.exceptions.PolarsError: the text is no table.
        OSError: it cannot be read.

    """
    separator, names = _header(place, storage)
    require_distinct(names, "file")
    for name in columns or ():
        require_column(name, names)
    wanted = [name for name in names if columns is None or name in columns]
    texts = dict.fromkeys(names, pl.String())
    types = _types(_scan(place, separator, texts, storage), wanted)
    frame = _scan(place, separator, {**texts, **types}, storage).select(wanted).collect(engine="streaming")
    for name in wanted:
        if frame.schema[name] == pl.String:
            frame.replace_column(frame.get_column_index(name), _read_as_meant(frame[name]))
    return frame


def _scan(
    place: str | Path,
    separator: str,
    schema: Mapping[str, pl.DataType],
    storage: Storage | None,
) -> pl.LazyFrame:
    return pl.scan_csv(
        place,
        separator=separator,
        schema=schema,
        glob=False,
        storage_options=None if storage is None else dict(storage),
        credential_provider=None,
    )


def _header(place: str | Path, storage: Storage | None) -> tuple[str, list[str]]:
    """The separator of the text, and its column names."""
    if isinstance(place, str):
        return _divided(_first_line(place, storage))
    with _opened(place) as file:
        separator, names = _divided(file.readline())
        file.seek(0)
        return separator, next(csv.reader(file, delimiter=separator), names)


def _divided(line: str) -> tuple[str, list[str]]:
    separator = max(_SEPARATORS, key=line.count)
    return separator, next(csv.reader([line], delimiter=separator), [])


def _first_line(url: str, storage: Storage | None) -> str:
    lines = pl.scan_csv(
        url,
        separator=_NO_SEPARATOR,
        has_header=False,
        quote_char=None,
        schema={"line": pl.String},
        n_rows=1,
        glob=False,
        storage_options=None if storage is None else dict(storage),
        credential_provider=None,
    ).collect(engine="streaming")
    if lines.is_empty():
        raise pl.exceptions.NoDataError
    return str(lines.item() or "").removeprefix("\ufeff")


def _opened(path: Path) -> IO[str]:
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _types(cells: pl.LazyFrame, names: Sequence[str]) -> dict[str, pl.DataType]:
    """The type of each column that is no text, by a stream over all its cells."""
    questions = [
        question.alias(f"{at}{key}") for at, name in enumerate(names) for key, question in _asked(name)
    ]
    found = cells.select(questions).collect(engine="streaming").row(0, named=True) if names else {}
    return {
        name: kind
        for at, name in enumerate(names)
        if (kind := _type({key: found[f"{at}{key}"] for key in _KEYS}))
    }


_KEYS: Final = ("any", "whole", "number", "boolean", "code", "marked")


def _asked(name: str) -> list[tuple[str, pl.Expr]]:
    cell = pl.col(name)
    bare = cell.str.strip_chars_start(" ")  # as the reader of typed columns does
    whole = bare.cast(pl.Int64, strict=False).is_not_null()
    fits = (
        cell.is_not_null().any(),
        (whole | cell.is_null()).all(),
        (bare.cast(pl.Float64, strict=False).is_not_null() | cell.is_null()).all(),
        (cell.is_in(_BOOLEANS) | cell.is_null()).all(),
        (cell.str.contains(_LONG) & ~whole).any(),
        cell.str.contains(_LEADING_MARK).any(),
    )
    return list(zip(_KEYS, fits, strict=True))


def _type(found: Mapping[str, bool]) -> pl.DataType | None:
    if not found["any"] or found["code"]:
        return None
    if found["whole"]:
        return None if found["marked"] else pl.Int64()
    if found["number"]:
        return pl.Float64()
    return pl.Boolean() if found["boolean"] else None


def _read_as_meant(column: pl.Series) -> pl.Series:
    """Text as numbers with marks for gaps, as days, instants or times of day, if all its cells are that."""
    values = _numbers_with_gaps(column)
    return _dated(values) if values.dtype == pl.String else values


def _numbers_with_gaps(column: pl.Series) -> pl.Series:
    """The column as numbers if all its cells are, but for marks such as NA; else the column itself."""
    gaps = column.is_in(_NUMBER_GAPS)
    if not gaps.any():
        return column
    cells = column.set(gaps, None)
    if cells.null_count() == len(column) or cells.str.contains(_LEADING_MARK).any():
        return column
    values, strays = parsed(cells)
    return column if len(strays) else values


def _dated(column: pl.Series) -> pl.Series:
    first = column.drop_nulls().head(1)
    if first.is_empty() or not first.str.contains(_DAY_OR_TIME).item():
        return column
    for read in (column.str.to_date, column.str.to_datetime, column.str.to_time):
        try:
            return read()
        except pl.exceptions.PolarsError:
            continue
    return column
