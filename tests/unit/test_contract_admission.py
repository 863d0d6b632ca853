"""The door and the numbering: what is dropped, what gets a receipt, and under which version's rules."""

from types import MappingProxyType

import pytest

from parley.core.errors import UsageError
from parley.ledger.contract import EXPIRY_WINDOW, VERSIONS, Block, Dropped, admit, apply, genesis
from parley.ledger.contract.consortium import Threshold
from parley.ledger.contract.execution import CLEARED_AT_ONCE, seen_path
from parley.ledger.contract.founding import DEFAULT_THRESHOLDS
from parley.ledger.contract.refusal import Refusal
from parley.ledger.contract.rules import NEWEST
from parley.ledger.transaction import SignedTransaction, open_signed

from tests.contract import START, WITH_REGULATOR, Ledger, digest, key, spec, terms

TABLE = {"name": "t", "schema": digest("s"), "rows": 1, "root": digest("r")}


@pytest.fixture
def ledger():
    return Ledger()


def enter(ledger, signed, verify=SignedTransaction.verify):
    """What the door says of an envelope in the next block."""
    data = signed.data if isinstance(signed, SignedTransaction) else signed
    return admit(ledger.state, data, Block(ledger.height + 1, ledger.time + 1), verify)


def dropped(ledger, code, signed):
    result = enter(ledger, signed)
    assert isinstance(result, Dropped), result
    assert result.code == code
    assert result.reason


def test_a_good_transaction_enters(ledger):
    signed = ledger.signed("bank", "table.register", TABLE)
    assert enter(ledger, signed) == signed.transaction
    block = Block(ledger.height + 1, ledger.time + 1)
    assert (
        admit(ledger.state, open_signed(signed.data), block, SignedTransaction.verify) == signed.transaction
    )


def test_malformed_input_is_dropped(ledger):
    data = ledger.signed("bank", "table.register", TABLE).data
    for bad in (b"", b"{}", data[:-1], b" " + data, data.replace(b"table.register", b"table register")):
        dropped(ledger, "malformed", bad)


def test_a_transaction_of_another_ledger_is_dropped(ledger):
    dropped(ledger, "other-consortium", Ledger(nonce="other").signed("bank", "table.register", TABLE))


def test_a_transaction_expires(ledger):
    ledger.height = 50
    dropped(ledger, "expired", ledger.signed("bank", "table.register", TABLE, expires=50))
    enter(ledger, ledger.signed("bank", "table.register", TABLE, expires=51))
    late = 51 + EXPIRY_WINDOW
    assert enter(ledger, ledger.signed("bank", "table.register", TABLE, expires=late)).expires == late
    dropped(ledger, "expires-too-late", ledger.signed("bank", "table.register", TABLE, expires=late + 1))


def test_a_transaction_is_executed_once_even_if_it_was_refused(ledger):
    for kind, body in (("table.register", TABLE), ("table.withdraw", {"name": "none"})):
        signed = ledger.signed("bank", kind, body)
        ledger.execute(enter(ledger, signed))
        dropped(ledger, "replayed", signed)


def test_an_unknown_or_foreign_key_is_dropped(ledger):
    stranger = key("stranger", "signing")
    dropped(ledger, "key-unknown", ledger.signed("bank", "table.register", TABLE, signer=stranger))
    other = key("operator", "signing")
    dropped(ledger, "key-unknown", ledger.signed("bank", "table.register", TABLE, signer=other))


def test_a_revoked_key_is_dropped(ledger):
    signed = ledger.signed("bank", "table.register", TABLE)
    public = key("bank", "signing", 1).public.hex()
    ledger.do("bank", "key.rotate", {"kind": "signing", "public": public})
    dropped(ledger, "key-revoked", signed)


def test_a_bad_signature_is_dropped(ledger):
    data = bytearray(ledger.signed("bank", "table.register", TABLE).data)
    at = data.index(b'"signature":"') + len(b'"signature":"')
    data[at : at + 1] = b"0" if data[at : at + 1] != b"0" else b"1"
    dropped(ledger, "bad-signature", bytes(data))


# ── numbering ─────────────────────────────────────────────────────────────────────────────────────────────


def test_every_transaction_has_the_next_number(ledger):
    for number in range(1, 6):
        receipt = ledger.send("bank", "table.register", TABLE)
        assert receipt.number == number
        assert receipt.transaction == ledger.history[-1][0].digest.hex()
    assert [receipt.status for receipt in ledger.receipts] == ["accepted"] + ["refused"] * 4
    assert ledger.receipts[1].reason == "a table of this name is registered: bank/t"


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        ("no.such", {}, "type-unknown"),
        ("table.register", {}, "body-invalid"),
        ("table.register", {**TABLE, "rows": True}, "body-invalid"),
        ("table.register", {**TABLE, "name": "../up"}, "body-invalid"),
        ("table.register", {**TABLE, "root": digest("r").upper()}, "body-invalid"),
        ("table.withdraw", {"name": "none"}, "table-unknown"),
        ("plan.propose", {"terms": terms()}, "table-unknown"),
    ],
)
def test_a_refusal_writes_nothing_but_its_number(ledger, kind, body, code):
    transaction = ledger.transaction("bank", kind, body)
    outcome = apply(ledger.state, transaction, Block(1, START + 1))
    assert outcome.receipt.code == code
    assert [path for path, _ in outcome.writes] == [
        "meta/count",
        seen_path(transaction.expires, transaction.digest.hex()),
    ]


def test_apply_leaves_the_state_alone(ledger):
    before = ledger.state.digest()
    outcome = apply(ledger.state, ledger.transaction("bank", "table.register", TABLE), Block(1, START + 1))
    assert outcome.receipt.accepted
    assert ledger.state.digest() == before
    assert list(outcome.writes) == sorted(outcome.writes, key=lambda write: write[0])


def test_the_first_transaction_of_a_block_clears_marks_that_have_served(ledger):
    body = {"name": "none"}
    for number in range(CLEARED_AT_ONCE + 10):
        transaction = ledger.transaction("bank", "table.withdraw", body, expires=20, nonce=f"{number}")
        ledger.state.write(apply(ledger.state, transaction, Block(20, START)).writes)
    later = [
        ledger.transaction("bank", "table.withdraw", body, expires=30, nonce=f"later {number}")
        for number in range(3)
    ]
    left = []
    for transaction, height in zip(later, (21, 21, 22), strict=True):
        ledger.state.write(apply(ledger.state, transaction, Block(height, START)).writes)
        left.append(len(list(ledger.state.keys("seen/"))))
    assert left == [11, 12, 3]


def test_time_never_goes_back(ledger):
    ledger.do("bank", "table.register", TABLE)
    transaction = ledger.transaction("bank", "table.withdraw", {"name": "t"})
    ledger.state.write(apply(ledger.state, transaction, Block(2, START - 1000)).writes)
    assert ledger["meta/count"]["time"] == START + 1


# ── versions ──────────────────────────────────────────────────────────────────────────────────────────────


def test_another_version_holds_from_its_height_on(ledger):
    stricter = {name: rule for name, rule in VERSIONS[NEWEST].items() if name != "table.register"}
    versions = {**VERSIONS, NEWEST + 1: MappingProxyType(stricter)}
    ledger.vote({"kind": "version", "version": NEWEST + 1, "height": 100}, "operator")
    expected = [{"height": 0, "version": NEWEST}, {"height": 100, "version": NEWEST + 1}]
    assert ledger["meta/versions"] == {"eras": expected}
    transaction = ledger.transaction("bank", "table.register", TABLE)

    def code_at(height):
        return apply(ledger.state, transaction, Block(height, ledger.time), versions=versions).receipt.code

    assert (code_at(99), code_at(100)) == ("accepted", "type-unknown")


def test_a_program_without_the_version_stops_before_it_can_be_wrong(ledger):
    ledger.vote({"kind": "version", "version": NEWEST + 1, "height": 100}, "operator")
    transaction = ledger.transaction("bank", "table.register", TABLE)
    with pytest.raises(UsageError, match=f"version {NEWEST + 1} of the contract") as caught:
        apply(ledger.state, transaction, Block(100, ledger.time))
    assert caught.value.code == "contract-version"


# ── genesis ───────────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_state_holds_the_founders_and_their_keys():
    founded = dict(genesis(spec()))
    assert len([path for path in founded if path.startswith("key/")]) == 9
    assert founded["member/regulator"]["role"] == "observer"
    assert founded["meta/count"] == {"receipts": 0, "height": 0, "time": START}
    assert founded["meta/engine"] == {"kind": "embedded", "sequencer": "bank", "height": 0}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"founders": spec().founders[::-1]}, "genesis-invalid"),
        ({"founders": spec().founders[:1] * 2}, "genesis-invalid"),
        ({"sequencer": None}, "genesis-invalid"),
        ({"sequencer": "nobody"}, "genesis-invalid"),
        ({"engine": "cometbft"}, "genesis-invalid"),
        (
            {"thresholds": DEFAULT_THRESHOLDS.but(admit=Threshold(yes=1, out_of=3))},
            "threshold-invalid",
        ),
        (
            {"founders": (spec().founders[0].but(cosigning=spec().founders[0].signing),)},
            "key-known",
        ),
    ],
)
def test_a_consortium_that_cannot_be_is_not_begun(changes, code):
    with pytest.raises(Refusal) as caught:
        genesis(spec(WITH_REGULATOR, **changes))
    assert caught.value.code == code


def test_a_consortium_begins_without_a_sequencer_under_cometbft():
    assert dict(genesis(spec(engine="cometbft", sequencer=None)))["meta/engine"]["sequencer"] is None
