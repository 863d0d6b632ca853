"""A table as its owner registers it: rows whose columns have known kinds, and what can be said about them."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, time, timedelta
from typing import Final, TypeAlias

import polars as pl

from parley.core.errors import UsageError
from parley.data.bins import MAX_BINS
from parley.data.cells import Floats, Kind, kind_of, missing, numbers, parsed, require_column, rows_text, text

_SHOWN_CATEGORIES: Final = 5

Scalar: TypeAlias = float | date | time | timedelta
"""A number, or a day, instant, time of day or duration, as the column holds it."""


@dataclass(frozen=True, slots=True)
class Range:
    """The extreme values of a numeric column."""

    minimum: Scalar
    maximum: Scalar


@dataclass(frozen=True, slots=True)
class Frequent:
    """The most frequent categories and how many rows have them, at most five, most frequent first."""

    categories: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Unshown:
    """No values to show: of ids, of columns without any value, of types that cannot be used."""


@dataclass(frozen=True, slots=True)
class ColumnInfo:
    """What its owner may know about a column.

    Attributes:
        name: as in the source.
        kind: what it is used as.
        type: the column type in words, e.g. ``Int64``.
        missing: rows without a value.
        distinct: different values, the missing ones not counted; 0 for an unsupported type.
        values: what the values look like.
        constant: whether all cells are alike, so that nothing can be learnt from it.

    """

    name: str
    kind: Kind
    type: str
    missing: int
    distinct: int
    values: Range | Frequent | Unshown
    constant: bool


@dataclass(frozen=True)
class Schema:
    """The columns of a table, in order."""

    columns: tuple[ColumnInfo, ...]

    def __iter__(self) -> Iterator[ColumnInfo]:
        return iter(self.columns)

    def __getitem__(self, name: str) -> ColumnInfo:
        require_column(name, self.names())
        return next(column for column in self.columns if column.name == name)

    def names(self, kind: Kind | None = None) -> tuple[str, ...]:
        """The names of all columns, or of those of one kind."""
        return tuple(column.name for column in self.columns if kind in (None, column.kind))


@dataclass(frozen=True)
class Table:
    """Rows whose columns have been looked at; made by ``Table.of``.

    Attributes:
        frame: the rows, as given, except that text declared numeric holds numbers now and a categorical
            column holds text. So the type of a column tells its kind wherever the frame goes.
        schema: the columns and what they are used as.

    """

    frame: pl.DataFrame
    schema: Schema

    @classmethod
    def of(
        cls,
        frame: pl.DataFrame,
        *,
        categorical: Collection[str] = (),
        numeric: Collection[str] = (),
        ids: Collection[str] = (),
    ) -> "Table":
        """Look at a frame.

        Numbers are numeric, and so are dates, times and durations, in days; an instant counts the days
        since 1970-01-01 (UTC). Text, booleans and enumerations are categorical, except text of more than
        254 values that never repeat, which is an id. Integers stay numeric unless declared.

        Args:
            frame: the rows.
            categorical: columns to use as categories whatever their type.
            numeric: columns to use as numbers; their text must hold numbers.
            ids: columns that name rows.

        Raises:
            UsageError: ``table-empty``, ``column-unknown``, ``column-declared-twice``, or
                ``column-not-numeric`` with the first rows that hold no number.

        """
        if not frame.height or not frame.width:
            raise UsageError(
                "table-empty", "the table has no rows", remedy="give a table with rows and columns"
            )
        declared = _declarations(frame, categorical, numeric, ids)
        columns = [_typed(column, declared.get(column.name)) for column in frame]
        infos = [_info(column, declared.get(column.name)) for column in columns]
        return cls(pl.DataFrame(columns), Schema(tuple(infos)))

    def __len__(self) -> int:
        """Rows."""
        return self.frame.height

    def numeric(self, name: str) -> Floats:
        """A column as float64[n], NaN where missing; see ``parley.data.cells.numbers``.

        Raises:
            UsageError: ``column-unknown`` or ``column-not-numeric``.

        """
        require_column(name, self.frame.columns)
        return numbers(self.frame[name])

    def text(self, name: str) -> pl.Series:
        """A column as text, null where missing; see ``parley.data.cells.text``.

        Raises:
            UsageError: ``column-unknown`` or ``column-not-text``.

        """
        require_column(name, self.frame.columns)
        return text(self.frame[name])


@dataclass(frozen=True, slots=True)
class ColumnSummary:
    """A line of ``parley data show``.

    Attributes:
        name: the column.
        kind: what it is used as.
        missing: the share of rows without a value, 0 to 1.
        distinct: different values.
        values: the extremes or most frequent categories in words.
        remark: what the owner should know, or nothing.

    """

    name: str
    kind: Kind
    missing: float
    distinct: int
    values: str
    remark: str


@dataclass(frozen=True, slots=True)
class TableSummary:
    """What ``parley data show`` prints; for the owner's eyes, as it holds values."""

    rows: int
    columns: tuple[ColumnSummary, ...]


def describe(table: Table) -> TableSummary:
    """The table in words, column by column."""
    return TableSummary(len(table), tuple(_summary(column, len(table)) for column in table.schema))


def _declarations(
    frame: pl.DataFrame, categorical: Collection[str], numeric: Collection[str], ids: Collection[str]
) -> dict[str, Kind]:
    declared: dict[str, Kind] = {}
    wishes: tuple[tuple[Kind, Collection[str]], ...] = (
        ("categorical", categorical),
        ("numeric", numeric),
        ("id", ids),
    )
    for kind, names in wishes:
        for name in names:
            require_column(name, frame.columns)
            if declared.setdefault(name, kind) != kind:
                raise UsageError(
                    "column-declared-twice",
                    f"column {name!r} is declared {declared[name]} and {kind}",
                    remedy="declare one kind",
                )
    return declared


def _typed(column: pl.Series, declared: Kind | None) -> pl.Series:
    """The column with the type that belongs to its kind."""
    natural = kind_of(column.dtype)
    if declared == "categorical" or (declared is None and natural == "categorical"):
        return text(column)
    if declared == "numeric" and natural == "unsupported":
        numbers(column)
    if declared == "numeric" and natural == "categorical":
        return column.cast(pl.Int8) if column.dtype == pl.Boolean else _parsed(column)
    return column


def _parsed(column: pl.Series) -> pl.Series:
    values, strays = parsed(column)
    if len(strays):
        raise UsageError(
            "column-not-numeric",
            f"column {column.name!r} is declared numeric but holds text in {rows_text(strays)}",
            remedy=f"correct or empty those cells, or declare {column.name!r} categorical",
        )
    return values


def _info(column: pl.Series, declared: Kind | None) -> ColumnInfo:
    present = column.filter(~missing(column))
    absent = len(column) - len(present)
    natural = kind_of(column.dtype)
    distinct = 0 if natural == "unsupported" else present.n_unique()
    kind = declared or natural
    if declared is None and kind == "categorical" and MAX_BINS < distinct == len(present):
        kind = "id"
    constant = natural != "unsupported" and distinct + (absent > 0) <= 1
    values = _values(present, kind)
    return ColumnInfo(column.name, kind, str(column.dtype), absent, distinct, values, constant)


def _values(present: pl.Series, kind: Kind) -> Range | Frequent | Unshown:
    if kind == "categorical":
        counts = present.alias("value").value_counts(name="count")
        top = counts.sort("count", "value", descending=[True, False]).head(_SHOWN_CATEGORIES)
        return Frequent(tuple(top.iter_rows()))
    if kind == "numeric" and len(present):
        return Range(
            *present.to_frame("value").select(low=pl.col("value").min(), high=pl.col("value").max()).row(0)
        )
    return Unshown()


def _summary(column: ColumnInfo, rows: int) -> ColumnSummary:
    remark = ""
    if column.missing == rows:
        remark = "no value at all"
    elif column.constant:
        remark = "constant"
    elif column.kind == "unsupported":
        remark = f"{column.type} cannot be used"
    return ColumnSummary(
        column.name, column.kind, column.missing / rows, column.distinct, _in_words(column, rows), remark
    )


def _in_words(column: ColumnInfo, rows: int) -> str:
    match column.values:
        case Range(minimum, maximum):
            return f"{_said(minimum)} … {_said(maximum)}"
        case Frequent(categories):
            shown = [f"{name} {count / rows:.0%}" for name, count in categories]
            return ", ".join([*shown, "…"] if column.distinct > len(categories) else shown)
        case Unshown():
            return ""


def _said(value: Scalar) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)
