"""The kernels that answer predictions give the very bits of `learn/scoring`."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley import _native as native
from parley.core.errors import UsageError
from parley.data.bins import NumericBins
from parley.learn import scoring
from parley.learn.forest import Tests, Walk
from parley.learn.joined import fit_joined
from parley.learn.parameters import BoostingParameters
from parley.learn.shares import ActiveShare, Column
from parley.learn.trees import SplitRule, Tree, TreeLeaf, TreeSplit

from tests.joint import block, problem

THREADS = (1, 2)
Tests.__test__ = False  # pytest would take it for a class of tests


def across(packed, rows):
    """Directions as `scoring` packs them, ``uint8[splits, ceil(rows / 8)]``, row after row."""
    bits = np.unpackbits(packed, axis=1, count=rows, bitorder="little")
    return np.packbits(np.ascontiguousarray(bits.T), axis=1, bitorder="little")


def share_of(trees, initial, owners):
    names = tuple(f"party-{owner}" for owner in range(owners))
    return ActiveShare(
        model="m",
        party=names[0],
        owners=names,
        parameters=BoostingParameters(),
        outputs=len(initial),
        classes=(),
        initial=tuple(initial),
        trees=tuple(trees),
        columns=(Column("c", NumericBins((0.0,))),),
        rules=(),
    )


def grown(random, output, columns, rules):
    """A tree of random splits, numbered as in training; each split adds a rule to its owner's."""
    inner = int(random.choice([0, 1, 3, 12]))
    splits, open_nodes, born = [], [0], 1
    for _ in range(inner):
        node = open_nodes.pop(random.integers(len(open_nodes)))
        owner = int(random.integers(len(columns)))
        column = int(random.integers(len(columns[owner])))
        bins = int(columns[owner][column])
        left = tuple(np.flatnonzero(random.random(bins) < 0.5).tolist())
        splits.append(TreeSplit(node, born, owner, column, len(rules[owner]), 1.0))
        rules[owner].append(SplitRule(column, left))
        open_nodes += [born, born + 1]
        born += 2
    leaves = tuple(
        TreeLeaf(node, float(random.normal() * 10.0 ** random.integers(-9, 3))) for node in open_nodes
    )
    return Tree(output, tuple(splits), leaves)


@st.composite
def forests(draw):
    """A share, every owner's rules and bin counts, and codes of some rows (0 is missing)."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    owners, outputs = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    rows = draw(st.sampled_from([0, 1, 7, 8, 33, 513, 2500]))
    counts = [random.integers(2, 256, random.integers(1, 5)) for _ in range(owners)]
    rules = [[] for _ in range(owners)]
    trees = [
        grown(random, int(random.integers(outputs)), counts, rules) for _ in range(draw(st.integers(0, 60)))
    ]
    codes = [np.stack([random.integers(0, count, rows).astype(np.uint8) for count in own]) for own in counts]
    share = share_of(trees, random.normal(size=outputs).tolist(), owners)
    return share, rules, counts, codes, random


@settings(max_examples=40, deadline=None)
@given(forests())
def test_directions_and_margins_are_those_of_scoring_bit_for_bit(forest):
    share, rules, counts, codes, random = forest
    rows = codes[0].shape[1]
    asked = random.permutation(rows)[: max(1, rows - 5)] if rows else np.zeros(0, dtype=np.int64)
    plain = [scoring.directions(own, block[:, asked]) for own, block in zip(rules, codes, strict=True)]
    expected = scoring.margins(share.trees, share.initial, plain, len(asked))
    walk = Walk.of(share)
    assert walk.splits == tuple(share.splits_of(owner) for owner in range(len(codes)))
    for threads in THREADS:
        lefts = [
            Tests.of(own, bins).directions(block, asked, threads)
            for own, bins, block in zip(rules, counts, codes, strict=True)
        ]
        for found, wanted in zip(lefts, plain, strict=True):
            assert np.array_equal(found, across(wanted, len(asked)))
        assert walk.margins(lefts, threads).tobytes() == expected.tobytes()


@pytest.mark.parametrize("objective", ["binary", "regression", "multiclass"])
def test_a_trained_forest_walks_to_the_margins_it_was_trained_with(objective):
    random = np.random.default_rng(3)
    rows = 400
    blocks = [block(random, rows, 4), block(random, rows, 3, minimum=3), block(random, rows, 2)]
    kinds = {"binary": 2, "multiclass": 3}
    label = random.integers(kinds[objective], size=rows) if objective in kinds else random.normal(size=rows)
    asked = problem(label, objective=objective, n_estimators=4, max_depth=4)
    model = fit_joined(asked, blocks)
    share = share_of(model.state.trees, model.state.initial, len(blocks))
    every = np.arange(rows)
    for threads in THREADS:
        lefts = [
            Tests.of(rules, owned.bin_counts).directions(owned.codes, every, threads)
            for rules, owned in zip(model.rules, blocks, strict=True)
        ]
        assert Walk.of(share).margins(lefts, threads).tobytes() == model.state.margins.tobytes()


def test_a_row_may_be_asked_about_twice():
    codes = np.array([[1, 2, 0]], dtype=np.uint8)
    tests = Tests.of([SplitRule(0, (0, 1))], [3])
    assert tests.directions(codes, np.array([2, 1, 2, 0]), 1).tolist() == [[1], [0], [1], [1]]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (SplitRule(2, ()), "split 0 tests column 2; it must be one of 2"),
        (SplitRule(-1, ()), "split 0 tests column -1; it must be one of 2"),
        (SplitRule(1, (0, 4)), r"split 0 sends bins \(0, 4\) left; its column has 4"),
    ],
)
def test_a_rule_about_what_is_not_there_is_refused(rule, said):
    with pytest.raises(ValueError, match=said):
        Tests.of([rule], [3, 4])


def test_directions_of_rows_or_columns_that_are_not_there_are_refused():
    codes = np.zeros((1, 3), dtype=np.uint8)
    tests = Tests.of([SplitRule(1, (0,))], [2, 2])
    with pytest.raises(ValueError, match="columns: expected columns below 1, got 1 at split 0"):
        tests.directions(codes, np.arange(3), 1)
    both = np.zeros((2, 3), dtype=np.uint8)
    for row in (-1, 3):
        with pytest.raises(ValueError, match=f"rows: expected rows of 0 to below 3, got {row} at position 1"):
            tests.directions(both, np.array([0, row]), 1)
    with pytest.raises(TypeError, match="rows: expected a C-contiguous int64 array"):
        tests.directions(both, np.arange(3, dtype=np.int32), 1)
    with pytest.raises(ValueError, match="threads: expected 1"):
        tests.directions(both, np.arange(3), 0)


def stump(**changes):
    split = {"node": 0, "left": 1, "owner": 0, "column": 0, "split": 0, "gain": 1.0}
    leaves = changes.pop("leaves", (1, 2))
    output = changes.pop("output", 0)
    return Tree(output, (TreeSplit(**(split | changes)),), tuple(TreeLeaf(node, 1.0) for node in leaves))


@pytest.mark.parametrize(
    "tree",
    [
        stump(node=1),
        stump(owner=1),
        stump(split=1),
        stump(split=-1),
        stump(output=1),
        stump(output=-1),
        stump(leaves=(1,)),
        stump(leaves=(1, 1)),
        stump(leaves=(1, 2, 2)),
        stump(leaves=(1, 3)),
        Tree(0, (), ()),
        Tree(0, (TreeSplit(0, 1, 0, 0, 0, 1.0), TreeSplit(1, 2, 0, 0, 1, 1.0)), (TreeLeaf(2, 1.0),)),
    ],
)
def test_trees_whose_parts_do_not_fit_together_are_refused(tree):
    with pytest.raises(UsageError) as caught:
        Walk.of(share_of([tree], [0.0], 1))
    assert caught.value.code == "share-inconsistent"


def test_directions_of_other_owners_rows_or_splits_are_refused():
    tree = stump(owner=1)
    walk = Walk.of(share_of([tree], [0.0], 2))
    none, one = np.zeros((2, 0), dtype=np.uint8), np.ones((2, 1), dtype=np.uint8)
    assert walk.margins([none, one], 1).tolist() == [[1.0, 1.0]]
    for lefts in ([], [none], [none, one, one], [one, one], [none, none], [none[:1], one]):
        with pytest.raises(ValueError, match="left"):
            walk.margins(lefts, 1)
    with pytest.raises(ValueError, match="threads: expected 1"):
        walk.margins([none, one], 0)


def test_the_kernel_itself_refuses_nodes_that_lead_nowhere():
    def forest(*nodes):
        trees = np.array([[0, len(nodes)]], dtype=np.uint32)
        values = np.zeros(len(nodes))
        return native.Forest(
            1, np.array([1], dtype=np.uint32), trees, np.array(nodes, dtype=np.uint32), values
        )

    assert len(forest((0, 0, 1), (0, 0, 0), (0, 0, 0))) == 1
    for nodes in (
        ((0, 0, 2), (0, 0, 0), (0, 0, 0)),
        ((0, 0, 1), (0, 0, 1), (0, 0, 0)),
        ((0, 1, 1), (0, 0, 0), (0, 0, 0)),
        ((1, 0, 1), (0, 0, 0), (0, 0, 0)),
        ((0, 0, 0), (0, 0, 0), (0, 0, 0)),
    ):
        with pytest.raises(ValueError, match=r"of tree 0"):
            forest(*nodes)
