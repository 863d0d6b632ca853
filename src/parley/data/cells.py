"""How the cells of a column are read: as numbers or as text, and which of the two a column type suggests.

Missing is one thing: null, and in a column of floats also NaN.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Final, Literal, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from parley.core.errors import UsageError

Kind = Literal["numeric", "categorical", "id", "unsupported"]
"""What a column is used as. ``id`` names rows, ``unsupported`` (lists, binary…) can only be shown."""

Floats: TypeAlias = NDArray[np.float64]

_DAY_US: Final = 86_400_000_000.0
"""Microseconds in a day."""
_EXACT: Final = 2.0**53
"""Whole floats up to this size are exact."""
_SHOWN_ROWS: Final = 5


def kind_of(dtype: pl.DataType) -> Kind:
    """The kind a column type suggests: numeric for numbers, dates and times, else categorical."""
    if dtype.is_numeric() or dtype.is_temporal() or dtype == pl.Null:
        return "numeric"
    if dtype == pl.Boolean or isinstance(dtype, pl.String | pl.Categorical | pl.Enum):
        return "categorical"
    return "unsupported"


def missing(series: pl.Series) -> pl.Series:
    """Which cells are missing: bool[n], true for null and NaN."""
    return (
        series.is_null() | series.is_nan().fill_null(value=False) if _is_float(series) else series.is_null()
    )


def numbers(series: pl.Series) -> Floats:
    """The column as float64[n], NaN where missing.

    Dates become days since 1970-01-01, with the time of day as a fraction (instants with a time zone are
    taken in UTC); durations and times of day become days; booleans 0 and 1.

    Raises:
        UsageError: ``column-not-numeric`` if the column holds text or something stranger.

    """
    dtype = series.dtype
    if dtype == pl.Date:
        series = series.cast(pl.Int32)
    elif isinstance(dtype, pl.Datetime):
        series = series.dt.timestamp("us") / _DAY_US
    elif isinstance(dtype, pl.Duration):
        series = series.dt.total_microseconds() / _DAY_US
    elif dtype == pl.Time:
        series = series.cast(pl.Duration("us")).dt.total_microseconds() / _DAY_US
    elif dtype != pl.Boolean and kind_of(dtype) != "numeric" and series.null_count() < len(series):
        raise UsageError(
            "column-not-numeric",
            f"column {series.name!r} is used as numbers but its type is {dtype}",
            remedy="use it as a categorical column, or declare it numeric if its text holds numbers",
        )
    return series.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def text(series: pl.Series) -> pl.Series:
    """The column as text, null where missing; values that print alike are alike: 17, 17.0 and "17".

    Raises:
        UsageError: ``column-not-text`` if the column holds lists, binary or the like.

    """
    dtype = series.dtype
    if _is_float(series):
        return _text_of_floats(series)
    if isinstance(dtype, pl.Decimal):
        plain = series.cast(pl.String)
        return plain.str.replace(r"(\.\d*?)0+$", "$1").str.strip_suffix(".")
    if kind_of(dtype) == "unsupported":
        raise UsageError(
            "column-not-text",
            f"column {series.name!r} of type {dtype} cannot be read as text",
            remedy="convert it to text or numbers before registering the table",
        )
    return series.cast(pl.String)


def parsed(series: pl.Series) -> tuple[pl.Series, NDArray[np.int64]]:
    """Text read as numbers (integers if all are), and the positions of the cells that are not numbers."""
    stripped = series.cast(pl.String).str.strip_chars()
    stripped = stripped.set(stripped == "", None)
    floats = stripped.cast(pl.Float64, strict=False)
    strays = (floats.is_null() & stripped.is_not_null()).arg_true().cast(pl.Int64).to_numpy()
    integers = stripped.cast(pl.Int64, strict=False)
    return (integers if integers.null_count() == stripped.null_count() else floats), strays


def rows_text(positions: Sequence[int] | NDArray[np.int64]) -> str:
    """Which rows, for an error text: the first few, counted from 1 at the first row of data."""
    shown = ", ".join(str(int(position) + 1) for position in positions[:_SHOWN_ROWS])
    more = len(positions) - _SHOWN_ROWS
    noun = "row" if len(positions) == 1 else "rows"
    return f"{noun} {shown}" + (f" and {more} more" if more > 0 else "")


def require_column(name: str, present: Iterable[str], what: str = "table") -> None:
    """Refuse a column name that is not there.

    Raises:
        UsageError: ``column-unknown``; suggests the nearest name.

    """
    names = list(present)
    if name in names:
        return
    folded = {other.casefold(): other for other in names}
    near = get_close_matches(name.casefold(), folded, n=1)
    remedy = f"did you mean {folded[near[0]]!r}?" if near else f"the columns are {', '.join(names)}"
    raise UsageError("column-unknown", f"the {what} has no column {name!r}", remedy=remedy)


def require_distinct(names: Sequence[str], what: str) -> None:
    """Refuse two columns of one name.

    Raises:
        UsageError: ``source-duplicate-columns``.

    """
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(
            "source-duplicate-columns",
            f"the {what} has more than one column named {', '.join(map(repr, twice))}",
            remedy="give each column a name of its own",
        )


def _is_float(series: pl.Series) -> bool:
    return series.dtype.is_float()


def _text_of_floats(series: pl.Series) -> pl.Series:
    """Whole floats print as integers, others in the shortest form that reads back the same."""
    values = pl.col(series.name)
    whole = (values == values.round()) & (values.abs() <= _EXACT)
    worded = (
        pl.when(whole)
        .then(values.cast(pl.Int64, strict=False).cast(pl.String))
        .when(values.is_not_nan())
        .then(values.cast(pl.String))
    )
    return series.to_frame().select(worded.alias(series.name)).to_series()
