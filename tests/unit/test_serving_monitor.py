"""What is counted while a model is served."""

import numpy as np
import pytest

from parley.learn.stability import BINS, Histogram, population_stability_index
from parley.serving.monitor import WINDOW, Monitor
from parley.serving.scores import Score


def scores(values, basis="joint"):
    return [Score(id="x", basis=basis, score=float(each)) for each in values]


def test_scores_are_counted_in_twenty_bins_whatever_the_batches():
    values = np.random.default_rng(1).beta(2, 5, 10_000)
    once, often = Monitor(), Monitor()
    once.answered(scores(values), 1.0)
    for start in range(0, len(values), 37):
        often.answered(scores(values[start : start + 37]), 0.01)
    for monitor in (once, often):
        found = monitor.scores()["joint"]
        assert found.counts == Histogram.of_probabilities(values).counts
        assert found.total == pytest.approx(values.sum())
        assert monitor.predictions["joint"] == len(values)


def test_scores_fall_into_the_bins_of_training():
    monitor = Monitor()
    monitor.baseline(Histogram.of_values(np.arange(1000.0)))
    monitor.answered(scores([-3.0, 4000.0]), 0.1)
    found = monitor.scores()["joint"]
    assert (found.counts[0], found.counts[-1], sum(found.counts)) == (1, 1, 2)


def test_what_a_score_rests_on_is_kept_apart():
    monitor = Monitor()
    monitor.answered([*scores([0.1]), *scores([0.9], "active-only"), Score(id="x", basis="missing")], 0.1)
    monitor.answered([Score(id="x", basis="joint", classes=(0.2, 0.7, 0.1))], 0.1)
    assert monitor.predictions == {"joint": 2, "active-only": 1, "missing": 1}
    assert monitor.scores()["joint"].total == pytest.approx(0.8)
    assert monitor.scores()["active-only"].counts[-3:] == (1, 0, 0)


def test_scores_that_moved_are_told_from_those_that_did_not():
    rng = np.random.default_rng(2)
    monitor, trained = Monitor(), Histogram.of_probabilities(rng.beta(2, 5, 20_000))
    assert monitor.stability() is None
    monitor.baseline(trained)
    assert monitor.stability() is None
    monitor.answered(scores(rng.beta(2, 5, 5_000)), 1.0)
    calm = monitor.stability()
    assert calm.index < calm.chance
    monitor.answered(scores(rng.beta(3, 4, 20_000)), 1.0)
    assert monitor.stability().index > monitor.stability().chance


def test_only_the_last_scores_count_for_stability():
    monitor, expected = Monitor(), np.full(BINS, 100)
    monitor.baseline(Histogram(tuple(np.arange(1, BINS) / BINS), tuple(expected.tolist())))
    monitor.answered(scores([0.01] * WINDOW), 1.0)
    even = np.tile(np.arange(BINS) / BINS + 0.01, WINDOW // BINS)
    for _ in range(2):
        monitor.answered(scores(even), 1.0)
    assert monitor.stability().index == pytest.approx(
        population_stability_index(expected, expected), abs=1e-6
    )
    assert sum(monitor.scores()["joint"].counts) == 3 * WINDOW


def test_exchanges_are_counted_by_peer():
    monitor = Monitor()
    for rows in (1, 3, 70_000):
        monitor.exchanged("operator", rows, rows / 1000)
    monitor.failed("operator", "peer-silent")
    took, asked = monitor.exchanges()["operator"]
    assert (sum(took.counts), took.total) == (3, pytest.approx(70.004))
    assert (asked.counts[0], asked.counts[2], asked.counts[-1]) == (1, 1, 1)
    assert monitor.failures == {("operator", "peer-silent"): 1}
    monitor.cache(3, 1)
    assert monitor.cached == {"hit": 3, "miss": 1}
