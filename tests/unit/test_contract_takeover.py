"""The takeover of a lost sequencer: what the contract demands of the promises."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley.ledger.contract.rules import NEWEST
from parley.ledger.contract.takeover import DOMAIN, Promise, promised

from tests.contract import DAY, Ledger, digest, key


@pytest.fixture
def ledger():
    ledger = Ledger()
    ledger.register("bank")
    ledger.register("operator")
    return ledger


def promise(ledger, member, *, successor="operator", epoch=1, era=0, size=3, signer=None):
    bare = Promise(member=member, era=era, size=size, root=digest("root"), signature="00" * 64)
    text = promised(ledger.consortium, epoch, successor, bare)
    signature = (signer or key(member, "cosigning")).sign(DOMAIN, text).hex()
    return bare.but(signature=signature).value()


def takeover(*promises, epoch=1):
    return {"epoch": epoch, "promises": list(promises)}


def refused(ledger, code, body, sender="operator"):
    ledger.refuses(code, sender, "sequencer.takeover", body, signer=key(sender, "cosigning"))


def test_promises_of_a_majority_make_their_successor_the_sequencer(ledger):
    body = takeover(promise(ledger, "operator"), promise(ledger, "regulator", size=2))
    ledger.do("operator", "sequencer.takeover", body, signer=key("operator", "cosigning"))
    assert ledger["meta/engine"]["sequencer"] == "operator"
    assert ledger["meta/engine"]["height"] == ledger.height
    assert ledger["meta/takeover"] == {"epoch": 1, "base": 3, "height": ledger.height}


def test_one_promise_of_three_is_no_majority(ledger):
    refused(ledger, "takeover-invalid", takeover(promise(ledger, "operator")))


@pytest.mark.parametrize(
    "changes",
    [
        {"successor": "regulator"},
        {"epoch": 2},
        {"signer": key("bank", "cosigning")},
        {"signer": key("regulator", "signing")},
        {"size": 4},
        {"era": 1},
    ],
)
def test_a_promise_of_something_else_does_not_count(ledger, changes):
    other = promise(ledger, "regulator", **changes)
    refused(ledger, "takeover-invalid", takeover(promise(ledger, "operator"), other))


def test_a_promise_counts_once(ledger):
    one = promise(ledger, "regulator")
    refused(ledger, "takeover-invalid", takeover(one, one))


def test_the_log_goes_on_where_the_highest_promise_ends(ledger):
    short = [promise(ledger, member, size=2) for member in ("operator", "regulator")]
    refused(ledger, "takeover-invalid", takeover(*short))


def test_the_sequencer_does_not_take_over_from_itself(ledger):
    body = takeover(*(promise(ledger, member, successor="bank") for member in ("bank", "regulator")))
    refused(ledger, "takeover-moot", body, sender="bank")


def test_epochs_rise_and_an_older_era_counts_for_less(ledger):
    body = takeover(promise(ledger, "operator"), promise(ledger, "regulator"))
    ledger.do("operator", "sequencer.takeover", body, signer=key("operator", "cosigning"))
    again = {"successor": "bank", "size": 9, "era": 0}
    refused(
        ledger,
        "takeover-moot",
        takeover(promise(ledger, "bank", **again), promise(ledger, "regulator", **again)),
        sender="bank",
    )
    old = promise(ledger, "bank", successor="bank", epoch=2, era=0, size=90)
    new = promise(ledger, "regulator", successor="bank", epoch=2, era=1, size=5)
    body = takeover(old, new, epoch=2)
    ledger.do("bank", "sequencer.takeover", body, signer=key("bank", "cosigning"))
    assert ledger["meta/engine"]["sequencer"] == "bank"


# ── between the vote for CometBFT and its first height ────────────────────────────────────────────────


def moving(blocks, version=NEWEST):
    """A ledger whose members have voted for CometBFT, with so many blocks of the embedded engine to come."""
    ledger = Ledger(version=version)
    ledger.vote({"kind": "engine", "height": ledger.height + blocks + 3}, "operator")
    assert ledger["meta/engine"] == {"kind": "cometbft", "sequencer": "bank", "height": blocks + 3}
    return ledger


def promised_by_two(ledger, successor="operator"):
    """A takeover where the log stands, by promises of two members of three."""
    last = ledger["meta/takeover"] or {"epoch": 0}
    place = {"epoch": last["epoch"] + 1, "era": last["epoch"], "size": len(ledger.history) + 1}
    members = ("operator", "regulator")
    promises = [promise(ledger, member, successor=successor, **place) for member in members]
    return takeover(*promises, epoch=place["epoch"])


def test_after_the_vote_for_cometbft_the_successor_orders_up_to_its_height():
    ledger = moving(2)
    ledger.do("operator", "sequencer.takeover", promised_by_two(ledger), signer=key("operator", "cosigning"))
    assert ledger["meta/engine"] == {"kind": "cometbft", "sequencer": "operator", "height": 5}
    assert ledger["meta/takeover"] == {"epoch": 1, "base": 3, "height": 3}


def test_the_last_block_before_cometbft_may_be_a_takeover_and_no_later_one():
    ledger = moving(1)
    ledger.do("operator", "sequencer.takeover", promised_by_two(ledger), signer=key("operator", "cosigning"))
    assert ledger.height + 1 == ledger["meta/engine"]["height"]
    again = promised_by_two(ledger, "regulator")
    refused(ledger, "takeover-moot", again, sender="regulator")
    refused(ledger, "takeover-moot", promised_by_two(ledger, "regulator"), sender="regulator")


@pytest.mark.parametrize("version", [1, 2, 3])
def test_earlier_versions_know_no_other_sequencer_after_the_vote_for_cometbft(version):
    ledger = moving(9, version)
    refused(ledger, "takeover-moot", promised_by_two(ledger))
    body = {"subject": {"kind": "sequencer", "member": "operator"}, "until": ledger.time + 60}
    ledger.refuses("proposal-moot", "bank", "vote.propose", body)


def test_a_consortium_that_has_voted_for_cometbft_can_still_go_over_to_the_fourth_version():
    ledger = moving(9, 3)
    ledger.vote({"kind": "version", "version": 4, "height": ledger.height + 4}, "operator")
    refused(ledger, "takeover-moot", promised_by_two(ledger))
    ledger.do("operator", "sequencer.takeover", promised_by_two(ledger), signer=key("operator", "cosigning"))


def test_a_vote_hands_over_too_while_the_new_sequencer_has_a_block_to_order():
    ledger = moving(3)
    ledger.vote({"kind": "sequencer", "member": "regulator"}, "operator")
    assert ledger["meta/engine"] == {"kind": "cometbft", "sequencer": "regulator", "height": 6}
    late = {"subject": {"kind": "sequencer", "member": "bank"}, "until": ledger.time + 60}
    ledger.refuses("proposal-moot", "bank", "vote.propose", late)


def test_a_vote_that_is_decided_in_the_last_block_hands_nothing_over():
    ledger = moving(2)
    path = ledger.vote({"kind": "sequencer", "member": "regulator"}, "operator")
    assert ledger[path]["status"] == "void"
    assert ledger["meta/engine"]["sequencer"] == "bank"


def test_the_lost_sequencer_can_be_removed_once_another_orders_to_the_end():
    ledger = moving(9)
    removal = {"subject": {"kind": "remove", "member": "bank", "why": "lost"}, "until": ledger.time + 60}
    ledger.refuses("sequencer-cannot-leave", "operator", "vote.propose", removal)
    ledger.do("operator", "sequencer.takeover", promised_by_two(ledger), signer=key("operator", "cosigning"))
    ledger.do("operator", "vote.propose", removal)


@pytest.mark.parametrize("course", [*itertools.product(("table", "operator", "regulator"), repeat=4)])
def test_whoever_takes_over_and_whenever_the_move_stands(course):
    """Every course of blocks around the height of CometBFT, here 5, by any two successors."""
    ledger, sequencer = moving(2), "bank"
    for number, step in enumerate(course):
        if step == "table":
            ledger.register("bank", f"t{number}")
            continue
        body = promised_by_two(ledger, step)
        receipt = ledger.send(step, "sequencer.takeover", body, signer=key(step, "cosigning"))
        assert receipt.accepted == (ledger.height < 5 and step != sequencer)
        sequencer = step if receipt.accepted else sequencer
        assert ledger["meta/engine"] == {"kind": "cometbft", "sequencer": sequencer, "height": 5}


def sent(ledger, step, name):
    """Have one thing happen to the engine, if the contract takes it."""
    if step == "takeover":
        body = promised_by_two(ledger, name)
        ledger.send(name, "sequencer.takeover", body, signer=key(name, "cosigning"))
        return
    subject = {
        "hand over": {"kind": "sequencer", "member": name},
        "move": {"kind": "engine", "height": ledger.height + 7},
        "version": {"kind": "version", "version": 4, "height": ledger.height + 4},
    }[step]
    proposed = ledger.send("bank", "vote.propose", {"subject": subject, "until": ledger.time + DAY})
    if proposed.accepted:
        ledger.do("operator", "vote.cast", {"proposal": proposed.transaction, "ballot": "yes"})


STEPS = st.tuples(
    st.sampled_from(("takeover", "hand over", "move", "version")),
    st.sampled_from(("bank", "operator", "regulator")),
)


@settings(max_examples=100, deadline=None)
@given(steps=st.lists(STEPS, max_size=10))
def test_whatever_is_agreed_a_decided_move_stands_and_its_sequencer_changes_in_time_only(steps):
    ledger = Ledger(version=3)
    for step, name in steps:
        was = ledger["meta/engine"]
        sent(ledger, step, name)
        engine, eras = ledger["meta/engine"], ledger["meta/versions"]["eras"]
        if was["kind"] == "cometbft":
            assert (engine["kind"], engine["height"]) == ("cometbft", was["height"])
        if was["kind"] == "cometbft" and engine["sequencer"] != was["sequencer"]:
            assert any(era["version"] == 4 and era["height"] <= ledger.height for era in eras)
            assert ledger.height < was["height"]
            # who was voted in has a block to order; who took over has made one
            assert step == "takeover" or ledger.height + 1 < was["height"]
