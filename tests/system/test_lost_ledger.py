"""A party loses the folder with its ledger, the founder and sequencer too, and is filled up by the others."""

import shutil

import pytest

from tests.system.parties import Party, caught_up, consortium, failed, history, plan, until


@pytest.fixture
def members(tmp_path):
    with consortium(tmp_path) as all_three:
        yield all_three


def lose_the_ledger(party):
    party.kill()
    shutil.rmtree(party.home / "ledger")


def commands(party, folder):
    """Commands that need the ledger, whether the party runs or not."""
    yield from (("members",), ("plans",), ("votes",), ("grants",), ("invite", "shop"))
    yield from (("ledger", "show"), ("ledger", "status"), ("ledger", "verify"))
    yield from (("ledger", "export", folder / "copy"), ("ledger", "keys", "--out", folder / "keys"))
    yield ("grant", "--to", "operator", "--table", "accounts", "--purpose", "none")
    yield ("propose", "remove", "operator", "--why", "none")
    yield ("consortium", "promise", "operator")
    yield ("consortium", "rotate", "cosigning")
    yield ("run", plan(folder))


def digests(party):
    return [each["digest"] for each in history(party)]


def verified(party):
    found = party.done("ledger", "verify")
    return found["leaves"], found["root"], found["state_root"]


def test_the_founder_orders_again_when_the_others_have_filled_it_up(members, tmp_path):
    bank, operator, regulator = members
    for party in (operator, regulator):
        caught_up(party, bank)
    acknowledged = digests(bank)
    until(lambda: operator.done("ledger", "status")["final"] == len(acknowledged))
    for party in (operator, regulator):
        party.kill()
    lose_the_ledger(bank)
    failed(bank.do("consortium", "create", "another"), "usage", "consortium-exists", 2)

    bank.up()
    for words in commands(bank, tmp_path):
        failed(bank.do(*words), "usage", "ledger-not-fetched", 2)
    said = bank.do("ledger", "status").error["what"]
    assert "no answer with it yet from operator, regulator" in said
    bank.wait_for("nothing of the ledger is here: no answer with it yet from operator, regulator")

    operator.up()
    caught_up(bank, operator)
    why = "nothing is ordered until regulator have shown that their ledgers are not longer than ours"
    until(lambda: bank.done("ledger", "status")["engine"]["trouble"] == why)
    assert digests(bank) == acknowledged

    regulator.up()
    bank.done("grant", "--to", "operator", "--table", "accounts", "--purpose", "after the loss")
    operator.done("grant", "--to", "bank", "--table", "subscribers", "--purpose", "after the loss")
    for party in (bank, regulator):
        caught_up(party, operator)
    after = digests(bank)
    assert after == digests(operator) == digests(regulator)
    assert after[: len(acknowledged)] == acknowledged
    assert len({*after}) == len(after) == len(acknowledged) + 2
    assert {verified(party) for party in members} == {verified(bank)}
    status = bank.done("ledger", "status")
    assert (status["sequencer"], status["halted"], status["engine"]["trouble"]) == ("bank", "", "")


def test_a_member_is_filled_up_while_the_one_it_followed_is_down(members):
    bank, operator, regulator = members
    caught_up(regulator, operator)
    size = len(history(regulator))
    lose_the_ledger(operator)
    bank.kill()
    operator.up()
    caught_up(operator, regulator)
    assert digests(operator) == digests(regulator)
    assert len(history(operator)) == size
