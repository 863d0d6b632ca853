"""Asking MariaDB by id: ids are values whatever they hold, and what is slow ends."""

import pytest

from parley.core.errors import UsageError
from parley.data.sources import SqlSource
from parley.serving.features.lines import Statement, line_to

from tests.mariadb import ENVIRONMENT, server


def test_a_statement_has_each_databases_own_marks():
    source = SqlSource("mysql://me@db/risk", "select '10%', a from t where a in :ids or b in :ids;")
    statement = Statement.of(source)
    assert statement.places == 2
    written = statement.written(lambda _: "%s", 2, lambda part: part.replace("%", "%%"))
    assert written == "select '10%%', a from t where a in (%s, %s) or b in (%s, %s)"
    assert statement.written("${}".format, 2).endswith("a in ($1, $2) or b in ($1, $2)")


@pytest.mark.mysql
def test_ids_are_values_whatever_they_hold():
    hostile = ["a", "' or 1=1 -- ", "\\' or 1=1 -- ", '"', "%s", "ü\\"]
    with server() as running:
        running.tell("CREATE TABLE people (id VARCHAR(50), n INT)")
        running.tell("INSERT INTO people VALUES ('a', 1), ('ü\\\\', 2)")
        line = line_to(
            SqlSource(running.url(), "select id, n from people where id in :ids"), 20.0, ENVIRONMENT
        )
        answered = line.ask(hostile)
        assert answered.names == ("id", "n")
        assert sorted(answered.rows) == [("a", 1), ("ü\\", 2)]
        line.close()
        tables = ", ".join(f"information_schema.columns as {each}" for each in "abc")
        query = f"select count(*) from {tables} where a.column_name <> :id"  # noqa: S608
        slow = line_to(SqlSource(running.url(), query), 0.2, ENVIRONMENT)
        with pytest.raises(UsageError) as caught:
            slow.ask(["a"])
        assert caught.value.code == "source-late"
        slow.close()
