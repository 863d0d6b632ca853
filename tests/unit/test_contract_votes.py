"""Votes: the electorate is fixed at the start, a ballot is final, the deed follows the deciding ballot."""

import pytest

from parley.ledger.contract.rules import NEWEST

from tests.contract import DAY, START, Ledger, digest, key

FOUR = {"bank": "holder", "operator": "holder", "retailer": "holder", "regulator": "observer"}
SUSPEND = {"kind": "suspend", "member": "operator", "why": "silence"}


@pytest.fixture
def ledger():
    return Ledger(FOUR)


def propose(ledger, subject, proposer="bank"):
    return ledger.do(proposer, "vote.propose", {"subject": subject, "until": START + DAY})


def cast(proposal, ballot="yes"):
    return {"proposal": proposal, "ballot": ballot}


def test_the_deciding_ballot_carries_the_proposal_out(ledger):
    proposal = propose(ledger, SUSPEND)
    assert ledger["member/operator"]["standing"] == "active"
    ledger.do("regulator", "vote.cast", cast(proposal))
    assert ledger["member/operator"]["standing"] == "suspended"
    assert ledger["member/operator"]["cause"] == f"proposal/{proposal}"
    assert ledger[f"proposal/{proposal}"]["status"] == "accepted"
    ledger.refuses("proposal-decided", "retailer", "vote.cast", cast(proposal))


def test_the_member_in_question_has_no_vote(ledger):
    proposal = propose(ledger, SUSPEND)
    assert ledger[f"proposal/{proposal}"]["electorate"] == ["bank", "regulator", "retailer"]
    ledger.refuses("not-in-electorate", "operator", "vote.cast", cast(proposal, "no"))


def test_the_member_in_question_may_propose_without_a_ballot(ledger):
    proposal = propose(ledger, SUSPEND, proposer="operator")
    assert ledger[f"proposal/{proposal}"]["ballots"] == {}


def test_the_electorate_stays_as_it_was_when_the_proposal_was_made(ledger):
    proposal = propose(ledger, {"kind": "sequencer", "member": "retailer"})
    invitation = key("insurer", "invitation").public.hex()
    ledger.vote(
        {
            "kind": "admit",
            "member": "insurer",
            "role": "holder",
            "invitation": invitation,
            "until": START + DAY,
        },
        "operator",
        "retailer",
    )
    publics = {kind: key("insurer", kind).public.hex() for kind in ("signing", "cosigning", "recovery")}
    ledger.do("insurer", "member.join", publics, signer=key("insurer", "invitation"))
    ledger.refuses("not-in-electorate", "insurer", "vote.cast", cast(proposal))
    ledger.vote(SUSPEND, "regulator")
    assert ledger[f"proposal/{proposal}"]["needed"] == 3
    ledger.do("regulator", "vote.cast", cast(proposal))
    assert ledger[f"proposal/{proposal}"]["status"] == "open"


def test_a_member_votes_once(ledger):
    proposal = propose(ledger, SUSPEND)
    ledger.refuses("voted-already", "bank", "vote.cast", cast(proposal, "no"))


def test_a_proposal_that_cannot_win_any_more_is_rejected(ledger):
    proposal = propose(ledger, {"kind": "sequencer", "member": "retailer"})
    ledger.do("operator", "vote.cast", cast(proposal, "no"))
    assert ledger[f"proposal/{proposal}"]["status"] == "open"
    ledger.do("regulator", "vote.cast", cast(proposal, "no"))
    assert ledger[f"proposal/{proposal}"]["status"] == "rejected"
    assert ledger["meta/engine"]["sequencer"] == "bank"


def test_a_proposal_expires(ledger):
    proposal = propose(ledger, SUSPEND)
    ledger.time = START + DAY
    ledger.refuses("proposal-expired", "regulator", "vote.cast", cast(proposal))


@pytest.mark.parametrize("until", [START, START + 100 * DAY])
def test_a_vote_lasts_for_a_bounded_time(ledger, until):
    ledger.refuses("time-out-of-range", "bank", "vote.propose", {"subject": SUSPEND, "until": until})


def test_what_has_become_impossible_is_void(ledger):
    first, second = propose(ledger, SUSPEND), propose(ledger, SUSPEND)
    ledger.do("regulator", "vote.cast", cast(first))
    ledger.do("regulator", "vote.cast", cast(second))
    assert ledger[f"proposal/{second}"]["status"] == "void"


def test_an_unknown_proposal_takes_no_ballot(ledger):
    ledger.refuses("proposal-unknown", "bank", "vote.cast", cast(digest("none")))


@pytest.mark.parametrize(
    ("subject", "code"),
    [
        ({"kind": "suspend", "member": "nobody", "why": "x"}, "member-unknown"),
        ({"kind": "reinstate", "member": "operator", "why": "x"}, "proposal-moot"),
        ({"kind": "remove", "member": "bank", "why": "x"}, "sequencer-cannot-leave"),
        ({"kind": "sequencer", "member": "bank"}, "proposal-moot"),
        ({"kind": "engine", "height": 0}, "time-out-of-range"),
        ({"kind": "version", "version": NEWEST, "height": 50}, "proposal-moot"),
        ({"kind": "version", "version": NEWEST + 1, "height": 10**9}, "time-out-of-range"),
        (
            {"kind": "threshold", "vote": "admit", "threshold": {"yes": 1, "out_of": 2}},
            "threshold-invalid",
        ),
        (
            {"kind": "threshold", "vote": "admit", "threshold": {"yes": 4, "out_of": 3}},
            "threshold-invalid",
        ),
        (
            {"kind": "threshold", "vote": "admit", "threshold": {"yes": 2, "out_of": 3}},
            "proposal-moot",
        ),
        ({"kind": "shoot", "member": "operator"}, "body-invalid"),
    ],
)
def test_what_is_impossible_is_not_put_to_the_vote(ledger, subject, code):
    ledger.refuses(code, "operator", "vote.propose", {"subject": subject, "until": START + DAY})


def test_a_changed_threshold_holds_for_later_proposals(ledger):
    everyone = {"kind": "threshold", "vote": "suspend", "threshold": {"yes": 1, "out_of": 1}}
    before = propose(ledger, SUSPEND)
    ledger.vote(everyone, "operator", "retailer")
    assert ledger[f"proposal/{before}"]["needed"] == 2
    assert ledger[f"proposal/{propose(ledger, SUSPEND)}"]["needed"] == 3


def test_the_sequencer_is_handed_over_from_the_next_height_on(ledger):
    ledger.vote({"kind": "sequencer", "member": "retailer"}, "operator", "regulator")
    expected = {"kind": "embedded", "sequencer": "retailer", "height": ledger.height + 1}
    assert ledger["meta/engine"] == expected
    ledger.vote({"kind": "remove", "member": "bank", "why": "x"}, "operator", proposer="retailer")
    assert ledger["member/bank"]["standing"] == "removed"


def test_the_engine_moves_at_a_height_and_never_back(ledger):
    ledger.vote({"kind": "engine", "height": 500}, "operator", "regulator")
    assert ledger["meta/engine"] == {"kind": "cometbft", "sequencer": "bank", "height": 500}
    again = {"subject": {"kind": "engine", "height": 600}, "until": START + DAY}
    ledger.refuses("proposal-moot", "bank", "vote.propose", again)


def test_the_sequencer_is_handed_to_an_active_member(ledger):
    ledger.vote(SUSPEND, "regulator")
    subject = {"kind": "sequencer", "member": "operator"}
    ledger.refuses("member-standing", "bank", "vote.propose", {"subject": subject, "until": START + DAY})


def test_a_sole_member_decides_alone():
    ledger = Ledger({"bank": "holder"})
    invitation = key("operator", "invitation").public.hex()
    subject = {
        "kind": "admit",
        "member": "operator",
        "role": "holder",
        "invitation": invitation,
        "until": START + DAY,
    }
    ledger.vote(subject)
    assert ledger["member/operator"]["standing"] == "invited"
    alone = {"subject": {"kind": "suspend", "member": "bank", "why": "x"}, "until": START + DAY}
    ledger.refuses("proposal-moot", "bank", "vote.propose", alone)
