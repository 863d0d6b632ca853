"""Model shares: the piece of a joint model that each party keeps.

The active party's share holds the trees and leaf values and what its own splits test; a passive party's
only what its own splits test. Neither can predict without the others.
"""

from typing import Final, Literal

import msgspec
import numpy as np

from parley.core.errors import UsageError
from parley.data.bins import ColumnBins
from parley.learn.objectives import Binary, Multiclass, Objective, Regression
from parley.learn.parameters import BoostingParameters
from parley.learn.trees import SplitRule, Tree


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A column of the owner: its name and how its values become bins."""

    name: str
    bins: ColumnBins


class Feature(msgspec.Struct, frozen=True):
    """How much a column was used: ``gain`` summed over its splits, and their number.

    ``column`` is the name where the share is at home, else the party and an anonymous handle.
    """

    party: str
    column: str
    gain: float
    splits: int


class ActiveShare(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="role", tag="active"):
    """The active party's piece.

    Attributes:
        model: identifier shared by all pieces of the model.
        party: who holds this piece.
        owners: names of the parties by owner number; the first is the holder.
        parameters: of the training.
        outputs: margins per row.
        classes: how class ``i`` was written in the label column; none for a regression.
        initial: starting margin of each output.
        trees: in order of training.
        columns: own columns.
        rules: what own splits test, by split number.
    """

    model: str
    party: str
    owners: tuple[str, ...]
    parameters: BoostingParameters
    outputs: int
    classes: tuple[str, ...]
    initial: tuple[float, ...]
    trees: tuple[Tree, ...]
    columns: tuple[Column, ...]
    rules: tuple[SplitRule, ...]

    @property
    def objective(self) -> Objective:
        """The loss, for turning margins into predictions."""
        name = self.parameters.objective
        return (
            Binary()
            if name == "binary"
            else Regression()
            if name == "regression"
            else Multiclass(self.outputs)
        )

    def splits_of(self, owner: int) -> int:
        """How many splits an owner has in the model."""
        return sum(split.owner == owner for tree in self.trees for split in tree.splits)

    def importances(self) -> tuple[Feature, ...]:
        """Columns by gain, largest first: own ones by name, others by party and handle."""
        gains: dict[tuple[int, int], list[float]] = {}
        for tree in self.trees:
            for split in tree.splits:
                gains.setdefault((split.owner, split.column), []).append(split.gain)
        features = [
            Feature(self.owners[owner], self._column(owner, column), float(np.sum(each)), len(each))
            for (owner, column), each in gains.items()
        ]
        return tuple(sorted(features, key=lambda feature: (-feature.gain, feature.party, feature.column)))

    def _column(self, owner: int, column: int) -> str:
        return self.columns[column].name if owner == 0 else f"#{column}"


class PassiveShare(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="role", tag="passive"):
    """A passive party's piece.

    Attributes:
        model: identifier shared by all pieces of the model.
        party: who holds this piece.
        columns: own columns; the handle others know a column by is its place here.
        rules: what own splits test, by split number.
    """

    model: str
    party: str
    columns: tuple[Column, ...]
    rules: tuple[SplitRule, ...]


ModelShare = ActiveShare | PassiveShare
FORMAT: Final = "parley-model-share"
VERSION: Final = 1


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands around a share in a file; see ``docs/model-share.md``."""

    format: Literal["parley-model-share"]
    version: int
    share: ModelShare


def encode_share(share: ModelShare) -> bytes:
    """The share as JSON text; floats keep every bit."""
    return msgspec.json.format(msgspec.json.encode(Envelope(FORMAT, VERSION, share)), indent=1)


def decode_share(data: bytes, *, model: str | None = None) -> ModelShare:
    """Read what `encode_share` wrote, and check that its parts fit together.

    Raises:
        UsageError: not a share, of another version, of another model than ``model``, or inconsistent.
    """
    try:
        heading = msgspec.json.decode(data)
        found = (heading.get("format"), heading.get("version")) if isinstance(heading, dict) else (None, None)
        if found[0] == FORMAT and found[1] != VERSION:
            raise UsageError(
                "share-version",
                f"the model share has version {found[1]}, this release reads version {VERSION}",
                remedy="use the release of Parley that wrote it, or train again",
            )
        share = msgspec.json.decode(data, type=Envelope).share
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(
            "share-malformed",
            f"the file is not a model share: {error}",
            remedy="name a file that `parley run` wrote",
        ) from None
    if model is not None and share.model != model:
        raise UsageError(
            "share-of-another-model",
            f"the share belongs to model {share.model}, not to {model}",
            remedy="use the shares of one model together",
        )
    check_share(share)
    return share


def check_share(share: ModelShare) -> None:
    """Every rule names a column and bins that exist; every split and leaf a place that exists.

    Raises:
        UsageError: ``share-inconsistent``.
    """
    sound = all(
        0 <= rule.column < len(share.columns)
        and all(0 <= code < share.columns[rule.column].bins.bin_count for code in rule.left_bins)
        for rule in share.rules
    )
    if isinstance(share, ActiveShare):
        sound = (
            sound and len(share.initial) == share.outputs and all(_sound(tree, share) for tree in share.trees)
        )
        sound = sound and share.splits_of(0) == len(share.rules)
    if not sound:
        raise UsageError(
            "share-inconsistent",
            f"the share of model {share.model} contradicts itself: a split, column or leaf is missing",
            remedy="restore the file from a copy, or train again",
        )


def _sound(tree: Tree, share: ActiveShare) -> bool:
    nodes = {0}
    for split in tree.splits:
        if split.node not in nodes or not 0 <= split.owner < len(share.owners):
            return False
        nodes.remove(split.node)
        nodes |= {split.left, split.left + 1}
    return nodes == {leaf.node for leaf in tree.leaves} and 0 <= tree.output < share.outputs
