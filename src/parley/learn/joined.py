"""The same algorithm on the joined table: the yardstick that the joint model must equal, bit for bit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parley.learn.boosting import (
    BoostingState,
    Problem,
    begin,
    finish_round,
    finish_tree,
    finished,
    grower,
    rule_of,
    tasks,
)
from parley.learn.columns import ColumnBlock, DrawnColumns
from parley.learn.histograms import Bools, Ints, coarsen
from parley.learn.trees import SplitRule, TreeGrower


@dataclass(frozen=True)
class JoinedModel:
    """What training leaves: the final state and, per owner, what each of its splits tests."""

    state: BoostingState
    rules: tuple[tuple[SplitRule, ...], ...]


def fit_joined(problem: Problem, blocks: Sequence[ColumnBlock], *, threads: int = 1) -> JoinedModel:
    """Train on columns that lie side by side, block by owner."""
    state = begin(problem, len(blocks))
    rules: list[list[SplitRule]] = [[] for _ in blocks]
    while not finished(problem, state):
        for task in tasks(problem, state, [len(block.codes) for block in blocks]):
            growing = grower(problem, task, [block.categorical for block in blocks])
            drawn = [
                DrawnColumns(block, columns, task.sampled)
                for block, columns in zip(blocks, task.columns, strict=True)
            ]
            while growing.membership.pairs:
                for owner, columns in enumerate(drawn):
                    growing.supply(owner, *small_sums(columns, growing, task.quantised.messages, threads))
                chosen = growing.decide()
                directions = []
                for each in chosen:
                    rule = rule_of(task, each)
                    rules[each.owner].append(rule)
                    rows = growing.membership.rows(each.node)
                    directions.append(rule.goes_left(blocks[each.owner].codes[rule.column, rows]))
                growing.divide(chosen, directions)
            state = finish_tree(problem, state, task, growing)
        state = finish_round(problem, state)
    return JoinedModel(state, tuple(tuple(each) for each in rules))


def small_sums(
    columns: DrawnColumns, growing: TreeGrower, messages: NDArray[np.int32], threads: int
) -> tuple[Ints, Bools]:
    """Sums of the small node of every pair, ``int64[3, P, C, W]``, and their groups, ``bool[P, C, W]``."""
    fine = columns.small_sums(growing.membership, messages, threads)
    if messages.shape[1] == 1:
        fine = fine[[0, 1, 1]]  # a constant hessian: rows stand for it
    ends = columns.counts.group(growing.membership.pairs, fine[2])
    return coarsen(fine, ends), ends
