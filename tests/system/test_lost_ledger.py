"""A party loses the folder with its ledger, the founder and sequencer too, and is filled up by the others."""

import shutil

import pytest

from tests.system.parties import Party, caught_up, consortium, failed, history, invited, plan, until


@pytest.fixture
def members(tmp_path):
    with consortium(tmp_path) as all_three:
        yield all_three


@pytest.fixture
def two(tmp_path):
    """A founder and one that has joined, both serving."""
    bank, operator = parties = [Party(tmp_path, name) for name in ("bank", "operator")]
    try:
        bank.done("consortium", "create", "test")
        bank.up()
        operator.done("join", invited(bank, "operator"))
        operator.up()
        yield parties
    finally:
        for party in parties:
            party.stop()


def lose_the_ledger(party):
    party.kill()
    shutil.rmtree(party.home / "ledger")


def commands(folder):
    """Commands that need the ledger."""
    yield from (("members",), ("plans",), ("votes",), ("grants",), ("invite", "shop"))
    yield from (("ledger", "show"), ("ledger", "status"), ("ledger", "verify"), ("ledger", "prove", 1))
    yield from (("ledger", "export", folder / "copy"), ("ledger", "keys", "--out", folder / "keys"))
    yield from (("approve", "3f9ac2"), ("vote", "3f9ac2", "yes"))
    yield ("propose", "remove", "operator", "--why", "none")
    yield ("consortium", "promise", "operator")
    yield ("consortium", "rotate", "cosigning")


def digests(party):
    return [each["digest"] for each in history(party)]


def has(party, size):
    """Wait, without much ado, until a party has so many records."""
    until(lambda: len(party.do("ledger", "show").answer.get("records", ())) == size, every=0.5)


def trouble(party):
    return party.done("ledger", "status")["engine"]["trouble"]


def verified(party):
    found = party.done("ledger", "verify")
    return found["leaves"], found["root"], found["state_root"]


def test_a_founder_alone_says_what_it_lacks_and_orders_again_when_it_is_filled_up(two, tmp_path):
    bank, operator = two
    bank.done("propose", "threshold", "engine", 1, 1)
    has(operator, len(history(bank)))
    acknowledged = digests(bank)
    until(lambda: operator.done("ledger", "status")["final"] == len(acknowledged), every=0.2)
    operator.kill()
    (peer,) = bank.done("peer", "list")["peers"]
    assert (peer["peer"], peer["address"]) == ("operator", operator.address)
    lose_the_ledger(bank)
    failed(bank.do("consortium", "create", "another"), "usage", "consortium-exists", 2)
    failed(bank.do("members"), "usage", "ledger-not-fetched", 2)

    bank.up()
    for words in commands(tmp_path):
        failed(bank.do(*words), "usage", "ledger-not-fetched", 2)
    said = failed(bank.do("ledger", "status"), "usage", "ledger-not-fetched", 2)
    lacking = "nothing of the ledger is here: no answer with it yet from operator"
    assert lacking in said
    until(lambda: lacking in bank.said(), every=0.5)

    operator.up()
    has(bank, len(acknowledged))
    bank.done("propose", "threshold", "version", 1, 1)
    operator.done("propose", "threshold", "sequencer", 1, 1)
    has(bank, len(acknowledged) + 2)
    after = digests(bank)
    assert after == digests(operator)
    assert after[: len(acknowledged)] == acknowledged
    assert len({*after}) == len(after)
    assert verified(bank) == verified(operator)
    status = bank.done("ledger", "status")
    assert (status["sequencer"], status["halted"], status["engine"]["trouble"]) == ("bank", "", "")


@pytest.mark.soak
def test_a_founder_orders_nothing_before_every_other_member_has_shown_its_ledger(members, tmp_path):
    bank, operator, regulator = members
    for party in (operator, regulator):
        caught_up(party, bank)
    acknowledged = digests(bank)
    until(lambda: operator.done("ledger", "status")["final"] == len(acknowledged))
    for party in (operator, regulator):
        party.kill()
    lose_the_ledger(bank)
    (bank.home / "keys" / "high-water.json").unlink()  # else it knows what it has signed
    bank.up()
    failed(bank.do("run", plan(tmp_path)), "usage", "ledger-not-fetched", 2)
    granting = ("grant", "--to", "operator", "--table", "accounts", "--purpose", "too early")
    failed(bank.do(*granting), "usage", "ledger-not-fetched", 2)

    operator.up()
    has(bank, len(acknowledged))
    why = "nothing is ordered until regulator have shown that their ledgers are not longer than ours"
    until(lambda: trouble(bank) == why, every=0.5)
    bank.wait_for(why)
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


@pytest.mark.soak
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
