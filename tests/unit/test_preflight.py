"""Data problems are found before a peer is bothered."""

import polars as pl
import pytest

from parley.core.errors import UsageError
from parley.data.preflight import Finding, IdColumn, Label, preflight
from parley.data.table import Table

ROWS = 300
FRAME = pl.DataFrame(
    {
        "id": [f"c-{i:04d}" for i in range(ROWS)],
        "twice": ["same"] * 2 + [str(i) for i in range(2, ROWS)],
        "gaps": [None, *map(str, range(1, ROWS))],
        "nobody": pl.Series([None] * ROWS, dtype=pl.String),
        "age": [i % 60 for i in range(ROWS)],
        "name": [f"person {i}" for i in range(ROWS)],
        "street": [f"street {i // 2 if i > 20 else 0}" for i in range(ROWS)],
        "many": [f"street {i if i > 1 else 0}" for i in range(ROWS)],
        "fixed": ["x"] * ROWS,
        "empty": [None] * ROWS,
        "sparse": [1.0] + [None] * (ROWS - 1),
        "pair": [[1, 2]] * ROWS,
        "default": [i % 2 for i in range(ROWS)],
        "answer": ["yes" if i % 3 else "no" for i in range(ROWS)],
        "rare": [i == 0 for i in range(ROWS)],
        "three": [i % 3 for i in range(ROWS)],
        "partial": [None if i == 4 else i % 2 for i in range(ROWS)],
        "amount": [i / 4 - 1 for i in range(ROWS)],
    }
)
TABLE = Table.of(FRAME)
BINARY = Label("default", "binary")


def check(ids="id", label=BINARY, features=("age",)):
    column = ids if isinstance(ids, IdColumn) else IdColumn(ids)
    return preflight(TABLE, column, label, features)


@pytest.mark.parametrize(
    "label",
    [
        None,
        BINARY,
        Label("answer", "binary"),
        Label("three", "multiclass"),
        Label("answer", "multiclass"),
        Label("amount", "regression"),
        Label("three", "poisson"),
    ],
)
def test_a_table_in_order_gives_no_findings(label):
    assert check(label=label) == []


@pytest.mark.parametrize(
    ("code", "options"),
    [
        ("column-unknown", {"ids": "idd"}),
        ("column-unknown", {"label": Label("defalt", "binary")}),
        ("column-unknown", {"features": ("agee",)}),
        ("features-none", {"features": ()}),
        ("feature-twice", {"features": ("age", "age")}),
        ("id-among-features", {"features": ("age", "id")}),
        ("label-among-features", {"features": ("age", "default")}),
        ("label-is-id", {"label": Label("id", "binary")}),
        ("feature-type", {"features": ("pair",)}),
        ("id-duplicate", {"ids": "twice"}),
        ("id-missing", {"ids": "gaps"}),
        ("id-missing", {"ids": IdColumn("nobody", on_missing="drop")}),
        ("id-duplicate", {"ids": IdColumn("street", "trim"), "label": None}),
        ("label-constant", {"label": Label("fixed", "binary")}),
        ("label-not-binary", {"label": Label("three", "binary")}),
        ("label-missing", {"label": Label("partial", "binary")}),
        ("label-missing", {"label": Label("empty", "regression")}),
        ("label-not-numeric", {"label": Label("answer", "regression")}),
        ("label-out-of-range", {"label": Label("amount", "gamma")}),
        ("label-out-of-range", {"label": Label("name", "multiclass")}),
    ],
)
def test_what_cannot_work_is_refused(code, options):
    with pytest.raises(UsageError) as caught:
        check(**options)
    assert caught.value.code == code
    assert caught.value.public == f"usage: {code}"
    assert caught.value.remedy


def test_rows_with_a_missing_label_are_named():
    with pytest.raises(UsageError, match="in row 5"):
        check(label=Label("partial", "binary"))


@pytest.mark.parametrize(
    ("code", "column"),
    [
        ("column-constant", "fixed"),
        ("column-empty", "empty"),
        ("column-mostly-missing", "sparse"),
        ("column-like-id", "name"),
        ("column-many-categories", "many"),
    ],
)
def test_a_feature_of_little_use_is_a_warning(code, column):
    findings = check(features=("age", column))
    assert [(finding.code, finding.column) for finding in findings] == [(code, column)]


def test_other_warnings_say_how_many_rows():
    assert check(label=Label("rare", "binary")) == [
        Finding("label-rare", "rare", "only 1 of 300 rows have the rarer value")
    ]
    resolved = IdColumn("twice", on_duplicate="drop")
    assert [finding.what for finding in check(ids=resolved)] == ["2 rows have no id or one that is repeated"]
