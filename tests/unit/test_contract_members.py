"""Members: how they join, how their keys are replaced, and what a suspended or removed one may still do."""

import pytest

from tests.contract import DAY, START, Ledger, digest, key, terms

NEWCOMER = {kind: key("insurer", kind).public.hex() for kind in ("signing", "cosigning", "recovery")}


@pytest.fixture
def ledger():
    return Ledger()


def invite(ledger, member="insurer", role="holder", generation=0, until=START + DAY):
    invitation = key(member, "invitation", generation).public.hex()
    subject = {"kind": "admit", "member": member, "role": role, "invitation": invitation, "until": until}
    return ledger.vote(subject, "operator")


def join(ledger, generation=0):
    ledger.do("insurer", "member.join", NEWCOMER, signer=key("insurer", "invitation", generation))


def suspend(ledger, member="operator", *voters):
    return ledger.vote({"kind": "suspend", "member": member, "why": "x"}, *voters or ["regulator"])


def test_an_invited_newcomer_joins_with_the_key_of_its_invitation(ledger):
    path = invite(ledger)
    assert ledger["member/insurer"]["standing"] == "invited"
    join(ledger)
    assert ledger["member/insurer"] == {
        "name": "insurer",
        "role": "holder",
        "standing": "active",
        "since": ledger.height,
        "cause": path,
        "signing": key("insurer", "signing").key_id,
        "cosigning": key("insurer", "cosigning").key_id,
        "recovery": key("insurer", "recovery").key_id,
    }
    ledger.register("insurer")


def test_an_invitation_opens_once(ledger):
    invite(ledger)
    join(ledger)
    again = ledger.transaction("insurer", "member.join", NEWCOMER, signer=key("insurer", "invitation"))
    assert ledger.execute(again).code == "key-not-valid"


def test_an_invitation_expires(ledger):
    invite(ledger)
    ledger.time = START + DAY
    ledger.refuses(
        "invitation-expired", "insurer", "member.join", NEWCOMER, signer=key("insurer", "invitation")
    )


def test_a_newer_invitation_voids_the_one_before(ledger):
    invite(ledger)
    invite(ledger, generation=1)
    ledger.refuses("key-not-valid", "insurer", "member.join", NEWCOMER, signer=key("insurer", "invitation"))
    join(ledger, generation=1)


def test_an_invitation_signs_nothing_but_the_joining(ledger):
    invite(ledger)
    signer = key("insurer", "invitation")
    ledger.refuses("key-not-allowed", "insurer", "plan.propose", {"terms": terms()}, signer=signer)


def test_a_key_is_entered_once(ledger):
    invite(ledger)
    stolen = {**NEWCOMER, "signing": key("bank", "signing").public.hex()}
    ledger.refuses("key-known", "insurer", "member.join", stolen, signer=key("insurer", "invitation"))
    twice = {**NEWCOMER, "cosigning": NEWCOMER["signing"]}
    ledger.refuses("key-known", "insurer", "member.join", twice, signer=key("insurer", "invitation"))


@pytest.mark.parametrize("public", ["00" * 32, "01" + "00" * 31, "ff" * 32])
def test_a_key_that_anybody_could_sign_with_is_refused(ledger, public):
    ledger.refuses("key-invalid", "bank", "key.rotate", {"kind": "signing", "public": public})


def test_a_name_is_given_once(ledger):
    subject = {
        "kind": "admit",
        "member": "operator",
        "role": "holder",
        "invitation": key("operator", "invitation").public.hex(),
        "until": START + DAY,
    }
    ledger.refuses("member-known", "bank", "vote.propose", {"subject": subject, "until": START + DAY})


@pytest.mark.parametrize("kind", ["signing", "cosigning", "recovery"])
@pytest.mark.parametrize("by", ["itself", "recovery"])
def test_a_key_is_replaced_by_itself_or_by_recovery(ledger, kind, by):
    new, old = key("bank", kind, 1), key("bank", kind)
    signer = old if by == "itself" else key("bank", "recovery")
    ledger.do("bank", "key.rotate", {"kind": kind, "public": new.public.hex()}, signer=signer)
    assert ledger["member/bank"][kind] == new.key_id
    assert ledger[f"key/{old.key_id}"]["revoked"] == ledger.height
    assert ledger[f"key/{old.key_id}"]["stolen"] == (by == "recovery" and kind != "recovery")
    assert ledger[f"key/{new.key_id}"]["member"] == "bank"


def test_a_signing_key_replaces_no_other_kind(ledger):
    body = {"kind": "cosigning", "public": key("bank", "cosigning", 1).public.hex()}
    ledger.refuses("key-not-allowed", "bank", "key.rotate", body)


def test_a_revoked_key_signs_nothing_and_stays_on_record(ledger):
    old = key("bank", "signing")
    body = {"kind": "signing", "public": key("bank", "signing", 1).public.hex()}
    ledger.do("bank", "key.rotate", body)
    table = {"name": "t", "schema": digest("s"), "rows": 1, "root": digest("r")}
    ledger.refuses("key-not-valid", "bank", "table.register", table, signer=old)
    ledger.do("bank", "table.register", table, signer=key("bank", "signing", 1))
    assert ledger[f"key/{old.key_id}"]["public"] == old.public.hex()


def test_a_cosigning_key_signs_no_plan(ledger):
    signer = key("bank", "cosigning")
    ledger.refuses("key-not-allowed", "bank", "plan.propose", {"terms": terms()}, signer=signer)


def test_an_observer_registers_no_table(ledger):
    table = {"name": "t", "schema": digest("s"), "rows": 1, "root": digest("r")}
    ledger.refuses("role-not-allowed", "regulator", "table.register", table)


def test_a_suspended_member_starts_nothing_but_may_step_back_and_speak_up(ledger):
    plan = ledger.plan()
    ledger.do("operator", "run.propose", {"run": "before", "plan": plan})
    path = suspend(ledger)
    for kind, body in {
        "run.propose": {"run": "after", "plan": plan},
        "run.start": {"run": "before"},
        "plan.approve": {"plan": plan},
        "vote.cast": {"proposal": digest("x"), "ballot": "yes"},
        "vote.propose": {"subject": {"kind": "sequencer", "member": "bank"}, "until": START + DAY},
    }.items():
        ledger.refuses("member-suspended", "operator", kind, body)
    ledger.do("operator", "member.appeal", {"about": path, "statement": digest("we did not")})
    body = {"kind": "signing", "public": key("operator", "signing", 1).public.hex()}
    ledger.do("operator", "key.rotate", body)
    new = key("operator", "signing", 1)
    ledger.do("operator", "run.cancel", {"run": "before", "reason": "suspended"}, signer=new)
    ledger.do("operator", "table.withdraw", {"name": "table"}, signer=new)


def test_an_appeal_answers_something(ledger):
    body = {"about": f"proposal/{digest('none')}", "statement": digest("x")}
    ledger.refuses("record-unknown", "operator", "member.appeal", body)


def test_with_a_suspended_party_nobody_starts_a_run(ledger):
    plan = ledger.plan()
    suspend(ledger)
    ledger.refuses("party-not-active", "bank", "run.propose", {"run": "r", "plan": plan})


def test_a_reinstated_member_goes_on(ledger):
    suspend(ledger)
    ledger.vote({"kind": "reinstate", "member": "operator", "why": "x"}, "regulator")
    ledger.register("operator")


def test_a_node_belongs_to_one_member_and_is_free_again_after_its_removal(ledger):
    mine = {"node": "ab" * 20, "address": "bank.example:26656"}
    ledger.do("operator", "member.announce-node", mine)
    assert ledger["node/operator"]["node"] == "ab" * 20
    ledger.refuses("node-known", "bank", "member.announce-node", mine)
    ledger.do("operator", "member.announce-node", {**mine, "address": ""})
    ledger.vote({"kind": "remove", "member": "operator", "why": "left"}, "regulator")
    ledger.do("bank", "member.announce-node", mine)
    for bad in ({"node": "AB" * 20}, {"node": "ab"}, {"address": "nowhere"}):
        ledger.refuses("body-invalid", "bank", "member.announce-node", {**mine, **bad})


def test_a_member_announces_where_it_is_reached(ledger):
    for address in ("bank.example:7443", "[::1]:7443", ""):
        ledger.do("bank", "member.announce", {"address": address, "certificate": "3082"})
        assert ledger["endpoint/bank"]["address"] == address
    for bad in ("bank.example", "a b:1", "x:1\u00e9"):
        ledger.refuses("body-invalid", "bank", "member.announce", {"address": bad, "certificate": "3082"})


def test_a_removed_member_has_no_keys_left(ledger):
    ledger.vote({"kind": "remove", "member": "operator", "why": "x"}, "regulator")
    assert ledger["member/operator"]["standing"] == "removed"
    assert all(
        ledger[f"key/{key('operator', kind).key_id}"]["revoked"] == ledger.height
        for kind in ("signing", "cosigning", "recovery")
    )
    ledger.refuses("key-not-valid", "operator", "member.appeal", {"about": "x", "statement": digest("x")})
