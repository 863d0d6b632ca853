"""How a table differs from what was registered: found at home, before a plan that uses it is proposed."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from parley.core.errors import UsageError
from parley.data.cells import missing
from parley.data.preflight import Finding
from parley.data.profile import ColumnProfile, TableProfile, counted, family_of
from parley.data.table import Table
from parley.learn.stability import by_chance, population_stability_index


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on a change is worth a warning.

    Attributes:
        psi: population stability index of a column.
        missing: change of the share of missing cells.
        rows: change of the row count, as a share of it.
    """

    psi: float
    missing: float
    rows: float


@dataclass(frozen=True, slots=True)
class Shift:
    """How far one column moved.

    Attributes:
        column: its name.
        psi: population stability index of its values; None where there are none to compare.
        chance: what the index hardly exceeds if nothing moved but the sample.
        missing_before: share of its cells that were missing, 0 to 1.
        missing: the share that is.
    """

    column: str
    psi: float | None
    chance: float
    missing_before: float
    missing: float


def drift(before: TableProfile, table: Table, limits: Limits) -> tuple[Finding, ...]:
    """How a table moved since its profile was taken, as far as that is worth a warning.

    Returns:
        Findings ``drift-rows``, ``drift-values`` and ``drift-missing``.

    Raises:
        UsageError: ``drift-column-gone`` or ``drift-type-changed``: it is another table now.
    """
    for change in schema_changes(before, table):
        raise UsageError(
            change.code,
            f"column {change.column!r} {change.what} since the table was registered",
            remedy="correct the source, or register the table anew with `parley data add`",
        )
    return tuple(_warnings(before, table, limits))


def schema_changes(before: TableProfile, table: Table) -> tuple[Finding, ...]:
    """Columns that are gone or of another type, as ``drift-column-gone`` and ``drift-type-changed``."""
    return tuple(_changes(before, table))


def shifts(before: TableProfile, table: Table) -> tuple[Shift, ...]:
    """How far each column of the profile moved; the table must have them all."""
    return tuple(_shift(before, column, table) for column in before.columns)


def _changes(before: TableProfile, table: Table) -> Iterator[Finding]:
    for column in before.columns:
        if column.name not in table.frame.columns:
            yield Finding("drift-column-gone", column.name, "is gone")
            continue
        found = table.frame[column.name]
        family = family_of(found)
        if family not in (None, column.family) and column.missing < before.rows:
            what = f"was {column.type} and is {found.dtype}"
            yield Finding("drift-type-changed", column.name, what)


def _warnings(before: TableProfile, table: Table, limits: Limits) -> Iterator[Finding]:
    if abs(len(table) - before.rows) > limits.rows * before.rows:
        what = f"the table had {before.rows:,} rows when it was registered and has {len(table):,}"
        yield Finding("drift-rows", "", what)
    for shift in shifts(before, table):
        if shift.psi is not None and shift.psi > max(limits.psi, shift.chance):
            what = f"has moved since the table was registered: population stability index {shift.psi:.2f}"
            yield Finding("drift-values", shift.column, what)
        if abs(shift.missing - shift.missing_before) > limits.missing:
            what = f"was missing in {shift.missing_before:.1%} of rows, now in {shift.missing:.1%}"
            yield Finding("drift-missing", shift.column, what)


def _shift(before: TableProfile, column: ColumnProfile, table: Table) -> Shift:
    found = table.frame[column.name]
    absent = int(missing(found).sum())
    psi, chance = None, 0.0
    if column.values is not None and absent < len(table):
        counts = counted(found, column.values)
        psi = population_stability_index(column.values.counts, counts)
        bins = int(np.count_nonzero(counts + np.asarray(column.values.counts)))
        chance = by_chance(bins, before.rows - column.missing, len(table) - absent)
    return Shift(column.name, psi, chance, column.missing / before.rows, absent / len(table))
