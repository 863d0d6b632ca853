"""Parties whose store is a database that goes away and comes back in the middle of a run."""

import json

import pytest

from tests.postgres import running_server
from tests.system.parties import plan, two_parties, until, watching
from tests.system.test_resume import kept, pieces, state

pytestmark = [pytest.mark.soak, pytest.mark.postgres, pytest.mark.timeout(400)]

TREES = 200


@pytest.fixture
def server(monkeypatch):
    with running_server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


def rounds(party):
    """Rounds kept of the run that is under way; its store may be away."""
    names = [path.name for path in party.home.glob("runs/*/round-*")]
    return max((int(name.removeprefix("round-")) for name in names), default=0)


def test_a_store_that_restarts_or_is_away_at_the_end_changes_nothing_of_a_run(tmp_path, server):
    with two_parties(tmp_path, bank=server.url) as (bank, operator):
        path = plan(tmp_path, trees=TREES)
        undisturbed = bank.done("run", path)["run"]
        models = {party.name: pieces(party, undisturbed) for party in (bank, operator)}
        with watching(bank, path) as client:
            until(lambda: kept(bank) >= 5)
            with server.away():
                pass
            until(lambda: rounds(bank) >= 10)
            with server.away():
                output, _ = client.communicate(timeout=120)
                assert client.returncode == 0, output
                until(lambda: state(operator) == "finished")
                assert bank.do("runs").error["code"] == "store-unreachable"
        assert "could not be noted yet" in bank.said()
        until(lambda: state(bank) == "finished")
        for party in (bank, operator):
            assert pieces(party, json.loads(output)["run"]) == models[party.name]


def test_a_run_that_was_interrupted_goes_on_once_the_store_of_a_party_is_back(tmp_path, server):
    with two_parties(tmp_path, operator=server.url) as (bank, operator):
        path = plan(tmp_path, trees=TREES)
        undisturbed = bank.done("run", path)["run"]
        models = {party.name: pieces(party, undisturbed) for party in (bank, operator)}
        with watching(bank, path) as client:
            until(lambda: kept(bank) >= 5)
            with server.away():
                bank.kill()
                operator.wait_for("could not be noted yet")
                client.communicate(timeout=60)
                begins = len(operator.said())
                bank.up()
                operator.wait_for("store-unreachable", begins)
                assert state(bank) in ("running", "interrupted")
        until(lambda: state(bank) == "finished")
        until(lambda: state(operator) == "finished")
        run = bank.runs()[-1]["run"]
        for party in (bank, operator):
            assert pieces(party, run) == models[party.name]
