"""Low-bit gradients and the samples they are taken of."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley.learn.parameters import BoostingParameters
from parley.learn.quantisation import quantise
from parley.learn.sampling import sample_columns, sample_rows


def noise(seed=0):
    return np.random.default_rng(seed)


@given(st.integers(2, 16), st.integers(1, 16), st.integers(1, 50), st.integers(0, 2**32))
def test_integers_stay_within_their_bits_and_one_step_of_the_value(gradient_bits, hessian_bits, rows, seed):
    gradient, hessian = noise(seed).normal(size=rows), noise(seed + 1).random(rows)
    result = quantise(gradient, hessian, bits=(gradient_bits, hessian_bits), noise=noise(seed))
    assert result.messages.dtype == np.int32
    assert result.tops == (2 ** (gradient_bits - 1) - 1, 2**hessian_bits - 1)
    assert np.abs(result.messages[:, 0]).max() <= result.tops[0]
    assert result.messages[:, 1].min() >= 0
    assert result.messages[:, 1].max() <= result.tops[1]
    for column, exact in enumerate((gradient, hessian)):
        error = result.messages[:, column] * result.scales[column] - exact
        assert np.abs(error).max() <= result.scales[column] * (1 + 1e-9)


def test_rounding_is_unbiased():
    gradient, hessian = np.array([-1.0, -0.7031, 0.123, 0.5004]), np.array([1.0, 0.301, 0.0042, 0.25])
    times = 20_000
    source = noise(1)
    rounds = [quantise(gradient, hessian, bits=(4, 3), noise=source) for _ in range(times)]
    mean = np.mean([each.messages * each.scales for each in rounds], axis=0)
    steps = np.array(rounds[0].scales)
    # one rounding deviates by half a step at most; five standard errors of their mean are rare
    assert (np.abs(mean - np.column_stack([gradient, hessian])) <= 5 * steps / 2 / np.sqrt(times)).all()


def test_values_on_the_grid_are_exact():
    gradient = np.array([-127.0, 3.0, 64.0])
    assert quantise(gradient, None, bits=(8, 7), noise=noise()).messages[:, 0].tolist() == [-127, 3, 64]


def test_a_constant_hessian_is_no_message():
    result = quantise(np.array([1.0, -2.0]), None, bits=(8, 7), noise=noise())
    assert result.messages.shape == (2, 1)
    assert result.scales[1] == 1.0


def test_all_zero_gradients_have_a_scale():
    result = quantise(np.zeros(3), np.zeros(3), bits=(8, 7), noise=noise())
    assert result.scales == (1.0, 1.0)
    assert not result.messages.any()


def sampled(**values):
    gradient = np.random.default_rng(5).normal(size=1000)
    return gradient, *sample_rows(BoostingParameters(**values), gradient, np.ones(1000), noise(3))


def test_without_sampling_all_rows_count_once():
    _, rows, factor = sampled()
    assert np.array_equal(rows, np.arange(1000))
    assert factor is None


def test_bagging_draws_its_share_without_repetition():
    _, rows, factor = sampled(subsample=0.3)
    assert len(rows) == 300
    assert (np.diff(rows) > 0).all()
    assert factor is None


def test_goss_keeps_the_largest_and_scales_up_the_rest():
    gradient, rows, factor = sampled(data_sample_strategy="goss", top_rate=0.2, other_rate=0.1)
    largest = np.argsort(-np.abs(gradient), kind="stable")[:200]
    assert len(rows) == 300
    assert (np.diff(rows) > 0).all()
    assert set(largest) <= set(rows)
    top = np.isin(rows, largest)
    assert (factor[top] == 1).all()
    assert (factor[~top] == 8).all(), "100 of the 800 others stand for all of them"


def test_goss_estimates_sums_without_bias():
    gradient = np.random.default_rng(5).normal(size=300) + 0.3
    parameters = BoostingParameters(data_sample_strategy="goss")
    source, sums = noise(7), []
    for _ in range(3000):
        rows, factor = sample_rows(parameters, gradient, np.ones(300), source)
        sums.append((gradient[rows] * factor).sum())
    assert abs(np.mean(sums) - gradient.sum()) < 5 * np.std(sums) / np.sqrt(len(sums))


@pytest.mark.parametrize(("share", "count", "kept"), [(1.0, 5, 5), (0.4, 5, 2), (0.01, 5, 1), (0.5, 0, 0)])
def test_columns_are_drawn_by_share_but_one_at_least(share, count, kept):
    columns = sample_columns(share, count, noise())
    assert len(columns) == kept
    assert (np.diff(columns) > 0).all()
    assert np.isin(columns, np.arange(count)).all()
