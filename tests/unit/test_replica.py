"""Blocks that no honest orderer makes are refused, whatever is wrong with them."""

import pytest

from parley.ledger.block import genesis_leaf
from parley.ledger.merkle import Frontier
from parley.ledger.replica import IllegalBlock, Replica

from tests.ledger.members import genesis_of

SPEC = genesis_of(("bank", "operator")).value()
BANK, OPERATOR = SPEC["founders"]


@pytest.mark.parametrize(
    "changes",
    [
        {"founders": [OPERATOR, BANK]},
        {"founders": [BANK, {**OPERATOR, "signing": "02" * 32}]},
        {"founders": []},
        {"sequencer": "nobody"},
        {"time": -1},
        {"name": None},
    ],
)
def test_a_log_does_not_begin_with_a_genesis_that_the_contract_refuses(changes):
    with pytest.raises(IllegalBlock):
        Replica({}, Frontier()).execute([genesis_leaf(SPEC | changes)])


def test_a_log_begins_with_one_genesis():
    for leaves in ([], [b""], [b"{}"], [genesis_leaf(SPEC)] * 2):
        with pytest.raises(IllegalBlock):
            Replica({}, Frontier()).execute(leaves)
    assert Replica({}, Frontier()).execute([genesis_leaf(SPEC)]).size == 1
