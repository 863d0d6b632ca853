"""The cost formulas of spec/boosting.md, computed from what was trained, against what was really sent."""

from collections import Counter

import numpy as np
import pytest

from parley.core.trace import Sent
from parley.learn.boosting import begin, tasks
from parley.learn.columns import DrawnColumns
from parley.learn.histograms import coarsen
from parley.learn.trees import Membership
from parley.protocols.boosting import active
from parley.protocols.boosting.messages import column_blocks

from tests.joint import block, problem, raised, train

BLOCK = 8192


def bits(count):
    return -(-count // 8)


def u(number):
    """Bytes of an integer."""
    return 1 if number < 2**7 else 2 if number < 2**8 else 3 if number < 2**16 else 5


def s(size):
    """Bytes of a byte string."""
    return size + (2 if size < 2**8 else 3 if size < 2**16 else 5)


def a(length):
    """Bytes of an array's head."""
    return 1 if length < 16 else 3


class Cost:
    """Bytes per message name for one passive party; the terms stand as in the specification."""

    def __init__(self, problem, own, owner):
        self.k, self.rows, self.owner, self.own = problem.messages, len(problem.label), owner, own
        self.bytes = Counter()

    def conversation(self, kept):
        C = len(self.own.codes)
        self.bytes["PublicKeyOffer"] += 24 + s(32 * self.k)
        self.bytes["ColumnsOffer"] += 22 + u(self.rows) + u(C) + s(4 * C) + s(bits(C))
        self.bytes["TrainingEnds"] += 22 + u(kept)

    def tree(self, number, task):
        C, m = len(self.own.codes), int(task.sampled.sum())
        begins = u(number) + u(task.output) + s(bits(C)) + s(bits(self.rows))
        self.bytes["TreeBegins"] += 20 + begins
        for first in range(0, m, BLOCK):
            rows = min(BLOCK, m - first)
            self.bytes["GradientBlock"] += 23 + u(first) + s(32 * (self.k + 1) * rows)

    def level(self, layout, ends, counts, splits, rows, *, last):
        for pair in range(len(ends)):
            for first, stop in column_blocks(layout):
                bins = int(layout.bin_counts[first:stop].sum())
                groups = int(ends[pair, first:stop].sum())
                filled = int((counts[pair, first:stop] > 0).sum())
                fields = u(pair) + u(first) + s(bits(bins)) + s(4 * groups)
                self.bytes["HistogramBlock"] += 24 + fields + s(32 * (self.k + 1) * filled)
        mine = [split for split in splits if split.owner == self.owner]
        others = [split.node for split in splits if split.owner != self.owner]
        notes = [
            1 + u(split.node) + u(split.column) + s(bits(int(self.own.bin_counts[split.column])))
            for split in mine
        ]
        self.bytes["Splits"] += 16 + a(len(mine)) + sum(notes) + a(len(others)) + sum(map(u, others))
        self.bytes["Directions"] += 20 + a(len(mine)) + sum(s(bits(rows[split.node])) for split in mine)
        told = [] if last else others
        self.bytes["Memberships"] += 21 + a(len(told)) + sum(s(bits(rows[node])) for node in told)


def walk(cost, blocks, rules, task, tree, parameters):
    """Account the levels of one tree; returns how many there were."""
    membership = Membership(task.sampled, parameters.max_depth, parameters.min_child_samples)
    drawn = DrawnColumns(cost.own, task.columns[cost.owner], task.sampled)
    nothing = np.zeros((drawn.codes.shape[1], 0), dtype=np.int32)
    levels = 0
    while membership.pairs:
        levels += 1
        fine = drawn.small_sums(membership, nothing, 1)[0]
        ends = drawn.counts.group(membership.pairs, fine)
        here = {node for pair in membership.pairs for node in pair.nodes}
        splits = [split for split in tree.splits if split.node in here]
        rows = {node: len(membership.rows(node)) for node in here}
        cost.level(drawn.layout, ends, coarsen(fine, ends), splits, rows, last=membership.last_level())
        membership.divide(
            (split.node, directions(blocks, rules, split, membership.rows(split.node))) for split in splits
        )
    return levels


def directions(blocks, rules, split, rows):
    rule = rules[split.owner][split.split]
    return rule.goes_left(blocks[split.owner].codes[rule.column, rows])


SETTINGS = [
    ("binary", 700, {"max_depth": 4}),
    ("regression", 300, {"subsample": 0.6, "colsample_bytree": 0.5}),
    ("multiclass", 300, {"n_estimators": 2, "max_depth": 3}),
    (
        "binary",
        9000,
        {"n_estimators": 1, "data_sample_strategy": "goss", "top_rate": 0.6, "other_rate": 0.35},
    ),
]


@pytest.mark.parametrize(("kind", "count", "parameters"), SETTINGS)
async def test_bytes_and_rounds_are_those_of_the_formulas(kind, count, parameters):
    random = np.random.default_rng(1)
    label = random.normal(size=count) if kind == "regression" else random.integers(0, 2, count)
    label[:3] = [0, 1, 2] if kind == "multiclass" else [0, 1, 1]
    wide = block(random, count, 20, widest=254, minimum=8)
    blocks = [block(random, count, 2), block(random, count, 3, minimum=5), wide]
    task = problem(label, training_rows=count - 50, objective=kind, min_child_samples=5, **parameters)
    sent = [[], [], []]
    states = [begin(task, 3)]

    async def remember(state):
        states.append(state)

    outcome, *shares = raised(
        await train(
            task,
            blocks,
            sinks=[(each.append,) for each in sent],
            leading=lambda *given: active(*given, remember),
        )
    )
    rules = [outcome.rules, *shares]
    for owner in (1, 2):
        cost = Cost(task, blocks[owner], owner)
        cost.conversation(len(shares[owner - 1]))
        levels = 0
        for state in states[:-1]:
            columns = [len(each.codes) for each in blocks]
            trees = outcome.state.trees[len(state.trees) :]
            for each, tree in zip(tasks(task, state, columns), trees, strict=False):
                cost.tree(state.round, each)
                levels += walk(cost, blocks, rules, each, tree, task.parameters)
        events = [event for event in sent[0] if isinstance(event, Sent) and event.peer == f"p{owner}"]
        events += [event for event in sent[owner] if isinstance(event, Sent)]
        measured = Counter()
        for event in events:
            measured[event.message] += event.size
        del measured["Hello"]
        assert measured == cost.bytes
        messages = Counter(event.message for event in events)
        assert messages["Splits"] == messages["Directions"] == messages["Memberships"] == levels
