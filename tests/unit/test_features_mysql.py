"""Asking MariaDB by id: ids are values whatever they hold, and what is slow ends."""

import numpy as np
import polars as pl
import pytest

from parley.core.errors import UsageError
from parley.data.sources import SqlSource
from parley.serving.features.lines import Statement, line_to
from parley.store.catalogue import Serving

from tests.mariadb import ENVIRONMENT
from tests.unit.test_features import COLUMNS, FRAME, clock, fitted, heard, opened, refused, registered

__all__ = ["clock", "heard", "opened"]

SELECT = "select id, amount, visits, tariff, region from t where id"
QUERIES = (f"{SELECT} = :id", f"{SELECT} in :ids")


@pytest.fixture(scope="module")
def people(mariadb_server):
    """A table ``t`` of the frame; its collation takes an id with a blank behind it for the same."""
    fill(mariadb_server, "t", "VARCHAR(20)", FRAME)
    return mariadb_server


def fill(maria, name, kind, frame):
    """The frame as a table, with ids of a kind."""
    maria.tell(f"CREATE TABLE {name} (id {kind}, amount DOUBLE, visits INT, tariff VARCHAR(9), region INT)")
    rows = (", ".join("NULL" if cell is None else repr(cell) for cell in row) for row in frame.iter_rows())
    maria.tell(f"INSERT INTO {name} VALUES ({'), ('.join(rows)})")  # noqa: S608


def test_a_statement_has_each_databases_own_marks():
    source = SqlSource("mysql://me@db/risk", "select '10%', a from t where a in :ids or b in :ids;")
    statement = Statement.of(source)
    assert statement.places == 2
    written = statement.written(lambda _: "%s", 2, lambda part: part.replace("%", "%%"))
    assert written == "select '10%%', a from t where a in (%s, %s) or b in (%s, %s)"
    assert statement.written("${}".format, 2).endswith("a in ($1, $2) or b in ($1, $2)")


@pytest.mark.mysql
def test_ids_are_values_whatever_they_hold(mariadb_server):
    hostile = ["a", "' or 1=1 -- ", "\\' or 1=1 -- ", '"', "%s", "ü\\"]
    mariadb_server.tell("CREATE TABLE people (id VARCHAR(50), n INT)")
    mariadb_server.tell("INSERT INTO people VALUES ('a', 1), ('ü\\\\', 2)")
    line = line_to(
        SqlSource(mariadb_server.url(), "select id, n from people where id in :ids"), 20.0, ENVIRONMENT
    )
    answered = line.ask(hostile)
    assert answered.names == ("id", "n")
    assert sorted(answered.rows) == [("a", 1), ("ü\\", 2)]
    line.close()
    tables = ", ".join(f"information_schema.columns as {each}" for each in "abc")
    query = f"select count(*) from {tables} where a.column_name <> :id"  # noqa: S608
    slow = line_to(SqlSource(mariadb_server.url(), query), 0.2, ENVIRONMENT)
    with pytest.raises(UsageError) as caught:
        slow.ask(["a"])
    assert caught.value.code == "source-late"
    slow.close()


@pytest.mark.mysql
@pytest.mark.parametrize("query", QUERIES)
async def test_mariadb_gives_the_codes_of_training_and_takes_ids_as_values_only(
    query, tmp_path, opened, people
):
    expected, share = fitted(FRAME, COLUMNS, 40)
    record = registered(tmp_path / "t.parquet", FRAME, Serving(source=people.url(), query=query, deadline=60))
    features = await opened(record, share, environment=ENVIRONMENT)
    hostile = [
        "x' or '1'='1",
        "\\' or 1=1 -- ",
        "'; drop table t; --",
        "%s",
        "007-0' --",
        "007-0 ",
        "\0",
        "\ud800",
    ]
    coded = await features.codes([*hostile, *FRAME["id"].to_list()])
    assert coded.known.tolist() == [False] * len(hostile) + [True] * 60
    assert np.array_equal(coded.codes, expected)


@pytest.mark.mysql
async def test_mariadb_is_asked_by_numbers_where_ids_are_numbers(tmp_path, opened, mariadb_server):
    frame = FRAME.with_columns(id=pl.int_range(60, dtype=pl.Int64))
    fill(mariadb_server, "n", "BIGINT", frame)
    expected, share = fitted(frame, COLUMNS, 40)
    for query in (each.replace(" t ", " n ") for each in QUERIES):
        record = registered(
            tmp_path / "n.parquet", frame, Serving(source=mariadb_server.url(), query=query, deadline=60)
        )
        features = await opened(record, share, environment=ENVIRONMENT)
        coded = await features.codes(["7 or 1", "1" * 38, "-5", "0x7", *map(str, range(60))])
        assert coded.known.tolist() == [False] * 4 + [True] * 60
        assert np.array_equal(coded.codes, expected)


@pytest.mark.mysql
async def test_a_connection_that_mariadb_ends_is_made_anew(tmp_path, opened, people):
    _, share = fitted(FRAME, COLUMNS, 40)
    serving = Serving(source=people.url(), query=QUERIES[0], deadline=60, entries=1, age=0)
    features = await opened(
        registered(tmp_path / "t.parquet", FRAME, serving), share, environment=ENVIRONMENT
    )
    assert (await features.codes(["005-5"])).known.all()
    people.tell("KILL USER parley")
    assert (await features.codes(["005-5", "006-6", "007-0"])).known.all()


@pytest.mark.mysql
async def test_a_mariadb_that_is_slow_or_refuses_us_is_said_without_its_password(tmp_path, opened, people):
    _, share = fitted(FRAME, COLUMNS, 40)

    async def asked(query, deadline=60.0, environment=ENVIRONMENT):
        serving = Serving(source=people.url(), query=query, deadline=deadline)
        record = registered(tmp_path / "t.parquet", FRAME, serving)
        features = await opened(record, share, environment=environment)
        return await features.codes(["005-5"])

    await refused("source-late", asked("select t.*, sleep(60) from t where id = :id", 0.2))
    error = await refused("sql-failed", asked("select * from nowhere where id = :id"))
    assert "nowhere" in error.what
    error = await refused("sql-connection", asked(QUERIES[0], environment={"MY_SECRET": "wr0ng-one"}))
    assert "wr0ng-one" not in str(error)
