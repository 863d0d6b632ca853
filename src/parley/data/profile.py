"""What the columns of a table are like, in a few numbers each: kept at home when a table is registered.

A profile holds quantiles and frequent categories, so values are among it; it is for the owner's catalogue and
goes nowhere else.
"""

from collections.abc import Collection
from typing import Final, Literal, Self, TypeAlias

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from parley.data.cells import missing, numbers, text
from parley.data.table import ColumnInfo, Table

_QUANTILES: Final = tuple(at / 10 for at in range(1, 10))
_CATEGORIES: Final = 50

Family = Literal["number", "time", "text", "other"]
"""What a column's values are; a change of it is a change of the schema, one within it is none."""
Counts: TypeAlias = NDArray[np.int64]


class Quantiles(msgspec.Struct, frozen=True, tag="quantiles"):
    """Ranges of numbers.

    Attributes:
        edges: where one ends and the next begins, ascending; each belongs to the lower one.
        counts: rows in each, one more than edges.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]


class Categories(msgspec.Struct, frozen=True, tag="categories"):
    """The most frequent categories.

    Attributes:
        names: most frequent first.
        counts: rows with each, and at the end with any other.
    """

    names: tuple[str, ...]
    counts: tuple[int, ...]


class ColumnProfile(msgspec.Struct, frozen=True, kw_only=True):
    """One column.

    Attributes:
        name: as in the source.
        family: what its values are.
        type: the column type in words, e.g. ``Int64``.
        missing: rows without a value.
        values: how they are distributed; nothing for ids and what cannot be learnt from.
    """

    name: str
    family: Family
    type: str
    missing: int
    values: Quantiles | Categories | None


class TableProfile(msgspec.Struct, frozen=True):
    """All columns of a table, and how many rows it has."""

    rows: int
    columns: tuple[ColumnProfile, ...]

    @classmethod
    def of(cls, table: Table) -> Self:
        """Look at a table."""
        return cls(len(table), tuple(_profile(table.frame[each.name], each) for each in table.schema))

    def names(self) -> tuple[str, ...]:
        """The columns' names."""
        return tuple(column.name for column in self.columns)

    def only(self, names: Collection[str]) -> Self:
        """The profile of some of the columns."""
        return type(self)(self.rows, tuple(column for column in self.columns if column.name in names))


def family_of(column: pl.Series) -> Family | None:
    """What a column's values are; nothing if it has none, for then its type says nothing."""
    if column.null_count() == len(column):
        return None
    dtype = column.dtype
    if dtype.is_numeric():
        return "number"
    if dtype.is_temporal():
        return "time"
    return (
        "text" if dtype == pl.Boolean or isinstance(dtype, pl.String | pl.Categorical | pl.Enum) else "other"
    )


def counted(column: pl.Series, values: Quantiles | Categories) -> Counts:
    """How many rows of a column fall into the ranges or categories of another time."""
    present = column.filter(~missing(column))
    if isinstance(values, Quantiles):
        places = np.searchsorted(np.asarray(values.edges), numbers(present), side="left")
        return np.bincount(places, minlength=len(values.edges) + 1).astype(np.int64)
    found = dict(text(present).alias("value").value_counts(name="count").iter_rows())
    named = [found.get(name, 0) for name in values.names]
    return np.array([*named, len(present) - sum(named)], dtype=np.int64)


def _profile(column: pl.Series, info: ColumnInfo) -> ColumnProfile:
    family = family_of(column) or "other"
    return ColumnProfile(
        name=info.name, family=family, type=info.type, missing=info.missing, values=_values(column, info)
    )


def _values(column: pl.Series, info: ColumnInfo) -> Quantiles | Categories | None:
    present = column.filter(~missing(column))
    if info.kind in {"id", "unsupported"} or present.is_empty():
        return None
    if info.kind == "numeric":
        edges = tuple(
            float(edge) for edge in np.unique(np.quantile(numbers(present), _QUANTILES, method="lower"))
        )
        bare = Quantiles(edges, ())
        return Quantiles(edges, tuple(counted(column, bare).tolist()))
    counts = (
        text(present)
        .alias("value")
        .value_counts(name="count")
        .sort("count", "value", descending=[True, False])
    )
    names = tuple(counts["value"].head(_CATEGORIES).to_list())
    return Categories(names, tuple(counted(column, Categories(names, ())).tolist()))
