"""Joint boosting: the same model as on the joined table, bit for bit, however the columns are spread."""

import asyncio
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parley.protocols.boosting import Resources, active, passive

from tests.joint import (
    PARTNER,
    SHOP,
    assert_equal_to_joined,
    binned,
    block,
    credit,
    problem,
    raised,
    shoppers,
    train,
)

ROWS = 240


def labelled(seed, kind="binary", classes=3):
    random = np.random.default_rng(seed)
    if kind == "regression":
        return random, random.normal(size=ROWS)
    label = random.integers(0, 2 if kind == "binary" else classes, ROWS)
    label[:classes] = np.arange(classes) % (2 if kind == "binary" else classes)
    return random, label


@pytest.mark.parametrize("passives", [1, 2, 3])
@pytest.mark.parametrize("minimum", [1, 10])
async def test_any_number_of_passive_parties(passives, minimum):
    random, label = labelled(passives)
    blocks = [block(random, ROWS, 3), *(block(random, ROWS, 4, minimum=minimum) for _ in range(passives))]
    model = await assert_equal_to_joined(problem(label), blocks)
    owners = {split.owner for tree in model.state.trees for split in tree.splits}
    assert len(owners) > 1


@pytest.mark.parametrize("minimum", [1, 10])
@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("binary", {"subsample": 0.6}),
        ("binary", {"colsample_bytree": 0.4, "n_estimators": 4}),
        ("binary", {"data_sample_strategy": "goss"}),
        ("binary", {"gradient_bits": 4, "hessian_bits": 2, "min_child_samples": 1}),
        ("binary", {"min_split_gain": 2.0, "reg_lambda": 0.0, "min_child_weight": 3.0}),
        ("regression", {}),
        ("regression", {"subsample": 0.5, "colsample_bytree": 0.5}),
        ("regression", {"data_sample_strategy": "goss"}),
        ("multiclass", {"n_estimators": 2}),
        ("multiclass", {"subsample": 0.7, "cat_smooth": 0.0, "cat_l2": 0.0}),
    ],
)
async def test_objectives_and_sampling(kind, parameters, minimum):
    random, label = labelled(11, kind)
    blocks = [block(random, ROWS, 2), block(random, ROWS, 5, minimum=minimum)]
    await assert_equal_to_joined(problem(label, objective=kind, **parameters), blocks)


@pytest.mark.parametrize("kind", ["binary", "regression", "multiclass"])
async def test_sample_weights(kind):
    random, label = labelled(5, kind)
    weight = random.uniform(0.1, 4, ROWS)
    blocks = [block(random, ROWS, 2), block(random, ROWS, 3)]
    await assert_equal_to_joined(problem(label, weight=weight, objective=kind), blocks)


@pytest.mark.parametrize("kind", ["binary", "regression", "multiclass"])
async def test_early_stopping_with_validation_rows(kind):
    random, label = labelled(3, kind)
    blocks = [block(random, ROWS, 2), block(random, ROWS, 3, minimum=5)]
    parameters = {"n_estimators": 6, "early_stopping_rounds": 2, "learning_rate": 1.5}
    task = problem(label, training_rows=170, objective=kind, subsample=0.8, **parameters)
    model = await assert_equal_to_joined(task, blocks)
    assert model.state.round < 6, "labels without a pattern should have stopped the training early"


async def test_an_active_party_without_columns():
    random, label = labelled(8)
    blocks = [block(random, ROWS, 0), block(random, ROWS, 3), block(random, ROWS, 1)]
    await assert_equal_to_joined(problem(label), blocks)


async def test_a_passive_party_without_columns():
    random, label = labelled(8)
    await assert_equal_to_joined(problem(label), [block(random, ROWS, 3), block(random, ROWS, 0)])


async def test_one_column_in_all():
    random, label = labelled(9)
    await assert_equal_to_joined(problem(label), [block(random, ROWS, 0), block(random, ROWS, 1)])


async def test_constant_columns_leave_one_leaf():
    _, label = labelled(10)
    constant = block(np.random.default_rng(0), ROWS, 2)
    constant.codes[:] = 1
    model = await assert_equal_to_joined(problem(label), [constant, constant])
    assert model.state.exhausted
    assert [len(tree.leaves) for tree in model.state.trees] == [1]


async def test_equal_columns_tie_to_the_lower_owner_and_column():
    random, label = labelled(12)
    column = block(random, ROWS, 1)
    twice = type(column)(
        np.repeat(column.codes, 2, axis=0), np.repeat(column.bin_counts, 2), np.zeros(2, dtype=np.bool_)
    )
    model = await assert_equal_to_joined(problem(label), [block(random, ROWS, 0), twice, twice])
    assert {(split.owner, split.column) for tree in model.state.trees for split in tree.splits} == {(1, 0)}


async def test_a_table_too_small_to_split():
    random = np.random.default_rng(1)
    blocks = [block(random, 3, 1), block(random, 3, 2)]
    model = await assert_equal_to_joined(problem(np.array([0, 1, 0])), blocks)
    assert model.state.round == 1


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_table(data):
    draw = data.draw
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows = draw(st.integers(2, 60))
    kind = draw(st.sampled_from(["binary", "regression"]))
    label = random.integers(0, 2, rows) if kind == "binary" else random.integers(-3, 4, rows)
    label[:2] = [0, 1]
    blocks = [
        block(random, rows, draw(st.integers(0, 3)), widest=6, minimum=draw(st.integers(1, 8)))
        for _ in range(draw(st.integers(2, 3)))
    ]
    task = problem(
        label,
        objective=kind,
        max_depth=draw(st.integers(1, 4)),
        min_child_samples=draw(st.integers(1, 6)),
        min_child_weight=0.0,
        subsample=draw(st.sampled_from([0.5, 1.0])),
    )
    asyncio.run(assert_equal_to_joined(task, blocks))


@pytest.mark.parametrize("minimum", [1, 10])
async def test_online_shoppers(minimum):
    frame, label = shoppers()
    shuffled = np.random.default_rng(0).permutation(len(frame))  # the file is sorted by month
    frame, label, training = frame[shuffled], label[shuffled], np.arange(9000)
    kinds = ("Month", "VisitorType", "OperatingSystems", "Browser", "Region", "TrafficType")
    blocks = [
        binned(frame, SHOP, training),
        binned(frame, PARTNER, training, minimum=minimum, categorical=kinds),
    ]
    task = problem(
        label, training_rows=9000, max_depth=5, min_child_samples=20, early_stopping_rounds=5, n_estimators=2
    )
    model = await assert_equal_to_joined(task, blocks)
    assert {split.owner for tree in model.state.trees for split in tree.splits} == {0, 1}


@pytest.mark.parametrize("minimum", [1, 10])
async def test_default_credit(minimum):
    frame, label, own, theirs = credit()
    training = np.arange(15_000)
    blocks = [
        binned(frame, own, training),
        binned(frame, theirs, training, minimum=minimum),
    ]
    task = problem(label, training_rows=15_000, max_depth=5, min_child_samples=20, n_estimators=2)
    model = await assert_equal_to_joined(task, blocks)
    assert {split.owner for tree in model.state.trees for split in tree.splits} == {0, 1}


@pytest.mark.parametrize("passives", [1, 2])
async def test_over_tls(passives):
    random, label = labelled(2)
    blocks = [block(random, ROWS, 2), *(block(random, ROWS, 3, minimum=4) for _ in range(passives))]
    await assert_equal_to_joined(problem(label), blocks, carrier="tls")


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
async def test_from_any_saved_round_the_rest_is_identical(kind):
    random, label = labelled(21, kind)
    blocks = [block(random, ROWS, 3), *(block(random, ROWS, 3, minimum=4) for _ in range(2))]
    task = problem(label, training_rows=200, objective=kind, n_estimators=4, subsample=0.7)
    states, shares = [], [{}, {}, {}]

    async def remember_state(state):
        states.append(state)

    def remember(index, role, *given):
        async def remember_rules(number, rules):
            shares[index].setdefault(number, rules)

        return role(*given, remember_rules)

    following = {index: partial(remember, index, passive) for index in (1, 2)}
    whole = raised(await train(task, blocks, leading=_with(on_round=remember_state), following=following))
    for state in states[:-1]:
        rest = {
            index: _with(passive, rounds=state.round, rules=shares[index][state.round]) for index in (1, 2)
        }
        resumed = raised(await train(task, blocks, leading=_with(state=state), following=rest))
        assert resumed[0].state.trees == whole[0].state.trees
        assert resumed[0].state.margins.tobytes() == whole[0].state.margins.tobytes()
        assert resumed[0].rules == whole[0].rules
        assert resumed[1:] == whole[1:]


def _with(role=active, **more):
    return partial(role, **more)


def test_a_seed_does_not_show_in_what_is_printed():
    assert "seed" not in repr(Resources(bytes(32)))
