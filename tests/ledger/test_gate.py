"""A run held to a real ledger: who may enter it, and what ends it."""

import asyncio
import time

import pytest

from parley.core.errors import PolicyRefused
from parley.core.plan import read_plan
from parley.ledger.contract.rounds import Commitment
from parley.ledger.contract.runs import Run, run_path
from parley.party.gate import Gate, terms_of
from parley.party.ledger import PartyLedger
from parley.store.journal import Journal
from parley.store.keys import KINDS, LedgerKeys

from tests.ledger.members import Consortium, key, transaction

pytestmark = pytest.mark.timeout(60)

PLAN = """
name = "test"
purpose = "to see that it works"
[parties.bank]
table = "people"
id = "id"
label = "y"
columns = ["x"]
[parties.operator]
table = "people"
id = "id"
columns = [{columns}]
[limits]
rows = 1000
runs = 2
"""


def plan(columns='"a"'):
    return read_plan(PLAN.format(columns=columns))


def ledger_of(consortium, name):
    return PartyLedger(consortium.members[name], LedgerKeys(*(key(name, kind) for kind in KINDS)))


def gate_at(ledger, run, folder):
    name = ledger.member.name
    return Gate(ledger, run, Journal(folder / name / run))


async def opened(gate, shown):
    asked = await gate.ask(shown)
    await gate.approval(asked, 30.0, lambda _: None)
    await gate.start(asked)


async def begun(consortium, shown, folder):
    """A run that the ledger knows as started, by terms; returns its gate at the operator."""
    table = {"name": "people", "schema": "00" * 32, "rows": 10, "root": "11" * 32}
    bank, operator = (ledger_of(consortium, name) for name in ("bank", "operator"))
    for each in (bank, operator):
        await each.demand("table.register", table)
    leading = gate_at(bank, "run-1", folder)
    opening = asyncio.create_task(opened(leading, shown))
    while not (paths := operator.draft.paths("plan/")):
        assert not opening.done(), opening.exception()
        await asyncio.sleep(0.02)
    await operator.demand("plan.approve", {"plan": paths[0].split("/")[1]})
    await opening
    return gate_at(operator, "run-1", folder)


async def rounds_without_end(gate):
    while True:
        await asyncio.sleep(0.02)
        await gate.said("00" * 32, 1, 0)
        gate.kept()


async def test_a_plan_that_the_approved_terms_did_not_show_is_not_entered_and_the_run_lives_on(tmp_path):
    secret = plan('"a", "salary"')
    shown = terms_of(plan(), {}, int(time.time())).but(document=secret.digest)
    async with Consortium(tmp_path, ("bank", "operator")) as consortium:
        gate = await begun(consortium, shown, tmp_path)
        with pytest.raises(PolicyRefused) as caught:
            await gate.enter(secret, "bank")
        assert caught.value.code == "run-differs-from-ledger"
        assert gate.ledger.draft.known(Run, run_path("run-1")).state == "aligning"


async def test_a_refused_commitment_ends_the_run_at_the_next_round(tmp_path):
    async with Consortium(tmp_path, ("bank", "operator")) as consortium:
        gate = await begun(consortium, terms_of(plan(), {}, int(time.time())), tmp_path)
        await gate.enter(plan(), "bank")
        await gate.go_on(0)
        await gate.said("00" * 32, 1, 1001)
        with pytest.raises(PolicyRefused, match="rows-exceeded") as caught:
            await rounds_without_end(gate)
        await gate.end(caught.value)
        assert gate.ledger.draft.known(Run, run_path("run-1")).state == "failed"


async def test_rounds_are_committed_to_together_and_what_went_in_before_counts_once(tmp_path):
    async with Consortium(tmp_path, ("bank", "operator")) as consortium:
        gate = await begun(consortium, terms_of(plan(), {}, int(time.time())), tmp_path)
        await gate.enter(plan(), "bank")
        aligned = {"run": "run-1", "rows": 10, "root": "11" * 32, "messages": 1}
        await ledger_of(consortium, "bank").demand("run.align", aligned)
        await gate.go_on(0)
        await gate.said("00" * 32, 1, 10)
        for number in range(1, 5):
            await gate.said(f"{number:064x}", number, 0)
        gate.kept()
        early = {"run": "run-1", "first": 1, "rounds": [{"root": f"{1:064x}", "messages": 1}]}
        await gate._commitments._run.until(lambda: gate._commitments._run.alive().closed or None, "alignment")
        await gate.ledger.demand("rounds.commit", early)
        await gate._commitments.flush()
        draft = gate.ledger.draft
        assert draft.known(Run, run_path("run-1")).committed["operator"] == 5
        made = [draft.known(Commitment, f"round/run-1/{number:09}/operator") for number in range(1, 5)]
        assert [each.messages for each in made] == [1, 2, 3, 4]
        assert len({each.transaction for each in made}) == 2


async def test_more_rounds_than_a_transaction_holds_are_submitted_at_once_and_may_overtake(tmp_path):
    async with Consortium(tmp_path, ("bank", "operator")) as consortium:
        gate = await begun(consortium, terms_of(plan(), {}, int(time.time())), tmp_path)
        await gate.enter(plan(), "bank")
        for name in ("bank", "operator"):
            aligned = {"run": "run-1", "rows": 10, "root": "11" * 32, "messages": 1}
            await ledger_of(consortium, name).demand("run.align", aligned)
        rounds = [
            ("round.commit", {"run": "run-1", "round": number, "root": f"{number:064x}", "messages": 1})
            for number in range(1, 51)
        ]
        for part in (rounds[:40], rounds[40:]):
            transactions = gate._commitments._transactions(part)
            assert [len(body["rounds"]) for _, body in transactions] == ([32, 8] if len(part) == 40 else [10])
            await gate._commitments._submit(*reversed(transactions))
            await gate._commitments._submit(*transactions)
        draft = gate.ledger.draft
        assert draft.known(Run, run_path("run-1")).committed["operator"] == 51
        made = [draft.known(Commitment, f"round/run-1/{number:09}/operator") for number in range(1, 51)]
        assert len({each.transaction for each in made}) == 3


async def test_a_start_that_only_we_were_shown_is_not_final_and_not_entered(tmp_path, monkeypatch):
    monkeypatch.setattr("parley.party.gate.STARTED", 1.0)
    async with Consortium(tmp_path, ("auditor", "bank", "operator", "regulator")) as consortium:
        first = await begun(consortium, terms_of(plan(), {}, int(time.time())), tmp_path)
        approved = first.ledger.draft.known(Run, run_path("run-1")).plan
        consortium.cut |= {"auditor", "regulator"}
        for name in ("auditor", "regulator"):
            await consortium.stop(name)
        for act, body in (
            ("run.propose", {"run": "run-2", "plan": approved}),
            ("run.start", {"run": "run-2"}),
        ):
            await consortium.members["bank"].place(transaction(consortium.spec, "bank", act, body))
        gate = gate_at(first.ledger, "run-2", tmp_path)
        with pytest.raises(PolicyRefused) as caught:
            await gate.enter(plan(), "bank")
        assert caught.value.code == "run-not-on-ledger"
        assert gate.ledger.draft.known(Run, run_path("run-2")).state == "aligning"
