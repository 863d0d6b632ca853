"""`parley data serve`: what it takes, what it says, and what of it is kept."""

import json
import sqlite3

import msgspec
import polars as pl
import pytest

from parley.cli.main import main
from parley.store.catalogue import Serving, TableRecord
from parley.store.home import Home
from parley.store.settings import Settings

FRAME = pl.DataFrame(
    {"id": ["a", "b", "c"], "age": [1, 2, 3], "tariff": ["x", "y", None], "label": [0, 1, 0]}
)


@pytest.fixture
def home(tmp_path):
    FRAME.write_csv(tmp_path / "t.csv")
    with sqlite3.connect(tmp_path / "t.db") as database:
        database.execute("CREATE TABLE t (id TEXT, age INTEGER, tariff TEXT)")
        database.executemany("INSERT INTO t VALUES (?, ?, ?)", FRAME.drop("label").rows())
    database.close()
    Home.create(tmp_path / "bank", Settings(party="bank", listen=""))
    return tmp_path / "bank"


@pytest.fixture
def said(home, capsys):
    """Runs a command with --json; what it prints, and its exit code."""

    def run(*words):
        code = main([*map(str, words), "--home", str(home), "--json"])
        return json.loads(capsys.readouterr().out), code

    run("data", "add", "accounts", home.parent / "t.csv", "--id", "id")
    return run


def declared(home):
    return Home.open(home).catalogue.table("accounts").serving


def test_a_source_is_declared_shown_kept_by_another_registration_and_cleared(home, said, monkeypatch, capsys):
    monkeypatch.chdir(home.parent)
    query = "select * from t where id in :ids"
    serve = ("data", "serve", "accounts", "--source", "sqlite:///t.db", "--query", query)
    answer, code = said(*serve, "--age", 30, "--entries", 7, "--deadline", 20)
    assert code == 0
    assert (answer["asked"], answer["known"]) == (3, 3)
    assert [(each["code"], each["column"]) for each in answer["warnings"]] == [
        ("serving-column-missing", "label")
    ]
    expected = Serving(source=f"sqlite:///{home.parent}/t.db", query=query, age=30, entries=7, deadline=20.0)
    assert declared(home) == expected
    said("data", "add", "accounts", home.parent / "t.csv", "--id", "id")
    assert declared(home) == expected
    assert said("data", "show", "accounts")[0]["serving"] == msgspec.to_builtins(expected)
    assert said("data", "list")[0]["tables"][0]["serving"]["source"] == expected.source
    for words in (("data", "show", "accounts"), ("data", "list"), (*serve, "--deadline", "20")):
        assert main([*words, "--home", str(home)]) == 0
        assert "sqlite:///" in capsys.readouterr().out
    assert said("data", "serve", "accounts", "--clear")[0]["serving"]["source"] == ""
    assert declared(home) is None


def test_the_table_itself_may_have_another_age(home, said):
    assert said("data", "show", "accounts")[0]["serving"]["age"] == 86_400
    assert said("data", "serve", "accounts", "--age", 600)[0]["serving"]["age"] == 600
    assert declared(home) == Serving(age=600)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--source", "sqlite:///t.db"), "sql-query-missing"),
        (("--query", "select :id"), "sql-query-unneeded"),
        (("--clear", "--query", "select :id"), "bad-arguments"),
        (("--deadline", "nan"), "bad-arguments"),
        (("--deadline", "0"), "bad-arguments"),
        (("--age", "-1"), "bad-arguments"),
        (("--source", "t.parquet"), "serving-source"),
        (("--source", "python:nothing.here:f"), "serving-function"),
        (("--source", "sqlite:///none.db", "--query", "select :id"), "source-missing"),
        (("--source", "sqlite:///t.db", "--query", "select * from t where age = :id"), "serving-id-unknown"),
    ],
)
def test_what_cannot_serve_is_not_declared(words, code, home, said, monkeypatch):
    monkeypatch.chdir(home.parent)
    answer, ended = said("data", "serve", "accounts", *words)
    assert (answer["error"]["code"], ended) == (code, 2)
    assert declared(home) is None
    assert said("data", "serve", "nowhere")[0]["error"]["code"] == "unknown-table"


def test_a_password_in_a_declaration_is_shown_to_nobody(home, said):
    source = "postgresql://me:hunter2@localhost:1/db?connect_timeout=1"
    answer, _ = said("data", "serve", "accounts", "--source", source, "--query", "select :id")
    assert answer["error"]["code"] == "sql-connection"
    opened = Home.open(home).catalogue
    serving = Serving(source=source, query="select :id")
    opened.keep_table(
        TableRecord(name="accounts", source=str(home.parent / "t.csv"), id="id", serving=serving)
    )
    shown = said("data", "list")[0]
    assert shown["tables"][0]["serving"]["source"].startswith("postgresql://me:***@")
    assert "hunter2" not in json.dumps([answer, shown])
