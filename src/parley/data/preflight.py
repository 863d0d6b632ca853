"""What is wrong with a table for a plan, found before a peer is bothered."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
import polars as pl

from parley.core.errors import UsageError
from parley.data.bins import MAX_BINS
from parley.data.cells import missing, rows_text
from parley.data.ids import IdRule, OnDuplicate, OnMissing, normalise
from parley.data.table import ColumnInfo, Table

Objective = Literal["binary", "multiclass", "regression", "poisson", "gamma", "tweedie"]

_CLASSES: Final = 2
"""Values of a binary label."""
_MOSTLY: Final = 0.95
"""A column with a larger share of missing values is worth a warning."""
_RARE: Final = 0.01
"""A binary label whose rarer value has a smaller share of the rows is worth a warning."""


@dataclass(frozen=True, slots=True)
class IdColumn:
    """Which column names the rows, and how.

    Attributes:
        name: the column.
        rule: how ids are written before they are compared.
        on_duplicate: what becomes of ids that occur more than once.
        on_missing: what becomes of rows without an id.

    """

    name: str
    rule: IdRule | str = "as-is"
    on_duplicate: OnDuplicate = "error"
    on_missing: OnMissing = "error"


@dataclass(frozen=True, slots=True)
class Label:
    """What the active party wants to predict."""

    name: str
    objective: Objective


@dataclass(frozen=True, slots=True)
class Finding:
    """A warning: the run can go on, but its owner should know.

    Attributes:
        code: stable identifier, e.g. ``"column-constant"``.
        column: the column in question.
        what: what was found, for the owner's eyes.

    """

    code: str
    column: str
    what: str


def preflight(
    table: Table, id_column: IdColumn, label: Label | None, features: Sequence[str]
) -> list[Finding]:
    """Check a table against its part of a plan.

    Checks, in order:

    1. every column exists; neither id nor label is among the features; none is named twice;
    2. each feature has a type that can be learnt from;
    3. the ids can be written under the rule, none missing or twice unless that is resolved;
    4. the label fits its objective.

    Args:
        table: what the owner registered.
        id_column: which column names the rows.
        label: the active party's; a passive party has none.
        features: the columns to learn from.

    Returns:
        Warnings about constant, empty, mostly empty, too diverse and id-like features, rows dropped for
        their ids, and rare labels.

    Raises:
        UsageError: ``column-unknown``, ``features-none``, ``feature-twice``, ``id-among-features``,
            ``label-among-features``, ``label-is-id``, ``feature-type``, the errors of
            ``parley.data.ids.normalise``, ``label-missing``, ``label-constant``, ``label-not-binary``,
            ``label-not-numeric`` or ``label-out-of-range``.

    """
    # 1. names
    _check_names(table, id_column.name, label, features)
    # 2. types
    for name in features:
        _check_feature(table.schema[name])
    # 3. ids
    findings = list(_check_ids(table, id_column))
    # 4. label
    if label is not None:
        findings += _check_label(table, label)
    for name in features:
        findings += _remarks(table.schema[name], len(table))
    return findings


def _check_names(table: Table, ids: str, label: Label | None, features: Sequence[str]) -> None:
    targets = [ids] if label is None else [ids, label.name]
    for name in (*targets, *features):
        _ = table.schema[name]
    repeated = next((name for name in features if features.count(name) > 1), None)
    if not features:
        raise UsageError("features-none", "no column to learn from", remedy="name at least one feature")
    if repeated is not None:
        raise UsageError(
            "feature-twice", f"feature {repeated!r} is named twice", remedy="name each feature once"
        )
    if ids in features:
        raise UsageError(
            "id-among-features",
            f"the id column {ids!r} is among the features",
            remedy=f"leave {ids!r} out of the features",
        )
    if label is not None and label.name == ids:
        raise UsageError("label-is-id", f"column {ids!r} is both id and label", remedy="name another label")
    if label is not None and label.name in features:
        raise UsageError(
            "label-among-features",
            f"the label {label.name!r} is among the features, so the model would only repeat it",
            remedy=f"leave {label.name!r} out of the features",
        )


def _check_feature(column: ColumnInfo) -> None:
    if column.kind == "unsupported":
        raise UsageError(
            "feature-type",
            f"feature {column.name!r} has type {column.type}, which cannot be learnt from",
            remedy="convert it to numbers or text, or leave it out",
        )


def _check_ids(table: Table, column: IdColumn) -> Iterator[Finding]:
    ids = normalise(
        table.frame[column.name], column.rule, on_duplicate=column.on_duplicate, on_missing=column.on_missing
    )
    if not len(ids):
        raise UsageError(
            "id-missing",
            f"column {column.name!r} holds no id that can be used",
            remedy="name another id column",
        )
    if len(ids) < len(table):
        dropped = len(table) - len(ids)
        yield Finding("id-rows-dropped", column.name, f"{dropped} rows have no id or one that is repeated")


def _check_label(table: Table, label: Label) -> Iterator[Finding]:
    column = table.frame[label.name]
    absent = missing(column).arg_true().to_numpy()
    if len(absent):
        raise UsageError(
            "label-missing",
            f"the label {label.name!r} is missing in {rows_text(absent)}",
            remedy="fill in or remove those rows",
        )
    if table.schema[label.name].distinct < _CLASSES:
        raise UsageError(
            "label-constant",
            f"the label {label.name!r} has one value throughout",
            remedy="choose rows on which it varies, or another label",
        )
    yield from _OBJECTIVES[label.objective](column, label)


def _binary(column: pl.Series, label: Label) -> Iterator[Finding]:
    counts = column.alias("value").value_counts(name="count")
    if len(counts) > _CLASSES:
        raise UsageError(
            "label-not-binary",
            f"the label {label.name!r} has {len(counts)} values, a binary objective needs two",
            remedy='correct the label, or choose the objective "multiclass" or "regression"',
        )
    rare = int(counts["count"].to_numpy().min())
    if rare < _RARE * len(column):
        yield Finding("label-rare", label.name, f"only {rare} of {len(column)} rows have the rarer value")


def _multiclass(column: pl.Series, label: Label) -> Iterator[Finding]:
    classes = column.n_unique()
    if classes > MAX_BINS:
        raise UsageError(
            "label-out-of-range",
            f"the label {label.name!r} has {classes} values, more than {MAX_BINS} classes",
            remedy='choose the objective "regression", or group the classes',
        )
    yield from ()


def _numeric(lowest: float) -> Callable[[pl.Series, Label], Iterator[Finding]]:
    """The check of an objective whose labels are finite numbers from ``lowest`` on."""

    def check(column: pl.Series, label: Label) -> Iterator[Finding]:
        if not column.dtype.is_numeric():
            raise UsageError(
                "label-not-numeric",
                f"the label {label.name!r} holds {column.dtype}, not the numbers of {label.objective}",
                remedy="declare it numeric, or choose another label or objective",
            )
        values = column.cast(pl.Float64).to_numpy()
        strays = np.flatnonzero(~np.isfinite(values) | (values < lowest))
        if len(strays):
            raise UsageError(
                "label-out-of-range",
                f"the label {label.name!r} does not suit {label.objective} in {rows_text(strays)}",
                remedy="correct those rows, or choose the objective regression",
            )
        yield from ()

    return check


_Check: TypeAlias = Callable[[pl.Series, Label], Iterator[Finding]]
_OBJECTIVES: Final[dict[Objective, _Check]] = {
    "binary": _binary,
    "multiclass": _multiclass,
    "regression": _numeric(-np.inf),
    "poisson": _numeric(0.0),
    "gamma": _numeric(float(np.finfo(np.float64).tiny)),
    "tweedie": _numeric(0.0),
}


def _remarks(column: ColumnInfo, rows: int) -> Iterator[Finding]:
    if column.missing == rows:
        yield Finding("column-empty", column.name, "has no value at all; nothing can be learnt from it")
    elif column.constant:
        yield Finding(
            "column-constant", column.name, "has one value throughout; nothing can be learnt from it"
        )
    elif column.missing > _MOSTLY * rows:
        yield Finding(
            "column-mostly-missing", column.name, f"is missing in {column.missing / rows:.1%} of rows"
        )
    if column.kind == "id":
        yield Finding(
            "column-like-id", column.name, "never repeats, like an id; nothing can be learnt from it"
        )
    elif column.kind == "categorical" and column.distinct > MAX_BINS:
        what = f"has {column.distinct} categories; the rarest will share one bin"
        yield Finding("column-many-categories", column.name, what)
