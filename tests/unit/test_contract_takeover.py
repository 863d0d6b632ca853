"""The takeover of a lost sequencer: what the contract demands of the promises."""

import pytest

from parley.ledger.contract.takeover import DOMAIN, Promise, promised

from tests.contract import Ledger, digest, key


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
