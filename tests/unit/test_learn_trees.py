"""How rows travel through a growing tree, and the numbers all parties must agree on."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from parley.learn.columns import ColumnBlock, DrawnColumns
from parley.learn.histograms import Pair
from parley.learn.joined import small_sums
from parley.learn.parameters import BoostingParameters
from parley.learn.splitting import SplitRules
from parley.learn.trees import ROOT, Membership, SplitRule, TreeGrower


@st.composite
def journeys(draw):
    """A membership and a source of random directions."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows = draw(st.integers(1, 60))
    sampled = random.random(rows) < draw(st.sampled_from([0.5, 1.0]))
    return Membership(sampled, draw(st.integers(1, 4)), draw(st.integers(1, 5))), sampled, random


@settings(max_examples=200)
@given(journeys())
def test_children_partition_their_parents(journey):
    membership, sampled, random = journey
    everyone = np.arange(len(sampled))
    leaves, numbers = {ROOT}, {ROOT}
    while membership.pairs:
        open_nodes = [
            node
            for pair in membership.pairs
            for node, opens in zip(pair.nodes, membership.opens(pair), strict=True)
            if opens
        ]
        chosen = sorted(node for node in open_nodes if random.random() < 0.8)
        before = {node: membership.rows(node) for node in leaves}
        directions = [random.random(len(before[node])) < 0.5 for node in chosen]
        children = membership.divide(zip(chosen, directions, strict=True))
        assert len(set(children)) == len(chosen)
        born = {child + side for child in children for side in (0, 1)}
        assert not numbers & born, "numbers are given once"
        numbers |= born
        leaves = leaves - set(chosen) | born
        for node, goes_left, child in zip(chosen, directions, children, strict=True):
            assert np.array_equal(membership.rows(child), before[node][goes_left])
            assert np.array_equal(membership.rows(child + 1), before[node][~goes_left])
        for pair in membership.pairs:
            small, large = pair.nodes
            assert {small, large} == {min(small, large), min(small, large) + 1}
            assert membership.count(small) <= membership.count(large)
            assert any(membership.opens(pair))
    assert np.array_equal(np.sort(np.concatenate([membership.rows(leaf) for leaf in leaves])), everyone)
    for node in leaves:
        rows = membership.rows(node)
        assert membership.count(node) == sampled[rows].sum()
        assert np.array_equal(np.flatnonzero(sampled)[membership.sampled_rows(node)], rows[sampled[rows]])


def test_equal_children_tie_to_the_left_one():
    membership = Membership(np.ones(4, dtype=np.bool_), 3, 1)
    membership.divide([(ROOT, np.array([True, True, False, False]))])
    assert membership.pairs == (Pair(ROOT, 1, 2),)


def test_a_node_with_less_than_two_sides_worth_of_rows_is_not_opened():
    assert Membership(np.ones(7, dtype=np.bool_), 3, 4).pairs == ()
    assert Membership(np.ones(8, dtype=np.bool_), 3, 4).pairs == (Pair(None, ROOT, None),)


def test_a_split_is_allowed_if_both_sides_keep_enough_sampled_rows():
    sampled = np.array([True, True, True, True, False, False])
    membership = Membership(sampled, 2, 2)
    assert membership.allows(ROOT, np.array([True, True, False, False, True, True]))
    assert not membership.allows(ROOT, np.array([True, False, False, False, True, True]))
    assert not membership.allows(ROOT, np.ones(6, dtype=np.bool_))


def test_the_depth_ends_the_tree():
    membership = Membership(np.ones(8, dtype=np.bool_), 2, 1)
    assert not membership.last_level()
    membership.divide([(ROOT, np.arange(8) < 4)])
    assert membership.last_level()
    membership.divide([(1, np.arange(4) < 2), (2, np.arange(4) < 2)])
    assert membership.pairs == ()


def test_a_rule_sends_the_named_bins_left():
    assert SplitRule(0, (0, 3)).goes_left(np.array([0, 1, 3, 255], dtype=np.uint8)).tolist() == [
        True,
        False,
        True,
        False,
    ]


def grown(minimum, seed=6):
    """A tree over two owners' columns, with the sums that its levels were decided from."""
    random = np.random.default_rng(seed)
    rows = 150
    blocks = [
        ColumnBlock(
            random.integers(0, 6, (2, rows)).astype(np.uint8),
            np.full(2, 6, dtype=np.uint32),
            np.array([False, True]),
            each,
        )
        for each in (1, minimum)
    ]
    sampled = random.random(rows) < 0.8
    messages = random.integers([-9, 0], [10, 8], (int(sampled.sum()), 2)).astype(np.int32)
    parameters = BoostingParameters(max_depth=4, min_child_samples=3, min_child_weight=0.0)
    grower = TreeGrower(
        Membership(sampled, 4, 3),
        messages,
        [block.categorical for block in blocks],
        SplitRules(parameters, (1.0, 1.0)),
    )
    drawn = [DrawnColumns(block, np.arange(2), sampled) for block in blocks]
    while grower.membership.pairs:
        for owner, columns in enumerate(drawn):
            grower.supply(owner, *small_sums(columns, grower, messages, 1))
        check_level(grower, messages)
        chosen = grower.decide()
        directions = [
            each.candidate.left[
                blocks[each.owner].codes[each.candidate.column, grower.membership.rows(each.node)]
            ]
            for each in chosen
        ]
        for each, goes_left in zip(chosen, directions, strict=True):
            rows_left = grower.membership.rows(each.node)[goes_left]
            assert sampled[rows_left].sum() == each.candidate.left_sums[2]
        grower.divide(chosen, directions)
    return grower


def check_level(grower, messages):
    """Sums of both nodes of a pair are those of their rows, though only one was summed."""
    for pair in grower.membership.pairs:
        for node in pair.nodes:
            rows = grower.membership.sampled_rows(node)
            expected = [*messages[rows].sum(axis=0), len(rows)]
            assert grower.totals(node).tolist() == expected
            for level in grower._levels:
                sums = level.sums[:, level.nodes[node]]
                assert (sums.sum(axis=-1) == np.array(expected)[:, None]).all()


def test_sums_of_siblings_follow_from_their_parent():
    for minimum in (1, 7):
        assert len(grown(minimum).splits) > 3


def test_leaves_are_the_nodes_that_were_not_split_and_hold_every_row():
    grower = grown(1)
    leaves = grower.leaves()
    assert len(leaves) == len(grower.splits) + 1
    held = np.sort(np.concatenate([grower.membership.rows(leaf) for leaf in leaves]))
    assert np.array_equal(held, np.arange(150))
