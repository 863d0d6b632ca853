"""Running parties move their ledger to CometBFT and go on there: real processes, real nodes."""

import json
import os
import shutil
import signal
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from parley.ledger.engines.cometbft.binary import SETTING
from parley.ledger.engines.cometbft.local import free_ports

from tests.comet import binary, skip_without_binary
from tests.system.parties import (
    PATIENCE,
    Party,
    caught_up,
    cut,
    failed,
    history,
    open_vote,
    parley,
    plan,
    spawned,
    until,
)

pytestmark = pytest.mark.cometbft
NAMES = ("bank", "operator", "regulator", "retailer")


@contextmanager
def cometbft_named():
    """The program is named in the environment, as an operator does it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SETTING, str(binary()))
        yield


@contextmanager
def four(folder):
    """A consortium of four on the embedded engine, of which two have tables; all serve."""
    cut(folder, 300)
    members = [Party(folder, name) for name in NAMES]
    bank, *others = members
    try:
        bank.done("consortium", "create", "test")
        bank.up()
        joined = []
        for each in others:
            invitation = bank.done("invite", each.name)
            decide(invitation["proposal"], invitation["needed"], joined)
            each.done("join", invitation["invitation"])
            each.up()
            caught_up(each, bank)
            joined.append(each)
        bank.done("data", "add", "accounts", folder / "bank.csv", "--id", "id")
        others[0].done("data", "add", "subscribers", folder / "operator.csv", "--id", "id")
        yield members
    finally:
        for party in members:
            party.stop()


def decide(proposal, needed, others):
    """Have as many others as it takes vote for what one has proposed."""
    for voter in others[: needed - 1]:
        until(lambda: open_vote(voter, proposal))  # noqa: B023 (asked at once)
        voter.done("vote", proposal, "yes")


def prepare_nodes(members):
    """Prepare and announce a node at every member; their listening addresses."""
    listening = [f"127.0.0.1:{port}" for port in free_ports(len(members))]
    for party, listen in zip(members, listening, strict=True):
        party.done("consortium", "node", "--listen", listen)
    return listening


def move(members):
    """Vote for CometBFT; returns when every running party has gone over."""
    bank, *others = members
    proposed = bank.done("propose", "engine", "cometbft", "--after", "20")
    decide(proposed["id"], proposed["needed"], others)
    for party in members:
        party.wait_for("CometBFT orders from now on")
    for party in members:
        until(lambda: engine(party)["height"] > 0)  # noqa: B023 (asked at once)


def engine(party):
    return party.done("ledger", "status")["engine"]


@pytest.fixture(scope="module")
def moved():
    """Four parties that have gone over."""
    skip_without_binary()
    with (
        cometbft_named(),
        tempfile.TemporaryDirectory(prefix="parley") as folder,
        four(Path(folder)) as members,
    ):
        failed(members[0].do("propose", "engine", "cometbft"), "usage", "nodes-missing", 2)
        prepare_nodes(members)
        caught_up(members[0], members[-1])
        move(members)
        yield Path(folder), members


def test_everything_works_as_before_after_the_move(moved, tmp_path):
    folder, (bank, operator, regulator, retailer) = moved
    genesis = {(party.home / "node" / "config" / "genesis.json").read_bytes() for party in moved[1]}
    assert len(genesis) == 1
    known = regulator.done("members")["members"]
    assert [each["sequencer"] for each in known] == [False] * 4
    assert all(each["node"] for each in known)

    operator.done("data", "add", "more", folder / "operator.csv", "--id", "id")
    path = plan(tmp_path, purpose="over CometBFT")
    what = failed(bank.do("run", path, "--wait", "0"), "refused", "plan-awaits-approval", 3)
    (proposed,) = [each for each in bank.done("plans")["plans"] if each["id"][:12] in what]
    until(lambda: proposed["id"] in [each["id"] for each in operator.done("plans")["plans"]])
    operator.done("approve", proposed["id"][:10])
    assert bank.done("run", path)["rounds"] == 3
    caught_up(retailer, bank)
    status = until(lambda: all_signed(retailer))
    assert (status["sequencer"], status["engine"]["engine"]) == ("", "cometbft")
    assert status["engine"]["voters"] == list(NAMES)
    assert status["engine"]["connected"] == [name for name in NAMES if name != "retailer"]

    copy, receipt, keys = (tmp_path / name for name in ("test.ledger", "one.receipt", "test.keys"))
    retailer.done("ledger", "export", copy)
    found = parley("ledger", "verify", copy, "--home", tmp_path / "none").answer
    assert found["final"] == found["leaves"] == len(history(retailer))
    finished = next(each for each in history(retailer) if each["type"] == "run.finish")
    retailer.done("ledger", "prove", finished["number"], "--out", receipt)
    retailer.done("ledger", "keys", "--out", keys)
    checked = parley("ledger", "check-proof", receipt, "--keys", keys, "--home", tmp_path / "none").answer
    assert len(checked["cosigners"]) >= 3


def all_signed(party):
    """The status once a majority has signed for all records that the party holds."""
    status = party.done("ledger", "status")
    return status if status["final"] == status["size"] else None


@pytest.mark.soak
def test_parties_and_nodes_that_are_killed_come_back(moved):
    bank, operator, regulator, retailer = moved[1]
    operator.kill()  # its node stays behind for a moment
    operator.up()
    os.kill(int((regulator.home / "node" / "node.pid").read_text()), signal.SIGKILL)
    regulator.wait_for("it is started again")
    assert retailer.stop() == 0
    bank.done("propose", "suspend", "retailer", "--why", "to see that three go on")
    retailer.up()
    for party in (operator, regulator, retailer):
        caught_up(party, bank)
        party.done("propose", "suspend", "bank", "--why", f"to see that {party.name} goes on")
    caught_up(bank, retailer)
    for party in moved[1]:
        until(lambda: len(history(party)) == len(history(bank)))  # noqa: B023 (asked at once)
        assert party.done("ledger", "verify")["leaves"] == len(history(bank))


@pytest.mark.soak
def test_a_new_cosigning_key_votes_and_signs(moved):
    bank, operator, regulator, retailer = moved[1]
    key = operator.home / "node" / "config" / "priv_validator_key.json"
    before = key.read_text()
    number = operator.done("consortium", "rotate", "cosigning")["record"]
    assert history(operator)[number]["type"] == "key.rotate"
    until(lambda: key.read_text() != before)
    assert retailer.stop() == 0  # now the three others must vote, the operator with its new key
    bank.done("propose", "threshold", "engine", 1, 1)
    operator.done("propose", "threshold", "sequencer", 1, 1)
    caught_up(regulator, operator)
    assert "operator" in until(lambda: all_signed(regulator))["signed"]
    operator.kill()
    operator.up()
    operator.done("propose", "threshold", "version", 1, 1)
    retailer.up()
    caught_up(retailer, operator)
    assert retailer.done("ledger", "verify")["leaves"] == len(history(retailer))


@pytest.mark.soak
def test_a_newcomer_comes_in_after_the_move(moved):
    folder, (bank, *others) = moved
    shop = Party(folder, "shop")
    invitation = bank.done("invite", "shop")
    decide(invitation["proposal"], invitation["needed"], others)
    caught_up(bank, others[0])
    failed(shop.do("join", invitation["invitation"]), "usage", "node-not-prepared", 2)
    shop.done("consortium", "node", "--listen", f"127.0.0.1:{free_ports(1)[0]}")
    shop.done("join", invitation["invitation"])
    try:
        shop.up()
        until(lambda: shop.do("ledger", "status").answer.get("engine"))
        shop.wait_for("CometBFT orders from now on")
        caught_up(shop, bank)
        shop.done("propose", "suspend", "operator", "--why", "to see that the newcomer is heard")
        assert "shop" in until(lambda: all_signed(shop))["engine"]["voters"]
    finally:
        shop.stop()


@pytest.mark.soak
def test_a_party_that_was_away_goes_over_when_it_starts_and_needs_the_program(tmp_path):
    skip_without_binary()
    with (
        cometbft_named(),
        tempfile.TemporaryDirectory(prefix="parley") as folder,
        four(Path(folder)) as members,
    ):
        *there, away = members
        prepare_nodes(members)
        caught_up(members[0], away)
        assert away.stop() == 0
        move(there)
        there[0].done("propose", "suspend", "retailer", "--why", "to see that three go on")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(SETTING, str(tmp_path / "nothing"))
            away.up()
            assert away.process.wait(PATIENCE) == 2
            assert "[cometbft-missing]" in away.said()
        away.up()
        caught_up(away, there[0])
        away.done("propose", "suspend", "bank", "--why", "to see that all four go on")


@pytest.mark.soak
def test_a_sequencer_lost_on_the_way_is_replaced_and_follows_to_cometbft(tmp_path):
    skip_without_binary()
    with (
        cometbft_named(),
        tempfile.TemporaryDirectory(prefix="parley") as folder,
        four(Path(folder)) as members,
    ):
        bank, *others = members
        prepare_nodes(members)
        caught_up(bank, others[-1])
        proposed = bank.done("propose", "engine", "cometbft", "--after", "400")
        decide(proposed["id"], proposed["needed"], others)
        bank.kill()
        assert all("CometBFT orders from now on" not in party.said() for party in members)
        for party in others:
            party.done("consortium", "promise", "operator")
        for party in others:
            party.wait_for("operator orders from now on")
            party.wait_for("CometBFT orders from now on")
        others[-1].done("propose", "suspend", "bank", "--why", "to see that three go on")
        bank.up()
        bank.wait_for("CometBFT orders from now on")
        caught_up(bank, others[0])
        bank.done("data", "add", "again", Path(folder) / "bank.csv", "--id", "id")
        copy = tmp_path / "test.ledger"
        bank.done("ledger", "export", copy)
        found = parley("ledger", "verify", copy, "--home", tmp_path / "none").answer
        assert found["leaves"] == len(history(bank))
        assert "sequencer.takeover" in [each["type"] for each in history(bank)]


@pytest.mark.soak
def test_a_lost_ledger_comes_from_the_node_and_a_lost_node_from_the_others(moved):
    bank, retailer = moved[1][0], moved[1][-1]
    bank.done("propose", "suspend", "operator", "--why", "to have a record of the chain's")
    caught_up(retailer, bank)
    assert retailer.stop() == 0
    lose_ledger(retailer)
    retailer.up()
    caught_up(retailer, bank)

    assert retailer.stop() == 0
    listen = json.loads((retailer.home / "node" / "node.json").read_text())["listen"]
    shutil.rmtree(retailer.home / "node")
    retailer.done("consortium", "node", "--listen", listen)
    failed(spawned("up", "--home", retailer.home), "usage", "node-lost", 2)
    lose_ledger(retailer)
    retailer.up()
    caught_up(retailer, bank)
    retailer.done("propose", "suspend", "bank", "--why", "to see that its node votes again")
    assert retailer.done("ledger", "verify")["leaves"] == len(history(retailer))


@pytest.mark.soak
def test_a_founder_that_lost_its_ledger_fetches_the_beginning_from_the_others(moved):
    bank, operator, *_ = moved[1]
    operator.done("propose", "suspend", "retailer", "--why", "to have another record of the chain's")
    caught_up(bank, operator)
    bank.kill()
    shutil.rmtree(bank.home / "ledger")
    failed(bank.do("consortium", "create", "another"), "usage", "consortium-exists", 2)
    bank.up()
    caught_up(bank, operator)
    until(lambda: engine(bank)["engine"] == "cometbft")
    bank.done("propose", "suspend", "regulator", "--why", "to see that it goes on")
    caught_up(operator, bank)
    assert [each["digest"] for each in history(bank)] == [each["digest"] for each in history(operator)]
    assert bank.done("ledger", "verify")["leaves"] == operator.done("ledger", "verify")["leaves"]


def lose_ledger(party):
    for path in (party.home / "ledger").glob("ledger.db*"):
        path.unlink()
