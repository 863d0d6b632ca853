"""The commands as real processes: the whole path, and what becomes of a run when one of them stops."""

import os
import re
import signal
import subprocess
from pathlib import Path

import msgspec
import pytest

from parley.store.home import Home
from parley.store.runlog import log_of

from tests.system.parties import (
    Party,
    arguments,
    environment,
    failed,
    plan,
    spawned,
    two_parties,
    until,
    watching,
)


def test_from_certificates_to_a_model(tmp_path):
    """Every command in a process of its own."""
    with two_parties(tmp_path, run=spawned) as (bank, operator):
        _train_and_look(tmp_path, bank, operator)


def _train_and_look(folder, bank, operator):
    report = bank.done("run", plan(folder, trees=6))
    lines = {party: (folder / f"{party}.csv").read_text().count("\n") for party in ("bank", "operator")}
    assert report["rows"] == {party: count - 1 for party, count in lines.items()}
    assert report["common"] == report["training"] + report["validation"] + report["test"] > 500
    assert report["rounds"] == 6
    assert {(each["model"], each["metric"]) for each in report["quality"]} == {
        ("bank alone", "auc"),
        ("bank alone", "ks"),
        ("joint", "auc"),
        ("joint", "ks"),
    }
    assert [cost["step"] for cost in report["costs"]] == ["align", "train", "evaluate", "compare"]
    assert all(cost["sent"] > 0 for cost in report["costs"][:3])
    assert {learnt["party"] for learnt in report["learnt"]} == {"bank", "operator"}

    run = report["run"]
    for party, role in ((bank, "active"), (operator, "passive")):
        listed = party.runs()[-1]
        assert (listed["run"], listed["plan"], listed["role"]) == (run, "test", role)
        assert listed["state"] == "finished"
        assert listed["since"] >= listed["began"]
        assert run in [model["model"] for model in party.done("models")["models"]]
    alone = Home.open(bank.home).reference(run).alone  # kept for when the model is used, where it was led
    assert (alone.owners, {each.name for each in alone.columns}) == (
        ("bank",),
        {"LIMIT_BAL", "BILL_AMT1", "PAY_AMT1"},
    )
    assert Home.open(operator.home).reference(run) is None
    led, followed = (party.done("model", "show", run) for party in (bank, operator))
    assert {each["column"] for each in led["columns"]} == {"LIMIT_BAL", "BILL_AMT1", "PAY_AMT1"}
    handles = {each["handle"]: each["column"] for each in followed["columns"]}
    assert handles in ({"#0": "PAY_0", "#1": "EDUCATION"}, {"#0": "EDUCATION", "#1": "PAY_0"})
    assert followed["importances"] == []
    assert all(each["column"] in each["left"] for each in led["splits"] + followed["splits"])
    named = {(each["party"], each["column"]) for each in led["importances"]}
    assert not {column for party, column in named if party == "operator"} & {"PAY_0", "EDUCATION"}


# ── things that stop ──────────────────────────────────────────────────────────────────────────────────

ENDLESS = 100_000


def begun(party, begins):
    """Wait until a run is in its training."""
    party.wait_for(" begins: ", begins)
    until(lambda: list(party.home.glob("runs/*/round-*")))


@pytest.mark.soak
def test_a_peer_that_is_killed_is_reported_and_we_stay_up(tmp_path):
    with two_parties(tmp_path, people=300) as (bank, operator):
        with watching(bank, plan(tmp_path, trees=ENDLESS)) as client:
            begun(bank, 0)
            operator.kill()
            bank.wait_for("is interrupted: ")
            interrupted = bank.runs()[-1]
            assert (interrupted["state"], interrupted["outcome"]["family"]) == ("interrupted", "peer-lost")
            # we stay up, and say who is missing
            failed(bank.do("run", plan(tmp_path)), "peer-lost", "peer-unreachable", 4)
            bank.done("run", "cancel", interrupted["run"])
            output, _ = client.communicate(timeout=10)
        assert client.returncode == 3
        assert '"code":"run-cancelled"' in output
        operator.up()
        assert bank.done("run", plan(tmp_path))["rounds"] == 3


def test_a_party_that_is_stopped_tells_the_others(tmp_path):
    with two_parties(tmp_path, people=300) as (bank, operator):
        with watching(bank, plan(tmp_path, trees=ENDLESS)) as client:
            begun(bank, 0)
            assert bank.stop() == 0
            output, _ = client.communicate(timeout=20)
        assert client.returncode == 1
        assert '"code":"party-stopped"' in output
        operator.wait_for("[party-stopped]")
        assert bank.said().splitlines()[-1].endswith("stopped")
        for party in (bank, operator):
            stands_still = party.runs()[-1]
            assert stands_still["state"] == "interrupted"
            assert stands_still["outcome"]["code"] == "party-stopped"
        run = stands_still["run"]
        bank.up()
        until(lambda: bank.runs()[-1]["state"] == "running")
        until(lambda: [each for each in records(operator, run) if each.get("attempt") == 2])
        bank.done("run", "cancel", run)
        until(lambda: operator.runs()[-1]["state"] == "cancelled")
        _both_logs_tell_the_same(bank, operator, run)
        _no_log_holds_a_cell(tmp_path, bank, operator, run)
        assert "Traceback" not in bank.said() + operator.said()


def records(party, run):
    """The log of a run at a party."""
    return [msgspec.to_builtins(each) for each in log_of(Home.open(party.home), run).read()]


def _both_logs_tell_the_same(bank, operator, run):
    """Why it stood still, that it went on, how it ended; and what a passive party wants to know meanwhile."""
    for party, role in ((bank, "active"), (operator, "passive")):
        until(lambda: _is_whole(records(party, run)))  # noqa: B023 (asked at once)
        told = records(party, run)
        assert {(each["run"], each["party"], each["role"]) for each in told} == {(run, party.name, role)}
        assert [each["number"] for each in told] == list(range(1, len(told) + 1))
        stops = [each for each in told if each["level"] != "info"]
        assert [each["code"] for each in stops] == ["party-stopped", "run-cancelled"]
        assert [each["attempt"] for each in stops] == [1, 2]
        begins = {each["attempt"]: each["figures"]["place"] for each in told if each["kind"] == "attempt"}
        assert begins[1] == 0 < begins[2]
        phases = [each["figures"] for each in told if each["kind"] == "phase" and each.get("step") == "train"]
        assert phases
        assert all(each["total"] == ENDLESS for each in phases)
        assert any(each.get("figures", {}).get("memory", 0) > 1 << 20 for each in told)
        other = {"bank": "operator", "operator": "bank"}[party.name]
        assert {each["peer"] for each in told if each["kind"] == "traffic"} == {other}


def _is_whole(told):
    """Whether both workers have ended, and the run."""
    kinds = [each["kind"] for each in told]
    return "end" in kinds and kinds.count("traffic") == 2


def _no_log_holds_a_cell(folder, bank, operator, run):
    """The log of the run names no cell that is longer than three letters, that of the party no id."""
    tables = [(folder / f"{name}.csv").read_text().splitlines()[1:] for name in ("bank", "operator")]
    rows = [line.split(",") for lines in tables for line in lines]
    cells = {cell.strip() for row in rows for cell in row if len(cell.strip()) > 3}
    ids = {form for row in rows for form in (row[0], row[0].replace("-", ""))}
    for party in (bank, operator):
        texts = [each["text"] for each in records(party, run)]
        assert not _words("\n".join(texts)) & (cells | ids)
        assert not _words(party.said()) & ids


def _words(text):
    words = set(re.findall(r"[\w-]+", text))
    assert len(words) > 30, text
    return words


def test_a_worker_that_is_killed_fails_its_run_at_both_parties_and_leaves_them_up(tmp_path):
    with two_parties(tmp_path, people=300) as (bank, operator):
        with watching(bank, plan(tmp_path, trees=ENDLESS)) as client:
            begun(bank, 0)
            serving = operator.process.pid
            (worker,) = Path(f"/proc/{serving}/task/{serving}/children").read_text().split()
            os.kill(int(worker), signal.SIGKILL)
            output, _ = client.communicate(timeout=40)
        assert client.returncode == 6
        assert '"code":"worker-killed"' in output
        for party in (bank, operator):
            until(lambda: party.runs()[-1]["state"] == "failed")  # noqa: B023 (asked at once)
            assert party.runs()[-1]["outcome"]["code"] == "worker-killed"
        assert bank.done("run", plan(tmp_path))["rounds"] == 3


@pytest.mark.soak
def test_a_client_that_leaves_does_not_end_the_run(tmp_path):
    with two_parties(tmp_path, people=300) as (bank, _):
        with watching(bank, plan(tmp_path, trees=150)) as client:
            bank.wait_for(" begins: ")
            client.send_signal(signal.SIGINT)
            output, _ = client.communicate(timeout=10)
        assert client.returncode == 130
        assert '"code":"no-longer-watching"' in output
        assert "goes on" in output
        bank.wait_for(" finished: ")
        assert bank.runs()[-1]["state"] == "finished"


def test_an_unforeseen_error_is_short_unless_asked_for(tmp_path):
    party = Party(tmp_path, "bank")
    (party.home / "keys").mkdir()
    (party.home / "keys" / "consortium.json").write_bytes(b"no JSON at all")
    failed(spawned("votes", "--home", party.home), "bug", "internal", 70)
    ended = subprocess.run(
        arguments("votes", "--home", party.home),
        capture_output=True,
        text=True,
        env=environment(PARLEY_DEBUG="1"),
        check=False,
    )
    assert ended.returncode == 70
    assert "Traceback" in ended.stderr
