"""Blocks that no honest orderer makes are refused, whatever is wrong with them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import ValidationError

from parley.ledger.block import genesis_leaf
from parley.ledger.contract.consortium import Era, LedgerCount
from parley.ledger.contract.state import Draft
from parley.ledger.merkle import Frontier
from parley.ledger.replica import IllegalBlock, Overlay, Remembering, Replica, StateMap
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


paths = st.sampled_from(("a", "a/b", "b", "b/a"))
counts = st.integers(1, 3).map(lambda n: {"receipts": n, "height": n, "time": n})
writes = st.lists(st.tuples(paths, st.none() | counts), max_size=4)


@settings(deadline=None)
@given(writes, st.lists(writes, max_size=5))
def test_an_overlay_reads_as_the_changed_state_does_whatever_was_read_before(first, batches):
    plain = {path: value for path, value in dict(first).items() if value is not None}
    overlay = Overlay(StateMap(plain))
    for batch in batches:
        overlay.lay(batch)
        plain.update(batch)
        plain = {path: value for path, value in plain.items() if value is not None}
        fresh = Draft(StateMap(plain))
        for path in ("a", "a/b", "b", "b/a", "c"):
            for _ in range(2):
                assert Draft(overlay).find(LedgerCount, path) == fresh.find(LedgerCount, path)
        for prefix in ("", "a", "b/", "c"):
            assert list(overlay.keys(prefix)) == list(StateMap(plain).keys(prefix))


def test_a_record_that_was_read_does_not_stand_for_one_of_another_kind():
    overlay = Overlay(
        StateMap({"a": {"receipts": 1, "height": 1, "time": 1}, "b": {"height": 1, "version": 2}})
    )
    assert Draft(overlay).find(LedgerCount, "a") == LedgerCount(receipts=1, height=1, time=1)
    assert Draft(overlay).find(Era, "b") == Era(height=1, version=2)
    for kind, path in ((Era, "a"), (LedgerCount, "b")):
        with pytest.raises(ValidationError):
            Draft(overlay).find(kind, path)
