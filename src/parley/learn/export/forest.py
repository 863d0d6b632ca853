"""The whole forest, put together from the pieces of all parties, as other programs evaluate forests.

Every row is a row of numbers, a column after the other: a numeric column as it is, NaN where missing; a
categorical one as the number of its category, 0 or NaN where missing. A tree tests one of them at a time,
either ``x <= threshold``, with missing values on a stated side, or whether ``x`` is one of some categories,
which missing values never are: where ours has them go left, the two sides change places.

The starting margin of an output is added to the leaves of its first tree, by the one addition with which
training began. So who adds up the leaves in the order of the trees, from zero, adds what training added.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from math import inf
from typing import Final, TypeAlias

import msgspec

from parley.core.errors import UsageError
from parley.data.bins import MISSING, CategoricalBins, NumericBins
from parley.learn.parameters import ObjectiveName
from parley.learn.shares import ActiveShare, Column, ModelShare, PassiveShare
from parley.learn.trees import SplitRule, Tree

FORMAT: Final = "parley-model-inputs"
VERSION: Final = 1
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.-]")


class Input(msgspec.Struct, frozen=True):
    """A column of the rows that the forest takes.

    Attributes:
        name: letters, digits and ``_.-`` only; no other input has it.
        party: who has the column.
        column: how that party calls it.
        kind: ``numeric`` or ``categorical``.
        categories: of a categorical one, the number of each.
        other: the number of every other value; null: it counts as missing.
    """

    name: str
    party: str
    column: str
    kind: str
    categories: dict[str, int] = {}
    other: int | None = None


@dataclass(frozen=True)
class AtMost:
    """``x <= threshold``; a missing value goes left if ``missing_left``."""

    threshold: float
    missing_left: bool


@dataclass(frozen=True)
class OneOf:
    """``x`` is one of the categories with these numbers; a missing value never is."""

    codes: tuple[int, ...]


Test: TypeAlias = AtMost | OneOf


@dataclass(frozen=True)
class Branch:
    """An inner node.

    Attributes:
        input: place of the column.
        test: who goes left.
        left: place among the tree's branches; where negative, ``~left`` is one among its leaves.
        right: likewise.
        gain: for which it was chosen.
    """

    input: int
    test: Test
    left: int
    right: int
    gain: float


@dataclass(frozen=True)
class WholeTree:
    """A tree whose root is its first branch, or its only leaf."""

    branches: tuple[Branch, ...]
    leaves: tuple[float, ...]


@dataclass(frozen=True)
class Forest:
    """All of a model.

    Attributes:
        model: identifier.
        objective: of its training.
        classes: how class ``i`` was written in the label column; none for a regression.
        inputs: the columns, party by party.
        rounds: in the order of training, in each a tree per output.
    """

    model: str
    objective: ObjectiveName
    classes: tuple[str, ...]
    inputs: tuple[Input, ...]
    rounds: tuple[tuple[WholeTree, ...], ...]

    @property
    def outputs(self) -> int:
        """Margins per row."""
        return len(self.rounds[0])

    def described(self) -> bytes:
        """What a row has to hold, as JSON."""
        record = {
            "format": FORMAT,
            "version": VERSION,
            "model": self.model,
            "objective": self.objective,
            "classes": self.classes,
            "inputs": self.inputs,
        }
        return msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"


def forest_of(pieces: Iterable[ModelShare]) -> Forest:
    """Put the pieces of all parties together.

    Raises:
        UsageError: ``pieces-do-not-fit``: one is missing, is there twice, or is of another training;
            ``split-not-exportable``: a numeric column is tested for more than lying below a threshold.
    """
    given = tuple(pieces)
    active = _active(given)
    shares: list[ModelShare] = [active, *_passive(given, active)]
    inputs, first = _inputs(shares)
    tests = [[_test(share.columns[rule.column], rule) for rule in share.rules] for share in shares]

    def branches(tree: Tree) -> Iterator[Branch]:
        inner = {split.node: place for place, split in enumerate(tree.splits)}
        leaves = {leaf.node: ~place for place, leaf in enumerate(tree.leaves)}
        places = inner | leaves
        for split in tree.splits:
            rule = shares[split.owner].rules[split.split]
            if rule.column != split.column:
                raise _unfit(active.model, f"split {split.split} of {shares[split.owner].party} differs")
            test, swapped = tests[split.owner][split.split]
            left, right = places[split.left], places[split.left + 1]
            if swapped:
                left, right = right, left
            yield Branch(first[split.owner] + split.column, test, left, right, split.gain)

    by_output: list[list[WholeTree]] = [[] for _ in range(active.outputs)]
    for tree in active.trees:
        start = active.initial[tree.output] if not by_output[tree.output] else None
        values = (leaf.value if start is None else start + leaf.value for leaf in tree.leaves)
        by_output[tree.output].append(WholeTree(tuple(branches(tree)), tuple(values)))
    for start, trees in zip(active.initial, by_output, strict=True):
        if not trees:
            trees.append(WholeTree((), (start,)))
    nothing = WholeTree((), (0.0,))
    return Forest(
        model=active.model,
        objective=active.parameters.objective,
        classes=active.classes,
        inputs=inputs,
        rounds=tuple(zip_longest(*by_output, fillvalue=nothing)),
    )


def _active(pieces: Sequence[ModelShare]) -> ActiveShare:
    found = [piece for piece in pieces if isinstance(piece, ActiveShare)]
    if len(found) != 1:
        model = pieces[0].model if pieces else ""
        raise _unfit(model, f"{len(found)} of them are of the party with the label, not one")
    return found[0]


def _passive(pieces: Sequence[ModelShare], active: ActiveShare) -> list[PassiveShare]:
    """In the order of owners."""
    found = {piece.party: piece for piece in pieces if isinstance(piece, PassiveShare)}
    if sorted(piece.party for piece in pieces) != sorted(active.owners):
        have = ", ".join(piece.party for piece in pieces)
        raise _unfit(active.model, f"they are of {have}, it was trained by {', '.join(active.owners)}")
    passive = [found[owner] for owner in active.owners[1:]]
    for owner, piece in enumerate(passive, start=1):
        if piece.model != active.model:
            raise _unfit(active.model, f"the piece of {piece.party} is of {piece.model}")
        if len(piece.rules) != active.splits_of(owner):
            count = active.splits_of(owner)
            raise _unfit(
                active.model, f"the piece of {piece.party} has {len(piece.rules)} splits, not {count}"
            )
    return passive


def _unfit(model: str, why: str) -> UsageError:
    return UsageError(
        "pieces-do-not-fit",
        f"the pieces are not those of one training of {model}: {why}",
        remedy="use the piece of every party, as each committed to it: see `parley model show`",
    )


def _inputs(shares: Sequence[ModelShare]) -> tuple[tuple[Input, ...], list[int]]:
    """The columns, party by party, and where each party's begin."""
    inputs: list[Input] = []
    first: list[int] = []
    taken: set[str] = set()
    for share in shares:
        first.append(len(inputs))
        for column in share.columns:
            name = _UNSAFE.sub("_", f"{share.party}.{column.name}")
            while name in taken:
                name += "_"
            taken.add(name)
            inputs.append(_input(name, share.party, column))
    return tuple(inputs), first


def _input(name: str, party: str, column: Column) -> Input:
    bins = column.bins
    if isinstance(bins, NumericBins):
        return Input(name, party, column.name, "numeric")
    categories = {category: code for code, category in enumerate(bins.categories, start=1)}
    other = len(bins.categories) + 1 if bins.other else None
    return Input(name, party, column.name, "categorical", categories, other)


def _test(column: Column, rule: SplitRule) -> tuple[Test, bool]:
    """The test of a rule, and whether left and right change places for it."""
    codes, missing = set(rule.left_bins) - {MISSING}, MISSING in rule.left_bins
    values = set(range(1, column.bins.bin_count))
    if isinstance(column.bins, CategoricalBins):
        chosen = values - codes if missing else codes
        if not chosen:  # nothing goes there: everything goes the other way
            return AtMost(inf, missing_left=True), not missing
        return OneOf(tuple(sorted(chosen))), missing
    for left, swapped in ((codes, False), (values - codes, True)):
        last = len(left)
        if last and left == set(range(1, last + 1)):
            edges = column.bins.edges
            threshold = edges[last - 1] if last <= len(edges) else inf
            return AtMost(threshold, missing != swapped), swapped
    raise UsageError(
        "split-not-exportable",
        f"a split of column {column.name!r} sends separate ranges of values left",
        remedy="Parley's training makes no such split: restore the piece from a copy, or train again",
    )
