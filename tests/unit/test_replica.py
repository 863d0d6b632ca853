"""Blocks that no honest orderer makes are refused, whatever is wrong with them."""

import pytest

from parley.ledger.block import genesis_leaf
from parley.ledger.merkle import Frontier
from parley.ledger.replica import IllegalBlock, Remembering, Replica
from parley.ledger.transaction import open_signed

from tests.contract import Ledger, key
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


def test_a_signature_that_held_is_not_computed_again_and_another_does_not_pass_for_it():
    ledger, remembering = Ledger(), Remembering(limit=2)
    signed = ledger.signed("bank", "run.start", {"run": "run-1"})
    bank, operator = key("bank", "signing").public, key("operator", "signing").public
    forged = open_signed(signed.data.replace(signed.signature.hex().encode(), b"00" * 64))
    for _ in range(2):
        assert remembering(signed, bank)
        assert not remembering(signed, operator)
        assert not remembering(forged, bank)
    for number in range(5):
        assert remembering(
            ledger.signed("bank", "run.start", {"run": f"run-{number}"}, nonce=str(number)), bank
        )
    assert remembering(signed, bank)
