"""Tables that are already in memory: pandas, Polars, Arrow, or a dictionary of arrays."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import polars as pl

from parley.core.errors import UsageError
from parley.data.cells import require_distinct, text

_NUMPY_KINDS: Final = "biufmM"
"""NumPy's letters for booleans, integers, floats, durations and dates."""


def frame_of(table: object) -> pl.DataFrame:
    """A Polars frame with the rows of ``table``; its index, if it has one, is left out.

    Args:
        table: a Polars frame (lazy ones are collected), a pandas one, an Arrow table or whatever speaks
            Arrow's C stream, or a mapping from names to equally long columns.

    Raises:
        UsageError: ``source-unknown``, ``source-unreadable``, ``source-empty`` or
            ``source-duplicate-columns``.

    """
    try:
        frame = _converted(table)
    except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
        raise UsageError(
            "source-unreadable",
            f"a {type(table).__name__} could not be made a table: {str(error).splitlines()[0]}",
            remedy="give columns of equal length, each of one type",
        ) from error
    if not frame.height or not frame.width:
        raise UsageError("source-empty", "the table has no rows", remedy="give a table with rows and columns")
    return frame


def _converted(table: object) -> pl.DataFrame:
    if isinstance(table, pl.LazyFrame):
        return table.collect()
    if isinstance(table, pl.DataFrame):
        return table
    if type(table).__module__.partition(".")[0] == "pandas" and hasattr(table, "columns"):
        return _from_pandas(table)
    if isinstance(table, Mapping):
        return pl.DataFrame({str(name): values for name, values in table.items()})
    if hasattr(table, "__arrow_c_stream__"):
        names = getattr(table, "column_names", None)
        if names is not None:
            require_distinct(names, "table")
        return pl.DataFrame(table)
    raise UsageError(
        "source-unknown",
        f"a {type(table).__name__} is not a table",
        remedy="give a pandas, Polars or Arrow table, or a dictionary of columns",
    )


def _from_pandas(table: Any) -> pl.DataFrame:  # noqa: ANN401  pandas is not a dependency
    names = [str(name) for name in table.columns]
    require_distinct(names, "table")
    return pl.DataFrame([_pandas_column(name, table.iloc[:, at]) for at, name in enumerate(names)])


def _pandas_column(name: str, column: Any) -> pl.Series:  # noqa: ANN401
    """One column, without pyarrow: by NumPy where pandas holds an array, else by Python values."""
    if getattr(column.dtype, "tz", None) is not None:
        naive = column.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()
        return pl.Series(name, naive).dt.replace_time_zone("UTC")
    if getattr(column.dtype, "kind", "O") in _NUMPY_KINDS and not column.hasnans:
        return pl.Series(name, column.to_numpy(dtype=getattr(column.dtype, "numpy_dtype", column.dtype)))
    absent = column.isna()
    if hasattr(column.dtype, "categories"):
        return text(_of_objects(name, column.astype(object).tolist(), absent))
    if getattr(column.dtype, "kind", "O") in _NUMPY_KINDS:
        return _masked(name, column, absent)
    return _of_objects(name, column.astype(object).tolist(), absent)


def _masked(name: str, column: Any, absent: Any) -> pl.Series:  # noqa: ANN401
    """An array with gaps: NaN, NaT or pandas' NA."""
    dtype = getattr(column.dtype, "numpy_dtype", column.dtype)
    if dtype.kind in "fmM":
        return pl.Series(name, column.to_numpy(dtype=dtype)).set(pl.Series(absent.to_numpy()), None)
    filled = pl.Series(name, column.fillna(column.dtype.type(0)).to_numpy(dtype=dtype))
    return filled.set(pl.Series(absent.to_numpy()), None)


def _of_objects(name: str, values: list[object], absent: Iterable[bool]) -> pl.Series:
    cells = [None if gone else value for value, gone in zip(values, absent, strict=True)]
    if any(isinstance(cell, str) for cell in cells):
        cells = [None if cell is None else str(cell) for cell in cells]
    return pl.Series(name, cells)
