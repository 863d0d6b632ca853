"""Plans as people write them and as peers send them."""

import pytest

from parley.core.errors import UsageError
from parley.core.plan import decode_plan, encode_plan, read_plan
from parley.learn.parameters import boosting_parameters

PLAN = """
name = "test"
purpose = "first line\\nsecond line"
[parties.bank]
table = "accounts"
id = "id"
label = "y"
[parties.operator]
table = "subscribers"
id = "id"
columns = ["a", "\u200c\u0645"]
"""


def test_a_plan_travels_unchanged():
    plan = read_plan(PLAN)
    assert decode_plan(encode_plan(plan)) == plan
    assert decode_plan(encode_plan(plan)).digest == plan.digest


@pytest.mark.parametrize("bad", ["\\u001b[2J", "\\n", "\\u202e", "\\u2028", "\\u0000"])
def test_a_name_cannot_forge_what_a_log_shows(bad):
    for place in ('"test"', '"accounts"', '"a"', '"y"'):
        with pytest.raises(UsageError, match="control character"):
            read_plan(PLAN.replace(place, f'{place[:-1]}{bad}"'))


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff", b'{"model":' + b"[" * 100_000, b'{"name":"\xed\xa0\x80"}']
)
def test_what_is_no_plan_is_named_so(data):
    with pytest.raises(UsageError) as caught:
        decode_plan(data)
    assert caught.value.code == "bad-plan"


def test_numbers_that_nothing_can_hold_are_refused():
    for line in ("evaluation.seed = 9007199254740992", "limits.rows = 9007199254740992"):
        with pytest.raises(UsageError):
            read_plan(f"{line}\n{PLAN}")
    for values in ({"random_state": 2**64}, {"reg_lambda": float("nan")}, {"min_child_weight": float("inf")}):
        with pytest.raises(UsageError):
            boosting_parameters(values)
