"""Binned columns of one owner, and the part of them that one tree looks at."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parley._native import plain_histogram
from parley.learn.histograms import BinLayout, Bools, Ints, OpenCounts
from parley.learn.trees import Membership


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


class DrawnColumns:
    """The columns and rows of a block that one tree looks at.

    Attributes:
        codes: ``uint8[drawn columns, sampled rows]``.
        layout: bins of the drawn columns.
        counts: what the owner remembers of the open nodes.
    """

    def __init__(self, block: ColumnBlock, columns: NDArray[np.int64], sampled: Bools) -> None:
        codes = block.codes if len(columns) == len(block.codes) else block.codes[columns]
        self.codes = np.ascontiguousarray(codes if sampled.all() else codes[:, sampled])
        self.layout = BinLayout(block.bin_counts).take(columns)
        self.counts = OpenCounts(self.layout, block.minimum)

    def small_sums(self, membership: Membership, messages: NDArray[np.int32], threads: int) -> Ints:
        """Sum plain messages and rows over the small node of every pair.

        Args:
            membership: its P pairs.
            messages: ``int32[sampled rows, k]``; k may be 0.
            threads: for the kernel.

        Returns:
            ``int64[k + 1, P, C, W]`` by single bins; the last sum is the rows.
        """
        counts = self.layout.bin_counts
        flat = [
            plain_histogram(self.codes, counts, messages, membership.sampled_rows(pair.small), threads)
            for pair in membership.pairs
        ]
        return self.layout.pad(np.ascontiguousarray(np.stack(flat).transpose(2, 0, 1)))
