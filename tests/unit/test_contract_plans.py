"""Tables, plans and grants: every owner agrees to that very text, or a grant of its own lets it through."""

import pytest

from tests.contract import DAY, HOLDERS, START, Ledger, digest, grant, plan_of, terms

TABLE = {"name": "table", "schema": digest("s"), "rows": 3, "root": digest("r")}


@pytest.fixture
def ledger():
    ledger = Ledger()
    for owner in HOLDERS:
        ledger.register(owner)
    return ledger


def propose(ledger, body=None, proposer="bank"):
    body = body or terms()
    ledger.do(proposer, "plan.propose", {"terms": body})
    return plan_of(proposer, body)


def test_a_table_is_registered_once_until_it_is_withdrawn(ledger):
    ledger.refuses("table-known", "bank", "table.register", TABLE)
    ledger.do("bank", "table.withdraw", {"name": "table"})
    ledger.refuses("table-unknown", "bank", "table.withdraw", {"name": "table"})
    ledger.do("bank", "table.register", TABLE)
    assert ledger["table/bank/table"]["root"] == digest("r")


def test_a_plan_is_approved_when_every_owner_approved_it(ledger):
    plan = propose(ledger)
    assert ledger[f"plan/{plan}"]["approvals"] == ["bank"]
    assert ledger[f"plan/{plan}"]["status"] == "open"
    ledger.do("operator", "plan.approve", {"plan": plan})
    assert ledger[f"plan/{plan}"]["status"] == "approved"
    assert ledger[f"approval/{plan}/operator"]["verdict"] == "approved"


def test_a_proposer_without_a_table_approves_nothing(ledger):
    plan = propose(ledger, proposer="regulator")
    assert ledger[f"plan/{plan}"]["approvals"] == []


@pytest.mark.parametrize(
    "change",
    [
        {"purpose": "another"},
        {"algorithm": "other"},
        {"columns": ("age",)},
        {"rows": 9999},
        {"until": START + 29 * DAY},
    ],
)
def test_a_plan_with_another_word_is_another_plan(change):
    assert plan_of("bank", terms()) != plan_of("bank", terms(**change))
    assert plan_of("bank", terms()) != plan_of("operator", terms())


def test_the_same_plan_is_proposed_once(ledger):
    propose(ledger)
    ledger.refuses("plan-known", "bank", "plan.propose", {"terms": terms()})


def altered(**changes):
    bank = {"party": "bank", "table": "table", "columns": ["a", "b"], "label": "y", **changes}
    return {**terms(), "parts": [bank, terms()["parts"][1]]}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (altered(label=None), "plan-invalid"),
        (altered(columns=["b", "a"]), "plan-invalid"),
        (altered(columns=["a", "a"]), "plan-invalid"),
        (altered(label="a"), "plan-invalid"),
        (altered(party="operator"), "plan-invalid"),
        (altered(party="abroad"), "member-unknown"),
        (altered(table="other"), "table-unknown"),
        ({**terms(), "parts": terms()["parts"][::-1]}, "plan-invalid"),
        ({**terms(), "parts": terms()["parts"][:1]}, "body-invalid"),
        (terms(until=START), "plan-expired"),
        (terms(rows=0), "body-invalid"),
        ({**terms(), "more": 1}, "body-invalid"),
    ],
)
def test_a_plan_that_contradicts_itself_is_refused(ledger, body, code):
    ledger.refuses(code, "bank", "plan.propose", {"terms": body})


def test_an_observer_brings_no_table_into_a_plan(ledger):
    parts = [terms()["parts"][0], {"party": "regulator", "table": "t", "columns": [], "label": None}]
    ledger.refuses("party-not-active", "bank", "plan.propose", {"terms": {**terms(), "parts": parts}})


def test_only_an_owner_approves_and_only_once(ledger):
    plan = propose(ledger)
    ledger.refuses("approved-already", "bank", "plan.approve", {"plan": plan})
    ledger.refuses("role-not-allowed", "regulator", "plan.approve", {"plan": plan})
    ledger.refuses("plan-unknown", "operator", "plan.approve", {"plan": digest("none")})


def test_a_rejection_ends_the_plan_and_the_runs_that_wait_for_it(ledger):
    plan = propose(ledger)
    ledger.do("bank", "run.propose", {"run": "r", "plan": plan})
    ledger.do("operator", "plan.reject", {"plan": plan, "why": "too many columns"})
    assert ledger[f"plan/{plan}"]["status"] == "rejected"
    assert ledger[f"approval/{plan}/operator"]["why"] == "too many columns"
    assert (ledger["run/r"]["state"], ledger["run/r"]["reason"]) == ("cancelled", "plan-rejected")
    ledger.refuses("plan-decided", "operator", "plan.approve", {"plan": plan})
    ledger.refuses("plan-decided", "operator", "plan.reject", {"plan": plan, "why": "x"})


def test_who_approved_withdraws_instead_of_rejecting(ledger):
    plan = propose(ledger)
    ledger.refuses("approved-already", "bank", "plan.reject", {"plan": plan, "why": "x"})
    ledger.refuses("role-not-allowed", "regulator", "plan.reject", {"plan": plan, "why": "x"})
    ledger.refuses("not-permitted", "regulator", "plan.withdraw", {"plan": plan, "why": "x"})
    ledger.do("bank", "plan.withdraw", {"plan": plan, "why": "x"})
    ledger.refuses("plan-decided", "bank", "plan.withdraw", {"plan": plan, "why": "x"})


def test_a_withdrawal_ends_runs_under_way():
    ledger = Ledger()
    plan = ledger.training()
    ledger.do("operator", "plan.withdraw", {"plan": plan, "why": "law"})
    assert ledger["run/run-1"]["state"] == "cancelled"
    assert not list(ledger.state.keys("live/"))
    ledger.refuses("plan-decided", "bank", "run.propose", {"run": "r2", "plan": plan})


def test_nobody_approves_after_the_end(ledger):
    plan = propose(ledger)
    ledger.time = START + 31 * DAY
    ledger.refuses("plan-expired", "operator", "plan.approve", {"plan": plan})


# ── grants ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_grant_lets_a_plan_of_its_kind_through(ledger):
    given = ledger.do("operator", "grant.give", grant())
    plan = propose(ledger)
    ledger.do("bank", "grant.use", {"grant": given, "plan": plan})
    assert ledger[f"plan/{plan}"]["status"] == "approved"
    assert ledger[f"approval/{plan}/operator"]["grant"] == given
    assert ledger[f"grant/{given}"]["used"] == {"runs": 3, "predictions": 1000}


def test_a_grant_is_used_up(ledger):
    given = ledger.do("operator", "grant.give", grant(runs=5, predictions=2000))
    ledger.do("bank", "grant.use", {"grant": given, "plan": propose(ledger)})
    second = propose(ledger, terms(rows=9))
    ledger.refuses("grant-exhausted", "bank", "grant.use", {"grant": given, "plan": second})
    third = propose(ledger, terms(rows=8, runs=2))
    ledger.do("bank", "grant.use", {"grant": given, "plan": third})
    assert ledger[f"grant/{given}"]["used"] == {"runs": 5, "predictions": 2000}


@pytest.mark.parametrize(
    "body",
    [
        terms(purpose="advertising"),
        terms(algorithm="other"),
        terms(columns=("age", "income", "phone")),
        {
            **terms(),
            "parts": [terms()["parts"][0], {**terms()["parts"][1], "table": "other"}],
        },
        {
            **terms(),
            "parts": [
                {**terms()["parts"][0], "label": None},
                {**terms()["parts"][1], "label": "churn"},
            ],
        },
    ],
)
def test_a_grant_lets_nothing_else_through(ledger, body):
    ledger.register("operator", "other")
    given = ledger.do("operator", "grant.give", grant())
    plan = propose(ledger, body)
    ledger.refuses("grant-mismatch", "bank", "grant.use", {"grant": given, "plan": plan})


def test_a_grant_speaks_for_its_owner_only_to_the_proposer_named(ledger):
    given = ledger.do("operator", "grant.give", grant())
    by_regulator = propose(ledger, proposer="regulator")
    ledger.refuses("grant-mismatch", "regulator", "grant.use", {"grant": given, "plan": by_regulator})
    ledger.refuses("not-permitted", "bank", "grant.use", {"grant": given, "plan": by_regulator})


def test_a_grant_ends_by_time_or_revocation(ledger):
    until = START + 10 * DAY
    given = ledger.do("operator", "grant.give", grant(until=until))
    plan = propose(ledger)
    ledger.refuses("grant-expired", "bank", "grant.use", {"grant": given, "plan": plan})
    shorter = propose(ledger, terms(until=until))
    ledger.refuses("not-permitted", "bank", "grant.revoke", {"grant": given})
    ledger.do("operator", "grant.revoke", {"grant": given})
    ledger.refuses("grant-revoked", "operator", "grant.revoke", {"grant": given})
    ledger.refuses("grant-revoked", "bank", "grant.use", {"grant": given, "plan": shorter})
    ledger.refuses("grant-unknown", "bank", "grant.use", {"grant": digest("none"), "plan": plan})
    ledger.refuses("time-out-of-range", "operator", "grant.give", grant(until=START))
