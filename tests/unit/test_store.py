"""A party's store: whichever database keeps it, it means the same."""

import itertools
import operator
import os
import shutil
import signal
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import psycopg
import pytest

from parley.core.errors import BudgetExhausted, UsageError
from parley.core.log import Log
from parley.ledger.contract.predictions import Batch, batch_path
from parley.ledger.engines.embedded.store import LedgerStore, StoredBlock, StoredLeaf
from parley.party.course import Course
from parley.party.office import Clocks, Office
from parley.party.turns import Turns
from parley.party.upkeep import sweep
from parley.serving.pages import Book
from parley.store.catalogue import Catalogue, Peer, RunRecord, Serving, TableRecord
from parley.store.home import Home, Membership
from parley.store.journal import Journal
from parley.store.migrations import STEPS, TABLES, VERSION
from parley.store.moving import SQLITE, move
from parley.store.opening import named_database
from parley.store.postgres import PostgresDatabase
from parley.store.predictions import FOLDER
from parley.store.runlog import run_logs
from parley.store.settings import SETTINGS_FILE, Settings, explained, read_settings
from parley.store.sqlite import SqliteDatabase

from tests.in_use import predictions
from tests.postgres import SECRET

DAY = 86400.0
BANK = Peer("bank", "bank.example:7443", "a certificate")
NUMBERS = itertools.count()

OF_VERSION_1 = """
    PRAGMA journal_mode = WAL;
    CREATE TABLE peers (name TEXT PRIMARY KEY, address TEXT NOT NULL, certificate TEXT NOT NULL);
    CREATE TABLE tables (name TEXT PRIMARY KEY, record BLOB NOT NULL);
    CREATE TABLE invitations (name TEXT PRIMARY KEY, certificate TEXT NOT NULL, until REAL NOT NULL);
    CREATE TABLE runs (id TEXT PRIMARY KEY, began REAL NOT NULL, record BLOB NOT NULL);
    INSERT INTO peers VALUES ('bank', 'bank.example:7443', 'a certificate');
    INSERT INTO tables VALUES ('accounts', '{"name": "accounts", "source": "a.csv", "id": "id"}');
    INSERT INTO invitations VALUES ('shop', 'another certificate', 2000000000.5);
    INSERT INTO runs VALUES ('run-1', 5.5,
        '{"id": "run-1", "began": 5.5, "role": "active", "plan": "{}", "state": "finished",
          "outcome": {"common": 7}}');
    PRAGMA user_version = 1;
"""
"""What the first release made, with rows."""


def run(name="run-1", state="finished", since=0.0, began=1.0):
    return RunRecord(id=name, began=began, role="active", plan="{}", state=state, since=since)


def refused(code, function, *args):
    with pytest.raises((UsageError, BudgetExhausted)) as caught:
        function(*args)
    assert caught.value.code == code
    assert not any(part in str(caught.value) for part in ("s3cret", ":word"))
    return caught.value


def once_reachable(function):
    """What it gives once the store is there again."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return function()
        except UsageError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def children(process):
    """Process ids of those that a process has started."""
    found = (int(each.name) for each in Path("/proc").iterdir() if each.name.isdecimal())
    return [each for each in found if parent(each) == process]


def parent(process):
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def place(request, tmp_path):
    """Opens one and the same database again and again; at first nothing is in it."""
    if request.param == "sqlite":
        SqliteDatabase.create(tmp_path / "party.db")
        return lambda: SqliteDatabase(tmp_path / "party.db")
    server = request.getfixturevalue("postgres_server")
    schema = f"parley_{next(NUMBERS)}"
    return lambda: PostgresDatabase(server.url, schema, server.environment)


@pytest.fixture
def catalogue(place):
    return Catalogue.create(place())


@pytest.fixture
def server(postgres_server, monkeypatch):
    for name, value in postgres_server.environment.items():
        monkeypatch.setenv(name, value)
    return postgres_server


def settings(**stated):
    return Settings(party="bank", listen="", **stated)


def on_postgres(tmp_path, server, name="bank"):
    """A home whose store is a schema that nobody has used."""
    return Home.create(tmp_path / name, settings(store=server.url, store_schema=f"parley_{next(NUMBERS)}"))


# ── the same in both ──────────────────────────────────────────────────────────────────────────────────


def test_what_is_kept_is_there_for_whoever_opens_it_next(catalogue, place):
    serving = Serving(source="mysql://me:${MY}@db/risk", query="select :id", age=5, entries=6, deadline=0.25)
    table = TableRecord(name="konten", source="größe.csv", id="id", partners=("shop",), serving=serving)
    catalogue.keep_peer(BANK)
    catalogue.keep_table(table)
    catalogue.keep_run(run())
    again = Catalogue(place())
    assert again.peers() == {"bank": BANK}
    assert again.peer("bank") == BANK
    assert again.table("konten") == table
    assert again.run("run-1") == run()
    assert (again.has_run("run-1"), again.has_run("run-2"), again.run("run-2")) == (True, False, None)
    refused("unknown-peer", again.peer, "shop")
    refused("unknown-table", again.table, "accounts")


def test_what_is_kept_again_is_replaced(catalogue):
    for address in ("one:1", "two:2"):
        catalogue.keep_peer(Peer("bank", address, "c"))
        catalogue.keep_table(TableRecord(name="t", source=address, id="id"))
    catalogue.keep_run(run(state="running"))
    catalogue.keep_run(run(state="failed"))
    assert catalogue.peer("bank").address == "two:2"
    assert catalogue.table("t").source == "two:2"
    assert [each.state for each in catalogue.runs()] == ["failed"]


def test_names_are_ordered_by_their_bytes_and_runs_by_their_beginning(catalogue):
    for name in ("b", "a-b", "ab", "a", "Z", "é"):
        catalogue.keep_peer(Peer(name, "", ""))
    assert list(catalogue.peers()) == ["Z", "a", "a-b", "ab", "b", "é"]
    for name, began in (("run-3", 1.0), ("run-1", 2.000000001), ("run-2", 2.0)):
        catalogue.keep_run(run(name, began=began))
    assert [each.id for each in catalogue.runs()] == ["run-3", "run-2", "run-1"]


def test_an_invitation_ends_with_its_time_or_its_use(catalogue):
    catalogue.keep_invitation("shop", "c", 100.25)
    assert catalogue.invitations(100.0) == {"shop": "c"}
    assert catalogue.invitations(100.25) == {}
    catalogue.drop_invitation("shop")
    assert catalogue.invitations(0.0) == {}


def test_a_transaction_is_done_whole_or_not_at_all(catalogue):
    def half(execute):
        execute("CREATE TABLE begun (name TEXT)")
        execute("DELETE FROM peers")
        raise ZeroDivisionError

    catalogue.keep_peer(BANK)
    for do in (catalogue.database.write, catalogue.database.alone):
        with pytest.raises(ZeroDivisionError):
            do(half)
        assert catalogue.peers() == {"bank": BANK}
        refused("store-failed", catalogue.database.read, lambda execute: execute("SELECT * FROM begun"))


def test_of_two_who_count_at_once_none_is_forgotten(catalogue, place):
    def count(execute):
        ((value,),) = execute("SELECT value FROM about WHERE name = 'count'")
        execute("UPDATE about SET value = ? WHERE name = 'count'", str(int(value) + 1))

    catalogue.database.write(lambda execute: execute("INSERT INTO about VALUES ('count', '0')"))

    def several():
        database = place()
        for _ in range(10):
            database.write(count)
        database.close()

    with ThreadPoolExecutor(4) as threads:
        for each in [threads.submit(several) for _ in range(4)]:
            each.result()
    assert catalogue.database.read(
        lambda execute: execute("SELECT value FROM about WHERE name = 'count'")
    ) == [("40",)]


def test_a_store_with_nothing_in_it_is_not_taken_for_the_partys(place):
    refused("store-empty", Catalogue, place())


def test_who_begins_at_once_begins_the_same(place):
    start = threading.Barrier(4)

    def begin():
        database = place()
        start.wait()
        catalogue = Catalogue.create(database)
        catalogue.keep_peer(Peer(f"party-{threading.get_ident()}", "", ""))
        database.close()

    with ThreadPoolExecutor(4) as threads:
        for each in [threads.submit(begin) for _ in range(4)]:
            each.result()
    database = place()
    assert len(Catalogue(database).peers()) == 4
    assert database.read(database.version) == VERSION


def test_a_later_release_was_here(place):
    database = place()
    Catalogue.create(database)
    database.write(lambda execute: database.note_version(execute, VERSION + 1))
    error = refused("catalogue-version", Catalogue, place())
    assert f"version {VERSION + 1}" in error.what
    refused("catalogue-version", Catalogue.create, place())


def test_a_store_belongs_to_one_home(catalogue, place):
    catalogue.claim("one")
    Catalogue(place()).claim("one")
    refused("store-of-another", Catalogue(place()).claim, "another")


def test_the_tables_are_those_that_are_moved(catalogue):
    made = {line.split()[2] for step in STEPS for line in step if line.startswith("CREATE TABLE")}
    assert made == {*TABLES, "about"}
    for table, columns in TABLES.items():
        query = f"SELECT {', '.join(columns)} FROM {table}"  # noqa: S608
        assert catalogue.database.read(operator.methodcaller("__call__", query)) == []


def test_its_size_is_told_and_nothing_is_wrong_with_it(catalogue):
    assert catalogue.database.size() > 8000
    assert (catalogue.database.damage(), catalogue.database.exposure()) == ("", "")


# ── a file ────────────────────────────────────────────────────────────────────────────────────────────


def older_home(tmp_path):
    home = Home.create(tmp_path / "bank", settings())
    (home.path / "party.db").unlink()
    with sqlite3.connect(home.path / "party.db") as database:
        database.executescript(OF_VERSION_1)
    database.close()
    return home.path


def test_a_file_of_the_first_release_is_brought_up_to_date_with_all_its_rows(tmp_path):
    folder = older_home(tmp_path)
    with ThreadPoolExecutor(4) as threads:
        opened = list(threads.map(lambda _: Home.open(folder).catalogue, range(4)))
    for catalogue in opened:
        assert catalogue.peers() == {"bank": BANK}
        assert catalogue.table("accounts") == TableRecord(name="accounts", source="a.csv", id="id")
        assert catalogue.invitations(1.9e9) == {"shop": "another certificate"}
        assert msgspec.json.decode(catalogue.run("run-1").outcome) == {"common": 7}
    database = SqliteDatabase(folder / "party.db")
    assert database.read(database.version) == VERSION
    assert {row[0] for row in database.read(lambda execute: execute("SELECT name FROM sqlite_schema"))} >= {
        "about",
        "runs_by_beginning",
    }


def test_a_file_that_is_not_there_is_not_made(tmp_path):
    home = Home.create(tmp_path / "bank", settings())
    (home.path / "party.db").unlink()
    opened = Home.open(home.path)
    refused("store-missing", lambda: opened.catalogue)
    assert not (home.path / "party.db").exists()


def test_a_file_that_is_no_database_is_called_damaged(tmp_path):
    home = Home.create(tmp_path / "bank", settings())
    for name in ("party.db-wal", "party.db-shm"):
        (home.path / name).unlink(missing_ok=True)
    (home.path / "party.db").write_bytes(b"not a database at all" * 100)
    refused("store-damaged", lambda: Home.open(home.path).catalogue)


def test_one_home_is_held_once(tmp_path):
    home = Home.create(tmp_path / "bank", settings())
    with home.held() as make_sure:
        make_sure()
        error = refused("party-running", Home.open(home.path).held().__enter__)
        assert str(home.path) in error.what
    with Home.open(home.path).held():
        pass


# ── what is old ───────────────────────────────────────────────────────────────────────────────────────


def swept_home(tmp_path, **stated):
    """Runs that ended 100, 10 and 1 days ago, one that did not, an old journal of none, and a new one."""
    home = Home.create(tmp_path / "bank", settings(**stated))
    for days in (100, 10, 1):
        home.catalogue.keep_run(run(f"run-{days}", "failed", since=1000 * DAY - days * DAY))
    home.catalogue.keep_run(run("run-on", "interrupted", since=1.0))
    for name in ("run-100", "run-10", "run-1", "run-on", "run-none", "run-new"):
        Journal(home.journal_folder(name)).keep_alignment(b"rows")
    os.utime(home.journal_folder("run-none"), (0, 0))
    return home


def test_ended_runs_are_kept_for_ever_and_their_journals_for_a_week(tmp_path):
    home = swept_home(tmp_path)
    swept = sweep(home, 1000 * DAY)
    assert (swept.runs, swept.journals, swept.logs) == (0, 3, 0)
    assert home.journals() == ["run-1", "run-new", "run-on"]
    assert len(home.catalogue.runs()) == 4
    assert sweep(home, 1000 * DAY).journals == 0


def test_ended_runs_are_kept_as_long_as_the_settings_say_and_others_whatever_they_say(tmp_path):
    home = swept_home(tmp_path, keep_runs=30, keep_journals=20)
    assert sweep(home, 1000 * DAY).runs == 1
    assert {each.id for each in home.catalogue.runs()} == {"run-10", "run-1", "run-on"}
    assert home.journals() == ["run-1", "run-10", "run-new", "run-on"]


def test_a_record_is_kept_no_shorter_than_the_journal(tmp_path):
    home = swept_home(tmp_path, keep_runs=1, keep_journals=20)
    assert sweep(home, 1000 * DAY).runs == 1
    assert home.catalogue.has_run("run-10")


def test_a_log_of_our_node_that_was_put_aside_is_old_some_day(tmp_path):
    home = Home.create(tmp_path / "bank", settings(keep_logs=5))
    home.node_folder.mkdir()
    for name in ("node.log", "node.log.1"):
        (home.node_folder / name).write_text("lines")
    written = (home.node_folder / "node.log.1").stat().st_mtime
    assert sweep(home, written + 4 * DAY).logs == 0
    assert sweep(home, written + 6 * DAY).logs == 1
    assert [path.name for path in home.node_folder.iterdir()] == ["node.log"]


def test_what_a_home_of_an_earlier_build_knows_of_its_consortium_is_read_and_kept_apart_from_now_on(tmp_path):
    home = Home.create(tmp_path / "bank", settings())
    (home.path / "ledger").mkdir()
    (home.path / "ledger" / "consortium.json").write_bytes(b'{"consortium":"0a","sequencer":"operator"}')
    (home.path / "ledger" / "disowned.json").write_bytes(b'{"shop":"0b"}')
    assert home.membership == Membership("0a", "operator", 0, ())
    assert home.disowned == {"shop": "0b"}
    noted = Membership("0a", "operator", 7, ("operator", "shop"))
    home.keep_membership(noted)
    home.disown("operator", "0c")
    shutil.rmtree(home.path / "ledger")
    assert home.membership == noted
    assert home.disowned == {"shop": "0b", "operator": "0c"}


def answered_home(tmp_path, **stated):
    """A ledger of two blocks with a batch in each, of which a majority has signed for the first."""
    home = Home.create(tmp_path / "bank", settings(**stated))
    home.keep_membership(Membership("ab" * 32, "bank"))
    (home.path / "ledger").mkdir(exist_ok=True)
    store = LedgerStore(home.path / "ledger" / "ledger.db")
    for height in (0, 1):
        digest = bytes([height]) * 32
        leaf = StoredLeaf(b"leaf", digest, digest, b"{}")
        batch = Batch(root="cd" * 32, count=1, height=height).value()
        block = StoredBlock(height, height, (leaf,), b"note", final=height == 0)
        store.append(block, [(batch_path("run-1", height), batch)])
    store.close()
    return home


def entered(home, batch, days):
    """A page that was entered as a batch, with its last answer so many days ago; returns its name."""
    book = Book(home.path / FOLDER, "run-1")
    page = book.begin()
    page.append(predictions("somebody"))
    if batch is not None:
        book.entered(page, batch)
    page.close()
    os.utime(page.path, (1000 * DAY - days * DAY,) * 2)
    return page.name


def test_a_prediction_is_kept_for_so_many_days_and_then_cannot_be_proven(tmp_path):
    home = answered_home(tmp_path, keep_predictions=30)
    old, new = entered(home, 0, 31), entered(home, 0, 29)
    book = Book(home.path / FOLDER, "run-1")
    assert refused("no-such-prediction", book.prediction, "0" * 16, 0)
    assert sweep(home, 1000 * DAY).pages == 1
    assert book.prediction(new, 0)[0] == "somebody"
    assert "1972-08-28" in refused("prediction-let-go", book.prediction, old, 0).what
    assert refused("no-such-prediction", book.prediction, new, 1)
    assert sweep(home, 1000 * DAY).pages == 0


def test_a_page_that_the_ledger_does_not_have_for_good_is_kept_however_old(tmp_path):
    home = answered_home(tmp_path, keep_predictions=1)
    names = [entered(home, batch, 900) for batch in (None, 1, 2)]
    assert sweep(home, 1000 * DAY).pages == 0
    for name in names:
        assert Book(home.path / FOLDER, "run-1").prediction(name, 0)[0] == "somebody"


@pytest.mark.parametrize(
    ("stated", "gone"), [({"keep_predictions": 0}, 0), ({}, 0), ({"keep_predictions": 899}, 1)]
)
def test_predictions_are_kept_for_ever_if_so_wished_and_for_years_by_default(tmp_path, stated, gone):
    home = answered_home(tmp_path, **stated)
    entered(home, 0, 900)
    assert sweep(home, 1000 * DAY).pages == gone


# ── settings ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_password_is_never_shown(tmp_path):
    home = Home.create(tmp_path / "bank", settings())
    url = "postgresql://me:hunter2@localhost:1/db?sslpassword=hunter3&connect_timeout=1"
    text = (home.path / SETTINGS_FILE).read_text().replace('store = ""', f'store = "{url}"')
    (home.path / SETTINGS_FILE).write_text(text)
    shown = [repr(read_settings(home.path)), repr(Home.open(home.path)), repr(explained(home.path))]
    with pytest.raises(UsageError) as caught:
        _ = Home.open(home.path).catalogue
    assert caught.value.code == "store-unreachable"
    for text in (*shown, str(caught.value)):
        assert "hunter" not in text
        assert "postgresql://me:***@localhost:1/db" in text


def test_what_names_no_store_is_an_error(tmp_path):
    folder = Home.create(tmp_path / "bank", settings()).path
    text = (folder / SETTINGS_FILE).read_text().replace('store = ""', 'store = "mysql://me:s3cret@host/db"')
    (folder / SETTINGS_FILE).write_text(text)
    assert "mysql://me:***@host/db" in refused("bad-settings", Home.open, folder).what


def test_a_schema_is_the_partys_own_unless_the_settings_say_another():
    assert msgspec.structs.replace(settings(), party="north-bank").schema() == "parley_north_bank"
    assert settings(store_schema="other").schema() == "other"


# ── PostgreSQL ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.postgres
def test_a_store_moves_there_and_back_with_all_its_rows(tmp_path, server):
    home = Home.open(older_home(tmp_path))
    text = (home.path / SETTINGS_FILE).read_text()
    schema = f"parley_{next(NUMBERS)}"
    (home.path / SETTINGS_FILE).write_text(
        text.replace('store_schema = ""', f'store_schema = "{schema}"') + "# a remark\n"
    )
    moved = move(Home.open(home.path), server.url)
    assert moved.rows == {"peers": 1, "tables": 1, "invitations": 1, "runs": 1}
    assert not (home.path / "party.db").exists()
    there = Home.open(home.path)
    assert there.settings.store == server.url
    assert SECRET not in (home.path / SETTINGS_FILE).read_text()
    assert "# a remark" in (home.path / SETTINGS_FILE).read_text()
    before = Catalogue(SqliteDatabase(home.path / "party.db.moved"))
    for catalogue in (before, there.catalogue):
        assert catalogue.peers() == {"bank": BANK}
        assert catalogue.invitations(1.9e9) == {"shop": "another certificate"}
        assert catalogue.runs() == before.runs()
    refused("store-there-already", move, there, server.url)
    there.catalogue.keep_peer(Peer("shop", "", "c"))
    with there.held():
        refused("party-running", move, Home.open(home.path), SQLITE)
    assert move(there, SQLITE).aside is None
    back = Home.open(home.path)
    assert back.settings.store == ""
    assert list(back.catalogue.peers()) == ["bank", "shop"]
    refused("store-not-empty", move, back, server.url)
    assert Home.open(home.path).settings.store == ""


@pytest.mark.postgres
def test_a_store_that_the_settings_name_already_is_moved_to_by_name_or_without(tmp_path, server):
    home = Home.create(tmp_path / "bank", settings())
    home.catalogue.keep_peer(BANK)
    schema = f"parley_{next(NUMBERS)}"
    text = (home.path / SETTINGS_FILE).read_text()
    text = text.replace('store = ""', f'store = "{server.url}"')
    text = text.replace('store_schema = ""', f'store_schema = "{schema}"')
    (home.path / SETTINGS_FILE).write_text(text)
    edited = Home.open(home.path)
    assert "parley store move" in refused("store-empty", lambda: edited.catalogue).remedy
    move(edited, "")
    (home.path / "party.db.moved").rename(home.path / "party.db")
    moved = Home.open(home.path)
    assert moved.catalogue.peers() == {"bank": BANK}, "a file that came back is nothing to a party"
    refused("store-not-empty", move, moved, "")
    refused("store-not-empty", move, moved, SQLITE)


@pytest.mark.postgres
def test_parties_may_share_a_database_but_not_a_schema(tmp_path, server):
    bank, shop = on_postgres(tmp_path, server), on_postgres(tmp_path, server, "shop")
    bank.catalogue.keep_peer(BANK)
    assert shop.catalogue.peers() == {}
    with bank.held(), shop.held():
        pass
    refused("store-of-another", Home.create, tmp_path / "twin", bank.settings)


@pytest.mark.postgres
def test_one_party_runs_once_wherever_its_home_was_copied_to(tmp_path, server):
    home = on_postgres(tmp_path, server)
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in (SETTINGS_FILE, "handles.key"):
        (copy / name).write_bytes((home.path / name).read_bytes())
    with home.held():
        refused("party-running", Home.open(copy).held().__enter__)
    with Home.open(copy).held():
        pass


@pytest.mark.postgres
def test_a_server_that_restarts_is_not_noticed(tmp_path, server):
    home = on_postgres(tmp_path, server)
    with home.held() as make_sure:
        home.catalogue.keep_peer(BANK)
        with server.away():
            pass
        assert home.catalogue.peers() == {"bank": BANK}
        with server.away():
            pass
        home.catalogue.keep_run(run())
        make_sure()
        refused(
            "party-running", named_database(home.path, home.settings, server.environment).hold().__enter__
        )


@pytest.mark.postgres
def test_a_party_takes_its_lock_from_its_own_connection_that_the_server_has_not_missed(tmp_path, server):
    with on_postgres(tmp_path, server).held() as make_sure:
        make_sure.__self__._session, missed = None, make_sure.__self__._session
        make_sure()
        with pytest.raises(psycopg.OperationalError):
            missed.execute("SELECT 1")
        missed.close()


@pytest.mark.postgres
async def test_what_a_server_that_is_away_could_not_note_is_noted_when_it_is_back(tmp_path, server):
    home = on_postgres(tmp_path, server)
    told = []
    log = Log("bank", time.time, lambda record: told.append(record.text))
    office = Office(home, None, Clocks(time.time, time.monotonic), 1, log, Turns(1))
    home.catalogue.keep_run(run(state="running"))
    course = Course(office, run(state="running"))
    with home.held() as make_sure, server.away():
        course.move("finish")
        assert any("could not be noted yet" in text for text in told)
        assert office.run("run-1").state == "finished"
        for function in (office.settle, lambda: course.attempt(0), make_sure):
            refused("store-unreachable", function)
    once_reachable(office.settle)
    assert home.catalogue.run("run-1").state == "finished"
    assert not office.owed


@pytest.mark.postgres
def test_a_full_disk_of_the_server_is_a_full_disk(tmp_path, server):
    home = on_postgres(tmp_path, server)
    say = "DO $$ BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = 'disk_full'; END $$"
    with pytest.raises(BudgetExhausted) as caught:
        home.catalogue.database.write(lambda execute: execute(say))
    assert caught.value.code == "disk-full"


@pytest.mark.postgres
def test_a_user_who_may_not_make_a_schema_is_told_so(tmp_path, server):
    with psycopg.connect(
        server.url.replace("${PG_SECRET}", "s3cret%2F%40%3Aword"), autocommit=True
    ) as connection:
        connection.execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
    url = server.url.replace("parley:${PG_SECRET}", "guest:guest")
    error = refused("store-failed", Home.create, tmp_path / "bank", settings(store=url))
    assert "permission denied" in error.what
    assert "guest:***@" in error.what
    assert not (tmp_path / "bank" / SETTINGS_FILE).exists()


@pytest.mark.postgres
def test_a_variable_that_is_not_set_is_named(tmp_path, server, monkeypatch):
    home = on_postgres(tmp_path, server)
    monkeypatch.delenv("PG_SECRET")
    error = refused("store-variable-unset", lambda: Home.open(home.path).catalogue)
    assert "PG_SECRET" in error.what
    monkeypatch.setenv("PG_SECRET", "wrong/word")
    error = refused("store-unreachable", lambda: Home.open(home.path).catalogue)
    assert "authentication" in error.what
    assert "wrong" not in str(error)


@pytest.mark.soak
@pytest.mark.postgres
def test_a_server_that_hangs_is_given_up(tmp_path, server):
    home = on_postgres(tmp_path, server)
    assert home.catalogue.peers() == {}
    server_process = int((server.home / "data" / "postmaster.pid").read_text().splitlines()[0])
    processes = [server_process, *children(server_process)]
    for each in processes:
        os.kill(each, signal.SIGSTOP)
    try:
        error = refused("store-unreachable", home.catalogue.peers)
        assert refused("store-unreachable", home.catalogue.peers).what != error.what, "at once this time"
    finally:
        for each in processes:
            os.kill(each, signal.SIGCONT)
    assert once_reachable(home.catalogue.peers) == {}


def test_a_log_of_a_run_is_old_some_day_unless_the_run_is_under_way(tmp_path):
    home = Home.create(tmp_path / "bank", settings(keep_logs=5))
    home.catalogue.keep_run(run("run-on", "interrupted", since=1.0))
    (home.path / "logs").mkdir()
    for name in ("run-on", "run-gone"):
        (home.path / "logs" / f"{name}.jsonl").write_text("{}\n")
    written = (home.path / "logs" / "run-gone.jsonl").stat().st_mtime
    assert sweep(home, written + 4 * DAY).logs == 0
    assert sweep(home, written + 6 * DAY).logs == 1
    assert [path.stem for path in run_logs(home)] == ["run-on"]
