"""Two parties, one run, two rounds: every order in which things can be sent, to the last."""

from collections import deque

import msgspec
import pytest

from parley.ledger.contract import Block, apply
from parley.ledger.contract.transitions import STATES, TERMINAL

from tests.contract import (
    HOLDERS,
    START,
    Ledger,
    alignment,
    digest,
    finish,
    plan_of,
    round_of,
    rounds_of,
    terms,
)

RUN = "run-1"
BODY = terms(rounds=2, runs=1, patience=60)
PLAN = plan_of("bank", BODY)
OTHER = digest("other")
LATE = START + 1_000_000
"""When every deadline has passed."""

SHARED = (
    ("run.pause", {"run": RUN, "reason": "pause"}),
    ("run.resume", {"run": RUN}),
    ("run.cancel", {"run": RUN, "reason": "enough"}),
    ("run.fail", {"run": RUN, "reason": "memory"}),
    ("run.start", {"run": RUN}),
    ("run.finish", finish(RUN)),
    ("run.share", {"run": RUN, "share": digest("share")}),
    ("plan.approve", {"plan": PLAN}),
    ("plan.reject", {"plan": PLAN, "why": "no"}),
    ("plan.withdraw", {"plan": PLAN, "why": "no more"}),
)


def moves(ledger):
    """Every transaction that is tried in every state, with the time at which it is."""
    found = [("bank", "plan.propose", {"terms": BODY}), ("bank", "run.propose", {"run": RUN, "plan": PLAN})]
    for party in HOLDERS:
        found += [(party, kind, body) for kind, body in SHARED]
        found += [(party, "run.align", alignment(RUN, party)), (party, "run.align", alignment(RUN, party, 7))]
        found += [(party, "round.commit", round_of(RUN, number, party)) for number in (1, 2, 3)]
        found.append((party, "round.commit", round_of(RUN, 1, party, OTHER)))
        found += [(party, "rounds.commit", rounds_of(RUN, first, 2, party)) for first in (1, 2)]
        found.append((party, "rounds.commit", rounds_of(RUN, 1, 3, party)))
    tried = [(ledger.transaction(*move, expires=100, nonce="n"), START) for move in found]
    late = ledger.transaction("regulator", "run.expire", {"run": RUN}, expires=100, nonce="n")
    timed = [*tried, (late, START), (late, LATE)]
    return [(transaction, transaction.digest.hex(), time) for transaction, time in timed]


def kept(values):
    """The state without what every transaction moves on, so that equal situations are equal."""
    return {
        path: {**value, "transaction": ""} if path.startswith("round/") else value
        for path, value in values.items()
        if not path.startswith(("meta/", "seen/"))
    }


def name_of(values):
    return msgspec.json.encode(kept(values), order="sorted")


@pytest.fixture(scope="module")
def walk():
    """Every reachable state by name, and the edges: name → list of (transaction, accepted, next name)."""
    ledger = Ledger()
    for owner in HOLDERS:
        ledger.register(owner)
    tried = moves(ledger)
    fixed = {path: value for path, value in ledger.state.values.items() if path.startswith("meta/")}
    start = kept(ledger.state.values)
    states, edges = {name_of(start): start}, {}
    waiting = deque(states)
    while waiting:
        name = waiting.popleft()
        edges[name] = []
        view = type(ledger.state)({**states[name], **fixed})
        for transaction, digest_, time in tried:
            outcome = apply(view, transaction, Block(1, time), digest=digest_)
            after = view
            if outcome.receipt.accepted:
                after = view.copy()
                after.write(outcome.writes)
            following = name_of(after.values) if outcome.receipt.accepted else name
            edges[name].append((transaction, outcome, following))
            if following not in states:
                states[following] = kept(after.values)
                waiting.append(following)
    return states, edges


def run_of(state):
    return state.get(f"run/{RUN}")


def ended(state):
    """Nothing more can come: the run has ended, or the plan has before there was one."""
    run, plan = run_of(state), state.get(f"plan/{PLAN}")
    if run is not None:
        return run["state"] in TERMINAL
    return plan is not None and plan["status"] in ("rejected", "withdrawn")


def test_every_state_of_a_run_is_reached(walk):
    states, _ = walk
    assert {run_of(state)["state"] for state in states.values() if run_of(state)} == set(STATES)
    assert len(states) > 500


def test_nothing_is_done_before_every_owner_approved(walk):
    states, _ = walk
    for state in states.values():
        run = run_of(state)
        if run is not None and (run["committed"] != {"bank": 0, "operator": 0} or run["shares"]):
            assert all(f"approval/{PLAN}/{party}" in state for party in HOLDERS)
        if run is not None and run["state"] in ("approved", "aligning", "training", "finishing"):
            assert state[f"plan/{PLAN}"]["status"] == "approved"


def test_rounds_are_contiguous_and_committed_once(walk):
    states, edges = walk
    for name, state in states.items():
        for party in HOLDERS:
            rounds = [path for path in state if path.startswith("round/") and path.endswith(f"/{party}")]
            assert sorted(rounds) == [f"round/{RUN}/{number:09}/{party}" for number in range(len(rounds))]
            assert not rounds or run_of(state)["committed"][party] == len(rounds)
        for transaction, outcome, following in edges[name]:
            due = ((run_of(state) or {}).get("committed") or {}).get(transaction.sender)
            match transaction.type:
                case "round.commit" if outcome.receipt.accepted:
                    assert transaction.body["round"] == due
                case "rounds.commit" if outcome.receipt.accepted:
                    first = transaction.body["first"]
                    assert first <= due < first + len(transaction.body["rounds"])
            for path in (path for path in state if path.startswith("round/")):
                assert states[following][path] == state[path]


def test_training_is_closed_before_a_model_forms(walk):
    states, _ = walk
    for state in states.values():
        if f"model/{RUN}" in state:
            counts = set(run_of(state)["committed"].values())
            assert len(counts) == 1
            assert state[f"model/{RUN}"]["rounds"] == counts.pop() - 1


def test_an_ended_run_moves_no_more(walk):
    states, edges = walk
    for name, state in states.items():
        if run_of(state) is not None and ended(state):
            for _, _, following in edges[name]:
                assert run_of(states[following]) == run_of(state)


def test_a_refusal_changes_nothing(walk):
    _, edges = walk
    for tried in edges.values():
        for _, outcome, _ in tried:
            if not outcome.receipt.accepted:
                assert [path.split("/")[0] for path, _ in outcome.writes] == ["meta", "seen"]


def test_from_every_state_an_end_is_reached(walk):
    states, edges = walk
    into = {name: [] for name in states}
    for name, tried in edges.items():
        for _, _, following in tried:
            into[following].append(name)
    reached = {name for name, state in states.items() if ended(state)}
    waiting = deque(reached)
    while waiting:
        for before in into[waiting.popleft()]:
            if before not in reached:
                reached.add(before)
                waiting.append(before)
    assert reached == set(states)
