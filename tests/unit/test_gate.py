"""What the terms on the ledger must say before a party takes part in the run of a plan."""

import pytest

from parley.core.plan import read_plan
from parley.party.gate import stands_for, terms_of

DAY = 86_400

PLAN = """
name = "test"
purpose = "to see that it works"
[parties.bank]
table = "accounts"
id = "id"
label = "y"
[parties.operator]
table = "subscribers"
id = "id"
columns = [{columns}]
[limits]
rows = 1000
[model]
n_estimators = 5
"""


def plan(columns='"b", "a"'):
    return read_plan(PLAN.format(columns=columns))


def test_the_terms_made_of_a_plan_stand_for_it_on_any_day():
    for columns in ('"b", "a"', ""):
        for now in (0, 20_000 * DAY + 7):
            assert stands_for(terms_of(plan(columns), {"bank": ["x", "y2"]}, now), plan(columns))


def test_terms_of_another_plan_do_not_stand_for_it():
    assert not stands_for(terms_of(plan('"a"'), {}, 0), plan())


@pytest.mark.parametrize(
    "changes",
    [
        {"purpose": "something harmless"},
        {"learns": "00" * 32},
        {"algorithm": "other"},
    ],
)
def test_terms_that_describe_a_plan_falsely_do_not_stand_for_it(changes):
    assert not stands_for(terms_of(plan(), {}, 0).but(**changes), plan())


def test_terms_that_show_other_limits_or_columns_than_the_plan_do_not_stand_for_it():
    for columns in ('"b", "a"', ""):
        terms = terms_of(plan(columns), {}, 0)
        bank, operator = terms.parts
        assert not stands_for(terms.but(parts=(bank, operator.but(columns=("a",)))), plan(columns))
        assert not stands_for(terms.but(parts=(bank.but(label="z"), operator)), plan(columns))
        for field in ("rows", "rounds", "runs", "predictions", "patience"):
            more = terms.limits.but(**{field: getattr(terms.limits, field) + 1})
            assert not stands_for(terms.but(limits=more), plan(columns))
