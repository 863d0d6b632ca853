"""From a database's rows to typed columns: some rows at a time, and only columns that are used."""

from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, TypeAlias
from uuid import UUID

import polars as pl

from parley.core.errors import UsageError
from parley.data.cells import require_column, require_distinct

Row: TypeAlias = tuple[Any, ...]

_CELLS_AT_ONCE: Final = 400_000
"""Cells that are held as Python values; each takes some dozen bytes, in a typed column eight or so."""
_ROWS_AT_ONCE: Final = 50_000
_PARTS_OF_A_SLAB: Final = 16
"""Small parts of many columns leave gaps in memory that no column fits into, so they are joined early."""
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


def wanted_of(names: Sequence[str], columns: Sequence[str] | None) -> list[str]:
    """The names of a query's columns that are to be read, in the query's order.

    Raises:
        UsageError: ``source-duplicate-columns``, or ``column-unknown`` if one of ``columns`` is not there.

    """
    require_distinct(names, "query")
    for name in columns or ():
        require_column(name, names, "query")
    return [name for name in names if columns is None or name in columns]


def gathered(
    names: Sequence[str], wanted: Sequence[str], fetch: Callable[[int], Sequence[Row]]
) -> pl.DataFrame:
    """A frame of the ``wanted`` columns of all rows that ``fetch`` gives.

    Args:
        names: the columns of a row.
        wanted: those that are kept.
        fetch: gives the next rows, at most as many as asked; none at the end.

    Raises:
        UsageError: ``sql-type``: a column holds values that no column type holds.

    """
    places = [names.index(name) for name in wanted]
    count = min(_ROWS_AT_ONCE, max(1, _CELLS_AT_ONCE // max(1, len(names))))
    parts: dict[str, list[pl.Series]] = {name: [] for name in wanted}
    slabs: dict[str, list[pl.Series]] = {name: [] for name in wanted}
    while rows := fetch(count):
        for name, place in zip(wanted, places, strict=True):
            parts[name].append(typed(name, [row[place] for row in rows]))
            if len(parts[name]) == _PARTS_OF_A_SLAB:
                slabs[name].append(_joined(name, parts[name]).rechunk())
                parts[name] = []
    return pl.DataFrame([_joined(name, slabs.pop(name) + parts.pop(name)) for name in wanted])


def _joined(name: str, parts: list[pl.Series]) -> pl.Series:
    """One column of its parts, in the narrowest type that holds them all; they stay where they are."""
    if not parts:
        return pl.Series(name, [], dtype=pl.Null)
    try:
        frames = (part.to_frame() for part in parts)
        return pl.concat(frames, how="vertical_relaxed", rechunk=False).to_series()
    except pl.exceptions.PolarsError:
        raise UsageError(
            "sql-type",
            f"column {name!r} of the query holds values of types that have nothing in common",
            remedy=f"CAST {name} to one type in the query",
        ) from None


def typed(name: str, values: Sequence[Any]) -> pl.Series:
    """Cells as the drivers give them, as one typed column; whole decimals are integers.

    Raises:
        UsageError: ``sql-type``: no column type holds them.

    """
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
    kind = int if all(_is_whole(value) for value in numbers) else float
    return [None if value is None else kind(value) for value in values], {kind}


def _is_whole(value: float | Decimal) -> bool:
    return not isinstance(value, float) and Decimal(value).is_finite() and value == value // 1


def _instants(name: str, values: Sequence[datetime | None]) -> pl.Series:
    zoned = any(value is not None and value.tzinfo is not None for value in values)
    return pl.Series(name, values, dtype=pl.Datetime("us", "UTC" if zoned else None))
