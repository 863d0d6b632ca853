"""Runs and rounds: nothing begins before every owner agreed, and rounds follow one another."""

import pytest

from parley.ledger import merkle
from parley.ledger.contract.rounds import ROUNDS_AHEAD, ROUNDS_AT_ONCE
from parley.ledger.contract.runs import RUNS_AT_ONCE
from parley.ledger.contract.transitions import RESUMABLE, STATES, TERMINAL, TRANSITIONS, move

from tests.contract import (
    DAY,
    HOLDERS,
    START,
    WITH_REGULATOR,
    Ledger,
    alignment,
    digest,
    finish,
    round_of,
    rounds_of,
)

LIVE = [state for state in STATES if state not in TERMINAL]
RETAIL = {**WITH_REGULATOR, "retailer": "holder"}


@pytest.fixture
def ledger():
    return Ledger()


def run_in(ledger, state):
    """A run in a given state."""
    match state:
        case "proposed":
            plan = ledger.plan(approve=False)
            ledger.do("bank", "run.propose", {"run": "run-1", "plan": plan})
        case "approved":
            ledger.do("bank", "run.propose", {"run": "run-1", "plan": ledger.plan()})
        case "aligning":
            ledger.aligning()
        case "training":
            ledger.training()
        case "finishing":
            ledger.training()
            ledger.do("bank", "run.finish", finish("run-1"))
        case "paused":
            ledger.training()
            ledger.do("operator", "run.pause", {"run": "run-1", "reason": "maintenance"})
        case "finished":
            ledger.model()
        case "cancelled":
            ledger.training()
            ledger.do("bank", "run.cancel", {"run": "run-1", "reason": "enough"})
        case "failed":
            ledger.training()
            ledger.do("bank", "run.fail", {"run": "run-1", "reason": "out-of-memory"})
    assert ledger["run/run-1"]["state"] == state


MOVES = {
    "run.start": ("bank", {"run": "run-1"}),
    "run.align": ("bank", alignment("run-1", "bank", root=digest("new"))),
    "round.commit": ("bank", round_of("run-1", 1, "bank", root=digest("new"))),
    "run.finish": ("bank", finish("run-1")),
    "run.share": ("operator", {"run": "run-1", "share": digest("share")}),
    "run.pause": ("bank", {"run": "run-1", "reason": "x"}),
    "run.resume": ("operator", {"run": "run-1"}),
    "run.cancel": ("bank", {"run": "run-1", "reason": "x"}),
    "run.fail": ("bank", {"run": "run-1", "reason": "x"}),
}
ALLOWED = {
    "proposed": ["run.cancel", "run.fail"],
    "approved": ["run.start", "run.pause", "run.cancel", "run.fail"],
    "aligning": ["run.align", "run.pause", "run.cancel", "run.fail"],
    "training": ["round.commit", "run.finish", "run.pause", "run.cancel", "run.fail"],
    "finishing": ["run.share", "run.pause", "run.cancel", "run.fail"],
    "paused": ["run.resume", "run.cancel", "run.fail"],
    "finished": [],
    "cancelled": [],
    "failed": [],
}


@pytest.mark.parametrize("state", STATES)
def test_a_state_allows_its_moves_and_no_others(ledger, state):
    run_in(ledger, state)
    for kind, (sender, body) in MOVES.items():
        copy = Ledger()
        copy.state, copy.height, copy.time = ledger.state.copy(), ledger.height, ledger.time
        copy.history = list(ledger.history)
        receipt = copy.send(sender, kind, body)
        assert receipt.accepted == (kind in ALLOWED[state]), (kind, receipt)


@pytest.mark.parametrize("state", LIVE)
def test_a_run_that_stands_still_is_ended_by_any_member_after_its_deadline(ledger, state):
    run_in(ledger, state)
    ledger.refuses("deadline-ahead", "regulator", "run.expire", {"run": "run-1"})
    ledger.time += 3600
    ledger.do("regulator", "run.expire", {"run": "run-1"})
    assert ledger["run/run-1"]["state"] == "failed"
    assert ledger["run/run-1"]["reason"] == "deadline"
    assert not list(ledger.state.keys("live/"))


@pytest.mark.parametrize("state", TERMINAL)
def test_an_ended_run_does_not_expire(ledger, state):
    run_in(ledger, state)
    ledger.time += 3600
    ledger.refuses("run-state", "regulator", "run.expire", {"run": "run-1"})


def test_a_run_waits_for_its_plan_and_begins_with_the_last_approval(ledger):
    plan = ledger.plan(approve=False)
    ledger.do("bank", "run.propose", {"run": "run-1", "plan": plan})
    ledger.refuses("plan-not-approved", "bank", "run.start", {"run": "run-1"})
    ledger.do("operator", "plan.approve", {"plan": plan})
    assert ledger["run/run-1"]["state"] == "approved"
    ledger.refuses("not-the-active-party", "operator", "run.start", {"run": "run-1"})
    ledger.do("bank", "run.start", {"run": "run-1"})


def test_a_run_is_proposed_by_whom_the_plan_concerns_and_under_a_new_name(ledger):
    plan = ledger.plan()
    ledger.do("operator", "run.propose", {"run": "run-1", "plan": plan})
    ledger.refuses("run-known", "bank", "run.propose", {"run": "run-1", "plan": plan})
    ledger.refuses("plan-unknown", "bank", "run.propose", {"run": "r", "plan": digest("none")})
    ledger.refuses("run-unknown", "bank", "run.start", {"run": "none"})


def test_a_bystander_moves_no_run():
    ledger = Ledger(RETAIL)
    plan = ledger.aligning()
    ledger.refuses("not-permitted", "retailer", "run.propose", {"run": "r", "plan": plan})
    ledger.refuses("not-a-participant", "retailer", "run.align", alignment("run-1", "retailer"))
    ledger.refuses("not-permitted", "retailer", "run.cancel", {"run": "run-1", "reason": "x"})
    ledger.refuses("not-a-participant", "retailer", "run.fail", {"run": "run-1", "reason": "x"})


def test_a_plan_is_run_as_often_as_it_says(ledger):
    plan = ledger.plan(runs=2)
    for run in ("a", "b"):
        ledger.do("bank", "run.propose", {"run": run, "plan": plan})
    ledger.refuses("runs-exhausted", "bank", "run.propose", {"run": "c", "plan": plan})


def test_few_runs_of_a_plan_are_under_way_at_once(ledger):
    plan = ledger.plan(runs=100)
    for number in range(RUNS_AT_ONCE):
        ledger.do("bank", "run.propose", {"run": f"r{number}", "plan": plan})
    ledger.refuses("runs-at-once", "bank", "run.propose", {"run": "more", "plan": plan})
    ledger.do("bank", "run.cancel", {"run": "r0", "reason": "x"})
    ledger.do("bank", "run.propose", {"run": "more", "plan": plan})


def test_nothing_starts_after_the_end_of_the_plan_or_without_its_table(ledger):
    plan = ledger.plan()
    ledger.do("bank", "run.propose", {"run": "run-1", "plan": plan})
    ledger.do("operator", "table.withdraw", {"name": "table"})
    ledger.refuses("table-unknown", "bank", "run.start", {"run": "run-1"})
    ledger.register("operator")
    ledger.time = START + 31 * DAY
    ledger.refuses("plan-expired", "bank", "run.start", {"run": "run-1"})


def test_who_paused_resumes(ledger):
    ledger.training()
    ledger.do("operator", "run.pause", {"run": "run-1", "reason": "maintenance"})
    ledger.refuses("not-permitted", "bank", "run.resume", {"run": "run-1"})
    ledger.do("operator", "run.resume", {"run": "run-1"})
    run = ledger["run/run-1"]
    assert (run["state"], run["left"], run["paused_by"], run["reason"]) == ("training", None, None, "")


# ── rounds ────────────────────────────────────────────────────────────────────────────────────────────────


def test_training_begins_when_all_committed_to_the_same_alignment(ledger):
    ledger.aligning()
    ledger.refuses("rows-exceeded", "bank", "run.align", alignment("run-1", "bank", rows=10_001))
    ledger.do("bank", "run.align", alignment("run-1", "bank"))
    assert ledger["run/run-1"]["state"] == "aligning"
    ledger.refuses("rows-disagree", "operator", "run.align", alignment("run-1", "operator", rows=4999))
    ledger.do("operator", "run.align", alignment("run-1", "operator"))
    assert ledger["run/run-1"]["state"] == "training"
    assert ledger["run/run-1"]["rows"] == 5000


def test_one_party_commits_once_to_a_round(ledger):
    ledger.training()
    ledger.do("bank", "round.commit", round_of("run-1", 1, "bank"))
    ledger.refuses("commitment-duplicate", "bank", "round.commit", round_of("run-1", 1, "bank"))
    different = round_of("run-1", 1, "bank", root=digest("other"))
    ledger.refuses("commitment-conflict", "bank", "round.commit", different)
    aligned = alignment("run-1", "bank", root=digest("other"))
    ledger.refuses("commitment-conflict", "bank", "run.align", aligned)


def test_rounds_follow_one_another(ledger):
    ledger.training()
    ledger.refuses("round-gap", "bank", "round.commit", round_of("run-1", 2, "bank"))
    ledger.refuses("body-invalid", "bank", "round.commit", round_of("run-1", 0, "bank"))


def test_a_party_may_be_a_few_rounds_ahead(ledger):
    ledger.training(rounds=ROUNDS_AHEAD + 1)
    for number in range(1, ROUNDS_AHEAD + 1):
        ledger.do("bank", "round.commit", round_of("run-1", number, "bank"))
    following = round_of("run-1", ROUNDS_AHEAD + 1, "bank")
    ledger.refuses("round-ahead", "bank", "round.commit", following)
    ledger.do("operator", "round.commit", round_of("run-1", 1, "operator"))
    ledger.do("bank", "round.commit", following)


def test_several_rounds_are_committed_to_at_once(ledger):
    ledger.training()
    made = ledger.do("bank", "rounds.commit", rounds_of("run-1", 1, 4, "bank"))
    assert ledger["run/run-1"]["committed"] == {"bank": 5, "operator": 1}
    for number in (1, 4):
        expected = {"root": round_of("run-1", number, "bank")["root"], "messages": 40, "transaction": made}
        assert ledger[f"round/run-1/{number:09}/bank"].items() >= expected.items()
    ledger.do("operator", "round.commit", round_of("run-1", 1, "operator"))
    ledger.do("operator", "rounds.commit", rounds_of("run-1", 2, 4, "operator"))
    ledger.do("bank", "run.finish", finish("run-1"))
    ledger.refuses("run-state", "bank", "rounds.commit", rounds_of("run-1", 5, 6, "bank"))


def test_of_several_rounds_those_that_are_known_count_once(ledger):
    ledger.training()
    first = ledger.do("bank", "rounds.commit", rounds_of("run-1", 1, 3, "bank"))
    ledger.refuses("commitment-duplicate", "bank", "rounds.commit", rounds_of("run-1", 2, 3, "bank"))
    ledger.do("bank", "rounds.commit", rounds_of("run-1", 2, 5, "bank"))
    assert ledger["run/run-1"]["committed"]["bank"] == 6
    assert ledger["round/run-1/000000003/bank"]["transaction"] == first
    different = rounds_of("run-1", 5, 7, "bank", root=digest("other"))
    ledger.refuses("commitment-conflict", "bank", "rounds.commit", different)
    assert ledger["run/run-1"]["committed"]["bank"] == 6


def test_of_several_rounds_none_is_entered_unless_all_may_be(ledger):
    ledger.aligning()
    ledger.refuses("run-state", "bank", "rounds.commit", rounds_of("run-1", 1, 2, "bank"))
    ledger = Ledger()
    ledger.training(rounds=ROUNDS_AHEAD + 20)
    ledger.refuses("role-not-allowed", "regulator", "rounds.commit", rounds_of("run-1", 1, 2, "bank"))
    ledger.refuses("round-gap", "bank", "rounds.commit", rounds_of("run-1", 2, 3, "bank"))
    too_many = rounds_of("run-1", 1, ROUNDS_AT_ONCE + 1, "bank")
    ledger.refuses("body-invalid", "bank", "rounds.commit", too_many)
    ledger.refuses("body-invalid", "bank", "rounds.commit", {**too_many, "rounds": []})
    ledger.do("bank", "rounds.commit", rounds_of("run-1", 1, ROUNDS_AT_ONCE, "bank"))
    beyond = rounds_of("run-1", ROUNDS_AT_ONCE + 1, ROUNDS_AHEAD, "bank")
    ledger.do("bank", "rounds.commit", beyond)
    following = rounds_of("run-1", ROUNDS_AHEAD + 1, ROUNDS_AHEAD + 2, "bank")
    ledger.refuses("round-ahead", "bank", "rounds.commit", following)
    assert ledger["run/run-1"]["committed"]["bank"] == ROUNDS_AHEAD + 1
    ledger = Ledger()
    ledger.training(rounds=3)
    ledger.refuses("rounds-exceeded", "bank", "rounds.commit", rounds_of("run-1", 1, 4, "bank"))
    assert ledger["run/run-1"]["committed"]["bank"] == 1


def test_the_first_version_of_the_contract_knows_single_rounds_only():
    ledger = Ledger(version=1)
    ledger.training()
    ledger.refuses("type-unknown", "bank", "rounds.commit", rounds_of("run-1", 1, 2, "bank"))
    ledger.vote({"kind": "version", "version": 2, "height": ledger.height + 10}, "operator")
    ledger.height += 10
    ledger.do("bank", "rounds.commit", rounds_of("run-1", 1, 2, "bank"))


def test_the_plan_bounds_the_rounds(ledger):
    ledger.training(rounds=1)
    ledger.do("bank", "round.commit", round_of("run-1", 1, "bank"))
    ledger.refuses("rounds-exceeded", "bank", "round.commit", round_of("run-1", 2, "bank"))


def test_training_ends_when_every_round_is_closed(ledger):
    ledger.training()
    ledger.do("bank", "round.commit", round_of("run-1", 1, "bank"))
    ledger.refuses("not-the-active-party", "operator", "run.finish", finish("run-1"))
    ledger.refuses("rounds-open", "bank", "run.finish", finish("run-1"))
    ledger.do("operator", "round.commit", round_of("run-1", 1, "operator"))
    ledger.do("bank", "run.finish", finish("run-1"))
    ledger.refuses("run-state", "bank", "round.commit", round_of("run-1", 2, "bank"))


def test_a_message_is_shown_to_belong_to_a_round(ledger):
    ledger.aligning()
    leaves = [merkle.leaf_hash(bytes([number])) for number in range(12)]
    frontier = merkle.Frontier()
    nodes = {}
    for leaf in leaves:
        nodes |= {(node.level, node.position): node.digest for node in frontier.append(leaf)}
    root = frontier.root().hex()
    for party in HOLDERS:
        ledger.do(party, "run.align", alignment("run-1", party, root=root))
    proof = merkle.inclusion_proof(5, 12, lambda level, index: nodes[level, index])
    shown = {
        "run": "run-1",
        "round": 0,
        "index": 5,
        "leaf": leaves[5].hex(),
        "path": [node.hex() for node in proof],
    }
    ledger.refuses("reveal-mismatch", "bank", "round.reveal", {**shown, "index": 6})
    ledger.refuses("reveal-mismatch", "bank", "round.reveal", {**shown, "index": 12})
    ledger.refuses("commitment-unknown", "bank", "round.reveal", {**shown, "round": 1})
    ledger.do("bank", "round.reveal", shown)
    ledger.refuses("reveal-known", "bank", "round.reveal", shown)


# ── the table ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_table_has_one_target_for_each_state_and_event():
    assert len({(source, event) for source, event, _ in TRANSITIONS}) == len(TRANSITIONS)


def test_an_ended_run_stays_as_it_is():
    events = {event for _, event, _ in TRANSITIONS} | {"resume"}
    assert all(move(state, event, None) is None for state in TERMINAL for event in events)


def test_every_live_state_leads_to_an_end():
    for state in LIVE:
        assert move(state, "cancel", None) == "cancelled"
        assert move(state, "fail", None) == "failed"


def test_a_paused_run_goes_back_to_where_it_was():
    assert {move("paused", "resume", state) for state in RESUMABLE} == set(RESUMABLE)
    assert move("paused", "resume", None) is None
    assert move("paused", "resume", "finished") is None
