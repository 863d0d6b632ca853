"""A consortium of real processes: nothing joint happens outside the ledger, and it tells all of it."""

import asyncio
import json
import time

import msgspec
import pytest

from parley.core.errors import PeerAborted, PolicyRefused
from parley.core.plan import read_plan
from parley.core.trace import Trace
from parley.net.certificates import Identity
from parley.net.channel import CheckedChannel, Setting
from parley.net.links import LINK, Contact, Links
from parley.net.websocket import PeerPin, dial
from parley.party.invitations import Invitation
from parley.protocols import proposal

from tests.system.parties import (
    Party,
    caught_up,
    consortium,
    failed,
    history,
    open_vote,
    parley,
    plan,
    until,
    watching,
)

ENDLESS = 100_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("consortium")


@pytest.fixture(scope="module")
def members(folder):
    with consortium(folder) as all_three:
        yield all_three


def waiting(party, path):
    """The plan that `parley run --wait 0` leaves on the ledger for the others to approve."""
    what = failed(party.do("run", path, "--wait", "0"), "refused", "plan-awaits-approval", 3)
    assert "waiting for operator" in what
    return next(each for each in party.done("plans")["plans"] if each["id"][:12] in what)


def approved(bank, operator, path):
    """A plan that both have approved."""
    proposed = waiting(bank, path)["id"]
    until(lambda: proposed in [each["id"] for each in operator.done("plans")["plans"]])
    assert operator.done("approve", proposed[:10])["status"] == "approved"
    return path


# ── the way ───────────────────────────────────────────────────────────────────────────────────────────


def test_from_an_invitation_to_a_verified_history(folder, members, tmp_path):
    bank, operator, regulator = members
    known = {each["name"]: each for each in regulator.done("members")["members"]}
    assert {name: each["standing"] for name, each in known.items()} == dict.fromkeys(known, "active")
    assert (known["regulator"]["role"], known["bank"]["sequencer"]) == ("observer", True)
    assert known["operator"]["address"] == operator.address

    path = plan(folder, purpose="the whole path")
    proposed = waiting(bank, path)
    until(lambda: proposed["id"] in [each["id"] for each in operator.done("plans")["plans"]])
    shown = operator.done("plan", "show", proposed["id"][:8])
    assert (shown["active"], shown["missing"], shown["approvals"]) == ("bank", ["operator"], ["bank"])
    assert shown["terms"]["parts"][1]["columns"] == ["EDUCATION", "PAY_0"]
    assert shown["known_statement"]
    assert any("person by person" in fact for learnt in shown["learnt"] for fact in learnt["facts"])
    operator.done("approve", proposed["id"][:8])

    report = bank.done("run", path)
    assert report["rounds"] == 3
    again = failed(bank.do("run", path), "refused", "ledger-runs-exhausted", 3)
    caught_up(regulator, bank)
    told = history(regulator)
    assert [each["number"] for each in told] == list(range(len(told)))
    refusal = next(each for each in told if each["code"] == "runs-exhausted")
    assert f"receipt {refusal['number']}" in again
    committed = [each for each in told if each["type"] == "rounds.commit"]
    assert {each["sender"] for each in committed} == {"bank", "operator"}
    assert next(each["words"] for each in told if each["type"] == "run.finish").startswith("finishes run-")

    status = until(lambda: _all_final(regulator))
    assert (status["size"], status["final"], status["sequencer"]) == (len(told), len(told), "bank")
    assert regulator.done("ledger", "verify")["refused"] >= 1
    _carry_away(regulator, bank, tmp_path, refusal["number"])


def _all_final(party):
    status = party.done("ledger", "status")
    assert (status["running"], status["halted"]) == (True, "")
    return status if status["final"] == status["size"] else None


def _carry_away(regulator, bank, folder, number):
    """What a third party can check without a home: one record, and the whole."""
    receipt, keys, copy = (folder / name for name in ("one.receipt", "test.keys", "test.ledger"))
    regulator.done("ledger", "prove", number, "--out", receipt)
    known = regulator.done("ledger", "keys", "--out", keys)
    assert known["quorum"] == len(known["members"]) // 2 + 1
    checked = parley("ledger", "check-proof", receipt, "--keys", keys, "--home", folder / "none").answer
    assert (checked["record"], checked["sender"], checked["type"]) == (number, "bank", "run.propose")
    assert bank.done("ledger", "check-proof", receipt)["cosigners"] == checked["cosigners"]
    other = json.loads(receipt.read_bytes()) | {"index": number - 1}
    receipt.write_text(json.dumps(other, sort_keys=True, separators=(",", ":")))
    assert "check 6" in failed(bank.do("ledger", "check-proof", receipt), "refused", "receipt-refused", 3)

    regulator.done("ledger", "export", copy)
    assert parley("ledger", "verify", copy, "--home", folder / "none").answer["leaves"] > number
    text = copy.read_bytes()
    at = text.index(b'"rows":') + 7
    copy.write_bytes(text[:at] + (b"1" if text[at : at + 1] != b"1" else b"2") + text[at + 1 :])
    assert "check 4" in failed(
        parley("ledger", "verify", copy, "--home", folder / "none"), "refused", "ledger-differs", 3
    )


def test_a_rejected_plan_ends_with_the_reason(folder, members):
    bank, operator, _ = members
    with watching(bank, plan(folder, purpose="something else")) as client:
        (proposed,) = until(
            lambda: [each for each in operator.done("plans")["plans"] if _purpose(each) == "something else"]
        )
        assert operator.done("reject", proposed["id"][:8], "--why", "not for this")["status"] == "rejected"
        output, _ = client.communicate(timeout=20)
    assert client.returncode == 3
    error = json.loads(output)["error"]
    assert (error["code"], "not for this" in error["what"]) == ("plan-rejected", True)
    shown = bank.done("plan", "show", proposed["id"][:8])
    assert (shown["status"], shown["rejected"]) == ("rejected", {"operator": "not for this"})
    failed(operator.do("approve", proposed["id"]), "refused", "ledger-plan-decided", 3)


def _purpose(shown):
    return shown["terms"]["purpose"]


def test_a_grant_lets_plans_through_until_it_is_used_up(folder, members):
    bank, operator, _ = members
    wanted = (
        "--to",
        "bank",
        "--table",
        "subscribers",
        "--purpose",
        "monthly",
        "--columns",
        "PAY_0,EDUCATION",
    )
    failed(operator.do("grant", "--to", "bank"), "usage", "bad-arguments", 2)
    given = operator.done("grant", *wanted, "--runs", 1)["grant"]
    caught_up(bank, operator)
    # a plan that names no column of the operator's asks for all, and no grant speaks for that
    waiting(bank, plan(folder, purpose="monthly", operator_columns=""))
    assert bank.done("run", plan(folder, purpose="monthly"))["rounds"] == 3
    more = bank.do("run", plan(folder, purpose="monthly", trees=4), "--wait", "0")
    what = failed(more, "refused", "plan-awaits-approval", 3)
    refusal = next(each for each in history(bank) if each["code"] == "grant-exhausted")
    assert f"refused as receipt {refusal['number']}" in what
    (grant,) = [each for each in bank.done("grants")["grants"] if each["id"] == given]
    assert grant["used"] == {"runs": 1, "predictions": 0}
    operator.done("grant", "revoke", given[:8])
    failed(operator.do("grant", "revoke", given), "refused", "ledger-grant-revoked", 3)


# ── who may what ──────────────────────────────────────────────────────────────────────────────────────


def test_an_observer_registers_no_table(folder, members):
    regulator = members[2]
    added = regulator.do("data", "add", "x", folder / "bank.csv", "--id", "id")
    what = failed(added, "refused", "ledger-role-not-allowed", 3)
    refusal = next(each for each in history(regulator) if each["code"] == "role-not-allowed")
    assert f"receipt {refusal['number']}" in what
    failed(regulator.do("data", "show", "x"), "usage", "unknown-table", 2)


def test_tables_are_announced_anew_when_they_have_changed(folder, members):
    bank = members[0]
    again = ("data", "add", "accounts", folder / "bank.csv", "--id", "id")
    assert bank.done(*again)["record"] is None
    failed(bank.do(*again, "--share-with", "operator"), "usage", "sharing-by-approval", 2)
    (folder / "more.csv").write_text("id,a\n1,2\n2,3\n3,4\n")
    first = bank.done("data", "add", "more", folder / "more.csv", "--id", "id")["record"]
    (folder / "more.csv").write_text("id,a\n1,2\n2,3\n3,5\n")
    assert bank.done("data", "add", "more", folder / "more.csv", "--id", "id")["record"] == first + 2


def test_ids_may_be_shortened_but_not_guessed(members):
    bank = members[0]
    for command, code in (("approve", "no-such-plan"), ("plan show", "no-such-plan")):
        failed(bank.do(*command.split(), "zzzz"), "usage", code, 2)
    failed(bank.do("vote", "ffffffffffffffff", "yes"), "usage", "no-such-proposal", 2)
    failed(bank.do("ledger", "prove", 100_000), "usage", "no-such-record", 2)
    failed(bank.do("ledger", "prove", 0), "usage", "record-not-provable", 2)


async def nobody(_peer, _path, _transport):
    """Serves none of the conversations that the other end may begin."""


def test_a_run_that_the_ledger_does_not_know_is_refused(folder, members):
    """The bank's program skips the ledger: the operator's takes no part."""
    bank, operator, _ = members
    ours, theirs = (Identity.load(each.home / "identity") for each in (bank, operator))

    async def skip_the_ledger():
        contact = Contact(PeerPin("operator", theirs.certificate_pem), operator.address)
        setting = Setting(proposal.STEPS, proposal.ACTIVE, "run-secret", Trace(time.perf_counter), 60.0)
        async with Links(ours, lambda _: contact, nobody) as links:
            transport = await links.open("operator", "/proposals/run-secret")
            async with CheckedChannel(transport, setting) as channel:
                await proposal.propose(channel, read_plan(plan(folder).read_text()))

    bank.stop()  # a party is one program at a time
    try:
        with pytest.raises(PeerAborted) as raised:
            asyncio.run(skip_the_ledger())
    finally:
        bank.up()
    assert raised.value.code == "run-not-on-ledger"
    operator.wait_for("[run-not-on-ledger]")


def test_a_replaced_certificate_counts_as_soon_as_the_ledger_has_it(folder, members, tmp_path):
    """The sequencer's, while the regulator is away; its way back leads through the operator."""
    bank, operator, regulator = members
    stolen = Identity.load(bank.home / "identity")
    before = {party: len(party.said()) for party in members}
    regulator.stop()
    bank.done("identity", "rotate")
    replaced = bank.done("identity", "replace")
    now = Identity.load(bank.home / "identity")
    assert replaced["replacing"] is None
    assert replaced["fingerprint"].replace(" ", "").lower() == now.fingerprint != stolen.fingerprint
    assert bank.done("ledger", "show")["records"][replaced["record"]]["type"] == "member.announce"

    for party in (bank, operator):
        party.wait_for("[certificate-revoked]", before[party])
    theirs = PeerPin("operator", Identity.load(operator.home / "identity").certificate_pem)
    with pytest.raises(PolicyRefused) as caught:
        asyncio.run(dial(operator.address, stolen, theirs, LINK))
    assert caught.value.code == "certificate-unknown-to-peer"
    ours = PeerPin("bank", now.certificate_pem)
    with pytest.raises(PolicyRefused):
        asyncio.run(dial(bank.address, stolen, ours, "/control"))

    regulator.up()
    caught_up(regulator, bank)
    until(lambda: regulator.do("doctor", "bank").answer["well"])
    assert bank.done("run", approved(bank, operator, plan(folder, purpose="anew")))["rounds"] == 3
    caught_up(regulator, bank)
    _by_hand(regulator, bank, Party(tmp_path, "bank"))


def _by_hand(regulator, bank, other):
    """What our own people say of a peer goes before what the ledger has of it now."""
    add = ("peer", "add", "bank", "--certificate")
    failed(regulator.do(*add, other.certificate), "usage", "peer-has-another-certificate", 2)
    regulator.done(*add, other.certificate, "--replace")
    until(lambda: not regulator.do("doctor", "bank").answer["well"])
    regulator.done(*add, bank.certificate, "--replace")
    until(lambda: regulator.do("doctor", "bank").answer["well"])


# ── invitations ───────────────────────────────────────────────────────────────────────────────────────


def test_only_the_right_invitation_lets_in(members, tmp_path):
    bank, _operator, regulator = members
    shop, stranger = (Party(tmp_path, name) for name in ("shop", "stranger"))
    failed(shop.do("members"), "usage", "no-consortium", 2)
    answer = bank.done("invite", "shop")
    text = answer["invitation"]
    assert (answer["needed"], answer["missing"]) == (2, ["operator", "regulator"])

    for damaged in (text[:-3], text[:60] + text[61:], "parley1.", "hello", text.replace(".", ".A")):
        failed(shop.do("join", damaged), "usage", "bad-invitation", 2)
    failed(stranger.do("join", text), "usage", "invitation-for-another", 2)
    expired = msgspec.structs.replace(Invitation.parse(text, 0), until=1).text
    failed(shop.do("join", expired), "usage", "invitation-expired", 2)
    foreign = msgspec.structs.replace(Invitation.parse(text, 0), consortium="0c" * 32).text
    failed(shop.do("join", text), "peer-aborted", "not-invited", 6)
    until(lambda: open_vote(regulator, answer["proposal"]))
    regulator.done("vote", answer["proposal"], "yes")
    caught_up(bank, regulator)
    failed(shop.do("join", foreign), "peer-misbehaved", "consortium-other", 5)
    elsewhere = msgspec.structs.replace(Invitation.parse(text, 0), fingerprint="00" * 32).text
    failed(shop.do("join", elsewhere), "peer-misbehaved", "certificate-not-pinned", 5)

    assert shop.done("join", text)["inviter"] == "bank"
    failed(shop.do("join", text), "usage", "consortium-exists", 2)
    failed(shop.do("members"), "usage", "ledger-not-fetched", 2)
    thief = Party(tmp_path / "elsewhere", "shop")
    failed(thief.do("join", text), "refused", "invitation-not-open", 3)
    failed(bank.do("invite", "shop"), "refused", "ledger-member-known", 3)
    try:
        shop.up()
        caught_up(shop, bank)
        assert "shop" in [each["name"] for each in shop.done("members")["members"]]
    finally:
        shop.stop()


def test_a_party_that_listens_everywhere_must_say_where(tmp_path):
    party = Party(tmp_path, "bank", "0.0.0.0:7443")
    failed(party.do("consortium", "create", "x"), "usage", "address-unknown", 2)
    failed(party.do("votes"), "usage", "no-consortium", 2)
    with (party.home / "parley.toml").open("a") as settings:
        settings.write('address = "bank.example:7443"\n')


# ── standing, and things that stop ────────────────────────────────────────────────────────────────────


def test_a_suspended_member_starts_nothing_and_a_removed_one_loses_its_links(tmp_path):
    with consortium(tmp_path) as (bank, operator, regulator):
        path = approved(bank, operator, plan(tmp_path, runs=2))
        _decided(bank, regulator, "suspend")
        caught_up(operator, bank)
        failed(operator.do("grant", *_GRANT), "refused", "ledger-member-suspended", 3)
        failed(bank.do("run", path), "refused", "ledger-party-not-active", 3)
        _decided(bank, regulator, "reinstate")
        assert bank.done("run", path)["rounds"] == 3
        _decided(bank, regulator, "remove")
        for party in (bank, operator):
            party.wait_for("[peer-let-go]")
        (failure, *_) = bank.do("doctor", "operator").answer["findings"]
        assert (failure["check"], failure["code"]) == ("peer", "unknown-peer")


_GRANT = ("--to", "bank", "--table", "subscribers", "--purpose", "monthly")


def _decided(bank, regulator, what):
    proposed = bank.done("propose", what, "operator", "--why", "to be seen")
    assert (proposed["missing"], proposed["needed"]) == (["regulator"], 2)
    until(lambda: open_vote(regulator, proposed["id"]))
    assert regulator.done("vote", proposed["id"], "yes")["status"] == "accepted"
    caught_up(bank, regulator)


@pytest.mark.soak
def test_parties_come_back_and_a_run_that_is_not_worth_waiting_for_is_cancelled_on_the_ledger(tmp_path):
    with consortium(tmp_path) as (bank, operator, regulator):
        assert regulator.stop() == 0
        path = approved(bank, operator, plan(tmp_path, trees=ENDLESS))
        with watching(bank, path) as client:
            until(lambda: [each for each in history(bank) if each["type"] == "rounds.commit"])
            regulator.up()
            caught_up(regulator, bank)
            operator.kill()
            (paused,) = until(lambda: [each for each in history(regulator) if each["type"] == "run.pause"])
            assert (paused["sender"], paused["code"]) == ("bank", "accepted")
            bank.done("run", "cancel", bank.runs()[-1]["run"])
            output, _ = client.communicate(timeout=20)
        assert client.returncode == 3
        assert '"code":"run-cancelled"' in output
        (ended,) = until(lambda: [each for each in history(regulator) if each["type"] == "run.cancel"])
        assert (ended["sender"], ended["code"]) == ("bank", "accepted")
        failed(
            operator.do("data", "add", "y", tmp_path / "bank.csv", "--id", "id"),
            "usage",
            "party-not-running",
            2,
        )
        assert operator.done("ledger", "status")["running"] is False
        assert bank.stop() == 0
        bank.up()
        operator.up()
        caught_up(operator, bank)
        assert bank.done("run", approved(bank, operator, plan(tmp_path)))["rounds"] == 3
        until(lambda: len(history(regulator)) == len(history(bank)))
        assert regulator.done("ledger", "verify")["leaves"] == len(history(bank))
