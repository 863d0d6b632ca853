"""Losses beside their finite differences, measures beside scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from parley.core.errors import UsageError
from parley.learn.metrics import accuracy, auc, ks, log_loss, rmse
from parley.learn.objectives import Binary, Multiclass, Regression, objective_for, sigmoid, softmax

ROWS = 12


def setting(name):
    random = np.random.default_rng(3)
    if name == "binary":
        return Binary(), random.normal(size=(1, ROWS)), random.integers(0, 2, ROWS).astype(float)
    if name == "regression":
        return Regression(), random.normal(size=(1, ROWS)), random.normal(size=ROWS)
    return Multiclass(4), random.normal(size=(4, ROWS)), random.integers(0, 4, ROWS).astype(float)


def row_losses(name, margins, label):
    """What each row contributes to the training loss."""
    if name == "binary":
        return np.logaddexp(0, margins[0]) - label * margins[0]
    if name == "regression":
        return (margins[0] - label) ** 2 / 2
    return np.log(np.exp(margins).sum(axis=0)) - margins[label.astype(int), np.arange(ROWS)]


@pytest.mark.parametrize("name", ["binary", "regression", "multiclass"])
def test_gradients_are_the_finite_differences_of_the_loss(name):
    objective, margins, label = setting(name)
    gradient, hessian = objective.gradients(margins, label)
    factor = 4 / 3 if name == "multiclass" else 1.0  # C / (C − 1)
    step = 1e-4
    for output in range(objective.outputs):
        move = np.zeros_like(margins)
        move[output] = step
        above, here, below = (row_losses(name, margins + sign * move, label) for sign in (1, 0, -1))
        np.testing.assert_allclose(gradient[output], (above - below) / (2 * step), atol=1e-7)
        np.testing.assert_allclose(hessian[output], factor * (above - 2 * here + below) / step**2, atol=1e-5)


@pytest.mark.parametrize("name", ["binary", "regression", "multiclass"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_initial_margins_are_a_minimum(name, weighted):
    objective, _, label = setting(name)
    label[:4] = [0, 1, 2, 3] if name == "multiclass" else label[:4]
    weight = np.random.default_rng(1).uniform(0.5, 3, ROWS) if weighted else np.ones(ROWS)
    start = objective.initial(label, weight if weighted else None)
    gradient, _ = objective.gradients(np.repeat(start[:, None], ROWS, axis=1), label)
    np.testing.assert_allclose((gradient * weight).sum(axis=1), 0, atol=1e-12)


@pytest.mark.parametrize("name", ["binary", "regression", "multiclass"])
def test_the_watched_loss_is_the_mean_of_its_rows(name):
    objective, margins, label = setting(name)
    weight = np.random.default_rng(1).uniform(0.5, 3, ROWS)
    expected = np.average(row_losses(name, margins, label), weights=weight)
    expected = np.sqrt(2 * expected) if name == "regression" else expected
    assert objective.loss(margins, label, weight) == pytest.approx(expected)


def test_predictions_are_probabilities_per_class_or_values():
    for name in ("binary", "multiclass"):
        objective, margins, _ = setting(name)
        predicted = objective.predict(margins)
        assert predicted.shape == (ROWS, max(2, objective.outputs))
        np.testing.assert_allclose(predicted.sum(axis=1), 1)
    objective, margins, _ = setting("regression")
    assert np.array_equal(objective.predict(margins), margins[0])


def test_extreme_margins_overflow_nowhere():
    assert sigmoid(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]
    assert softmax(np.array([[1e4], [-1e4]])).tolist() == [[1.0], [0.0]]


@pytest.mark.parametrize(
    ("name", "label", "code"),
    [
        ("binary", [0, 1, np.nan], "label-missing"),
        ("regression", [0, np.inf], "label-missing"),
        ("binary", [1, 1, 1], "label-constant"),
        ("regression", [], "label-constant"),
        ("binary", [0, 1, 2], "label-kind"),
        ("binary", [1, 2], "label-kind"),
        ("multiclass", [0, 2], "label-kind"),
        ("multiclass", [0.5, 1, 0], "label-kind"),
    ],
)
def test_labels_that_do_not_fit_are_named(name, label, code):
    with pytest.raises(UsageError) as caught:
        objective_for(name, np.array(label, dtype=float))
    assert caught.value.code == code


def test_the_number_of_classes_is_read_from_the_label():
    assert objective_for("multiclass", np.array([2.0, 0, 1, 1])).outputs == 3
    assert objective_for("binary", np.array([0.0, 1])).outputs == 1


@st.composite
def scored(draw):
    rows = draw(st.integers(2, 40))
    label = np.array(draw(st.lists(st.integers(0, 1), min_size=rows, max_size=rows)), dtype=float)
    label[:2] = [0, 1]
    return label, np.array(draw(st.lists(st.integers(0, 6), min_size=rows, max_size=rows)), dtype=float)


@given(scored())
def test_auc_and_ks_are_those_of_the_reference_with_ties(drawn):
    label, score = drawn
    assert auc(label, score) == pytest.approx(reference.roc_auc_score(label, score))
    false_positives, true_positives, _ = reference.roc_curve(label, score, drop_intermediate=False)
    assert ks(label, score) == pytest.approx(np.abs(true_positives - false_positives).max())


@given(scored())
def test_losses_are_those_of_the_reference(drawn):
    label, score = drawn
    weight, probability = score + 1, np.clip(score / 6, 0.01, 0.99)
    assert log_loss(label, probability, weight) == pytest.approx(
        reference.log_loss(label, probability, sample_weight=weight)
    )
    expected = reference.root_mean_squared_error(label, score, sample_weight=weight)
    assert rmse(label, score, weight) == pytest.approx(expected)
    assert accuracy(label, np.round(probability)) == reference.accuracy_score(label, np.round(probability))


def test_one_class_has_no_auc():
    assert np.isnan(auc(np.ones(3), np.arange(3.0)))
    assert np.isnan(ks(np.zeros(3), np.arange(3.0)))
