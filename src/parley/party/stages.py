"""The stages of a run as each role does them: train a model on aligned rows, and score rows with it.

Between the protocols, which know arrays, and the runs and estimators, which know tables.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from parley.core.conversation import Channel
from parley.core.errors import UsageError
from parley.crypto.randomness import derive, generator
from parley.data.binning import BinnedColumns, bin_columns, encode_columns
from parley.learn.boosting import BoostingState, Problem, kept_rounds
from parley.learn.checkpoint import BEGINNING, PassiveState
from parley.learn.columns import ColumnBlock
from parley.learn.joined import fit_joined
from parley.learn.objectives import objective_for
from parley.learn.parameters import BoostingParameters
from parley.learn.scoring import directions, margins
from parley.learn.shares import ActiveShare, Column, ModelShare, PassiveShare
from parley.learn.trees import SplitRule
from parley.protocols import boosting, prediction

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Means:
    """What a party brings to a run besides data.

    Attributes:
        party: its name.
        model: identifier of the model to be made.
        seed: 32 fresh secret bytes.
        handles: 32 secret bytes of the party, the same in every run, that order its columns; or None to
            keep their order.
        minimum_rows: rows that any sum given away must hold.
        threads: for the kernels.
    """

    party: str
    model: str
    seed: bytes = field(repr=False)
    handles: bytes | None = field(default=None, repr=False)
    minimum_rows: int = 10
    threads: int = 1

    def protocol(self, purpose: str) -> boosting.Resources:
        """The resources of one protocol, with a seed of its own."""
        return boosting.Resources(derive(self.seed, purpose), self.threads)


@dataclass(frozen=True)
class TrainingRows:
    """One party's rows for training, in the common order: training rows first, then validation rows.

    Attributes:
        frame: the rows.
        features: the columns to learn from.
        training: how many of the rows are trained on.
        categorical: features that are categories whatever their type.
    """

    frame: pl.DataFrame
    features: tuple[str, ...]
    training: int
    categorical: tuple[str, ...] = ()

    def binned(self, max_bins: int, threads: int, features: Sequence[str]) -> BinnedColumns:
        """The features as codes, bins fitted on the training rows."""
        kinds = tuple(name for name in self.categorical if name in features)
        rows = np.arange(self.training)
        return bin_columns(
            self.frame, features, training_rows=rows, max_bins=max_bins, threads=threads, categorical=kinds
        )


def train_alone(rows: TrainingRows, problem: Problem, classes: tuple[str, ...], means: Means) -> ActiveShare:
    """What a party would have without partners: the same algorithm on its own columns."""
    binned = rows.binned(problem.parameters.max_bins, means.threads, rows.features)
    block = ColumnBlock(binned.codes, binned.bin_counts, binned.categorical)
    model = fit_joined(problem, [block], threads=means.threads)
    trees = model.state.trees[: kept_rounds(problem, model.state) * problem.objective.outputs]
    return ActiveShare(
        model=means.model,
        party=means.party,
        owners=(means.party,),
        parameters=problem.parameters,
        outputs=problem.objective.outputs,
        classes=classes,
        initial=model.state.initial,
        trees=trees,
        columns=_columns(binned),
        rules=model.rules[0][: sum(len(tree.splits) for tree in trees)],
    )


def score_alone(share: ActiveShare, frame: pl.DataFrame, threads: int) -> Floats:
    """Margins ``float64[outputs, rows]`` by a model that has no other owner."""
    left = directions(share.rules, _codes(share, frame, threads))
    return margins(share.trees, share.initial, [left], len(frame))


def problem_of(
    parameters: BoostingParameters, label: Floats, weight: Floats | None, training: int
) -> Problem:
    """The learning problem, with its label checked.

    Raises:
        UsageError: label or weights cannot be used, or there are too few rows.
    """
    objective = objective_for(parameters.objective, label[:training])
    if parameters.objective != "regression" and label.max(initial=0) >= max(objective.outputs, 2):
        raise UsageError(
            "label-unseen",
            "a validation row has a class that no training row has",
            remedy="use more training rows, or merge rare classes",
        )
    if training < 2 * parameters.min_child_samples:
        raise UsageError(
            "too-few-rows",
            f"{training} training rows cannot be split into two sides of {parameters.min_child_samples}",
            remedy="align more rows, or lower min_child_samples",
        )
    if parameters.early_stopping_rounds is not None and training == len(label):
        raise UsageError(
            "no-validation-rows",
            "early stopping needs validation rows",
            remedy="set validation_size, or leave early_stopping_rounds out",
        )
    if weight is not None and not (np.isfinite(weight).all() and (weight >= 0).all() and weight.sum() > 0):
        raise UsageError(
            "bad-weights",
            "sample weights must be finite, not negative, and not all zero",
            remedy="correct the weight column",
        )
    return Problem(parameters, objective, label, weight, training)


async def train_active(
    channels: Sequence[Channel],
    rows: TrainingRows,
    problem: Problem,
    classes: tuple[str, ...],
    means: Means,
    on_round: Callable[[BoostingState], Awaitable[None]] | None = None,
    state: BoostingState | None = None,
) -> tuple[ActiveShare, tuple[float, ...]]:
    """Lead a training, from a former state on if there is one.

    Returns:
        Our share, and the validation loss after each round.
    """
    parameters = problem.parameters
    binned = await channels[0].compute("bin", rows.binned, parameters.max_bins, means.threads, rows.features)
    block = ColumnBlock(binned.codes, binned.bin_counts, binned.categorical)
    parameters.check_level(rows.training, len(block.codes), int(block.bin_counts.max(initial=0)))
    outcome = await boosting.active(channels, problem, block, means.protocol("boosting"), on_round, state)
    outputs = problem.objective.outputs
    share = ActiveShare(
        model=means.model,
        party=means.party,
        owners=(means.party, *(channel.peer for channel in channels)),
        parameters=parameters,
        outputs=outputs,
        classes=classes,
        initial=outcome.state.initial,
        trees=outcome.state.trees[: outcome.rounds * outputs],
        columns=_columns(binned),
        rules=outcome.rules,
    )
    return share, outcome.state.losses


async def train_passive(
    channel: Channel,
    rows: TrainingRows,
    parameters: BoostingParameters,
    means: Means,
    on_tree: Callable[[int, tuple[SplitRule, ...]], Awaitable[None]] | None = None,
    state: PassiveState = BEGINNING,
) -> PassiveShare:
    """Follow a training, from a former state on if there is one; returns our share."""
    order: Sequence[int] = range(len(rows.features))
    if means.handles is not None:
        order = generator(derive(means.handles, "handles")).permutation(len(rows.features)).tolist()
    features = [rows.features[place] for place in order]
    binned = await channel.compute("bin", rows.binned, parameters.max_bins, means.threads, features)
    block = ColumnBlock(binned.codes, binned.bin_counts, binned.categorical, means.minimum_rows)
    parameters.check_level(rows.training, len(block.codes), int(block.bin_counts.max(initial=0)))
    rules = await boosting.passive(
        channel,
        parameters,
        block,
        means.protocol("boosting"),
        on_tree,
        rounds=state.round,
        rules=state.rules,
    )
    return PassiveShare(means.model, means.party, _columns(binned), rules)


async def score_active(
    channels: Sequence[Channel], share: ActiveShare, frame: pl.DataFrame, threads: int
) -> Floats:
    """Margins ``float64[outputs, rows]`` of rows in the common order."""
    return await prediction.active(channels, share, _codes(share, frame, threads))


async def score_passive(channel: Channel, share: PassiveShare, frame: pl.DataFrame, threads: int) -> int:
    """Answer for rows in the common order; returns their number."""
    return await prediction.passive(channel, share, _codes(share, frame, threads))


def _codes(share: ModelShare, frame: pl.DataFrame, threads: int) -> NDArray[np.uint8]:
    return encode_columns(
        frame, {column.name: column.bins for column in share.columns}, threads=threads
    ).codes


def _columns(binned: BinnedColumns) -> tuple[Column, ...]:
    return tuple(Column(name, bins) for name, bins in zip(binned.names, binned.bins, strict=True))


class RowCounts(msgspec.Struct, frozen=True):
    """How many aligned rows are for what."""

    training: int
    validation: int
    test: int

    @property
    def common(self) -> int:
        """All aligned rows."""
        return self.training + self.validation + self.test


@dataclass(frozen=True)
class RowSplit:
    """Which aligned rows are for what; every party computes the same."""

    training: Rows
    validation: Rows
    test: Rows

    @property
    def fitted(self) -> Rows:
        """Training rows, then validation rows."""
        return np.concatenate([self.training, self.validation])

    @property
    def counts(self) -> RowCounts:
        """How many rows each part has."""
        return RowCounts(len(self.training), len(self.validation), len(self.test))


def split_rows(rows: int, test_size: float, validation_size: float, seed: int) -> RowSplit:
    """Draw test rows from all, and validation rows from the rest; each part ascending."""
    draw = generator(derive(seed.to_bytes(8, "big"), "rows")).permutation(rows)
    test = round(rows * test_size)
    validation = round((rows - test) * validation_size)
    parts = np.split(draw, [test, test + validation])
    return RowSplit(training=np.sort(parts[2]), validation=np.sort(parts[1]), test=np.sort(parts[0]))
