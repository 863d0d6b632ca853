"""Padded histograms and the groups that hide small bins."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from parley.learn.histograms import BinLayout, OpenCounts, Pair, coarsen, group_ends


def groups_of(ends):
    """First and last bin of every group of one column."""
    last = np.flatnonzero(ends)
    return list(zip(np.concatenate([[0], last[:-1] + 1]), last, strict=True)) if len(last) else []


@st.composite
def lines(draw):
    """Rows per bin of two children, where groups may end, and a minimum; one column."""
    width = draw(st.integers(1, 9))
    used = draw(st.integers(1, width))
    counts = draw(arrays(np.int64, (2, used), elements=st.integers(0, 7)))
    allowed = draw(arrays(np.bool_, used))
    allowed[-1] = True
    padded = np.zeros((2, width), dtype=np.int64)
    padded[:, :used] = counts
    return padded, np.pad(allowed, (0, width - used)), draw(st.integers(1, 9))


@given(lines())
def test_groups_hold_no_row_or_enough_in_both_children(line):
    (small, large), allowed, minimum = line
    ends = group_ends(small[None, None], large[None, None], allowed[None, None], minimum)[0, 0]
    groups = groups_of(ends)
    assert not (ends & ~allowed).any(), "groups are unions of the allowed ones"
    assert ends[np.flatnonzero(allowed)[-1]], "no bin is left behind the last group"
    for first, last in groups:
        for rows in (small[first : last + 1].sum(), large[first : last + 1].sum()):
            assert len(groups) == 1 or rows == 0 or rows >= minimum


@given(lines())
def test_groups_are_no_larger_than_they_must_be(line):
    """Any group but the last could not have ended at an earlier allowed place."""
    (small, large), allowed, minimum = line
    ends = group_ends(small[None, None], large[None, None], allowed[None, None], minimum)[0, 0]
    for first, last in groups_of(ends)[:-1]:
        for earlier in range(first, last):
            sums = [counts[first : earlier + 1].sum() for counts in (small, large)]
            assert not (allowed[earlier] and all(rows == 0 or rows >= minimum for rows in sums))


def test_a_column_that_falls_short_altogether_is_one_group():
    small = np.array([[[1, 0, 2, 1]]])
    ends = group_ends(small, np.zeros_like(small), np.ones_like(small, dtype=np.bool_), 10)
    assert ends.tolist() == [[[False, False, False, True]]]


def test_rows_behind_the_last_full_group_join_it():
    small = np.array([[[5, 0, 5, 1]]])
    ends = group_ends(small, np.zeros_like(small), np.ones_like(small, dtype=np.bool_), 5)
    assert ends.tolist() == [[[True, True, False, True]]]


def test_a_minimum_of_one_merges_nothing():
    layout = BinLayout(np.array([3, 2], dtype=np.uint32))
    small = np.array([[[1, 0, 1], [2, 0, 0]]])
    ends = OpenCounts(layout, 1).group([Pair(None, 0, None)], small)
    assert np.array_equal(ends[0], layout.present)


@given(lines(), st.integers(0, 2**32))
def test_coarsening_keeps_sums_and_puts_them_at_the_ends(line, seed):
    (small, large), allowed, minimum = line
    ends = group_ends(small[None, None], large[None, None], allowed[None, None], minimum)[0, 0]
    sums = np.random.default_rng(seed).integers(-50, 50, (3, len(ends)))
    sums[:, np.flatnonzero(allowed)[-1] + 1 :] = 0
    coarse = coarsen(sums, ends)
    assert (coarse[:, ~ends] == 0).all()
    for first, last in groups_of(ends):
        assert np.array_equal(coarse[:, last], sums[:, first : last + 1].sum(axis=1))


@given(lines(), st.integers(0, 2**32))
def test_coarsening_a_difference_is_the_difference_of_the_coarse(line, seed):
    (small, large), allowed, minimum = line
    ends = group_ends(small[None, None], large[None, None], allowed[None, None], minimum)[0, 0]
    first, second = np.random.default_rng(seed).integers(-9, 9, (2, len(ends)))
    assert np.array_equal(coarsen(first - second, ends), coarsen(first, ends) - coarsen(second, ends))
    assert np.array_equal(coarsen(coarsen(first, allowed), ends), coarsen(first, ends))


@settings(max_examples=50)
@given(st.lists(st.integers(1, 6), max_size=4), st.integers(0, 3))
def test_padding_puts_every_flat_bin_in_its_place(counts, extra):
    layout = BinLayout(np.array(counts, dtype=np.uint32))
    flat = np.arange((extra + 1) * sum(counts)).reshape(extra + 1, -1)
    padded = layout.pad(flat)
    assert padded.shape == (extra + 1, len(counts), max(counts, default=1))
    assert np.array_equal(padded[..., layout.present], flat)
    assert padded.sum() == flat.sum()


def test_groups_of_children_are_unions_of_their_parents_groups():
    random = np.random.default_rng(4)
    layout = BinLayout(np.array([8, 5], dtype=np.uint32))
    memory = OpenCounts(layout, 6)
    root = layout.pad(random.integers(0, 6, (1, 13)))
    before = memory.group([Pair(None, 0, None)], root)[0]
    small = random.integers(0, root // 2 + 1)
    after = memory.group([Pair(0, 1, 2)], small)[0]
    assert not (after & ~before).any()
    for rows in (small[0], root[0] - small[0]):
        held = coarsen(rows, after)[after]
        assert ((held == 0) | (held >= 6) | (after.sum(axis=1).repeat(after.sum(axis=1)) == 1)).all()
