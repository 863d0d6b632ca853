"""Trees, how rows travel through them, and how one is grown level by level.

`Membership` is what every party keeps while a tree grows: which rows stand in which node. `TreeGrower`
is what the active party (or a learner on the joined table) keeps besides: the histograms of the open
nodes and the decision. Neither knows who computed a histogram or how it travelled.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from parley.learn.histograms import Bools, Ints, Pair, coarsen
from parley.learn.splitting import Candidate, SplitRules, best_splits

ROOT: Final = 0
Rows = NDArray[np.uint32]


class TreeSplit(msgspec.Struct, frozen=True):
    """An inner node.

    Attributes:
        node: number of the node; children are numbered after their parents.
        left: number of the left child; the right one is the next.
        owner: party that holds the column: 0 is the active party.
        column: the column's handle, an index among the owner's columns.
        split: which of the owner's splits it is, counted over the whole model.
        gain: loss reduction the split was chosen for.
    """

    node: int
    left: int
    owner: int
    column: int
    split: int
    gain: float


class TreeLeaf(msgspec.Struct, frozen=True):
    """A node without children, and what it adds to the margin of its rows."""

    node: int
    value: float


class Tree(msgspec.Struct, frozen=True):
    """One tree as the active party holds it; what a passive party's split tests stays with that party."""

    output: int
    splits: tuple[TreeSplit, ...]
    leaves: tuple[TreeLeaf, ...]


class SplitRule(msgspec.Struct, frozen=True):
    """The owner's side of a split: the bins of one of its columns that go left."""

    column: int
    left_bins: tuple[int, ...]

    def goes_left(self, codes: NDArray[np.uint8]) -> Bools:
        """Directions of the rows with these bin codes, ``uint8[rows]``."""
        table = np.zeros(256, dtype=np.bool_)
        table[list(self.left_bins)] = True
        return np.asarray(table[codes])


class Membership:
    """Which rows stand in which node of a growing tree.

    Args:
        sampled: ``bool[rows]``: rows whose gradients count; the others only travel along.
        max_depth: levels of splits.
        min_child_samples: a node with fewer than twice as many sampled rows is not opened.
    """

    def __init__(self, sampled: Bools, max_depth: int, min_child_samples: int) -> None:
        self._sampled = sampled
        # where every row is sampled, positions among the sampled rows are the rows themselves
        self._rank = None if sampled.all() else np.cumsum(sampled, dtype=np.uint32) - np.uint32(1)
        self._max_depth = max_depth
        self._least = min_child_samples
        self._rows: dict[int, Rows] = {ROOT: np.arange(len(sampled), dtype=np.uint32)}
        self._count = {ROOT: int(sampled.sum())}
        self._next = ROOT + 1
        self.depth = 0
        self.pairs: tuple[Pair, ...] = (Pair(None, ROOT, None),) if self._opens(ROOT) else ()

    def rows(self, node: int) -> Rows:
        """All rows of a node without children, ascending."""
        return self._rows[node]

    def sampled_rows(self, node: int) -> Rows:
        """Positions of the node's sampled rows among all sampled rows, ascending."""
        rows = self._rows[node]
        return rows if self._rank is None else self._rank[rows[self._sampled[rows]]]

    def count(self, node: int) -> int:
        """Sampled rows of a node."""
        return self._count[node]

    def opens(self, pair: Pair) -> tuple[bool, ...]:
        """Which nodes of a pair may still be split."""
        return tuple(self._opens(node) for node in pair.nodes)

    def allows(self, node: int, goes_left: Bools) -> bool:
        """Whether a split of a node leaves each side the sampled rows it must keep."""
        left = self._sampled_among(self._rows[node][goes_left])
        return self._least <= left <= self._count[node] - self._least

    def last_level(self) -> bool:
        """Whether the children of this level's nodes are leaves for want of depth."""
        return self.depth + 1 >= self._max_depth

    def divide(self, left: Iterable[tuple[int, Bools]]) -> tuple[int, ...]:
        """Split nodes and go one level down.

        Args:
            left: per split node, ascending, its number and the directions of its rows in their order.

        Returns:
            The number of the left child of each; the right one is the next.
        """
        children: list[int] = []
        pairs: list[Pair] = []
        self.depth += 1
        for node, goes_left in left:
            rows = self._rows.pop(node)
            first, second = self._next, self._next + 1
            self._next += 2
            children.append(first)
            for child, side in ((first, rows[goes_left]), (second, rows[~goes_left])):
                self._rows[child] = side
                self._count[child] = self._sampled_among(side)
            small, large = (first, second) if self._count[first] <= self._count[second] else (second, first)
            if self.depth < self._max_depth and (self._opens(small) or self._opens(large)):
                pairs.append(Pair(node, small, large))
        self.pairs = tuple(pairs)
        return tuple(children)

    def _sampled_among(self, rows: Rows) -> int:
        return len(rows) if self._rank is None else int(np.count_nonzero(self._sampled[rows]))

    def _opens(self, node: int) -> bool:
        return self._count[node] >= 2 * self._least


@dataclass(frozen=True)
class Chosen:
    """A split decided for a node: whose column it is and which bins go left."""

    node: int
    owner: int
    candidate: Candidate


@dataclass
class _Level:
    """Histograms of the open nodes of one level, for one owner."""

    nodes: dict[int, int] = field(default_factory=dict)
    sums: Ints = field(default_factory=lambda: np.zeros((3, 0, 0, 1), dtype=np.int64))
    ends: Bools = field(default_factory=lambda: np.zeros((0, 0, 1), dtype=np.bool_))


class TreeGrower:
    """Decides the splits of one tree from the histograms it is given.

    For each level: read ``membership.pairs``; `supply` every owner's sums of the small nodes; `decide`;
    `divide` by the directions that the owners of the chosen splits state.

    Args:
        membership: the rows of the tree.
        messages: ``int32[sampled rows, k]`` quantised gradients (and hessians; rows count where k is 1).
        categorical: per owner ``bool[C]``.
        rules: parameters and scales.
    """

    def __init__(
        self,
        membership: Membership,
        messages: NDArray[np.int32],
        categorical: Sequence[Bools],
        rules: SplitRules,
    ) -> None:
        self.membership = membership
        self._messages = messages
        self._categorical = categorical
        self._rules = rules
        self._levels = [_Level() for _ in categorical]
        self._splits: list[tuple[Chosen, int]] = []
        self._totals: dict[int, Ints] = {}
        self._add_up()

    def totals(self, node: int) -> Ints:
        """``int64[3]``: gradient, hessian and rows of a node of this level's pairs."""
        return self._totals[node]

    def _add_up(self) -> None:
        """Totals of this level's nodes, from the rows themselves, whatever sums were supplied."""
        parents, self._totals = self._totals, {}
        for pair in self.membership.pairs:
            chosen = self._messages[self.membership.sampled_rows(pair.small)]
            count = self.membership.count(pair.small)
            sums = [int(column.sum(dtype=np.int64)) for column in chosen.T]
            small = np.array([sums[0], sums[1] if len(sums) > 1 else count, count], dtype=np.int64)
            self._totals[pair.small] = small
            if pair.parent is not None and pair.large is not None:
                self._totals[pair.large] = parents[pair.parent] - small

    def parent(self, owner: int, pair: Pair) -> tuple[Ints, Bools] | None:
        """Sums ``int64[3, C, W]`` and group ends ``bool[C, W]`` of a pair's parent; None at the root."""
        if pair.parent is None:
            return None
        level = self._levels[owner]
        place = level.nodes[pair.parent]
        return level.sums[:, place], level.ends[place]

    def supply(self, owner: int, small: Ints, ends: Bools) -> None:
        """Take the sums of the small node of every pair.

        Args:
            owner: whose columns.
            small: ``int64[3, P, C, W]``, coarsened to ``ends``.
            ends: ``bool[P, C, W]``: where groups end, in both nodes of the pair.
        """
        level = _Level()
        sums: list[Ints] = []
        spans: list[Bools] = []
        for index, pair in enumerate(self.membership.pairs):
            parts = [small[:, index]]
            parent = self.parent(owner, pair)
            if parent is not None:
                parts.append(coarsen(parent[0], ends[index]) - small[:, index])
            for node, part in zip(pair.nodes, parts, strict=True):
                level.nodes[node] = len(sums)
                sums.append(part)
                spans.append(ends[index])
        level.sums, level.ends = np.stack(sums, axis=1), np.stack(spans)
        self._levels[owner] = level

    def decide(self) -> tuple[Chosen, ...]:
        """The best split of every open node over all owners, ascending by node; ties to the lower owner."""
        membership = self.membership
        nodes = [
            node
            for pair in membership.pairs
            for node, opens in zip(pair.nodes, membership.opens(pair), strict=True)
            if opens
        ]
        totals = np.stack([self.totals(node) for node in nodes], axis=1)
        best: dict[int, Chosen] = {}
        for owner, level in enumerate(self._levels):
            places = [level.nodes[node] for node in nodes]
            found = best_splits(
                level.sums[:, places], level.ends[places], self._categorical[owner], totals, self._rules
            )
            for node, candidate in zip(nodes, found, strict=True):
                if candidate and (node not in best or candidate.gain > best[node].candidate.gain):
                    best[node] = Chosen(node, owner, candidate)
        return tuple(best[node] for node in sorted(best))

    def divide(self, chosen: Sequence[Chosen], directions: Sequence[Bools]) -> None:
        """Send the rows of the split nodes left or right and go one level down."""
        steps = [(each.node, left) for each, left in zip(chosen, directions, strict=True)]
        children = self.membership.divide(steps)
        self._splits.extend(zip(chosen, children, strict=True))
        self._add_up()

    @property
    def splits(self) -> list[tuple[Chosen, int]]:
        """Every split so far in order, with the number of its left child."""
        return self._splits

    def leaves(self) -> list[int]:
        """Nodes without children, ascending."""
        inner = {chosen.node for chosen, _ in self._splits}
        children = {child + side for _, child in self._splits for side in (0, 1)}
        return sorted(({ROOT} | children) - inner)
