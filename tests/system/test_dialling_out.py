"""A party without a port takes part in everything: it dials the others, and they reach it over its link."""

import asyncio
import contextlib
import functools
import subprocess

import pytest

from parley.core.errors import PolicyRefused
from parley.net.certificates import Identity
from parley.net.links import LINK
from parley.net.websocket import PeerPin, dial

from tests.between import Between
from tests.plaintext import found, tls_records
from tests.system.parties import Party, caught_up, cut, failed, history, invited, plan, spawned, until

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


# ── two parties that nobody can dial, and a member that relays ────────────────────────────────────────


@contextlib.contextmanager
def behind_a_router(name, number):
    """A network of its own, from which one address is reached and into which nothing leads: how to run in it.

    Yields:
        the words before a command, and our address as it is seen from there.
    """
    ours, theirs = f"10.213.{number}.1", f"10.213.{number}.2"
    inside = ("ip", "netns", "exec", name)
    steps = (
        ("ip", "netns", "add", name),
        ("ip", "link", "add", f"{name}-o", "type", "veth", "peer", "name", f"{name}-i", "netns", name),
        ("ip", "addr", "add", f"{ours}/30", "dev", f"{name}-o"),
        ("ip", "link", "set", f"{name}-o", "up"),
        (*inside, "ip", "addr", "add", f"{theirs}/30", "dev", f"{name}-i"),
        (*inside, "ip", "link", "set", f"{name}-i", "up"),
        (*inside, "ip", "link", "set", "lo", "up"),
    )
    try:
        for step in steps:
            if subprocess.run(step, capture_output=True, check=False).returncode:
                pytest.skip("this user may make no networks")
        yield inside, ours
    finally:
        subprocess.run(("ip", "netns", "del", name), capture_output=True, check=False)


@pytest.mark.soak
@pytest.mark.parametrize("routed", [False, True], ids=["one machine", "behind routers"])
def test_two_parties_that_only_dial_out_train_through_a_third_at_whose_port_nothing_can_be_read(
    tmp_path, routed
):
    cut(tmp_path, 300)
    relay = Party(tmp_path, "relay")
    relay.set(relay="true")
    with contextlib.ExitStack() as stack:
        here = [((), "127.0.0.1")] * 2
        places = [stack.enter_context(behind_a_router(f"parley{n}", n)) for n in (1, 2)] if routed else here
        outer, ports = [], []
        for name, (within, host) in zip(("bank", "operator"), places, strict=True):
            run = functools.partial(spawned, within=within)
            outer.append(Party(tmp_path, name, address="", run=run, within=within))
            ports.append(stack.enter_context(Between(relay.address, host, keeps=True)))
        bank, operator = outer
        for party in (relay, bank, operator):
            stack.callback(party.stop)
        for party, port in zip(outer, ports, strict=True):
            relay.meet(party, dials=False)
            party.done("peer", "add", "relay", "--certificate", relay.certificate, "--address", port.address)
        bank.meet(operator, dials=False)
        operator.meet(bank, dials=False)
        bank.done("data", "add", "accounts", tmp_path / "bank.csv", "--id", "id")
        operator.done(
            "data", "add", "subscribers", tmp_path / "operator.csv", "--id", "id", "--share-with", "bank"
        )
        for party in (relay, bank, operator):
            party.up()
        report = bank.done("run", plan(tmp_path, purpose="to see that nobody reads along"))
        assert report["common"] > 100
        until(lambda: [each["state"] for each in operator.runs()] == ["finished"])
        assert relay.runs() == []
        kept = [way for port in ports for way in port.kept if way]
    assert sum(map(len, kept)) > 300_000
    people = [line.split(",")[0] for line in (tmp_path / "operator.csv").read_text().splitlines()[1:20]]
    words = {"PAY_0", "EDUCATION", "LIMIT_BAL", "BILL_AMT1", "subscribers", "accounts", *people}
    words |= {
        "to see that nobody reads along",
        "alignment",
        "boosting",
        "MaskedBlock",
        "HistogramBlock",
        "/relay/",
    }
    words = {word for word in words if len(word) > 4}
    for way in kept:
        records = tls_records(way)
        assert records
        beyond_greetings = b"".join(content for kind, content in records if kind == 23)
        assert found(words, beyond_greetings) == found(words, way) == set()
