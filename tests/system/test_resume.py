"""Runs that something comes between: they stand still, go on by themselves, and end in the same model."""

import json
import signal
import time

import pytest

from tests.system.parties import consortium, history, plan, two_parties, until, watching
from tests.system.test_consortium import approved

pytestmark = pytest.mark.timeout(240)

TREES = 60


def run_of(party):
    return party.runs()[-1]


def state(party):
    return run_of(party)["state"]


def pieces(party, run):
    """A party's piece of a model, without the model's name."""
    return (party.home / "models" / f"{run}.json").read_text().replace(run, "RUN")


def kept(party):
    """Rounds kept of the latest run."""
    names = [path.name for path in party.home.glob(f"runs/{run_of(party)['run']}/round-*")]
    return max((int(name.removeprefix("round-")) for name in names), default=0)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Two parties, and the model of a run that nothing came between."""
    folder = tmp_path_factory.mktemp("parties")
    with two_parties(folder) as (bank, operator):
        path = plan(folder, trees=TREES)
        run = bank.done("run", path)["run"]
        yield bank, operator, path, {party.name: pieces(party, run) for party in (bank, operator)}


def finished_alike(bank, operator, client, models):
    output, _ = client.communicate(timeout=120)
    assert client.returncode == 0, output
    report = json.loads(output)
    until(lambda: state(operator) == "finished")
    for party in (bank, operator):
        assert pieces(party, report["run"]) == models[party.name]
        assert not list(party.home.glob("runs/*/round-*")), "what it takes to go on is let go of at the end"
    return report


@pytest.mark.soak
@pytest.mark.parametrize("after", [20])
def test_a_run_whose_passive_party_is_killed_goes_on_when_it_is_back(undisturbed, after):
    bank, operator, path, models = undisturbed
    with watching(bank, path) as client:
        until(lambda: run_of(bank)["state"] == "running" and kept(bank) >= after)
        operator.kill()
        until(lambda: state(bank) == "interrupted", patience=40)
        assert run_of(bank)["outcome"]["peer"] == "operator"
        operator.up()
        finished_alike(bank, operator, client, models)


@pytest.mark.soak
@pytest.mark.parametrize("after", [1, 20])
def test_a_run_whose_active_party_is_killed_goes_on_when_it_is_back(undisturbed, after):
    bank, operator, path, models = undisturbed
    with watching(bank, path) as client:
        until(lambda: kept(bank) >= after and operator.runs()[-1]["state"] == "running")
        bank.kill()
        until(lambda: state(operator) == "interrupted", patience=40)
        assert run_of(operator)["outcome"]["peer"] == "bank"
        client.communicate(timeout=20)
        bank.up()
        until(lambda: state(bank) == "finished")
        until(lambda: state(operator) == "finished")
        for party in (bank, operator):
            assert pieces(party, run_of(party)["run"]) == models[party.name]


@pytest.mark.soak
def test_a_party_that_hangs_is_lost_and_taken_up_again(undisturbed):
    bank, operator, path, models = undisturbed
    with watching(bank, path) as client:
        until(lambda: kept(bank) >= 5)
        operator.process.send_signal(signal.SIGSTOP)
        try:
            until(lambda: state(bank) == "interrupted", patience=40)
            time.sleep(1)
        finally:
            operator.process.send_signal(signal.SIGCONT)
        finished_alike(bank, operator, client, models)


def test_any_party_may_cancel_a_run_and_all_say_so(undisturbed):
    bank, operator, path, _ = undisturbed
    path = plan(path.parent, trees=20_000)
    for who in (bank, operator):
        with watching(bank, path) as client:
            until(lambda: kept(bank) >= 1)
            who.done("run", "cancel", run_of(bank)["run"])
            output, _ = client.communicate(timeout=60)
            assert json.loads(output)["error"]["code"] == "run-cancelled"
        for party in (bank, operator):
            until(lambda: state(party) == "cancelled", patience=40)  # noqa: B023 (asked at once)
            assert run_of(party)["outcome"]["code"] == "run-cancelled"
            until(lambda: not list(party.home.glob("runs/*/round-*")))  # noqa: B023 (asked at once)


@pytest.mark.soak
def test_a_run_on_the_ledger_is_paused_and_resumed_there_and_no_round_is_committed_to_twice(tmp_path):
    with consortium(tmp_path) as (bank, operator, regulator):
        undisturbed = bank.done("run", approved(bank, operator, plan(tmp_path, trees=TREES, runs=2)))
        models = {party.name: pieces(party, undisturbed["run"]) for party in (bank, operator)}
        with watching(bank, tmp_path / "plan-0.toml") as client:
            until(lambda: kept(bank) >= 30)
            operator.kill()
            until(lambda: state(bank) == "interrupted", patience=40)
            operator.up()
            report = finished_alike(bank, operator, client, models)
        until(lambda: [each for each in history(regulator) if each["type"] == "run.share"][1:])
        acts = [
            each
            for each in history(regulator)
            if each.get("run") == report["run"] or report["run"] in str(each)
        ]
        types = [each["type"] for each in acts]
        assert types.count("run.pause") == types.count("run.resume") == 1
        assert all(each["code"] == "accepted" for each in acts)
        assert regulator.done("ledger", "verify")["leaves"] == len(history(bank))
