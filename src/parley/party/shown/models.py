"""Our pieces of joint models as they are shown."""

from collections import Counter
from typing import Literal

import msgspec
import numpy as np

from parley.core.errors import UsageError
from parley.learn.shares import ActiveShare, Feature, ModelShare
from parley.learn.trees import SplitRule
from parley.store.home import Home

Role = Literal["active", "passive"]


class ModelListed(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a model in a list.

    Attributes:
        model: identifier, that of its run.
        role: ours in it; empty if the piece cannot be read.
        trees: where we are the active party.
        columns: of ours in it.
        splits: of ours in it.
        problem: why the piece cannot be read.
    """

    model: str
    role: Literal["active", "passive", ""] = ""
    trees: int | None = None
    columns: int | None = None
    splits: int | None = None
    problem: str = ""


class ConditionShown(msgspec.Struct, frozen=True):
    """What a split of ours tests: ``left`` says which rows go left; ``splits``: how many test it."""

    column: str
    left: str
    splits: int


class ColumnShown(msgspec.Struct, frozen=True):
    """A column of ours: the handle by which others know it (none if it is ours alone), and its splits."""

    column: str
    handle: str | None
    splits: int


class ModelShown(msgspec.Struct, frozen=True):
    """Our piece of a model.

    Attributes:
        model: identifier, that of its run.
        party: whose piece: ours.
        role: ours in it.
        columns: ours.
        splits: what our splits test, most frequent first.
        importances: what every party's columns are worth; known to the active party only.
    """

    model: str
    party: str
    role: Role
    columns: tuple[ColumnShown, ...]
    splits: tuple[ConditionShown, ...]
    importances: tuple[Feature, ...]


def model_listed(home: Home, model: str) -> ModelListed:
    """A line about a piece, readable or not."""
    try:
        share = home.share(model)
    except UsageError as error:
        return ModelListed(model=model, problem=error.what)
    return ModelListed(
        model=model,
        role=role_of(share),
        trees=len(share.trees) if isinstance(share, ActiveShare) else None,
        columns=len(share.columns),
        splits=len(share.rules),
    )


def model_shown(share: ModelShare) -> ModelShown:
    """All of a piece."""
    return ModelShown(
        model=share.model,
        party=share.party,
        role=role_of(share),
        columns=_columns(share),
        splits=_conditions(share),
        importances=share.importances() if isinstance(share, ActiveShare) else (),
    )


def role_of(share: ModelShare) -> Role:
    """Ours in the model."""
    return "active" if isinstance(share, ActiveShare) else "passive"


def _columns(share: ModelShare) -> tuple[ColumnShown, ...]:
    counts = Counter(rule.column for rule in share.rules)
    passive = not isinstance(share, ActiveShare)
    return tuple(
        ColumnShown(column.name, f"#{place}" if passive else None, counts[place])
        for place, column in enumerate(share.columns)
    )


def _conditions(share: ModelShare) -> tuple[ConditionShown, ...]:
    """What is tested, most frequent first."""
    counts = Counter((share.columns[rule.column].name, _in_words(share, rule)) for rule in share.rules)
    found = [ConditionShown(column, left, splits) for (column, left), splits in counts.items()]
    return tuple(sorted(found, key=lambda each: (-each.splits, each.column, each.left)))


def _in_words(share: ModelShare, rule: SplitRule) -> str:
    column = share.columns[rule.column]
    left = np.zeros(column.bins.bin_count, dtype=np.bool_)
    left[list(rule.left_bins)] = True
    return column.bins.describe(column.name, left)
