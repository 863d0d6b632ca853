"""A party without a port takes part in everything: it dials the others, and they reach it over its link."""

import asyncio

import pytest

from parley.core.errors import PolicyRefused
from parley.net.certificates import Identity
from parley.net.links import LINK
from parley.net.websocket import PeerPin, dial

from tests.system.parties import Party, caught_up, cut, failed, history, invited, plan, until

RUN = ["run", "--wait", "60"]


@pytest.fixture
def members(tmp_path):
    """A bank with a port that orders and leads, and an operator that only dials out."""
    cut(tmp_path, 300)
    bank, operator = Party(tmp_path, "bank"), Party(tmp_path, "operator", address="")
    try:
        bank.done("consortium", "create", "test")
        bank.up()
        operator.done("join", invited(bank, "operator"))
        operator.up()
        bank.done("data", "add", "accounts", tmp_path / "bank.csv", "--id", "id")
        operator.done("data", "add", "subscribers", tmp_path / "operator.csv", "--id", "id")
        caught_up(bank, operator)
        yield bank, operator
    finally:
        for party in (bank, operator):
            party.stop()


def test_a_party_that_only_dials_out_takes_part_in_a_run_that_another_leads(members, tmp_path):
    bank, operator = members
    assert operator.done("identity")["listen"] == ""
    assert "dials out only" in operator.said()
    operator.done("grant", "--to", "bank", "--table", "subscribers", "--purpose", "to see that it works")
    caught_up(bank, operator)
    report = bank.done("run", plan(tmp_path))
    assert report["common"] > 100
    until(operator.runs)
    until(lambda: operator.runs()[0]["state"] == "finished")
    caught_up(operator, bank)
    assert operator.done("ledger", "verify")["leaves"] == len(history(bank))


def test_the_port_of_its_own_command_line_lets_nobody_else_in(members):
    bank, operator = members
    address = (operator.home / "control.port").read_text()
    assert address.startswith("127.0.0.1:")
    ours, theirs = (Identity.load(each.home / "identity") for each in (bank, operator))
    for path in (LINK, "/control", "/join"):
        with pytest.raises(PolicyRefused) as caught:
            asyncio.run(dial(address, ours, PeerPin("operator", theirs.certificate_pem), path))
        assert caught.value.code == "certificate-unknown-to-peer"


def test_it_invites_nobody_but_says_who_can(members):
    _, operator = members
    assert "dials out" in failed(operator.do("invite", "shop"), "usage", "address-unknown", 2)


def test_it_is_not_running_before_it_is_started(tmp_path):
    operator = Party(tmp_path, "operator", address="")
    failed(operator.do("run", plan(tmp_path)), "usage", "party-not-running", 2)
