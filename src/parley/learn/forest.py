"""A model share prepared for the kernels that answer predictions.

`Tests` is what an owner's splits test, `Walk` the trees of the active party. Both give the very bits of
`scoring.directions` and `scoring.margins`. Directions lie row after row here, as they travel: bit s mod 8
(lowest first) of byte s div 8 of a row is split s, and 1 is left.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from parley._native import Forest, forest_margins, row_directions
from parley.core.errors import UsageError
from parley.learn.scoring import Floats, Packed
from parley.learn.shares import ActiveShare
from parley.learn.trees import ROOT, SplitRule, Tree

CODES: Final = 256
"""Bin codes that a byte can say."""

Nodes: TypeAlias = list[tuple[int, int, int]]
"""Per node of a tree its owner, split and left child; children after their parents, and 0 for a leaf."""


@dataclass(frozen=True)
class Tests:
    """What an owner's splits test.

    Attributes:
        columns: ``uint32[splits]``: the column of each.
        left: ``uint8[splits, 32]``: bit c mod 8 of byte c div 8 is whether code c goes left.
    """

    columns: NDArray[np.uint32]
    left: Packed

    @classmethod
    def of(cls, rules: Sequence[SplitRule], bin_counts: Sequence[int] | NDArray[np.uint32]) -> Self:
        """Prepare the rules of a share.

        Args:
            rules: by split number.
            bin_counts: bins of each of the owner's columns, the one for missing values included.

        Raises:
            ValueError: a rule names a column or a bin that is not there.
        """
        left = np.zeros((len(rules), CODES), dtype=np.bool_)
        for number, rule in enumerate(rules):
            if not 0 <= rule.column < len(bin_counts):
                raise ValueError(
                    f"split {number} tests column {rule.column}; it must be one of {len(bin_counts)}"
                )
            bins = int(bin_counts[rule.column])
            if any(not 0 <= code < bins for code in rule.left_bins):
                raise ValueError(f"split {number} sends bins {rule.left_bins} left; its column has {bins}")
            left[number, list(rule.left_bins)] = True
        columns = np.array([rule.column for rule in rules], dtype=np.uint32)
        return cls(columns, np.packbits(left, axis=1, bitorder="little"))

    @property
    def splits(self) -> int:
        """How many."""
        return len(self.columns)

    def directions(self, codes: NDArray[np.uint8], rows: NDArray[np.int64], threads: int) -> Packed:
        """Which way rows go at every split.

        Args:
            codes: ``uint8[columns, all rows]``.
            rows: ``int64[rows]``: places among all rows, in any order, also repeated.
            threads: for the kernel; fewer than 512 rows are worked on in the calling thread.

        Returns:
            ``uint8[rows, ceil(splits / 8)]``.

        Raises:
            ValueError: a row or a column that is tested is not there.
        """
        return row_directions(codes, rows, self.columns, self.left, threads)


class Walk:
    """The trees of a model, as rows walk through them.

    Attributes:
        splits: how many each owner has.
    """

    def __init__(self, forest: Forest, initial: Floats, splits: tuple[int, ...]) -> None:
        self._forest = forest
        self._initial = initial
        self.splits = splits

    @classmethod
    def of(cls, share: ActiveShare) -> Self:
        """Prepare the trees of a share.

        Raises:
            UsageError: ``share-inconsistent``: nodes, splits or leaves do not fit together.
        """
        splits = [0] * len(share.owners)
        nodes: Nodes = []
        values: list[float] = []
        trees = []
        try:
            for tree in share.trees:
                for split in tree.splits:
                    splits[split.owner] += 1
                own, worth = _numbered(tree)
                trees.append((tree.output, len(own)))
                nodes += own
                values += worth
            forest = Forest(
                share.outputs,
                np.array(splits, dtype=np.uint32),
                np.array(trees, dtype=np.uint32).reshape(-1, 2),
                np.array(nodes, dtype=np.uint32).reshape(-1, 3),
                np.array(values, dtype=np.float64),
            )
        except (ValueError, OverflowError, IndexError) as error:
            raise UsageError(
                "share-inconsistent",
                f"the trees of model {share.model} contradict themselves: {error}",
                remedy="restore the share from a copy, or train again",
            ) from None
        return cls(forest, np.array(share.initial, dtype=np.float64), tuple(splits))

    def margins(self, lefts: Sequence[Packed], threads: int) -> Floats:
        """Add up the leaf values of each row, in the order of training.

        Args:
            lefts: per owner ``uint8[rows, ceil(splits / 8)]``, as `Tests.directions` gives them.
            threads: for the kernel; up to 1 024 rows are worked on in the calling thread.

        Returns:
            ``float64[outputs, rows]``.

        Raises:
            ValueError: other owners, rows or splits than the model's.
        """
        return forest_margins(self._forest, lefts, self._initial, threads)


def _numbered(tree: Tree) -> tuple[Nodes, list[float]]:
    """Nodes in the order in which splits make them, and the value of each (0 where it is split)."""
    nodes: Nodes = [(0, 0, 0)]
    places = {ROOT: 0}
    for split in tree.splits:
        place = places.pop(split.node, None)
        if place is None or {split.left, split.left + 1} & places.keys():
            raise ValueError(f"node {split.node} is not there to be split, or its children are already")
        nodes[place] = (split.owner, split.split, len(nodes))
        places[split.left], places[split.left + 1] = len(nodes), len(nodes) + 1
        nodes += [(0, 0, 0), (0, 0, 0)]
    values = [0.0] * len(nodes)
    for leaf in tree.leaves:
        place = places.pop(leaf.node, None)
        if place is None:
            raise ValueError(f"leaf {leaf.node} is not there, or there twice")
        values[place] = leaf.value
    if places:
        raise ValueError(f"node {min(places)} is neither split nor a leaf")
    return nodes, values
