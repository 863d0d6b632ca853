"""Where tables come from: files, real databases, frames in memory; and what is said when they are none."""

import datetime as dt
import decimal
import gzip
import os
import sqlite3
import sys
import uuid
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import psycopg
import pyarrow as pa
import pytest

from parley.core.errors import UsageError
from parley.data.sources import CsvSource, ParquetSource, SqlSource, frame_of, parse_source, read

from tests.postgres import SECRET


def refused(code, function, *args):
    with pytest.raises(UsageError) as caught:
        function(*args)
    assert caught.value.code == code
    assert not any(part in str(caught.value) for part in ("s3cret", ":word", "hunter2"))
    return caught.value


def written(path, text):
    data = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return parse_source(str(path))


# Files


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "T.CSV", "a[1]*.csv"])
def test_a_text_file_is_read_plain_or_gzipped(tmp_path, name):
    frame = read(written(tmp_path / name, "id,x,when\na,1.5,2024-01-31\nb,,2024-02-01\n"))
    assert frame.rows() == [("a", 1.5, dt.date(2024, 1, 31)), ("b", None, dt.date(2024, 2, 1))]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_seen_in_the_header(tmp_path, separator):
    text = "\ufeff" + "id,x y,z\n1,2,3\n".replace(",", separator)
    assert read(written(tmp_path / "t.csv", text)).to_dicts() == [{"id": 1, "x y": 2, "z": 3}]


def test_integers_with_a_leading_zero_or_plus_stay_text(tmp_path):
    frame = read(written(tmp_path / "t.csv", "account,phone,n,z\n17,+4917,0,-1\n00017,4918,10,0\n"))
    assert frame.rows() == [("17", "+4917", 0, -1), ("00017", "4918", 10, 0)]


def test_marks_for_missing_count_only_among_numbers(tmp_path):
    frame = read(written(tmp_path / "t.csv", "x,country,n\n1.5,NA,NA\nNA,DE,3\n2,FR,\n"))
    assert frame["x"].to_list() == [1.5, None, 2.0]
    assert frame["n"].to_list() == [None, 3, None]
    assert frame["country"].to_list() == ["NA", "DE", "FR"]


def test_types_are_inferred_from_every_row(tmp_path):
    text = "x\n" + "1\n" * 5000 + "1e+05\n"
    assert read(written(tmp_path / "t.csv", text))["x"][-1] == 100_000.0


@pytest.mark.parametrize(
    ("cells", "read_as"),
    [
        ("98765432109876543210 1", ["98765432109876543210", "1"]),
        ("9223372036854775807 1", [2**63 - 1, 1]),
        ('"17" "18"', [17, 18]),
        ("1e5 .5", [100_000.0, 0.5]),
        ("true false", [True, False]),
        ("True False", ["True", "False"]),
        ("12:30:00 06:00:00", [dt.time(12, 30), dt.time(6)]),
        ("2024-01-31 soon", ["2024-01-31", "soon"]),
        ("_1 2", [1, 2]),
        ("_1.5 2", [1.5, 2.0]),
        ("1_ 2", ["1 ", "2"]),
        ('"_3_" 2', [" 3 ", "2"]),
        ('"" 2', ["", "2"]),
    ],
)
def test_a_column_is_what_all_its_cells_are(tmp_path, cells, read_as):
    lines = "".join(f"a,{cell.replace('_', ' ')}\n" for cell in cells.split())
    assert read(written(tmp_path / "t.csv", f"id,x\n{lines}"))["x"].to_list() == read_as


def test_only_the_columns_that_are_used_are_read(tmp_path, sqlite):
    frame = pl.DataFrame({"id": ["a", "b"], "x": [1, 2], "y": [0.5, None], "z": ["007", "1"]})
    frame.write_csv(tmp_path / "t.csv")
    frame.write_parquet(tmp_path / "t.parquet")
    for name in ("t.csv", "t.parquet"):
        source = parse_source(str(tmp_path / name))
        assert read(source, columns=["z", "id"]).equals(frame.select("id", "z"))
        refused("column-unknown", read, source, {}, ["X"])
    some = read(parse_source(sqlite, "SELECT *, age AS ages FROM people"), columns=["income", "id"])
    assert some.columns == ["id", "income"]
    assert some.height == 120_001
    refused("column-unknown", read, parse_source(sqlite, "SELECT id FROM people"), {}, ["X"])


def test_parquet_is_read(tmp_path):
    pl.DataFrame({"id": ["a"], "x": [1]}).write_parquet(tmp_path / "t.parquet")
    source = parse_source(str(tmp_path / "t.parquet"))
    assert source == ParquetSource(tmp_path / "t.parquet")
    assert read(source).rows() == [("a", 1)]


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("t.csv", "", "source-empty"),
        ("t.csv", "id,x\n", "source-empty"),
        ("t.csv", "id,x,id\n1,2,3\n", "source-duplicate-columns"),
        ("t.csv", b"id,x\n\xff\xfe,2\n", "source-unreadable"),
        ("t.csv", "id,x\n1,2,3,4\n", "source-unreadable"),
        ("t.parquet", b"PAR1 but not really", "source-unreadable"),
        ("t.pq", b"", "source-unreadable"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path, name, content, code):
    refused(code, read, written(tmp_path / name, content))


def test_a_file_that_is_missing_or_cut_short_is_refused(tmp_path):
    refused("source-missing", read, CsvSource(tmp_path / "none.csv"))
    refused("source-missing", read, CsvSource(tmp_path))
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(os.urandom(5000))[:2000])
    refused("source-unreadable", read, CsvSource(tmp_path / "t.csv.gz"))


# What a text names


def test_a_text_names_a_source():
    assert parse_source("a/b.CSV.gz") == CsvSource(Path("a/b.CSV.gz"))
    assert parse_source("sqlite:///a.db", "select 1") == SqlSource("sqlite:///a.db", "select 1")


@pytest.mark.parametrize(
    ("text", "query", "code"),
    [
        ("notes.txt", None, "source-unknown"),
        ("https://host/t.csv", None, "source-unknown"),
        (f"oracle://me:{SECRET}@host/db", None, "source-unknown"),
        ("t.csv", "select 1", "sql-query-unneeded"),
        (f"postgresql://me:{SECRET}@host/db", None, "sql-query-missing"),
        ("sqlite:///t.db", "delete from t", "sql-not-select"),
        ("sqlite:///t.db", "select 1; drop table t", "sql-not-select"),
        ("sqlite:///t.db", "-- select\ndrop table t", "sql-not-select"),
        ("sqlite:///t.db", "/* select */", "sql-not-select"),
    ],
)
def test_a_text_that_names_no_source_is_refused(text, query, code):
    refused(code, parse_source, text, query)


@pytest.mark.parametrize(
    "query", ["SELECT ';' AS a;", "with t as (select 1) select * from t -- ;\n", 'select "a;b" from t']
)
def test_semicolons_in_quotes_and_comments_are_no_second_statement(query):
    assert parse_source("sqlite:///t.db", query).query == query


def test_passwords_are_not_shown():
    source = SqlSource("postgresql://me:hunter2@host/db?password=hunter2&x=1", "select 1")
    assert "hunter2" not in repr(source) + str(source)
    assert str(source) == "postgresql://me:***@host/db?password=***&x=1"
    assert str(SqlSource("postgresql://me:${PG}@host/db", "select 1")) == "postgresql://me:${PG}@host/db"


# SQLite


@pytest.fixture
def sqlite(tmp_path):
    with sqlite3.connect(tmp_path / "bank 1%.db") as connection:
        connection.execute("CREATE TABLE people (id TEXT, age INTEGER, income REAL, mixed, raw BLOB, big)")
        rows = [(f"{i:06d}", i % 90, i / 4, i if i % 2 else "x", b"\x00", 2**62) for i in range(120_000)]
        connection.executemany("INSERT INTO people VALUES (?,?,?,?,?,?)", rows)
        connection.execute("INSERT INTO people VALUES ('z', NULL, NULL, NULL, NULL, NULL)")
    connection.close()
    return f"sqlite:///{tmp_path}/bank 1%.db"


def test_a_query_on_sqlite_is_read_in_blocks(sqlite):
    frame = read(parse_source(sqlite, "SELECT id, age, income, mixed, big FROM people;"))
    assert frame.height == 120_001
    assert frame.row(1) == ("000001", 1, 0.25, "1", 2**62)
    assert frame.row(-1) == ("z", None, None, None, None)
    assert frame.dtypes == [pl.String, pl.Int64, pl.Float64, pl.String, pl.Int64]


def test_a_column_whose_first_block_is_empty_gets_the_type_of_the_next(sqlite):
    query = "SELECT CASE WHEN age IS NULL THEN 1.5 END AS late FROM people ORDER BY id"
    assert read(parse_source(sqlite, query))["late"].to_list()[-1] == 1.5


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("SELECT * FROM persons", "sql-failed"),
        ("SELECT id, age AS id FROM people", "source-duplicate-columns"),
        ("SELECT id FROM people WHERE age > 1000", "source-empty"),
        ("WITH t AS (SELECT 1) DELETE FROM people", "sql-failed"),
        ("SELECT CASE WHEN age = 1 THEN raw ELSE 1 END AS odd FROM people", "sql-type"),
    ],
)
def test_a_query_that_gives_no_table_is_refused(sqlite, query, code):
    refused(code, read, parse_source(sqlite, query))
    assert read(parse_source(sqlite, "SELECT count(*) AS n FROM people")).item() == 120_001


def test_a_sqlite_file_that_is_missing_or_something_else_is_refused(tmp_path):
    refused("source-missing", read, SqlSource(f"sqlite:///{tmp_path}/none.db", "select 1"))
    assert not (tmp_path / "none.db").exists()
    (tmp_path / "t.db").write_text("this is no database, only a text that is long enough\n" * 100)
    refused("sql-failed", read, SqlSource(f"sqlite:///{tmp_path}/t.db", "select * from t"))


# PostgreSQL


ENVIRONMENT = {"PG_SECRET": SECRET}


@pytest.fixture
def postgres(postgres_server):
    return postgres_server.url


@pytest.mark.postgres
def test_a_query_on_postgres_is_read_in_blocks(postgres):
    query = (
        "SELECT i AS id, i % 90 AS age, i / 4.0 AS income FROM generate_series(1, 120000) AS i ORDER BY i;"
    )
    frame = read(parse_source(postgres, query), ENVIRONMENT)
    assert frame.height == 120_000
    assert frame.row(1) == (2, 2, 0.5)


@pytest.mark.postgres
def test_every_usual_type_of_postgres_has_its_column(postgres):
    query = """
        SELECT 'a'::text AS t, true AS b, 1.50::numeric AS n, 12345678901234567890::numeric AS big,
               7::numeric(9,2) AS whole, DATE '2024-01-31' AS d, TIMESTAMP '2024-01-31 12:00' AS ts,
               TIMESTAMPTZ '2024-01-31 12:00+02' AS tz, TIME '06:00' AS h, INTERVAL '36 hours' AS i,
               '0123e4567e89b12d3a456426614174000'::text AS s,
               '00000000-0000-0000-0000-000000000001'::uuid AS u, 1.5::real AS f, NULL::int AS nothing
        UNION ALL SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    """
    row = read(parse_source(postgres, query), ENVIRONMENT).row(0, named=True)
    assert (row["t"], row["b"], row["n"], row["big"], row["whole"]) == (
        "a",
        True,
        1.5,
        12345678901234567890,
        7,
    )
    assert row["tz"] == dt.datetime(2024, 1, 31, 10, tzinfo=dt.UTC)
    assert (row["d"], row["ts"]) == (dt.date(2024, 1, 31), dt.datetime(2024, 1, 31, 12))  # noqa: DTZ001
    assert (row["h"], row["i"]) == (dt.time(6), dt.timedelta(hours=36))
    assert (row["u"], row["f"], row["nothing"]) == (str(uuid.UUID(int=1)), 1.5, None)


@pytest.mark.postgres
def test_a_query_on_postgres_can_change_nothing(postgres):
    url = postgres.replace("${PG_SECRET}", "s3cret%2F%40%3Aword")
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
    refused(
        "sql-failed", read, SqlSource(url, "WITH gone AS (DELETE FROM kept RETURNING n) SELECT * FROM gone")
    )
    assert read(SqlSource(url, "SELECT n FROM kept")).item() == 1
    refused("sql-failed", read, SqlSource(url, "SELECT nextval('nothing')"))
    refused("sql-type", read, SqlSource(url, "SELECT ARRAY[1, 2] AS pair"))


@pytest.mark.postgres
def test_a_postgres_that_refuses_us_is_named_without_the_password(postgres):
    source = parse_source(postgres, "SELECT 1 AS n")
    assert refused("source-variable-unset", read, source, {}).remedy.startswith("export PG_SECRET")
    error = refused("sql-connection", read, source, {"PG_SECRET": "wr0ng/@"})
    assert "wr0ng" not in str(error)
    assert "authentication" in str(error)


@pytest.mark.parametrize("url", [f"postgresql://me:{SECRET}@h/d", "postgresql://me:hunter2@localhost:1/d"])
def test_a_postgres_that_cannot_be_reached_is_refused(url):
    refused("sql-connection", read, SqlSource(url, "select 1"))


def test_a_missing_driver_is_named_with_the_extra_that_brings_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    error = refused("postgres-driver-missing", read, SqlSource("postgresql://localhost/d", "select 1"))
    assert "pip install 'parley[postgres]'" in error.remedy


# Frames in memory

ROWS = [{"n": 1, "x": 0.5, "s": "a", "b": True}, {"n": None, "x": None, "s": None, "b": None}]


@pytest.mark.parametrize(
    "table",
    [
        pl.DataFrame(ROWS),
        pl.LazyFrame(ROWS),
        pa.Table.from_pylist(ROWS),
        {"n": [1, None], "x": np.array([0.5, np.nan]), "s": ["a", None], "b": [True, None]},
        pd.DataFrame(ROWS),
        pd.DataFrame(ROWS).convert_dtypes(),
        pd.DataFrame(ROWS).astype({"s": "category", "n": "Int64"}),
        pd.DataFrame(ROWS, dtype=object),
    ],
    ids=["polars", "lazy", "arrow", "dict", "pandas", "nullable", "category", "objects"],
)
def test_frames_of_every_library_hold_the_same(table):
    frame = frame_of(table)
    assert frame.columns == ["n", "x", "s", "b"]
    assert frame.row(0) == (1, 0.5, "a", True)
    assert frame["s"].null_count() == frame["b"].null_count() == 1
    assert frame["x"].fill_nan(None).null_count() == 1


def test_pandas_keeps_times_large_integers_and_needs_no_pyarrow(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    when = pd.Timestamp("2024-01-31 12:00", tz="Europe/Berlin")
    table = pd.DataFrame(
        {
            "big": pd.array([2**62 + 1, None], dtype="Int64"),
            "when": pd.to_datetime([dt.datetime(2024, 1, 31), None]),  # noqa: DTZ001
            "zoned": [when, pd.NaT],
            "group": pd.Categorical([3, None]),
            "money": pd.Series([decimal.Decimal("1.50"), None], dtype=object),
        }
    )
    frame = frame_of(table)
    assert frame["big"].to_list() == [2**62 + 1, None]
    assert frame["when"].null_count() == 1
    assert frame["zoned"].dt.epoch("s").to_list() == [when.timestamp(), None]
    assert frame["group"].to_list() == ["3", None], "declared categorical, so text"
    assert float(frame["money"][0]) == 1.5


@pytest.mark.parametrize(
    ("table", "code"),
    [
        (17, "source-unknown"),
        ("t.csv", "source-unknown"),
        ({"a": [1, 2], "b": [1]}, "source-unreadable"),
        ({}, "source-empty"),
        ({"a": []}, "source-empty"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "source-duplicate-columns"),
        (pa.table([[1], [2]], names=["a", "a"]), "source-duplicate-columns"),
    ],
)
def test_what_is_no_table_in_memory_is_refused(table, code):
    refused(code, frame_of, table)
