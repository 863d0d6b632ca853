"""Where the columns of an asked id come from when a model is used; and that they become training's codes."""

import asyncio
import sqlite3
import threading
import uuid
from functools import cache

import numpy as np
import polars as pl
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley.core.errors import UsageError
from parley.core.log import Log
from parley.data.binning import bin_columns
from parley.data.ids import normalise
from parley.data.profile import TableProfile
from parley.data.queries import parts_by_parameter
from parley.data.table import Table
from parley.learn.shares import Column, PassiveShare
from parley.party.tables import load
from parley.serving.features.index import IdIndex
from parley.serving.features.opening import check_serving, open_features
from parley.serving.features.trial import try_out
from parley.store.catalogue import Serving, TableRecord

from tests.joint import PARTNER, SHOP, credit, shoppers
from tests.postgres import SECRET


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Heard(list):
    """A log that keeps what it is told."""

    def log(self):
        return Log("bank", lambda: 0.0, self.append)


async def refused(code, waiting):
    with pytest.raises(UsageError) as caught:
        await waiting
    assert caught.value.code == code
    assert not any(part in str(caught.value) for part in ("s3cret", ":word"))
    return caught.value


def small():
    """A table with gaps, and categories beyond what a model of few bins has seen."""
    return pl.DataFrame(
        {
            "id": [f"{number:03}-{number % 7}" for number in range(60)],
            "amount": [None if number % 11 == 0 else number * 1.5 for number in range(60)],
            "visits": [None if number % 13 == 0 else number % 9 for number in range(60)],
            "tariff": [
                None if number % 10 == 0 else "abcdefgh"[number % (8 if number > 40 else 4)]
                for number in range(60)
            ],
            "region": [number % 5 for number in range(60)],
        }
    )


COLUMNS = ("amount", "visits", "tariff", "region")


def fitted(frame, columns, training, *, max_bins=32, categorical=()):
    """The codes that training gives to all rows, and a share with its bins."""
    typed = Table.of(frame, categorical=categorical).frame
    binned = bin_columns(
        typed,
        columns,
        training_rows=np.arange(training),
        max_bins=max_bins,
        threads=2,
        categorical=categorical,
    )
    pairs = zip(binned.names, binned.bins, strict=True)
    return binned.codes, PassiveShare("m", "bank", tuple(Column(name, bins) for name, bins in pairs), ())


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def opened(heard, clock):
    """Opens features, and closes them in the end."""
    done = []

    async def open_(record, share, rule="as-is", environment=None):
        features = await open_features(
            record, share, rule, heard.log(), clock=clock, environment=environment or {}
        )
        done.append(features)
        return features

    yield open_
    for each in done:
        await each.close()


def registered(path, frame, serving=None, **more):
    frame.write_parquet(path)
    record = TableRecord(name="t", source=str(path), id="id", serving=serving, **more)
    return TableRecord(
        name="t", source=str(path), id="id", serving=serving, profile=TableProfile.of(load(record)), **more
    )


def in_sqlite(path, frame):
    """The frame as a table ``t`` of a database."""
    types = {pl.String: "TEXT", pl.Int64: "INTEGER", pl.Float64: "REAL", pl.Boolean: "TEXT"}
    columns = ", ".join(f'"{name}" {types[dtype]}' for name, dtype in frame.schema.items())
    with sqlite3.connect(path) as database:
        database.execute(f"CREATE TABLE t ({columns})")
        marks = ", ".join("?" * frame.width)
        database.executemany(f"INSERT INTO t VALUES ({marks})", frame.rows())  # noqa: S608
    database.close()
    return f"sqlite:///{path}"


# ── the very codes of training ────────────────────────────────────────────────────────────────────────


@cache
def real_tables():
    joined, _, bank, operator = credit()
    shop, _ = shoppers()
    shop = shop.with_row_index("id").with_columns(pl.col("id").cast(pl.Int64) * 7 + 3)
    odd = {"EDUCATION": "circus school"}
    return {
        "credit, bank": (joined, bank, (), {}),
        "credit, operator": (joined, operator, (), odd),
        "shoppers, shop": (shop, SHOP, (), {}),
        "shoppers, partner": (shop, PARTNER, ("Browser", "Region"), {"Month": "Smarch", "Browser": 999}),
    }


@pytest.mark.parametrize("name", ["credit, bank", "credit, operator", "shoppers, shop", "shoppers, partner"])
async def test_codes_are_those_of_training_with_gaps_and_unseen_categories(name, tmp_path, opened):
    frame, columns, categorical, odd = real_tables()[name]
    frame = frame.head(4000).select("id", *columns)
    last = pl.int_range(pl.len()) >= 3900
    gaps = pl.int_range(pl.len()) % 17 == 0
    frame = frame.with_columns(
        pl.when(last).then(pl.lit(v)).otherwise(pl.col(k)).alias(k) for k, v in odd.items()
    )
    frame = frame.with_columns(pl.when(~gaps).then(pl.col(each)).alias(each) for each in columns)
    expected, share = fitted(frame, columns, 3000, categorical=categorical)
    rows = np.random.default_rng(1).permutation(4000)[:500]
    rows[:5] = [0, 17, 3901, 3902, 3903]
    ids = frame["id"].cast(pl.String).gather(rows).to_list()
    table = registered(tmp_path / "t.parquet", frame, categorical=categorical)
    url = in_sqlite(tmp_path / "t.db", frame.with_columns(pl.col(pl.Boolean).cast(pl.String)))
    for serving in (None, Serving(source=url, query="select * from t where id in :ids", deadline=60)):
        record = TableRecord(
            **{each: getattr(table, each) for each in ("name", "source", "id", "profile")}, serving=serving
        )
        features = await opened(record, share)
        coded = await features.codes([*ids, "nobody"])
        assert coded.known.tolist() == [True] * 500 + [False]
        assert np.array_equal(coded.codes, expected[:, rows])
        enrolled = await features.enrol()
        assert np.array_equal((await enrolled.of_rows(rows)).codes, expected[:, rows])


FRAME = small()
SERVED = {row["id"]: row for row in FRAME.iter_rows(named=True)}


def latest(ids):
    """Stands for a feature service of the owner's."""
    return {each: {key: SERVED[each][key] for key in COLUMNS} for each in ids if each in SERVED}


def latest_frame(ids):
    return FRAME.filter(pl.col("id").is_in(ids)).reverse()


def latest_numpy(ids):
    return {
        each: {key: np.array([value])[0] if value is not None else None for key, value in row.items()}
        for each, row in latest(ids).items()
    }


HERE = f"python:{__name__}:"
SELECT = 'select "id", amount, visits, tariff, region from t where id'
QUERIES = (f"{SELECT} = :id", f"{SELECT} in :ids")


@pytest.fixture(params=["table", "one by one", "many at once", "function", "frame of a function", "numpy"])
def kind(request, tmp_path, monkeypatch):
    """Each kind of source, over the same rows."""
    if request.param == "table":
        return None
    if request.param in {"function", "frame of a function", "numpy"}:
        name = {"function": "latest", "numpy": "latest_numpy"}.get(request.param, "latest_frame")
        module = type(threading)("served_features")
        setattr(module, name, globals()[name])
        monkeypatch.setitem(__import__("sys").modules, "served_features", module)
        return Serving(source=f"python:served_features:{name}", deadline=60)
    url = in_sqlite(tmp_path / "t.db", FRAME)
    return Serving(source=url, query=QUERIES[request.param == "many at once"], deadline=60)


async def test_every_kind_of_source_gives_the_codes_of_training(kind, tmp_path, opened):
    expected, share = fitted(FRAME, COLUMNS, 40, max_bins=6, categorical=("region",))
    features = await opened(registered(tmp_path / "t.parquet", FRAME, kind), share)
    asked = [59, 0, 41, 42, 43, 44, 45, 46, 47, 11, 13, 10, 59]
    coded = await features.codes(["x", *(FRAME["id"][row] for row in asked), "", "it's; --", "\ud800", "\0"])
    assert coded.known.tolist() == [False, *[True] * len(asked), *[False] * 4]
    assert np.array_equal(coded.codes, expected[:, asked])
    for row in asked:  # one at a time, where a column may hold nothing but a gap
        alone = await features.codes([FRAME["id"][row]])
        assert np.array_equal(alone.codes, expected[:, [row]])
    nothing = await features.codes(["x"])
    assert nothing.codes.shape == (4, 0)
    assert (await features.codes([])).codes.shape == (4, 0)
    enrolled = await features.enrol()
    assert len(enrolled.ids) == 60
    assert np.array_equal((await enrolled.of_rows(np.array([7, 3]))).codes, expected[:, [7, 3]])


async def test_ids_are_compared_after_the_plans_rule(tmp_path, opened):
    expected, share = fitted(FRAME, COLUMNS, 40)
    features = await opened(registered(tmp_path / "t.parquet", FRAME), share, "digits")
    coded = await features.codes([" 0011", "001-1", "00 1/1", "11"])
    assert coded.known.tolist() == [True, True, True, False]
    assert np.array_equal(coded.codes, expected[:, [1, 1, 1]])
    enrolled = await features.enrol()
    assert enrolled.ids[1] == b"0011"


# ── the table, read again ─────────────────────────────────────────────────────────────────────────────


async def until(condition):
    async with asyncio.timeout(120):
        while not await condition():
            await asyncio.sleep(0.01)


async def test_a_table_that_is_too_old_is_read_again_while_the_old_one_serves(tmp_path, opened, clock, heard):
    expected, share = fitted(FRAME, COLUMNS, 40)
    record = registered(tmp_path / "t.parquet", FRAME, Serving(age=100))
    features = await opened(record, share)
    enrolled = await features.enrol()
    turned = FRAME.filter(pl.col("id") != "005-5").reverse()
    turned = pl.concat([turned, turned.head(1).with_columns(id=pl.lit("new"))])
    turned.write_parquet(tmp_path / "t.parquet")
    clock.now = 99
    assert (await features.codes(["new"])).known.tolist() == [False]
    clock.now = 100
    await until(lambda: known(features, "new"))

    async def followed():
        return not (await enrolled.of_rows(np.array([5]))).known[0]

    await until(followed)
    coded = await enrolled.of_rows(np.array([3, 5, 7]))
    assert coded.known.tolist() == [True, False, True]
    assert np.array_equal(coded.codes, expected[:, [3, 7]])
    assert not heard


async def known(features, name):
    return bool((await features.codes([name])).known[0])


async def test_a_table_that_cannot_be_read_again_serves_on_and_the_log_says_why(
    tmp_path, opened, clock, heard
):
    _, share = fitted(FRAME, COLUMNS, 40)
    features = await opened(registered(tmp_path / "t.parquet", FRAME, Serving(age=100)), share)
    (tmp_path / "t.parquet").unlink()
    clock.now = 100

    async def told():
        assert await known(features, "005-5")
        return bool(heard)

    await until(told)
    assert (heard[0].level, heard[0].code) == ("warning", "source-missing")
    for _ in range(20):
        assert await known(features, "005-5")
        await asyncio.sleep(0)
    assert len(heard) == 1  # the next attempt has its time
    FRAME.with_columns(id=pl.lit("again-") + pl.col("id")).write_parquet(tmp_path / "t.parquet")
    clock.now = 161
    await until(lambda: known(features, "again-005-5"))


@settings(deadline=None, max_examples=40)
@given(
    st.sets(st.text(max_size=20).filter(bool), min_size=1, max_size=40),
    st.lists(st.text(max_size=3), max_size=40),
    st.booleans(),
)
def test_the_index_finds_what_a_dictionary_finds_even_if_all_hashes_are_alike(ids, others, alike):
    ids = sorted(each for each in ids if each.isprintable()) or ["a"]
    asked = [*ids, *(each for each in others if each.isprintable())]
    series = pl.Series(ids)
    index = IdIndex(series)
    if alike:
        index._hashes = np.repeat(series.tail(1).to_frame().hash_rows(0).to_numpy(), len(ids))
        asked = [ids[-1]]
    expected = [ids.index(each) if each in ids else -1 for each in asked]
    assert index.find(pl.Series([*asked, None], dtype=pl.String)).tolist() == [*expected, -1]


def test_the_index_of_a_table_takes_less_than_100_bytes_a_row():
    rows = 200_000
    ids = pl.Series(range(rows)).cast(pl.String).str.zfill(20)
    index = IdIndex(ids)
    arrays = sum(each.nbytes for each in (index._hashes, index._rows))
    held = normalise(ids, "as-is")
    entered = len(held.buffer) + held.offsets.nbytes + held.rows.nbytes
    assert arrays + index.ids.estimated_size() + entered < 100 * rows
    asked = np.random.default_rng(1).integers(0, rows, 65_536)
    assert np.array_equal(index.find(ids.gather(asked)), asked)


# ── queries ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("query", "parts"),
    [
        ("select * from t where a = :id", ("select * from t where a = ", "id", "")),
        ("select ':id', a::int -- :id\n where :id", ("select ':id', a::int -- :id\n where ", "id", "")),
        ("select $a$ :id $a$ /* :id */", ("select $a$ :id $a$ /* :id */",)),
        ("select :ids, :id", ("select ", "ids", ", ", "id", "")),
        ("select :id::bigint", ("select ", "id", "::bigint")),
    ],
)  # fmt: skip
def test_a_parameter_is_one_outside_of_quotations_and_comments_only(query, parts):
    assert parts_by_parameter(query) == parts


def test_where_it_depends_on_the_server_what_is_quoted_nothing_is_a_parameter():
    with pytest.raises(UsageError) as caught:
        parts_by_parameter("select '\\' or a = :id or '' = '", "mysql")
    assert caught.value.code == "sql-not-select"


@pytest.mark.parametrize(
    ("source", "query", "code"),
    [
        ("sqlite:///t.db", None, "sql-query-missing"),
        ("sqlite:///t.db", "select * from t", "serving-parameter"),
        ("sqlite:///t.db", "select * from t where a = ':id'", "serving-parameter"),
        ("sqlite:///t.db", "select * from t where a = :id or b in :ids", "serving-parameter"),
        ("sqlite:///t.db", "select * from t where a = :customer", "serving-parameter"),
        ("sqlite:///t.db", "delete from t where a = :id", "sql-not-select"),
        ("t.parquet", None, "serving-source"),
        ("python:a:b", "select :id", "sql-query-unneeded"),
        ("ftp://a", None, "source-unknown"),
    ],
)
def test_what_cannot_be_asked_by_id_is_no_source(source, query, code):
    with pytest.raises(UsageError) as caught:
        check_serving(Serving(source=source, query=query))
    assert caught.value.code == code


async def test_numbers_are_bound_as_numbers_and_no_other_id_is_like_one(tmp_path, opened):
    frame = FRAME.with_columns(id=pl.int_range(60))
    expected, share = fitted(frame, COLUMNS, 40)
    url = in_sqlite(tmp_path / "t.db", frame)
    for query in QUERIES:
        record = registered(tmp_path / "t.parquet", frame, Serving(source=url, query=query, deadline=60))
        features = await opened(record, share)
        coded = await features.codes(["7", "07", "7.0", "seven", "0", "9" * 30, "-7"])
        assert coded.known.tolist() == [True, False, False, False, True, False, False]
        assert np.array_equal(coded.codes, expected[:, [7, 0]])


async def test_a_database_that_compares_loosely_finds_nobody_else(tmp_path, opened):
    frame = FRAME.with_columns(id=pl.lit("Id ") + pl.col("id"))
    expected, share = fitted(frame, COLUMNS, 40)
    url = in_sqlite(tmp_path / "t.db", frame)
    for compared in ("= :id", "in :ids"):
        query = f"select * from t where id collate nocase {compared}"  # noqa: S608
        record = registered(tmp_path / "t.parquet", frame, Serving(source=url, query=query, deadline=60))
        asked = ["iD 007-0", "Id 007-0"]
        for rule, found in (("as-is", [False, True]), ("upper", [True, True])):
            coded = await (await opened(record, share, rule)).codes(asked)
            assert coded.known.tolist() == found
            assert np.array_equal(coded.codes, expected[:, [7] * sum(found)])


async def test_a_source_that_gives_something_else_is_named_with_the_column(tmp_path, opened):
    _, share = fitted(FRAME, COLUMNS, 40)
    url = in_sqlite(tmp_path / "t.db", FRAME)
    cases = {
        "select id, amount, visits, region from t where id = :id": ("column-unknown", "tariff"),
        "select id, 'x' as amount, visits, tariff, region from t where id = :id": ("column-type", "amount"),
        "select id, amount, visits, 17 as tariff, region from t where id = :id": ("column-type", "tariff"),
        "select amount, visits, tariff, region from t where id >= :id": ("serving-rows", "row"),
        "select amount, visits, tariff, region from t where id in :ids": ("column-unknown", "id"),
        "select * from t where nothing = :id": ("sql-failed", "nothing"),
        "with recursive r(n) as (select 1 union all select n + 1 from r)"
        " select * from r where n = :id": ("source-late", "0.05"),
    }  # fmt: skip
    for query, (code, word) in cases.items():
        serving = Serving(source=url, query=query, deadline=0.05 if code == "source-late" else 60)
        features = await opened(registered(tmp_path / "t.parquet", FRAME, serving), share)
        error = await refused(code, features.codes(["007-0"]))
        assert word in error.what
        assert "t.db" in error.what
        assert "007-0" not in str(error)


@pytest.fixture
def people(postgres_server):
    """A table ``people`` with ids of text and of PostgreSQL's own type."""
    schema = f"s{uuid.uuid4().hex}"
    url = postgres_server.url.replace("${PG_SECRET}", "s3cret%2F%40%3Aword")
    keys = [str(uuid.UUID(int=row)) for row in range(60)]
    with psycopg.connect(url) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
        connection.execute(
            f"CREATE TABLE {schema}.t (id text, key uuid, amount float8, visits int, tariff text, region int)"
        )
        with connection.cursor() as cursor:
            rows = [(row[0], key, *row[1:]) for row, key in zip(FRAME.rows(), keys, strict=True)]
            cursor.executemany(f"INSERT INTO {schema}.t VALUES (%s, %s, %s, %s, %s, %s)", rows)  # noqa: S608
    yield f"{postgres_server.url}&options=-csearch_path%3D{schema}", keys
    with psycopg.connect(url) as connection:
        connection.execute(f"DROP SCHEMA {schema} CASCADE")


@pytest.mark.postgres
@pytest.mark.parametrize("query", QUERIES)
async def test_postgres_gives_the_codes_of_training_and_takes_ids_as_values_only(
    query, tmp_path, opened, people, postgres_server
):
    expected, share = fitted(FRAME, COLUMNS, 40)
    record = registered(tmp_path / "t.parquet", FRAME, Serving(source=people[0], query=query, deadline=60))
    features = await opened(record, share, environment=postgres_server.environment)
    hostile = ["x' or '1'='1", "'; drop table t; --", "$1", "%s", "007-0' --", "\0", "\ud800"]
    coded = await features.codes([*hostile, *FRAME["id"].to_list()])
    assert coded.known.tolist() == [False] * 7 + [True] * 60
    assert np.array_equal(coded.codes, expected)


@pytest.mark.postgres
async def test_an_id_that_postgres_cannot_take_is_unknown_and_hides_no_other(
    tmp_path, opened, people, postgres_server
):
    url, keys = people
    frame = FRAME.with_columns(id=pl.Series(keys))
    expected, share = fitted(frame, COLUMNS, 40)
    for query in (
        "select amount, visits, tariff, region from t where key = :id",
        "select u.*, key as id from (select key, amount, visits, tariff, region from t) u where key in :ids",
    ):
        record = registered(tmp_path / "t.parquet", frame, Serving(source=url, query=query, deadline=60))
        features = await opened(record, share, environment=postgres_server.environment)
        coded = await features.codes(["no uuid", *keys[:9], "neither"])
        assert coded.known.tolist() == [False, *[True] * 9, False]
        assert np.array_equal(coded.codes, expected[:, :9])


@pytest.mark.postgres
async def test_a_connection_that_postgres_ends_is_made_anew(tmp_path, opened, people, postgres_server):
    _, share = fitted(FRAME, COLUMNS, 40)
    serving = Serving(source=people[0], query=QUERIES[0], deadline=60, entries=1, age=0)
    features = await opened(
        registered(tmp_path / "t.parquet", FRAME, serving), share, environment=postgres_server.environment
    )
    assert await known(features, "005-5")
    with psycopg.connect(people[0].replace("${PG_SECRET}", "s3cret%2F%40%3Aword"), autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'parley'"
        )
    assert (await features.codes(["005-5", "006-6", "007-0"])).known.all()


@pytest.mark.postgres
async def test_a_postgres_that_is_slow_or_refuses_us_is_said_without_its_password(
    tmp_path, opened, people, postgres_server
):
    _, share = fitted(FRAME, COLUMNS, 40)
    url = people[0]

    async def asked(query, deadline=60.0, environment=None, source=url):
        serving = Serving(source=source, query=query, deadline=deadline)
        record = registered(tmp_path / "t.parquet", FRAME, serving)
        features = await opened(record, share, environment=environment or postgres_server.environment)
        return await features.codes(["005-5"])

    await refused("source-late", asked("select *, pg_sleep(60) from t where id = :id", 0.2))
    await refused("sql-failed", asked("select * from nowhere where id = :id"))
    error = await refused(
        "sql-failed",
        asked("select * from t where id = :id and 1 / (region - region) > 0"),
    )
    assert "005-5" not in str(error)
    await refused("sql-connection", asked(QUERIES[0], environment={"PG_SECRET": SECRET[:-1]}))
    await refused("source-variable-unset", asked(QUERIES[0], environment={"OTHER": ""}))


# ── functions ─────────────────────────────────────────────────────────────────────────────────────────


WAIT = threading.Event()


def hang(_):
    WAIT.wait()


def fail(_):
    raise RuntimeError("the secret of 005-5")


def always(row):
    """The same for every id."""
    return lambda ids: dict.fromkeys(ids, row)


def in_turn(*rows):
    return lambda ids: {each: rows[at % len(rows)] for at, each in enumerate(ids)}


ROW = {key: SERVED["001-1"][key] for key in COLUMNS}
ODD = {
    "no column": (always({}), "column-unknown"),
    "a column now and then": (in_turn(ROW, {"amount": 1}), "column-unknown"),
    "a list": (lambda _: [1], "serving-function-answer"),
    "no rows": (always(7), "serving-function-answer"),
    "no ids": (lambda _: {7: {}}, "serving-function-answer"),
    "this and that": (in_turn(ROW, ROW | {"tariff": True}), "column-type"),
    "objects": (always(ROW | {"tariff": object()}), "column-type"),
    "words": (always(ROW | {"amount": "much"}), "column-type"),
    "twice": (lambda _: pl.concat([FRAME, FRAME]), "serving-rows"),
    "unnamed": (lambda _: FRAME.drop("id"), "column-unknown"),
    "an exception": (fail, "serving-function-failed"),
    "nothing for long": (hang, "source-late"),
    "no function": (None, "serving-function"),
    "a number": (7, "serving-function"),
}


@pytest.mark.parametrize("name", ODD)
async def test_a_function_that_gives_something_else_is_named_with_what_is_wrong(
    name, tmp_path, opened, heard, monkeypatch
):
    _, share = fitted(FRAME, COLUMNS, 40)
    function, code = ODD[name]
    module = type(threading)("odd_features")
    module.given = function
    monkeypatch.setitem(__import__("sys").modules, "odd_features", module)
    serving = Serving(source="python:odd_features:given", deadline=0.1 if function is hang else 60)

    async def asked():
        features = await opened(registered(tmp_path / "t.parquet", FRAME, serving), share)
        return await features.codes(["005-5", "007-0"])

    error = await refused(code, asked())
    assert "python:odd_features:given" in error.what
    assert "secret" not in str(error) + error.public
    assert ["secret of 005-5" in each.text for each in heard] == ([True] if function is fail else [])
    if function is hang:
        WAIT.set()


@pytest.mark.parametrize("address", ["python:", "python:os", "python:no.such.module:f", "python::f"])
async def test_a_function_that_is_not_there_is_an_error_at_once(address, tmp_path, opened):
    _, share = fitted(FRAME, COLUMNS, 40)
    record = registered(tmp_path / "t.parquet", FRAME, Serving(source=address))
    await refused("serving-function", opened(record, share))


# ── before it is declared ─────────────────────────────────────────────────────────────────────────────


async def test_a_source_is_asked_once_and_what_differs_is_said(tmp_path, heard):
    url = in_sqlite(tmp_path / "t.db", FRAME.with_columns(visits=pl.lit("many")).drop("region"))
    record = registered(tmp_path / "t.parquet", FRAME)
    trial = await try_out(
        record, Serving(source=url, query="select * from t where id in :ids", deadline=60), heard.log()
    )
    assert (trial.asked, trial.known) == (20, 20)
    assert [(each.code, each.column) for each in trial.differs] == [
        ("serving-column-type", "visits"),
        ("serving-column-missing", "region"),
    ]
    alike = in_sqlite(tmp_path / "alike.db", FRAME)
    serving = Serving(source=alike, query=QUERIES[0], deadline=60)
    assert not (await try_out(record, serving, heard.log())).differs
    none = Serving(source=alike, query="select * from t where 'x' || id = :id", deadline=60)
    await refused("serving-id-unknown", try_out(record, none, heard.log()))
