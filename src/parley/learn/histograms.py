"""Histograms of a tree's nodes as padded integer arrays, and the coarsening that hides small bins.

Axes are named by letters throughout: V nodes, C columns of one party, W bins (the widest column of the
party; narrower ones are padded). Bin 0 holds missing values. The three sums of a bin are its
gradients, hessians and rows.

A bin that would show the sum of fewer rows than its owner allows is merged with its neighbour. The
array keeps its shape: the sum of a group of merged bins stands at the group's last bin, which the
boolean array ``ends`` marks; the other bins of the group hold zeros.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Pair:
    """Two sibling nodes of which only ``small`` is summed; its sibling is their parent less it.

    At the root ``parent`` and ``large`` are None.
    """

    parent: int | None
    small: int
    large: int | None

    @property
    def nodes(self) -> tuple[int, ...]:
        """The one or two nodes."""
        return (self.small,) if self.large is None else (self.small, self.large)


@dataclass(frozen=True)
class BinLayout:
    """How bins of one party's columns lie: one after another in flat arrays, side by side in padded ones."""

    bin_counts: NDArray[np.uint32]

    @property
    def columns(self) -> int:
        """C: number of columns."""
        return len(self.bin_counts)

    @property
    def width(self) -> int:
        """W: bins of the widest column; 1 if there is no column."""
        return int(self.bin_counts.max(initial=1))

    @property
    def present(self) -> Bools:
        """``bool[C, W]``: which padded places are bins."""
        return np.asarray(np.arange(self.width) < self.bin_counts[:, None])

    def pad(self, flat: Ints) -> Ints:
        """From ``int64[…, bins]``, column after column, to ``int64[…, C, W]``."""
        padded = np.zeros((*flat.shape[:-1], self.columns, self.width), dtype=flat.dtype)
        padded[..., self.present] = flat
        return padded

    def take(self, columns: Ints) -> "BinLayout":
        """The layout of some of the columns."""
        return BinLayout(np.ascontiguousarray(self.bin_counts[columns]))


def coarsen(sums: Ints, ends: Bools) -> Ints:
    """Merge the bins of ``int64[…, W]`` into the groups that end at ``ends`` (``bool[…, W]``)."""
    ends = np.broadcast_to(ends, sums.shape)
    total = np.cumsum(sums, axis=-1)
    position = np.where(ends, np.arange(sums.shape[-1]), -1)
    before = np.maximum.accumulate(position, axis=-1)
    before = np.concatenate([np.full_like(before[..., :1], -1), before[..., :-1]], axis=-1)
    subtract = np.where(before >= 0, np.take_along_axis(total, np.maximum(before, 0), axis=-1), 0)
    return np.where(ends, total - subtract, 0)


class OpenCounts:
    """What the owner of columns remembers while a tree grows: rows per bin, and groups, of the open nodes.

    Args:
        layout: the owner's columns.
        minimum: rows a group must hold in a node if it holds any; 0 or 1 merges nothing.
    """

    def __init__(self, layout: BinLayout, minimum: int) -> None:
        self._present = layout.present
        self._minimum = minimum
        self._counts: dict[int, Ints] = {}
        self._ends: dict[int, Bools] = {}

    def group(self, pairs: Sequence[Pair], small: Ints) -> Bools:
        """Groups for each pair of nodes, given the rows per bin of the small ones.

        Args:
            pairs: P pairs of one level.
            small: ``int64[P, C, W]``.

        Returns:
            ``bool[P, C, W]``: where groups end.
        """
        large = np.zeros_like(small)
        allowed = np.broadcast_to(self._present, small.shape).copy()
        for index, pair in enumerate(pairs):
            if pair.parent is not None:
                large[index] = self._counts[pair.parent] - small[index]
                allowed[index] = self._ends[pair.parent]
        ends = group_ends(small, large, allowed, self._minimum) if self._minimum > 1 else allowed
        self._counts, self._ends = {}, {}
        for index, pair in enumerate(pairs):
            for node, counts in zip(pair.nodes, (small[index], large[index]), strict=False):
                self._counts[node], self._ends[node] = counts, ends[index]
        return ends


def group_ends(small: Ints, large: Ints, allowed: Bools, minimum: int) -> Bools:
    """Choose groups of neighbouring bins so that no child of a split shows a sum of too few rows.

    Args:
        small: ``int64[V, C, W]`` rows per bin in one child of each of V pairs.
        large: the same for its sibling (zeros at the root, which has none).
        allowed: ``bool[V, C, W]`` where a group may end: the groups of the parent.
        minimum: a group must hold no row, or at least so many, in either child.

    Returns:
        ``bool[V, C, W]``: where the groups end. A column in which even all bins together fall short
        becomes one group.
    """
    ends = np.zeros_like(allowed)
    held = np.zeros((2, *small.shape[:-1]), dtype=np.int64)
    for place in range(small.shape[-1]):
        held += np.stack([small[..., place], large[..., place]])
        close = allowed[..., place] & _enough(held, minimum)
        ends[..., place] = close
        held[:, close] = 0
    _close_last(ends, np.stack([small, large]), allowed, minimum)
    return ends


def _enough(rows: Ints, minimum: int) -> Bools:
    """Whether both children of ``int64[2, …]`` hold no row or at least ``minimum``."""
    return np.asarray(((rows == 0) | (rows >= minimum)).all(axis=0))


def _close_last(ends: Bools, rows: Ints, allowed: Bools, minimum: int) -> None:
    """Let the bins behind the last group join it, and it its neighbour, until nothing too small is left."""
    width = ends.shape[-1]
    last = width - 1 - np.argmax(allowed[..., ::-1], axis=-1)
    for place in np.argwhere(~np.take_along_axis(ends, last[..., None], axis=-1)[..., 0]):
        at = tuple(place)
        line = ends[at]
        line[last[at]] = True
        tail = 0
        while True:
            earlier = np.flatnonzero(line[: last[at]])
            tail = int(earlier[-1]) + 1 if len(earlier) else 0
            if not len(earlier) or _enough(rows[(slice(None), *at, slice(tail, None))].sum(axis=-1), minimum):
                break
            line[earlier[-1]] = False
