"""More runs than take place at a time: they wait for their turn, and none is lost."""

from contextlib import ExitStack, contextmanager

import pytest

from tests.system.parties import failed, plan, two_parties, until, watching

ENDLESS = 20_000
PEOPLE = 300


@contextmanager
def limited(folder, *, bank, operator):
    """Two parties of which each lets so many runs take place at a time."""
    with two_parties(folder, PEOPLE) as parties:
        for party, at_once in zip(parties, (bank, operator), strict=True):
            party.set(runs_at_once=at_once)
            party.stop()
            party.up()
        yield parties


def submitted(stack, party, path, *words):
    """A run that is asked for and watched; its id."""
    before = {each["run"] for each in party.runs()}
    stack.enter_context(watching(party, path, *words))
    (run,) = until(lambda: [each["run"] for each in party.runs() if each["run"] not in before])
    return run


def states(party):
    return {each["run"]: each["state"] for each in party.runs()}


@pytest.mark.soak
def test_runs_wait_for_their_turn_by_priority_and_through_a_restart(tmp_path):
    with limited(tmp_path, bank=1, operator=1) as (bank, operator), ExitStack() as stack:
        short = plan(tmp_path, trees=2)
        long = submitted(stack, bank, plan(tmp_path, trees=ENDLESS))
        until(lambda: states(bank)[long] == "running")
        later = submitted(stack, bank, short)
        sooner = submitted(stack, bank, short, "--priority", "5")
        unwanted = submitted(stack, bank, short, "--priority", "9")
        assert {states(bank)[run] for run in (later, sooner, unwanted)} == {"queued"}
        assert bank.done("run", "show", sooner)["priority"] == 5
        bank.done("run", "cancel", unwanted)
        until(lambda: states(bank)[unwanted] == "cancelled")
        bank.kill()
        bank.up()
        until(lambda: states(bank)[long] == "running")
        assert states(bank)[later] == states(bank)[sooner] == "queued"
        bank.done("run", "cancel", long)
        until(lambda: states(bank)[later] == states(bank)[sooner] == "finished")
        since = {each["run"]: each["since"] for each in bank.runs()}
        assert since[sooner] < since[later]
        assert unwanted not in states(operator)
        failed(bank.do("run", short, "--priority", "101"), "usage", "bad-arguments", 2)


@pytest.mark.soak
def test_runs_that_a_passive_party_has_no_turn_for_go_on_when_it_has(tmp_path):
    with limited(tmp_path, bank=4, operator=1) as (bank, operator), ExitStack() as stack:
        path = plan(tmp_path, trees=40)
        runs = [submitted(stack, bank, path) for _ in range(4)]
        waiting = until(lambda: [each for each in bank.runs() if each["state"] == "interrupted"])
        assert waiting[0]["outcome"]["code"] == "party-busy"
        until(lambda: {states(bank)[run] for run in runs} == {"finished"}, patience=120)
        assert {states(operator)[run] for run in runs} == {"finished"}
