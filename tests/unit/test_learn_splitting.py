"""The best split, beside a search that tries everything."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from parley.learn.histograms import coarsen
from parley.learn.parameters import BoostingParameters
from parley.learn.splitting import SplitRules, best_splits

SCALES = (0.25, 0.5)


def rules(**values):
    settings = {"min_child_samples": 1, "min_child_weight": 0.0, **values}
    return SplitRules(BoostingParameters(**settings), SCALES)


def score(sums, penalty):
    gradient, hessian = sums[0] * SCALES[0], sums[1] * SCALES[1]
    return gradient * gradient / (hessian + penalty) if hessian + penalty > 0 else 0.0


def gain_of(left, totals, parameters, extra):
    """Gain of sending integer sums ``left`` of ``totals`` to the left; None where forbidden."""
    right = [total - part for total, part in zip(totals, left, strict=True)]
    for side in (left, right):
        if side[2] < parameters.min_child_samples or side[1] * SCALES[1] < parameters.min_child_weight:
            return None
    penalty = parameters.reg_lambda + extra
    return score(left, penalty) + score(right, penalty) - score(totals, penalty)


def every_split(sums, ends, kind, parameters):
    """Gains of all splits of one column, ``sums`` int[3, W]: thresholds × missing, or category prefixes."""
    totals = [int(value) for value in sums.sum(axis=1)]
    groups = np.flatnonzero(ends)

    def add(places):
        return [int(sums[row, list(places)].sum()) for row in range(3)]

    if kind:
        present = [group for group in groups if sums[2, group]]
        smooth = max(parameters.cat_smooth, 1e-12)
        present.sort(key=lambda at: sums[0, at] * SCALES[0] / (sums[1, at] * SCALES[1] + smooth))
        lefts = [present[:length] for length in range(1, len(present))]
        extra = parameters.cat_l2
    else:
        values = [group for group in groups if group > 0]
        prefixes = [values[: length + 1] for length in range(len(values))]
        lefts = [part for prefix in prefixes for part in ([0, *prefix], prefix)]
        extra = 0.0
    gains = [gain_of(add(left), totals, parameters, extra) for left in lefts]
    return [gain for gain in gains if gain is not None]


@st.composite
def tables(draw):
    """One node over a few columns: ``sums`` int64[3, 1, C, W], ``ends`` bool[1, C, W], kinds."""
    columns, width = draw(st.integers(1, 3)), draw(st.integers(1, 6))
    sums = np.zeros((3, 1, columns, width), dtype=np.int64)
    for column in range(columns):
        rows = draw(arrays(np.int64, width, elements=st.integers(0, 4)))
        sums[2, 0, column] = rows
        sums[1, 0, column] = [draw(st.integers(0, 3 * int(held))) for held in rows]
        sums[0, 0, column] = [draw(st.integers(-3 * int(held), 3 * int(held))) for held in rows]
    ends = draw(arrays(np.bool_, (1, columns, width)))
    ends[..., -1] = True
    return coarsen(sums, ends), ends, draw(arrays(np.bool_, columns))


@settings(max_examples=200, deadline=None)
@given(
    tables(), st.integers(1, 3), st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0]), st.integers(0, 3)
)
def test_no_split_is_better_than_the_one_found(table, least, penalty, extra, weight):
    """Columns are searched one at a time: each has totals of its own here."""
    sums, ends, kinds = table
    chosen = rules(
        min_child_samples=least, reg_lambda=penalty, cat_l2=extra, cat_smooth=extra, min_child_weight=weight
    )
    for column, kind in enumerate(kinds):
        totals = sums[:, :, column].sum(axis=-1)
        one = slice(column, column + 1)
        (found,) = best_splits(sums[:, :, one], ends[:, one], kinds[one], totals, chosen)
        gains = every_split(sums[:, 0, column], ends[0, column], kind, chosen.parameters)
        best = max(gains, default=-np.inf)
        if found is None:
            assert best <= 0
            continue
        np.testing.assert_allclose(found.gain, best, rtol=1e-12)
        penalised = chosen.parameters.cat_l2 if kind else 0.0
        again = gain_of(found.left_sums, totals[:, 0].tolist(), chosen.parameters, penalised)
        assert again == found.gain, "the sums of the left side are those the gain was computed from"
        left = sums[:, 0, column] * found.left
        assert tuple(left.sum(axis=1).tolist()) == found.left_sums, "the bins to the left hold those sums"


@settings(max_examples=200, deadline=None)
@given(tables())
def test_no_split_cuts_a_group(table):
    sums, ends, kinds = table
    for column in range(len(kinds)):
        one = slice(column, column + 1)
        (found,) = best_splits(
            sums[:, :, one], ends[:, one], kinds[one], sums[:, :, column].sum(axis=-1), rules()
        )
        if found is not None:
            places = [-1, *np.flatnonzero(ends[0, column])]
            for before, last in pairwise(places):
                assert len(set(found.left[before + 1 : last + 1].tolist())) == 1


def numeric(gradients, rows, **values):
    """The best split of one numeric column with hessian one for each row, bin 0 for missing."""
    sums = np.array([gradients, rows, rows], dtype=np.int64)[:, None, None]
    ends = np.ones((1, 1, len(rows)), dtype=np.bool_)
    (found,) = best_splits(
        sums, ends, np.zeros(1, dtype=np.bool_), sums[:, :, 0].sum(axis=-1), rules(**values)
    )
    return found


def test_ties_go_to_the_lower_bin():
    assert numeric([0, 4, 0, -4], [0, 2, 2, 2], reg_lambda=0.0).left.tolist() == [False, True, False, False]


def test_ties_go_to_the_lower_column():
    sums = np.array([[4, -4], [2, 2], [2, 2]])[:, None, None].repeat(3, axis=2)
    kinds = np.zeros(3, dtype=np.bool_)
    (found,) = best_splits(
        sums, np.ones((1, 3, 2), dtype=np.bool_), kinds, sums[:, :, 0].sum(axis=-1), rules()
    )
    assert found.column == 0


def test_missing_values_learn_their_direction():
    assert numeric([-9, 9, -9], [3, 3, 3]).left.tolist() == [False, True, False]
    assert numeric([9, 9, -9], [3, 3, 3]).left.tolist() == [True, True, False]


def test_missing_values_may_stand_alone():
    assert numeric([9, -3, -3], [3, 1, 1]).left.tolist() == [False, True, True]


def test_where_none_is_missing_the_majority_is_followed():
    assert numeric([0, 5, -9], [0, 2, 3]).left.tolist() == [False, True, False]
    assert numeric([0, 9, -5], [0, 3, 2]).left.tolist() == [True, True, False]


def categories(gradients, rows):
    sums = np.array([gradients, rows, rows], dtype=np.int64)[:, None, None]
    ends = np.ones((1, 1, len(rows)), dtype=np.bool_)
    (found,) = best_splits(sums, ends, np.ones(1, dtype=np.bool_), sums[:, :, 0].sum(axis=-1), rules())
    return found


def test_categories_are_grouped_by_their_gradients_not_their_order():
    found = categories([-40, 40, -40, 40], [20, 20, 20, 20])
    assert found.left.tolist() in ([True, False, True, False], [False, True, False, True])


def test_categories_unseen_in_a_node_go_with_the_majority():
    found = categories([-60, 0, 40], [30, 0, 20])
    assert found.left.tolist() == [True, True, False]


def test_a_gain_no_better_than_asked_is_no_split():
    best = numeric([0, 6, -6], [0, 3, 3])
    assert numeric([0, 6, -6], [0, 3, 3], min_split_gain=best.gain) is None
    assert numeric([0, 6, -6], [0, 3, 3], min_split_gain=np.nextafter(best.gain, 0)) is not None


def test_without_columns_there_is_no_split():
    nothing = np.zeros((3, 2, 0, 1), dtype=np.int64)
    found = best_splits(
        nothing,
        nothing[0].astype(np.bool_),
        np.zeros(0, dtype=np.bool_),
        np.ones((3, 2), dtype=np.int64),
        rules(),
    )
    assert found == [None, None]
