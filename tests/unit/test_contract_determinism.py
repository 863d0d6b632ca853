"""The same transactions give the same state: in every process, every order of objects, every release."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from parley.ledger.contract import Block, Genesis, apply, consortium_id, genesis
from parley.ledger.contract.rules import NEWEST, VERSIONS
from parley.ledger.transaction import Transaction

from tests.contract import Ledger, State
from tests.contract_history import VECTORS, history
from tests.contract_moves import Driver

ROOT = Path(__file__).parents[2]
WALK = (
    "from tests.unit.test_contract_determinism import walk; "
    "from tests.contract_history import history; "
    "from parley.ledger.contract.rules import NEWEST; "
    "print(walk(7, 600).state.digest(), history(NEWEST).state.digest())"
)


def walk(seed, steps):
    """A ledger after some hundred random moves."""
    driver = Driver(random.Random(seed).choice)
    for _ in range(steps):
        driver.ledger.execute(driver.next())
    return driver.ledger


class Backwards(State):
    """The same state, but objects hold their members in the opposite order."""

    def get(self, path):
        return backwards(super().get(path))


def backwards(value):
    if isinstance(value, dict):
        return {key: backwards(value[key]) for key in reversed(value)}
    if isinstance(value, list):
        return [backwards(item) for item in value]
    return value


@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_hash_seeds_change_nothing(seed):
    paths = os.pathsep.join(path for path in (str(ROOT), *sys.path) if path)
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": paths}
    ran = subprocess.run(
        [sys.executable, "-c", WALK], capture_output=True, text=True, check=True, env=environment
    )
    assert ran.stdout.split() == [walk(7, 600).state.digest(), history(NEWEST).state.digest()]


@pytest.mark.parametrize(
    "ledger",
    [*(history(version) for version in VERSIONS), walk(3, 300)],
    ids=[*(f"version {version}" for version in VERSIONS), "walk"],
)
def test_the_order_of_members_in_the_store_changes_nothing(ledger):
    first = (
        Ledger(version=ledger.spec.version)
        if "member/retailer" not in ledger.state.values
        else Driver(None).ledger
    )
    state = Backwards(first.state.values)
    for (transaction, block), receipt in zip(ledger.history, ledger.receipts, strict=True):
        outcome = apply(state, transaction, block)
        assert outcome.receipt == receipt
        state.write(outcome.writes)
    assert state.digest() == ledger.state.digest()


@pytest.mark.parametrize("version", VERSIONS)
def test_the_history_of_the_vectors_ends_as_it_always_did(version):
    vectors = json.loads(VECTORS[version].read_text())
    founded = Genesis.of(vectors["genesis"])
    assert consortium_id(founded) == vectors["consortium"]
    state = State(genesis(founded))
    assert state.values == vectors["first_state"]
    for entry in vectors["transactions"]:
        fields = {name: entry[name] for name in ("sender", "key", "type", "body", "expires", "nonce")}
        transaction = Transaction(consortium=vectors["consortium"], **fields)
        outcome = apply(state, transaction, Block(entry["height"], entry["time"]))
        assert outcome.receipt.value() == entry["receipt"]
        state.write(outcome.writes)
    assert state.values == vectors["last_state"]
    assert state.digest() == vectors["last_state_digest"]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_vectors_hold_every_type_of_transaction(version):
    types = {entry["type"] for entry in json.loads(VECTORS[version].read_text())["transactions"]}
    assert types == set(VERSIONS[version])
