"""`parley doctor`: each thing that can be wrong is found, named, and comes with what to do."""

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from parley import _native
from parley.net.authority import AUTHORITY_VALIDITY, VALIDITY, Authority, create_identity, create_single
from parley.party import site
from parley.party.credentials import AUTHORITY_WARNING
from parley.party.site import MIB, examine_site
from parley.store.settings import SETTINGS_FILE

from tests.system.parties import Party, caught_up, failed, invited, parley, spawned

NOW = datetime.now(UTC)
CHECKS = [
    "settings",
    "home",
    "certificate",
    "store",
    "ledger",
    "authority",
    "disk",
    "memory",
    "cores",
    "kernels",
    "proxy",
]


@pytest.fixture
def bank(tmp_path):
    return Party(tmp_path, "bank")


def found(party, environment=None, now=NOW):
    """What is found at the site of a party, by check."""
    return {each.check: each for each in examine_site(party.home, environment or {}, now)}


# ── our own site ──────────────────────────────────────────────────────────────────────────────────────


def test_a_site_that_is_well(bank):
    findings = found(bank)
    assert list(findings) == CHECKS
    for check in ("settings", "home", "certificate", "authority", "store", "proxy"):
        assert findings[check].verdict == "ok", findings[check]
    assert findings["ledger"].verdict == "skipped"


def test_the_command_says_whether_the_party_runs_and_ends_with_0(bank):
    idle = bank.done("doctor")
    assert idle["well"]
    by_check = {each["check"]: each for each in idle["findings"]}
    assert by_check["running"]["verdict"] == "warning"
    assert "parley up" in by_check["running"]["remedy"]
    bank.up()
    try:
        by_check = {each["check"]: each for each in bank.done("doctor")["findings"]}
        assert by_check["running"]["verdict"] == "ok"
        assert bank.address in by_check["running"]["found"]
        failed(bank.do("up"), "usage", "party-running", 2)
    finally:
        bank.stop()


def test_something_that_failed_makes_the_exit_code_1_and_is_no_error(bank):
    (bank.home / SETTINGS_FILE).write_text("pateince = 3")
    ended = spawned("doctor", "--home", bank.home)
    assert ended.code == 1
    assert not ended.answer["well"]
    (failure,) = [each for each in ended.answer["findings"] if each["verdict"] == "failure"]
    assert (failure["check"], failure["code"]) == ("settings", "bad-settings")
    assert "'patience'" in failure["remedy"]


def test_without_a_home_there_is_nothing_to_look_at(tmp_path):
    failed(parley("doctor", "--home", tmp_path), "usage", "no-home", 2)


def test_a_home_that_others_can_look_into(bank):
    bank.home.chmod(0o755)
    assert found(bank)["home"].verdict == "warning"
    (bank.home / "handles.key").chmod(0o644)
    finding = found(bank)["home"]
    assert finding.verdict == "failure"
    assert "handles.key" in finding.found
    assert "chmod 700" in finding.remedy


def test_a_key_that_others_can_read(bank):
    (bank.home / "identity" / "leaf.pem").chmod(0o640)
    assert found(bank)["certificate"].code == "key-exposed"


HOUR = timedelta(hours=1)
DUE = (VALIDITY + timedelta(days=1)) / 3
"""Of a certificate of TLS, left when it is to be renewed: it begins a day early."""


@pytest.mark.parametrize(
    ("left", "verdict"), [(DUE + HOUR, "ok"), (DUE - HOUR, "warning"), (HOUR, "warning"), (-HOUR, "failure")]
)
def test_a_certificate_near_its_end(bank, left, verdict):
    findings = found(bank, now=NOW + VALIDITY - left)
    assert findings["certificate"].verdict == verdict
    if verdict == "warning":
        assert "parley identity rotate" in findings["certificate"].remedy
        (bank.home / "identity" / "ca.key").unlink()
        findings = found(bank, now=NOW + VALIDITY - left)
        assert "bring ca.key back" in findings["certificate"].remedy
        assert "kept elsewhere" in findings["authority"].found


def test_an_authority_near_its_end(bank):
    (bank.home / "identity" / "leaf.pem").unlink()
    folder = bank.home / "identity"
    for left, verdict in ((AUTHORITY_WARNING + HOUR, "ok"), (AUTHORITY_WARNING - HOUR, "warning")):
        moment = NOW + AUTHORITY_VALIDITY - left
        Authority.load(folder).issue(now=moment).save_leaf(folder)
        finding = found(bank, now=moment)["authority"]
        assert finding.verdict == verdict
    assert "parley identity replace" in finding.remedy


def test_a_home_without_an_authority(bank):
    folder = bank.home / "identity"
    for file in folder.iterdir():
        file.unlink()
    single = create_single("bank")
    single.save(folder)
    findings = found(bank)
    assert findings["certificate"].verdict == findings["authority"].verdict == "ok"
    late = found(bank, now=single.ends - HOUR)["certificate"]
    assert late.verdict == "warning"
    assert "parley identity replace" in late.remedy


def test_an_identity_from_before_a_replacement(bank):
    """A copy brought back: the ledger has another certificate since."""
    bank.done("consortium", "create", "test")
    folder = bank.home / "identity"
    for file in folder.iterdir():
        file.unlink()
    create_identity("bank").save(folder)
    finding = found(bank)["authority"]
    assert (finding.verdict, finding.code) == ("failure", "certificate-revoked")


def test_a_certificate_of_another_party(bank):
    for file in (bank.home / "identity").iterdir():
        file.unlink()
    (bank.home / "identity").rmdir()
    create_identity("shop").save(bank.home / "identity")
    assert "names shop" in found(bank)["certificate"].found


def test_a_database_that_is_damaged(bank):
    database = bank.home / "party.db"
    content = bytearray(database.read_bytes())
    content[4096:8192] = b"\xff" * 4096
    database.write_bytes(content)
    assert found(bank)["store"].verdict == "failure"
    database.write_bytes(b"no database at all, whatever its name says")
    ended = bank.do("doctor")
    assert ended.code == 1
    assert {each["check"] for each in ended.answer["findings"]} == {*CHECKS, "running", "clock"}


def test_a_database_that_is_missing_is_not_made_by_looking(bank):
    (bank.home / "party.db").unlink()
    assert found(bank)["store"].verdict == "failure"
    assert not (bank.home / "party.db").exists()


def test_a_database_of_another_release(bank):
    with sqlite3.connect(bank.home / "party.db") as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    ended = bank.do("doctor")
    assert ended.code == 1
    (failure,) = [each for each in ended.answer["findings"] if each["verdict"] == "failure"]
    assert failure["code"] == "catalogue-version"


def test_a_store_that_does_not_answer_is_named_without_its_password(bank):
    (bank.home / "party.db").unlink()
    text = (bank.home / SETTINGS_FILE).read_text()
    url = "postgresql://me:hunter2@localhost:1/db?connect_timeout=1"
    (bank.home / SETTINGS_FILE).write_text(text.replace('store = ""', f'store = "{url}"'))
    finding = found(bank)["store"]
    assert (finding.verdict, finding.code) == ("failure", "store-unreachable")
    assert "me:***@localhost" in finding.found
    assert "hunter2" not in str(bank.done("config", "show"))


@pytest.mark.postgres
def test_a_store_in_postgres(tmp_path, postgres_server, monkeypatch):
    monkeypatch.setenv("PG_SECRET", postgres_server.environment["PG_SECRET"])
    bank = Party(tmp_path, "doctors-bank", store=postgres_server.url)
    finding = found(bank, postgres_server.environment)["store"]
    assert finding.verdict == "ok"
    for words in ("PostgreSQL", "schema parley_doctors_bank", "version", "kB"):
        assert words in finding.found
    (answer,) = [each for each in bank.done("config", "show")["settings"] if each["name"] == "store"]
    assert answer["value"] == postgres_server.url
    moved = bank.done("store", "move", "--to", "sqlite")
    assert moved["rows"] == {"peers": 0, "tables": 0, "invitations": 0, "runs": 0}
    assert "SQLite" in found(bank)["store"].found
    failed(bank.do("store", "move"), "usage", "store-there-already", 2)


def test_the_ledgers_copy(bank):
    bank.done("consortium", "create", "test")
    assert found(bank)["ledger"].verdict == "ok"
    path = bank.home / "ledger" / "ledger.db"
    path.write_bytes(path.read_bytes()[:4096] + b"\xff" * 4096)
    finding = found(bank)["ledger"]
    assert finding.verdict == "failure"
    assert "the others have the ledger" in finding.remedy


@pytest.mark.parametrize(
    ("environment", "verdict", "words"),
    [
        ({}, "ok", "dialled directly"),
        ({"HTTPS_PROXY": "http://me:secret@proxy:3128", "NO_PROXY": "shop"}, "ok", "proxy:3128, except shop"),
        ({"HTTPS_PROXY": "ftp://proxy"}, "failure", "names no proxy"),
    ],
)
def test_the_proxy_without_its_password(bank, environment, verdict, words):
    finding = found(bank, environment)["proxy"]
    assert finding.verdict == verdict
    assert words in finding.found
    assert "secret" not in finding.found


def test_little_room_is_a_warning_and_none_a_failure(tmp_path):
    verdicts = [site.disk(tmp_path, free * MIB).verdict for free in (50_000, 500, 5)]
    assert verdicts == ["ok", "warning", "failure"]


def test_memory_that_is_allowed_must_be_there():
    assert site.memory(8000 * MIB, 4000).verdict == "ok"
    assert site.memory(8000 * MIB, 9000).verdict == "warning"
    assert site.memory(500 * MIB, 0).verdict == "warning"
    assert site.memory(None, 0).verdict == "skipped"
    assert site.available_memory() > MIB


def test_threads_must_fit_the_cores():
    assert site.cores(4, 0).verdict == "ok"
    assert site.cores(4, 4).verdict == "ok"
    assert site.cores(4, 5).verdict == "warning"


def test_kernels_slower_than_the_processor_has_are_a_warning():
    assert site.kernels(lambda: "avx2", ["avx2", "portable"]).verdict == "ok"
    assert site.kernels(lambda: "portable", ["avx2", "portable"]).verdict == "warning"
    assert site.kernels(lambda: "portable", ["portable"]).verdict == "warning"
    assert site.kernels(_native.kernel_path, _native.available_kernels()).verdict in {"ok", "warning"}


def test_kernels_that_are_not_there_are_a_failure(bank):
    ended = spawned("doctor", "--home", bank.home, PARLEY_KERNELS="abacus")
    (failure,) = [each for each in ended.answer["findings"] if each["verdict"] == "failure"]
    assert failure["check"] == "kernels"
    assert "PARLEY_KERNELS" in failure["remedy"]


# ── between us and a peer ─────────────────────────────────────────────────────────────────────────────


def about(party, peer="operator", exit_code=0):
    """What a party finds about a peer, by check; the command ends with the exit code."""
    ended = party.do("doctor", peer)
    assert ended.code == exit_code, ended.answer
    assert ended.answer["well"] == (exit_code == 0)
    return {each["check"]: each for each in ended.answer["findings"]}


@pytest.fixture
def operator(tmp_path, bank):
    operator = Party(tmp_path, "operator")
    bank.meet(operator, dials=True)
    operator.meet(bank, dials=True)
    try:
        yield operator.up()
    finally:
        bank.stop()
        operator.stop()


def test_our_running_party_examines_a_peer(bank, operator):
    bank.up()
    findings = about(bank)
    assert {each["verdict"] for each in findings.values()} == {"ok", "skipped"}
    assert findings["way-back"]["verdict"] == "ok"
    assert findings["release"]["verdict"] == "ok"
    assert findings["clock"]["verdict"] == "ok"
    assert bank.done("doctor")["findings"][-1]["verdict"] == "ok"
    operator.stop()
    assert about(bank, exit_code=1)["tcp"]["code"] == "peer-unreachable"


def test_without_a_running_party_the_command_dials_by_itself(bank, operator):
    findings = about(bank)
    assert findings["conversation"]["verdict"] == "ok"
    assert findings["way-back"]["verdict"] == "skipped"
    assert bank.done("doctor")["findings"][-1]["verdict"] == "ok"
    operator.stop()
    findings = about(bank, exit_code=1)
    assert findings["tcp"]["verdict"] == "failure"
    assert findings["tls"]["verdict"] == "skipped"


def test_a_peer_that_nobody_knows(bank):
    findings = about(bank, "nobody", exit_code=1)
    assert findings["peer"]["code"] == "unknown-peer"
    assert "parley peer add" in findings["peer"]["remedy"]


def test_a_peer_that_does_not_know_us(tmp_path, operator):
    stranger = Party(tmp_path, "shop")
    stranger.meet(operator, dials=True)
    findings = about(stranger, exit_code=1)
    assert findings["their-certificate"]["verdict"] == "ok"
    assert findings["our-certificate"]["code"] == "certificate-unknown-to-peer"


def test_members_of_one_ledger(tmp_path, bank):
    operator = Party(tmp_path, "operator")
    try:
        bank.done("consortium", "create", "test")
        bank.up()
        operator.done("join", invited(bank, "operator"))
        operator.up()
        caught_up(operator, bank)
        for party, peer in ((bank, "operator"), (operator, "bank")):
            findings = about(party, peer)
            assert findings["ledger"]["verdict"] == "ok", findings
            assert "the same consortium" in findings["ledger"]["found"]
        operator.stop()
        assert about(operator, "bank")["ledger"]["verdict"] == "ok"
    finally:
        for party in (bank, operator):
            party.stop()
