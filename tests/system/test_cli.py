"""The commands as people use them: real processes, real TLS, and every mistake with its own clear error."""

import sqlite3
import subprocess

import polars as pl
import pytest

from parley.net.authority import create_single

from tests.system.parties import (
    EXAMPLE,
    Party,
    arguments,
    environment,
    failed,
    parley,
    plan,
    spawned,
    two_parties,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="module")
def parties(folder):
    with two_parties(folder) as both:
        yield both


@pytest.fixture
def bank(parties):
    return parties[0]


@pytest.fixture
def operator(parties):
    return parties[1]


# ── looking around ────────────────────────────────────────────────────────────────────────────────────


def test_who_and_what_a_party_knows(folder, bank, operator):
    me = bank.done("identity")
    assert me["party"] == "bank"
    assert len(me["fingerprint"].split()) == 16
    assert operator.done("peer", "list")["peers"] == [
        {"peer": "bank", "address": "", "fingerprint": me["fingerprint"]}
    ]
    shown = operator.done("data", "show", "subscribers")
    kinds = {column["name"]: column["kind"] for column in shown["columns"]}
    assert kinds["EDUCATION"] == "categorical"
    assert kinds["AGE"] == "numeric"
    assert kinds["id"] == "id"
    (listed,) = [each for each in operator.done("data", "list")["tables"] if each["table"] == "subscribers"]
    assert listed["shared_with"] == ["bank"]
    assert listed["source"] == str(folder / "operator.csv")


def test_a_table_that_moved_is_told_of_before_a_plan_is_proposed(folder, bank):
    frame = pl.read_csv(folder / "bank.csv")
    source = folder / "moving.csv"
    frame.write_csv(source)
    bank.done("data", "add", "moving", source, "--id", "id")
    checked = bank.done("data", "check", "moving")
    assert checked["rows"] == len(frame)
    assert {each["psi"] for each in checked["drift"]} == {0.0, None}
    assert not [each for each in checked["warnings"] if each["code"].startswith("drift-")]
    frame.with_columns(pl.col("LIMIT_BAL") * 3).write_csv(source)
    (found,) = [each for each in bank.done("data", "check", "moving")["warnings"] if "drift" in each["code"]]
    assert (found["code"], found["column"]) == ("drift-values", "LIMIT_BAL")
    frame.drop("LIMIT_BAL").write_csv(source)
    failed(bank.do("run", plan(folder, bank_table="moving")), "usage", "drift-column-gone", 2)


@pytest.mark.soak
def test_words_for_people(folder, bank):
    """Without --json: tables on standard output, nothing on standard error that is no terminal."""
    for words, expected in (
        (("run", plan(folder)), "what each side learnt"),
        (("runs",), "rows in common"),
        (("models",), "own splits"),
        (("identity",), "fingerprint"),
        (("peer", "list"), "operator"),
        (("data", "list"), "accounts"),
        (("data", "show", "accounts"), "LIMIT_BAL"),
        (("data", "check", "accounts"), "LIMIT_BAL"),
    ):
        ended = subprocess.run(
            arguments(*words, "--home", bank.home),
            capture_output=True,
            text=True,
            env=environment(),
            check=True,
        )
        assert expected in ended.stdout
        assert ended.stderr == ""
        assert not any(line != line.rstrip() for line in ended.stdout.splitlines())


# ── certificates ──────────────────────────────────────────────────────────────────────────────────────


def test_a_new_certificate_for_tls_is_used_while_the_party_runs_and_no_peer_is_told(bank, operator, tmp_path):
    before = bank.done("identity", "show")
    assert (before["authority"]["key"], before["replacing"]) == (True, None)
    assert before["authority"]["days_left"] > 3640
    assert 85 < before["leaf"]["days_left"] <= 90
    key = (bank.home / "identity" / "ca.key").rename(tmp_path / "ca.key")
    failed(bank.do("identity", "rotate"), "usage", "authority-key-missing", 2)
    after = bank.done("identity", "rotate", "--ca-key", key)
    assert not after["authority"]["key"]
    key.rename(bank.home / "identity" / "ca.key")
    assert after["leaf"]["fingerprint"] != before["leaf"]["fingerprint"]
    assert after["fingerprint"] == before["fingerprint"]
    bank.wait_for("a new certificate from now on")
    assert bank.done("doctor", "operator")["well"]
    assert operator.done("peer", "list")["peers"][0]["fingerprint"] == after["fingerprint"]


def test_a_home_from_before_is_used_as_it_is_until_it_is_replaced(tmp_path):
    shop = Party(tmp_path, "shop")
    folder = shop.home / "identity"
    for file in folder.iterdir():
        file.unlink()
    single = create_single("shop")
    single.save(folder)
    shop.up()
    try:
        shown = shop.done("identity")
        assert (shown["authority"], shown["certificate"]) == (None, str(folder / "certificate.pem"))
        failed(shop.do("identity", "rotate"), "usage", "no-authority", 2)
        assert running(shop)
        replaced = shop.done("identity", "replace")
        assert (replaced["record"], replaced["certificate"]) == (None, str(folder / "ca.pem"))
        assert replaced["fingerprint"] != shown["fingerprint"]
        assert running(shop)
        shop.wait_for("a new certificate from now on")
    finally:
        shop.stop()


def running(party):
    findings = {each["check"]: each["verdict"] for each in party.done("doctor")["findings"]}
    return findings["running"] == "ok"


def test_a_query_is_a_table_wherever_the_party_runs(folder, bank, monkeypatch):
    _database(folder)
    monkeypatch.chdir(folder)
    query = "select * from accounts where LIMIT_BAL > 0"
    bank.done("data", "add", "queried", "sqlite:///bank.db", "--id", "id", "--query", query)
    monkeypatch.chdir("/")
    assert bank.done("data", "show", "queried")["rows"] > 500
    assert bank.done("run", plan(folder, bank_table="queried"))["rounds"] == 3


def _database(folder):
    frame = pl.read_csv(folder / "bank.csv")
    database = sqlite3.connect(folder / "bank.db")
    names = ", ".join(f'"{name}"' for name in frame.columns)
    database.execute(f"create table accounts ({names})")
    marks = ", ".join("?" * frame.width)
    database.executemany(f"insert into accounts values ({marks})", frame.rows())  # noqa: S608 (question marks)
    database.commit()
    database.close()


# ── mistakes that our own side finds, before a peer is bothered ───────────────────────────────────────


def test_an_empty_folder_is_no_home(tmp_path):
    for words in (("up",), ("identity",), ("runs",), ("data", "list")):
        failed(spawned(*words, "--home", tmp_path), "usage", "no-home", 2)


def test_a_home_is_made_once(bank):
    before = bank.certificate.read_text()
    failed(parley("init", "--name", "bank", "--home", bank.home), "usage", "home-exists", 2)
    assert bank.certificate.read_text() == before


@pytest.mark.parametrize(
    "address", ["7443", "host", "host:0", "host:70000", "http://host:7443", ":7443", "h:٣"]
)
def test_an_address_is_host_and_port(tmp_path, address):
    made = parley("init", "--name", "bank", "--listen", address, "--home", tmp_path / "bank")
    failed(made, "usage", "bad-address", 2)
    assert not (tmp_path / "bank").exists()


def test_a_party_has_a_plain_name(tmp_path):
    failed(parley("init", "--name", "Bank AG", "--home", tmp_path / "x"), "usage", "bad-party-name", 2)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("run",), "PLAN.toml"),
        (("run", "plan.toml", "--fast"), "--fast"),
        (("sreve",), "sreve"),
        (("data", "add"), "NAME"),
        (("init",), "--name"),
        (("init", "--name", "bank", "--threads", "many"), "--threads"),
    ],
)
def test_a_wrong_command_line(words, what):
    assert what in failed(parley(*words), "usage", "bad-arguments", 2)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("name = ", "value"),
        ('name = "x"', "purpose"),
        ('name = "x"\npurpose = "y"\ncolour = "red"', "colour"),
        ('name = "x"\npurpose = "y"\n[parties.bank]\ntable = "a"\nid = "id"\n', "label"),
    ],
)
def test_a_malformed_plan(tmp_path, bank, text, what):
    path = tmp_path / "plan.toml"
    path.write_text(text)
    assert what in failed(bank.do("run", path), "usage", "bad-plan", 2)


def test_a_plan_that_is_not_there(bank):
    failed(bank.do("run", "nowhere.toml"), "usage", "plan-unreadable", 2)


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ("id,a,b\n1,2,3\n1,4,5\n", "id-duplicate"),
        ("id,a,b\n1,2,3\n,4,5\n", "id-missing"),
        ("key,a,b\n1,2,3\n", "column-unknown"),
        ("id,a,a\n1,2,3\n", "source-duplicate-columns"),
        ("id,a,b\n", "source-empty"),
    ],
)
def test_a_table_that_cannot_be_used_is_not_registered(tmp_path, bank, rows, code):
    source = tmp_path / "table.csv"
    source.write_text(rows)
    failed(bank.do("data", "add", "broken", source, "--id", "id"), "usage", code, 2)
    failed(bank.do("data", "show", "broken"), "usage", "unknown-table", 2)


def test_a_table_is_shared_with_known_peers_only(folder, bank):
    added = bank.do("data", "add", "x", folder / "bank.csv", "--id", "id", "--share-with", "nobody")
    failed(added, "usage", "unknown-peer", 2)


def test_a_certificate_names_its_party_and_is_not_exchanged_by_the_way(tmp_path, bank, operator):
    def add(name, file, *more):
        return bank.do("peer", "add", name, "--certificate", file, "--address", operator.address, *more)

    failed(add("phone", operator.certificate), "usage", "other-party-named", 2)
    failed(add("bank", bank.certificate), "usage", "own-certificate", 2)
    failed(add("operator", tmp_path / "none.pem"), "usage", "certificate-unreadable", 2)
    failed(add("operator", EXAMPLE / "plan.toml"), "usage", "certificate-unreadable", 2)
    other = Party(tmp_path, "operator")
    failed(add("operator", other.certificate), "usage", "peer-has-another-certificate", 2)
    assert add("operator", other.certificate, "--replace").code == 0
    assert add("operator", operator.certificate, "--replace").code == 0


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ({"bank_columns": '"SALARY"'}, "column-unknown"),
        ({"label": "defaulted"}, "column-unknown"),
        ({"bank_table": "deposits"}, "unknown-table"),
        ({"bank_columns": '"default"'}, "label-among-features"),
    ],
)
def test_our_part_of_the_plan_is_wrong(folder, bank, operator, words, code):
    begins = len(operator.said())
    failed(bank.do("run", plan(folder, **words)), "usage", code, 2)
    assert operator.said()[begins:] == "", "the peer was bothered"
    assert bank.runs()[-1]["outcome"]["code"] == code


@pytest.mark.parametrize(
    ("values", "code"), [(["1"], "label-constant"), (["1", "2", "3"], "label-not-binary")]
)
def test_a_label_that_is_not_binary(folder, bank, operator, values, code):
    frame = pl.read_csv(folder / "bank.csv", schema_overrides={"id": pl.String})
    label = pl.Series("default", [int(values[row % len(values)]) for row in range(len(frame))])
    source = folder / f"{code}.csv"
    frame.with_columns(label).write_csv(source)
    bank.done("data", "add", code, source, "--id", "id")
    begins = len(operator.said())
    failed(bank.do("run", plan(folder, bank_table=code)), "usage", code, 2)
    assert operator.said()[begins:] == "", "the peer was bothered"


def test_the_other_party_holds_the_label(folder, operator):
    failed(operator.do("run", plan(folder)), "usage", "not-active", 2)


# ── what only the peer can find: its own error in full, ours only its public words ────────────────────


@pytest.mark.parametrize(
    ("words", "code", "private"),
    [
        ({"operator_columns": '"INCOME"'}, "column-unknown", "INCOME"),
        ({"operator_table": "callers"}, "unknown-table", "subscribers"),
        ({"operator_table": "unshared"}, "table-not-shared", "unshared"),
    ],
)
def test_the_peers_part_of_the_plan_is_wrong(folder, bank, operator, words, code, private):
    operator.done("data", "add", "unshared", folder / "operator.csv", "--id", "id")
    begins = len(operator.said())
    what = failed(bank.do("run", plan(folder, **words)), "peer-aborted", code, 6)
    assert private not in what
    operator.wait_for(f"[{code}]", begins)
    assert private in operator.said()[begins:]


def test_no_ids_in_common(folder, bank, operator):
    source = folder / "strangers.csv"
    frame = pl.read_csv(folder / "operator.csv", schema_overrides={"id": pl.String})
    frame.with_columns(pl.Series("id", [f"9999{row:08}" for row in range(len(frame))])).write_csv(source)
    operator.done("data", "add", "strangers", source, "--id", "id", "--share-with", "bank")
    begins = len(operator.said())
    what = failed(bank.do("run", plan(folder, operator_table="strangers")), "usage", "no-common-ids", 2)
    assert "digits" in what
    operator.wait_for("[no-common-ids]", begins)
    assert operator.runs()[-1]["state"] == "failed"


# ── who is there, and who is who ──────────────────────────────────────────────────────────────────────


def test_nobody_serves(folder, tmp_path, bank):
    alone = Party(tmp_path, "bank")
    failed(alone.do("run", plan(folder)), "usage", "party-not-running", 2)
    failed(parley("run", plan(folder), "--home", bank.home / "models"), "usage", "no-home", 2)


def test_a_port_serves_one_party(tmp_path, bank):
    other = Party(tmp_path, "other", bank.address)
    ended = subprocess.run(
        arguments("up", "--home", other.home), capture_output=True, text=True, env=environment(), check=False
    )
    assert ended.returncode == 2
    assert "[port-unavailable]" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.fixture(scope="module")
def shop(folder, tmp_path_factory, parties):
    """A party that the operator does not know, though it knows the operator."""
    shop = Party(tmp_path_factory.mktemp("shop"), "shop")
    shop.meet(parties[1], dials=True)
    shop.done("data", "add", "accounts", folder / "bank.csv", "--id", "id")
    yield shop.up()
    assert shop.stop() == 0


def shops_plan(folder):
    path = plan(folder)
    path.write_text(path.read_text().replace("[parties.bank]", "[parties.shop]"))
    return path


def test_a_peer_does_not_know_our_certificate(folder, shop, operator):
    begins = len(operator.said())
    shop.meet(operator, dials=True)
    outcome = shop.do("run", shops_plan(folder))
    failed(outcome, "refused", "certificate-unknown-to-peer", 3)
    operator.wait_for("turned away", begins)


def test_a_peer_is_not_there(folder, tmp_path, shop):
    nobody = Party(tmp_path, "operator")
    shop.done(
        "peer",
        "add",
        "operator",
        "--certificate",
        nobody.certificate,
        "--address",
        nobody.address,
        "--replace",
    )
    failed(shop.do("run", shops_plan(folder)), "peer-lost", "peer-unreachable", 4)


def test_somebody_else_answers_for_the_peer(folder, tmp_path, shop, operator):
    expected = Party(tmp_path, "operator")
    shop.done(
        "peer",
        "add",
        "operator",
        "--certificate",
        expected.certificate,
        "--address",
        operator.address,
        "--replace",
    )
    what = failed(shop.do("run", shops_plan(folder)), "peer-misbehaved", "certificate-not-pinned", 5)
    assert operator.done("identity")["fingerprint"] in what
    assert expected.done("identity")["fingerprint"] in what
