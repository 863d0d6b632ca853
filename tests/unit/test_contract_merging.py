"""Merging a model: one owner holds the whole forest when, and only when, every owner has said so."""

from collections import deque

import pytest

from parley.ledger.contract import Block, apply

from tests.contract import DAY, HOLDERS, START, WITH_REGULATOR, Ledger, finish, grant, release
from tests.unit.test_contract_small_scope import kept, name_of


@pytest.fixture
def ledger():
    ledger = Ledger()
    ledger.model()
    return ledger


def merge(receiver="bank", model="run-1"):
    return {"model": model, "receiver": receiver}


def test_a_model_is_merged_when_every_owner_consents_to_the_same_receiver(ledger):
    ledger.do("bank", "model.merge", merge("bank"))
    ledger.do("operator", "model.merge", merge("operator"))
    assert ledger["merge/run-1/bank"]["receiver"] == "bank"
    assert not list(ledger.state.keys("merged/"))
    ledger.do("bank", "model.merge", merge("operator"))
    assert list(ledger.state.keys("merge")) == ["merged/run-1/operator"]
    assert ledger["merged/run-1/operator"]["height"] == ledger.height


def test_a_consent_given_twice_counts_once(ledger):
    for _ in range(2):
        ledger.do("bank", "model.merge", merge())
    assert not list(ledger.state.keys("merged/"))


def test_each_receiver_needs_every_word_anew(ledger):
    for party in HOLDERS:
        ledger.do(party, "model.merge", merge("bank"))
    ledger.refuses("merged-already", "operator", "model.merge", merge("bank"))
    ledger.do("bank", "model.merge", merge("operator"))
    assert list(ledger.state.keys("merged/")) == ["merged/run-1/bank"]
    ledger.do("operator", "model.merge", merge("operator"))
    assert list(ledger.state.keys("merged/")) == ["merged/run-1/bank", "merged/run-1/operator"]


def test_only_owners_say_so_and_only_an_owner_receives():
    ledger = Ledger({**WITH_REGULATOR, "retailer": "holder"})
    ledger.model()
    ledger.refuses("not-an-owner", "retailer", "model.merge", merge())
    ledger.refuses("role-not-allowed", "regulator", "model.merge", merge())
    ledger.refuses("not-an-owner", "bank", "model.merge", merge("retailer"))
    ledger.refuses("model-unknown", "bank", "model.merge", merge(model="run-2"))
    ledger.refuses("body-invalid", "bank", "model.merge", {"model": "run-1"})


def test_a_model_is_merged_while_it_is_whole_and_in_use():
    ledger = Ledger()
    ledger.training()
    ledger.do("bank", "run.finish", finish("run-1"))
    ledger.refuses("model-not-trained", "bank", "model.merge", merge())
    ledger.do("operator", "run.share", {"run": "run-1", "share": "00" * 32})
    ledger.do("bank", "model.merge", merge())
    ledger.do("operator", "model.withdraw", {"model": "run-1"})
    assert not list(ledger.state.keys("merge/"))
    ledger.refuses("model-withdrawn", "operator", "model.merge", merge())


def test_what_was_agreed_stays_on_record_when_the_model_is_withdrawn(ledger):
    for party in HOLDERS:
        ledger.do(party, "model.merge", merge())
    ledger.do("operator", "model.withdraw", {"model": "run-1"})
    assert list(ledger.state.keys("merged/")) == ["merged/run-1/bank"]


def test_a_release_and_a_merge_do_not_touch_one_another(ledger):
    ledger.do("bank", "model.merge", merge())
    for party in HOLDERS:
        ledger.do(party, "model.release", release("run-1"))
    ledger.do("operator", "model.merge", merge())
    assert ledger["model/run-1"]["status"] == "released"
    assert ledger["merged/run-1/bank"] is not None


def test_nothing_is_merged_after_the_end_of_the_plan(ledger):
    ledger.time = START + 31 * DAY
    ledger.refuses("plan-expired", "bank", "model.merge", merge())


def test_a_suspended_owner_consents_to_nothing_but_may_withdraw(ledger):
    ledger.do("bank", "model.merge", merge())
    ledger.vote({"kind": "suspend", "member": "operator", "why": "x"}, "regulator")
    ledger.refuses("member-suspended", "operator", "model.merge", merge())
    ledger.do("operator", "model.withdraw", {"model": "run-1"})
    assert not list(ledger.state.keys("merge/"))


def test_no_grant_speaks_for_a_merge(ledger):
    given = ledger.do("operator", "grant.give", grant())
    ledger.refuses("body-invalid", "bank", "model.merge", {"grant": given, **merge()})


@pytest.mark.parametrize("version", [1, 2])
def test_earlier_versions_know_no_merge_until_the_members_go_over(version):
    ledger = Ledger(version=version)
    ledger.model()
    ledger.refuses("type-unknown", "bank", "model.merge", merge())
    ledger.vote({"kind": "version", "version": 3, "height": ledger.height + 10}, "operator")
    ledger.height += 10
    for party in HOLDERS:
        ledger.do(party, "model.merge", merge())
    assert ledger["merged/run-1/bank"] is not None


def test_in_every_order_of_words_a_receiver_has_every_owners_last_one(ledger):
    """All states that words and withdrawals lead to: each merge follows from consents to that receiver."""
    words = [(party, "model.merge", merge(receiver)) for party in HOLDERS for receiver in HOLDERS]
    words += [(party, "model.withdraw", {"model": "run-1"}) for party in HOLDERS]
    tried = [ledger.transaction(*each, expires=1000, nonce="n") for each in words]
    fixed = {path: value for path, value in ledger.state.values.items() if path.startswith("meta/")}
    block = Block(ledger.height + 1, ledger.time + 1)
    states = {name_of(ledger.state.values): kept(ledger.state.values)}
    waiting = deque(states)
    while waiting:
        before = states[waiting.popleft()]
        view = type(ledger.state)({**before, **fixed})
        for transaction in tried:
            outcome = apply(view, transaction, block)
            if not outcome.receipt.accepted:
                continue
            after = view.copy()
            after.write(outcome.writes)
            agreed = sorted(after.keys("merged/")), sorted(view.keys("merged/"))
            new = set(agreed[0]) - set(agreed[1])
            assert set(agreed[1]) <= set(agreed[0])
            if new:
                receiver = transaction.body["receiver"]
                others = [party for party in HOLDERS if party != transaction.sender]
                assert new == {f"merged/run-1/{receiver}"}
                assert all(before[f"merge/run-1/{party}"]["receiver"] == receiver for party in others)
            if after.get("model/run-1")["status"] == "withdrawn":
                assert not list(after.keys("merge/"))
            if name_of(after.values) not in states:
                states[name_of(after.values)] = kept(after.values)
                waiting.append(name_of(after.values))
    found = [sorted(path for path in state if path.startswith("merge")) for state in states.values()]
    assert ["merged/run-1/bank", "merged/run-1/operator"] in found
    assert len(states) == 18  # 7 before a merge, 3 after each, 1 after both, 4 withdrawn
