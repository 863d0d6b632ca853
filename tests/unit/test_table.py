"""Tables: which kinds columns have, how declarations change them, and what is said about them."""

import datetime as dt
import decimal
import math

import polars as pl
import pytest

from parley.core.errors import UsageError
from parley.data.table import Frequent, Range, Table, Unshown, describe

FRAME = pl.DataFrame(
    {
        "account": [f"{i:05d}" for i in range(300)],
        "age": [None if i == 7 else i % 60 for i in range(300)],
        "income": [math.nan if i < 3 else i / 2 for i in range(300)],
        "money": [decimal.Decimal(i) / 4 for i in range(300)],
        "city": ["Bonn" if i % 3 else "Köln" for i in range(300)],
        "active": [i % 2 == 0 for i in range(300)],
        "size": pl.Series(["S", "M", "L"] * 100, dtype=pl.Enum(["S", "M", "L"])),
        "since": [dt.date(2024, 1, 1) + dt.timedelta(i) for i in range(300)],
        "seen": [dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC)] * 300,
        "fixed": [1.0] * 300,
        "half": [1.0, None] * 150,
        "empty": [None] * 300,
        "pair": [[1, 2]] * 300,
    }
)
TABLE = Table.of(FRAME)


def refused(code, function, *args, **options):
    with pytest.raises(UsageError) as caught:
        function(*args, **options)
    assert caught.value.code == code
    return caught.value


def test_kinds_follow_from_types():
    assert {column.name: column.kind for column in TABLE.schema} == {
        "account": "id",
        "age": "numeric",
        "income": "numeric",
        "money": "numeric",
        "city": "categorical",
        "active": "categorical",
        "size": "categorical",
        "since": "numeric",
        "seen": "numeric",
        "fixed": "numeric",
        "half": "numeric",
        "empty": "numeric",
        "pair": "unsupported",
    }
    assert TABLE.schema.names("categorical") == ("city", "active", "size")
    assert len(TABLE) == 300


def test_null_and_nan_are_both_missing():
    assert (TABLE.schema["age"].missing, TABLE.schema["income"].missing) == (1, 3)
    assert TABLE.schema["income"].distinct == 297
    assert TABLE.schema["income"].values == Range(1.5, 149.5)


def test_a_column_is_constant_when_all_cells_are_alike():
    assert [column.name for column in TABLE.schema if column.constant] == ["seen", "fixed", "empty"]


def test_values_are_shown_by_kind():
    assert TABLE.schema["city"].values == Frequent((("Bonn", 200), ("Köln", 100)))
    assert TABLE.schema["since"].values == Range(dt.date(2024, 1, 1), dt.date(2024, 10, 26))
    assert TABLE.schema["account"].values == TABLE.schema["empty"].values == Unshown()


def test_declarations_change_kinds_and_types():
    frame = pl.DataFrame(
        {"region": [1.0, 2.0, None], "rate": ["1.5", None, " 2"], "no": [3, 4, 5], "b": [True] * 3}
    )
    table = Table.of(frame, categorical=["region"], numeric=["rate", "b"], ids=["no"])
    assert [column.kind for column in table.schema] == ["categorical", "numeric", "id", "numeric"]
    assert table.frame["region"].to_list() == ["1", "2", None]
    assert table.frame["rate"].to_list() == [1.5, None, 2.0]
    assert table.frame["no"].to_list() == [3, 4, 5]


def test_text_in_a_numeric_column_is_named_by_rows():
    frame = pl.DataFrame({"rate": ["1", "a lot", None, "2", "?"] + ["x"] * 9})
    error = refused("column-not-numeric", Table.of, frame, numeric=["rate"])
    assert "'rate'" in error.what
    assert "rows 2, 5, 6, 7, 8 and 6 more" in error.what
    assert "a lot" not in error.what
    assert error.public == "usage: column-not-numeric"


@pytest.mark.parametrize(
    ("declared", "code"),
    [
        ({"numeric": ["agee"]}, "column-unknown"),
        ({"numeric": ["age"], "categorical": ["age"]}, "column-declared-twice"),
        ({"numeric": ["pair"]}, "column-not-numeric"),
        ({"categorical": ["pair"]}, "column-not-text"),
    ],
)
def test_a_declaration_that_cannot_be_is_refused(declared, code):
    refused(code, Table.of, FRAME, **declared)


def test_a_wrong_name_gets_the_nearest_one():
    assert refused("column-unknown", TABLE.numeric, "Incme").remedy == "did you mean 'income'?"
    assert "account, age" in refused("column-unknown", TABLE.text, "zzzzzz").remedy
    refused("column-unknown", TABLE.schema.__getitem__, "zz")


def test_an_empty_frame_is_refused():
    refused("table-empty", Table.of, pl.DataFrame({"a": []}))
    refused("table-empty", Table.of, pl.DataFrame())


def test_numbers_dates_and_times_are_read_as_floats():
    frame = pl.DataFrame(
        {
            "n": pl.Series([1, None], dtype=pl.Int32),
            "d": [dt.date(1970, 1, 3), None],
            "at": [dt.datetime(1970, 1, 3, 2, tzinfo=dt.timezone(dt.timedelta(hours=2))), None],
            "for": [dt.timedelta(hours=36), None],
            "time": [dt.time(18), None],
            "money": [decimal.Decimal("2.50"), None],
            "none": [None, None],
        }
    )
    table = Table.of(frame)
    read = [table.numeric(name) for name in frame.columns]
    assert [column[0] for column in read[:-1]] == [1.0, 2.0, 2.0, 1.5, 0.75, 2.5]
    assert all(math.isnan(column[1]) for column in read)
    refused("column-not-numeric", TABLE.numeric, "city")


def test_values_that_print_alike_are_one_text():
    frame = pl.DataFrame(
        {
            "i": [17, None],
            "f": [17.0, math.nan],
            "s": ["17", None],
            "m": [decimal.Decimal("17.00"), None],
            "u": pl.Series([17, None], dtype=pl.UInt8),
        }
    )
    table = Table.of(frame)
    assert [table.text(name).to_list() for name in frame.columns] == [["17", None]] * 5
    fractions = Table.of(pl.DataFrame({"f": [0.1, 1e300, -2.0]}))
    assert fractions.text("f").to_list() == ["0.1", "1e+300", "-2"]
    refused("column-not-text", TABLE.text, "pair")


def test_a_table_is_described_for_its_owner():
    summary = describe(TABLE)
    said = {column.name: (column.values, column.remark) for column in summary.columns}
    assert summary.rows == 300
    assert said["city"] == ("Bonn 67%, Köln 33%", "")
    assert said["income"] == ("1.5 … 149.5", "")
    assert said["since"] == ("2024-01-01 … 2024-10-26", "")
    assert said["account"] == ("", "")
    assert said["fixed"] == ("1 … 1", "constant")
    assert said["empty"] == ("", "no value at all")
    assert said["pair"] == ("", "List(Int64) cannot be used")
    assert summary.columns[1].missing == 1 / 300
