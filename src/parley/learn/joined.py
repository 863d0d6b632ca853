"""The same algorithm on the joined table: the yardstick that the joint model must equal, bit for bit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parley._native import plain_histogram
from parley.learn.boosting import (
    BoostingState,
    Problem,
    TreeTask,
    begin,
    finish_round,
    finish_tree,
    finished,
    grower,
    tasks,
)
from parley.learn.histograms import BinLayout, Bools, Ints, OpenCounts, coarsen
from parley.learn.trees import SplitRule, TreeGrower


@dataclass(frozen=True)
class ColumnBlock:
    """The binned columns of one owner.

    Attributes:
        codes: ``uint8[columns, rows]``: bin of each row, 0 for missing.
        bin_counts: ``uint32[columns]``: bins of each column, the missing one included.
        categorical: ``bool[columns]``.
        minimum: rows that any sum the owner gives away must hold; 1 where the owner is the learner.
    """

    codes: NDArray[np.uint8]
    bin_counts: NDArray[np.uint32]
    categorical: Bools
    minimum: int = 1

    def drawn(self, task: TreeTask, owner: int) -> "DrawnColumns":
        """The columns and rows one tree looks at."""
        return DrawnColumns.of(self, task.columns[owner], task.sampled)


@dataclass(frozen=True)
class DrawnColumns:
    """The columns of one owner that one tree looks at.

    Attributes:
        codes: ``uint8[drawn columns, sampled rows]``.
        layout: bins of the drawn columns.
        counts: what the owner remembers of the open nodes.
    """

    codes: NDArray[np.uint8]
    layout: BinLayout
    counts: OpenCounts

    @classmethod
    def of(cls, block: ColumnBlock, columns: NDArray[np.int64], sampled: Bools) -> "DrawnColumns":
        """Take some columns, and the sampled rows, of a block."""
        codes = block.codes if len(columns) == len(block.codes) else block.codes[columns]
        if not sampled.all():
            codes = codes[:, sampled]
        layout = BinLayout(block.bin_counts).take(columns)
        return cls(np.ascontiguousarray(codes), layout, OpenCounts(layout, block.minimum))

    def sums(self, growing: TreeGrower, messages: NDArray[np.int32], threads: int) -> tuple[Ints, Bools]:
        """Sums of the small node of every pair, ``int64[3, P, C, W]``, and their groups, ``bool[P, C, W]``."""
        fine = np.stack(
            [
                self._small(messages, growing.membership.sampled_rows(pair.small), threads)
                for pair in growing.membership.pairs
            ],
            axis=1,
        )
        ends = self.counts.group(growing.membership.pairs, fine[2])
        return coarsen(fine, ends), ends

    def _small(self, messages: NDArray[np.int32], rows: NDArray[np.uint32], threads: int) -> Ints:
        flat = plain_histogram(self.codes, self.layout.bin_counts, messages, rows, threads)
        if messages.shape[1] == 1:
            flat = flat[:, [0, 1, 1]]  # a constant hessian: rows stand for it
        return self.layout.pad(np.ascontiguousarray(flat.T))


@dataclass(frozen=True)
class JoinedModel:
    """What training leaves: the final state and, per owner, what each of its splits tests."""

    state: BoostingState
    rules: tuple[tuple[SplitRule, ...], ...]


def fit_joined(problem: Problem, blocks: Sequence[ColumnBlock], *, threads: int = 1) -> JoinedModel:
    """Train on columns that lie side by side, block by owner."""
    state = begin(problem)
    rules: list[list[SplitRule]] = [[] for _ in blocks]
    while not finished(problem, state):
        for task in tasks(problem, state):
            growing = grower(problem, task, [block.categorical for block in blocks])
            drawn = [block.drawn(task, owner) for owner, block in enumerate(blocks)]
            while growing.membership.pairs:
                for owner, columns in enumerate(drawn):
                    growing.supply(owner, *columns.sums(growing, task.quantised.messages, threads))
                chosen = growing.decide()
                directions = []
                for each in chosen:
                    column = int(task.columns[each.owner][each.candidate.column])
                    rule = SplitRule(column, tuple(np.flatnonzero(each.candidate.left).tolist()))
                    rules[each.owner].append(rule)
                    rows = growing.membership.rows(each.node)
                    directions.append(rule.goes_left(blocks[each.owner].codes[column, rows]))
                growing.divide(chosen, directions)
            state = finish_tree(problem, state, task, growing)
        state = finish_round(problem, state)
    return JoinedModel(state, tuple(tuple(each) for each in rules))
