"""Boosting on the joined table: what its parameters promise."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley.core.errors import UsageError
from parley.learn.boosting import begin, finished, kept_rounds
from parley.learn.columns import ColumnBlock
from parley.learn.joined import fit_joined
from parley.learn.metrics import auc
from parley.learn.parameters import boosting_parameters

from tests.joint import block, problem

ROWS = 400


def learnable(rows=ROWS, seed=0):
    """Two owners' columns and a label that depends on one of each."""
    random = np.random.default_rng(seed)
    blocks = [block(random, rows, 3), block(random, rows, 3)]
    signal = sum((each.codes[0] / each.bin_counts[0] for each in blocks), start=np.zeros(rows))
    return blocks, (signal + random.normal(scale=0.3, size=rows) > np.median(signal)).astype(float)


def test_a_model_learns_what_there_is_to_learn():
    blocks, label = learnable()
    model = fit_joined(problem(label, n_estimators=20), blocks)
    alone = fit_joined(problem(label, n_estimators=20), blocks[:1])
    assert auc(label, model.state.margins[0]) > auc(label, alone.state.margins[0]) + 0.05


def test_equal_seeds_give_equal_models():
    blocks, label = learnable()
    settings = {"subsample": 0.5, "colsample_bytree": 0.5, "n_estimators": 3}
    first, again = (fit_joined(problem(label, **settings), blocks) for _ in range(2))
    assert first.state.trees == again.state.trees
    assert first.rules == again.rules
    other = fit_joined(problem(label, random_state=1, **settings), blocks)
    assert first.state.trees != other.state.trees


def test_threads_do_not_change_the_model():
    blocks, label = learnable()
    one, two = (fit_joined(problem(label), blocks, threads=threads) for threads in (1, 2))
    assert one.state.trees == two.state.trees


def test_early_stopping_keeps_the_best_round():
    random = np.random.default_rng(1)
    blocks, label = learnable()
    label[random.random(ROWS) < 0.3] = 1
    settings = {"n_estimators": 60, "early_stopping_rounds": 4, "learning_rate": 0.8}
    task = problem(label, training_rows=250, **settings)
    state = fit_joined(task, blocks).state
    kept = kept_rounds(task, state)
    assert kept == int(np.argmin(state.losses)) + 1
    assert state.round == kept + 4
    assert finished(task, state)
    assert not finished(task, replace(state, round=state.round - 1, losses=state.losses[:-1]))


def test_without_early_stopping_every_round_is_kept():
    blocks, label = learnable()
    task = problem(label, training_rows=250, n_estimators=5)
    state = fit_joined(task, blocks).state
    assert kept_rounds(task, state) == state.round == 5
    assert len(state.losses) == 5


def test_validation_rows_do_not_shape_the_model():
    blocks, label = learnable()
    task = problem(label, training_rows=300)
    flipped = label.copy()
    flipped[300:] = 1 - flipped[300:]
    first, other = fit_joined(task, blocks), fit_joined(replace(task, label=flipped), blocks)
    assert first.state.trees == other.state.trees
    short = [replace(each, codes=np.ascontiguousarray(each.codes[:, :300])) for each in blocks]
    assert fit_joined(problem(label[:300]), short).state.trees == first.state.trees


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32))
def test_a_weight_counts_like_repeated_rows(seed):
    """Where rounding has nothing to do: gradients and hessians lie on the grid with and without weights."""
    random = np.random.default_rng(seed)
    half = np.concatenate([[127], random.integers(-42, 43, 20)])
    weight = np.tile(np.concatenate([[1, 3], random.integers(1, 4, 19)]), 2)
    label = np.concatenate([half, -half]).astype(float)
    columns = block(random, len(label), 3)
    settings = {
        "objective": "regression",
        "n_estimators": 1,
        "min_child_samples": 1,
        "min_child_weight": 2.0,
        "hessian_bits": 2,
    }
    weighted = fit_joined(problem(label, weight=weight.astype(float), **settings), [columns])
    copies = np.repeat(np.arange(len(label)), weight)
    repeated = fit_joined(
        problem(label[copies], **settings),
        [replace(columns, codes=np.ascontiguousarray(columns.codes[:, copies]))],
    )
    assert weighted.state.trees[0].splits
    np.testing.assert_allclose(weighted.state.margins[:, copies], repeated.state.margins, atol=1e-12)


def test_leaf_values_come_from_the_exact_gradients():
    blocks, label = learnable()
    task = problem(label, n_estimators=1, max_depth=1, gradient_bits=3, hessian_bits=2, reg_lambda=2.0)
    state = fit_joined(task, blocks).state
    start = begin(task, 2).margins
    gradient, hessian = task.objective.gradients(start, task.label)
    steps = (state.margins - start)[0]
    for value in np.unique(steps):
        rows = steps == value
        expected = -0.1 * gradient[0, rows].sum() / (hessian[0, rows].sum() + 2.0)
        assert value == pytest.approx(expected)


def test_the_margins_are_the_sum_of_the_leaves():
    blocks, label = learnable()
    task = problem(label, n_estimators=4)
    model = fit_joined(task, blocks)
    margins = begin(task, 2).margins[0]
    for tree in model.state.trees:
        node = np.zeros(ROWS, dtype=int)
        for split in tree.splits:
            rule = model.rules[split.owner][split.split]
            assert rule.column == split.column
            left = rule.goes_left(blocks[split.owner].codes[rule.column])
            node = np.where(node == split.node, np.where(left, split.left, split.left + 1), node)
        values = {leaf.node: leaf.value for leaf in tree.leaves}
        margins = margins + np.array([values[each] for each in node])
    assert np.array_equal(margins, model.state.margins[0])


def test_sides_keep_the_rows_and_hessians_asked_for():
    blocks, label = learnable()
    task = problem(label, n_estimators=1, max_depth=6, min_child_samples=30)
    steps = fit_joined(task, blocks).state.margins[0]
    assert np.unique(steps, return_counts=True)[1].min() >= 30
    heavy = problem(label, n_estimators=1, max_depth=6, min_child_samples=1, min_child_weight=25.0)
    assert np.unique(fit_joined(heavy, blocks).state.margins[0], return_counts=True)[1].min() >= 80


@pytest.mark.parametrize(
    ("objective", "weighted", "strategy", "messages"),
    [
        ("binary", False, "bagging", 2),
        ("multiclass", False, "bagging", 2),
        ("regression", False, "bagging", 1),
        ("regression", True, "bagging", 2),
        ("regression", False, "goss", 2),
    ],
)
def test_a_constant_hessian_needs_no_message(objective, weighted, strategy, messages):
    label = np.arange(6.0) % 2
    task = problem(
        label, weight=np.ones(6) if weighted else None, objective=objective, data_sample_strategy=strategy
    )
    assert task.messages == messages


def test_columns_without_information_end_the_training():
    _, label = learnable()
    nothing = ColumnBlock(
        np.ones((1, ROWS), dtype=np.uint8), np.array([2], dtype=np.uint32), np.zeros(1, dtype=np.bool_)
    )
    state = fit_joined(problem(label, n_estimators=50), [nothing]).state
    assert state.exhausted
    assert state.round == 1


@pytest.mark.parametrize(
    "values",
    [
        {"n_estimators": 0},
        {"max_bins": 255},
        {"subsample": 0.0},
        {"learning_rat": 0.1},
        {"top_rate": 0.7, "other_rate": 0.6},
        {"objective": "ranking"},
    ],
)
def test_parameters_out_of_range_are_named(values):
    with pytest.raises(UsageError) as caught:
        boosting_parameters(values)
    assert caught.value.code == "bad-parameter"
    assert any(name in str(caught.value) for name in values)
