"""Tables in MySQL and MariaDB: what a query may be, how values arrive, and a real server that says no."""

import datetime as dt
import sys

import polars as pl
import pytest

from parley.core.errors import UsageError
from parley.data.mysql import _conversions
from parley.data.queries import check_query, narrowed
from parley.data.sources import SqlSource, parse_source, read

from tests.mariadb import ENVIRONMENT, SECRET

URL = "mysql://me:${P}@db.example/risk"


def refused(code, function, *args):
    with pytest.raises(UsageError) as caught:
        function(*args)
    assert caught.value.code == code
    assert not any(part in str(caught.value) for part in ("s3cret", ":word", "hunter2"))
    return caught.value


# What a query may be


@pytest.mark.parametrize(
    "query",
    [
        "select 1; drop table t",
        "delete from t",
        "set statement max_statement_time=1 for select 1",
        "select '\\'; drop table t -- '",
        "select '\\' ; drop table t #'",
        "select 1--1; drop table t",
        "select 1 $a$ ; drop table t $a$",
        "select * from t into outfile '/tmp/x'",
        "select * from t INTO\n DUMPFILE '/tmp/x'",
        "select a into @x from t",
        "select 1--1 into outfile '/tmp/x'",
        "select 1 /*! into outfile '/tmp/x' */",
        "select 1 /*!50000 union select 2 */",
        "select 1 /*M! union select 2 */",
        "select load_file('/etc/passwd')",
        "select `LOAD_FILE`('/etc/passwd')",
        "select * from t for update",
        "select * from t lock in share mode",
        "# select\ndrop table t",
        "select 'no end",
    ],
)
def test_a_query_that_does_more_than_read_rows_is_refused(query):
    refused("sql-not-select", SqlSource, URL, query)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT ';' AS a, \"it's\" AS b, `into` FROM t -- ; drop\n",
        "with t as (select 1 as n) select n from t # ;\n",
        "select /* into */ 'into outfile' as words from t;",
        "select 'it''s; all' as a, 'C:\\\\' as b",
    ],
)
def test_quotations_and_comments_are_no_words(query):
    assert parse_source(URL, query).query == query


def test_a_query_for_fewer_columns_wraps_the_one_that_was_given():
    assert narrowed("select * from t -- all\n;", ["a`b"], "mysql") == (
        "SELECT `a``b` FROM (\nselect * from t -- all\n\n) AS parley_rows"
    )
    assert narrowed("select * from t order\n by 1", ["a"], "mysql") is None
    check_query(narrowed("select 'order by' from t", ["a"]) or "")


# The driver's part, without a server


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("DATE", "0000-00-00", None),
        ("DATETIME", "0000-00-00 00:00:00.000000", None),
        ("TIMESTAMP", "2024-01-31 12:00:00", dt.datetime(2024, 1, 31, 12, tzinfo=dt.UTC)),
        ("DATETIME", "2024-01-31 12:00:00.5", dt.datetime(2024, 1, 31, 12, microsecond=500_000)),  # noqa: DTZ001
        ("TIME", "-838:59:59", -dt.timedelta(hours=838, minutes=59, seconds=59)),
        ("BIT", b"\x01\x01", 257),
        ("YEAR", "2024", 2024),
    ],
)
def test_a_value_arrives_as_what_it_means(field, text, value):
    from pymysql.constants import FIELD_TYPE  # noqa: PLC0415

    assert _conversions()[getattr(FIELD_TYPE, field)](text) == value


def test_a_date_that_is_none_is_refused():
    from pymysql.constants import FIELD_TYPE  # noqa: PLC0415

    refused("sql-type", _conversions()[FIELD_TYPE.DATE], "2024-05-00")


@pytest.mark.parametrize(
    "options", ["?colour=red", "?ssl-mode=sometimes", "?read-timeout=soon", "?connect-timeout=0"]
)
def test_an_option_that_there_is_not_is_refused(options):
    refused("sql-option", read, SqlSource(URL + options, "select 1"), {"P": SECRET})


@pytest.mark.parametrize(
    "url", ["mysql://me:hunter2@host", "mysql://host/db", "mysql://me:hunter2@host:0x1/db"]
)
def test_a_url_without_user_database_or_port_is_refused(url):
    refused("sql-option", read, SqlSource(url, "select 1"), {})


def test_a_server_that_is_not_there_is_named_without_the_password():
    refused("sql-connection", read, SqlSource("mysql://me:hunter2@127.0.0.1:1/db", "select 1"), {})
    refused("source-variable-unset", read, SqlSource(URL, "select 1"), {})


def test_a_missing_driver_is_named_with_the_extra_that_brings_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymysql", None)
    error = refused("mysql-driver-missing", read, SqlSource("mysql://me@localhost/d", "select 1"))
    assert "pip install 'parley[mysql]'" in error.remedy


# A real server


@pytest.fixture(scope="module")
def maria(mariadb_server):
    mariadb_server.tell(
        "CREATE TABLE kept AS SELECT 1 AS n",
        "CREATE SEQUENCE numbers",
        "CREATE FUNCTION writing() RETURNS INT BEGIN INSERT INTO kept VALUES (9); RETURN 1; END",
    )
    return mariadb_server


@pytest.mark.mysql
def test_a_query_on_mariadb_is_read_in_blocks(maria):
    query = "SELECT seq AS id, seq % 90 AS age, seq / 4 AS income FROM seq_1_to_60000 ORDER BY seq;"
    frame = read(parse_source(maria.url(scheme="mariadb"), query), ENVIRONMENT)
    assert frame.height == 60_000
    assert frame.row(1) == (2, 2, 0.5)
    assert frame.dtypes == [pl.Int64, pl.Int64, pl.Float64]


@pytest.mark.mysql
def test_every_usual_type_of_mysql_has_its_column(maria):
    columns = {
        "u": "bigint unsigned",
        "d": "decimal(10,2)",
        "w": "decimal(12,0)",
        "b": "bit(9)",
        "y": "year",
        "t": "time(3)",
        "day": "date",
        "dt": "datetime(6)",
        "s": "varchar(20)",
        "r": "varbinary(4)",
        "e": "enum('a','b')",
        "f": "double",
        "o": "boolean",
        "j": "json",
    }
    maria.tell(f"CREATE TABLE kinds ({', '.join(f'{name} {kind}' for name, kind in columns.items())})")
    maria.tell(
        "INSERT IGNORE INTO kinds VALUES (18446744073709551615, 1.50, 7, b'100000001', 2024, '-100:00:01.5',"
        " '0000-00-00', '2024-01-31 12:00:00.25', '\U0001f600', x'00ff', 'b', 1.5, true, '{}')",
        "INSERT INTO kinds VALUES (" + ", ".join(["NULL"] * len(columns)) + ")",  # noqa: S608
    )
    frame = read(parse_source(maria.url(), "SELECT * FROM kinds"), ENVIRONMENT)
    assert frame.row(0) == (
        *(2**64 - 1, 1.5, 7, 257, 2024, -dt.timedelta(hours=100, seconds=1.5), None),
        *(dt.datetime(2024, 1, 31, 12, microsecond=250_000), "\U0001f600", b"\x00\xff", "b", 1.5, 1, "{}"),  # noqa: DTZ001
    )
    assert set(frame.row(1)) == {None}


@pytest.mark.mysql
def test_only_columns_that_are_used_are_read_and_the_order_stays(maria):
    query = "SELECT seq AS a, -seq AS b, 'x' AS c FROM seq_1_to_9"
    assert read(parse_source(maria.url(), query), ENVIRONMENT, ["c", "a"]).row(8) == (9, "x")
    backwards = read(parse_source(maria.url(), query + " ORDER BY a DESC"), ENVIRONMENT, ["b"])
    assert backwards["b"].to_list() == list(range(-9, 0))
    refused("column-unknown", read, parse_source(maria.url(), query), ENVIRONMENT, ["d"])
    twice = parse_source(maria.url(), "SELECT seq AS a, seq AS a FROM seq_1_to_9")
    refused("source-duplicate-columns", read, twice, ENVIRONMENT, ["a"])


@pytest.mark.mysql
@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("SELECT writing() AS n", "sql-failed"),
        ("SELECT NEXTVAL(numbers) AS n", "sql-failed"),
        ("WITH x AS (SELECT 1) DELETE FROM kept", "sql-failed"),
        ("SELECT n FROM nothing", "sql-failed"),
        ("SELECT n FROM kept WHERE n > 9", "source-empty"),
    ],
)
def test_a_query_on_mariadb_can_change_nothing(maria, query, code):
    refused(code, read, parse_source(maria.url(), query), ENVIRONMENT)
    assert read(parse_source(maria.url(), "SELECT count(*) AS n FROM kept"), ENVIRONMENT).item() == 1


@pytest.mark.mysql
def test_a_result_that_is_wrong_in_its_first_rows_is_not_read_to_the_end(maria):
    twice = "SELECT a.seq, b.seq FROM seq_1_to_1000000 a, seq_1_to_1000000 b"
    refused("source-duplicate-columns", read, parse_source(maria.url(), twice), ENVIRONMENT)


@pytest.mark.mysql
def test_the_certificate_is_checked_as_far_as_the_url_says(maria, tmp_path):
    query = (
        "SELECT VARIABLE_VALUE AS v FROM information_schema.SESSION_STATUS"
        " WHERE VARIABLE_NAME = 'Ssl_version'"
    )

    def encrypted(options):
        return read(SqlSource(maria.over_tcp(options), query), ENVIRONMENT)["v"].to_list() != [""]

    assert encrypted(f"ssl-ca={maria.authority}")
    assert encrypted("ssl-mode=REQUIRED")
    assert encrypted("")
    assert not encrypted("ssl-mode=DISABLED")
    refused("sql-connection", read, SqlSource(maria.over_tcp("ssl-mode=VERIFY_IDENTITY"), query), ENVIRONMENT)
    other_name = maria.over_tcp(f"ssl-ca={maria.authority}").replace("127.0.0.1", "localhost")
    refused("sql-connection", read, SqlSource(other_name, query), ENVIRONMENT)
    refused("sql-connection", read, SqlSource(maria.over_tcp(f"ssl-ca={tmp_path}/none"), query), ENVIRONMENT)


@pytest.mark.mysql
def test_a_mariadb_that_refuses_us_is_named_without_the_password(maria):
    error = refused("sql-connection", read, SqlSource(maria.url(), "SELECT 1 AS n"), {"MY_SECRET": "hunter2"})
    assert "denied" in str(error)
