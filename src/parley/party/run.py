"""One run of a plan, from the ids to the report, as the active party leads it and a passive one follows.

Both are straight functions over injected means: how to open a conversation with a peer, where to
report, what to compute with. The same two run in one process and across machines.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from parley.core.conversation import Channel, Steps
from parley.core.errors import PolicyRefused
from parley.core.plan import Part, Plan
from parley.core.trace import StepBegan, Trace
from parley.crypto.randomness import derive
from parley.data.cells import numbers
from parley.data.ids import Ids, normalise
from parley.data.preflight import IdColumn, Label, preflight
from parley.data.table import Table
from parley.learn.boosting import Problem
from parley.learn.labels import encode_label
from parley.learn.metrics import accuracy, auc, ks, rmse
from parley.learn.parameters import BoostingParameters, boosting_parameters
from parley.learn.shares import ActiveShare, PassiveShare
from parley.party.report import Quality
from parley.party.stages import (
    Means,
    RowSplit,
    TrainingRows,
    problem_of,
    score_active,
    score_passive,
    split_rows,
    train_active,
    train_alone,
    train_passive,
)
from parley.protocols import alignment, boosting, prediction

Floats = NDArray[np.float64]
Opening = Callable[[str, Steps, str], AbstractAsyncContextManager[Channel]]
"""Opens a conversation: with a peer, by a table of steps, in a role."""


class Witness(Protocol):
    """Hears where a run stands; where the parties keep a ledger, it commits to what was said."""

    def aligned(self, rows: int) -> None:
        """The alignment is over, with so many common rows."""

    def round_over(self, *, heard_next: bool) -> None:
        """A round is over; ``heard_next``: the last message heard already belongs to what comes next."""


class NoWitness:
    """Where the parties keep no ledger."""

    def aligned(self, rows: int) -> None:
        """Nothing to do."""

    def round_over(self, *, heard_next: bool) -> None:
        """Nothing to do."""


@dataclass(frozen=True)
class Work:
    """One party's view of a run.

    Attributes:
        run: identifier of the run.
        plan: what is to be done.
        table: our table of the plan.
        features: our columns to learn from.
        means: name, seeds, threads.
        open: opens conversations.
        trace: where to report.
        witness: hears where the run stands.
    """

    run: str
    plan: Plan
    table: Table
    features: tuple[str, ...]
    means: Means
    open: Opening
    trace: Trace
    witness: Witness

    @property
    def part(self) -> Part:
        """What the plan says of us."""
        return self.plan.parties[self.means.party]

    @property
    def parameters(self) -> BoostingParameters:
        """The model's parameters, validated."""
        return boosting_parameters(self.plan.model)


@dataclass(frozen=True)
class Led:
    """What leading a run gives.

    Attributes:
        share: our piece of the model.
        entered: our ids that entered the alignment.
        peers: ids that each passive party entered.
        split: which aligned rows were for what.
        quality: of this party alone and of the joint model, on the test rows.
        warnings: about our own table.
    """

    share: ActiveShare
    entered: int
    peers: dict[str, int]
    split: RowSplit
    quality: tuple[Quality, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Followed:
    """What following a run gives: our piece, ids entered, common rows."""

    share: PassiveShare
    entered: int
    common: int


def check(work: Work) -> tuple[str, ...]:
    """Look at our own table before a peer is bothered; returns warnings.

    Raises:
        UsageError: the table cannot do what the plan asks of it.
    """
    label = None if work.part.label is None else Label(work.part.label, work.parameters.objective)
    column = IdColumn(work.part.id, work.plan.alignment.rule)
    return tuple(finding.what for finding in preflight(work.table, column, label, work.features))


async def lead(work: Work) -> Led:
    """Lead the run of a plan as its active party."""
    means = work.means
    warnings = await asyncio.to_thread(check, work)
    # 1. align
    work.trace.emit(StepBegan("align"))
    ids = await asyncio.to_thread(_ids, work)
    async with _conversations(work, alignment.STEPS, alignment.ACTIVE) as channels:
        aligned = await alignment.active(channels, ids, _options(work))
    frame = work.table.frame[ids.rows[aligned.rows]]
    _check_rows(work, len(frame))
    work.witness.aligned(len(frame))
    label, classes = encode_label(frame[str(work.part.label)], work.parameters.objective)
    split = _split(work, len(frame))
    # 2. train
    work.trace.emit(StepBegan("train"))
    rows = TrainingRows(frame[split.fitted], work.features, len(split.training))
    problem = _problem(work, rows.frame, label[split.fitted], rows.training)
    async with _conversations(work, boosting.STEPS, boosting.ACTIVE) as channels:
        share, _ = await train_active(
            channels, rows, problem, classes, means, lambda _: work.witness.round_over(heard_next=False)
        )
    # 3. evaluate on the rows held out
    work.trace.emit(StepBegan("evaluate"))
    quality: tuple[Quality, ...] = ()
    if len(split.test):
        async with _conversations(work, prediction.STEPS, prediction.ACTIVE) as channels:
            joint = await score_active(channels, share, frame[split.test], means.threads)
        work.trace.emit(StepBegan("compare"))
        with work.trace.phase("compare", 1, "model") as phase, work.trace.working("train alone"):
            alone = await asyncio.to_thread(train_alone, rows, problem, frame[split.test], means.threads)
            phase.advance(1, f"{means.party} alone")
        quality = (
            *_measures(f"{means.party} alone", problem, label[split.test], alone),
            *_measures("joint", problem, label[split.test], joint),
        )
    peers = dict(zip(work.plan.passive, aligned.peers, strict=True))
    return Led(share, len(ids), peers, split, quality, warnings)


async def follow(work: Work) -> Followed:
    """Follow the run of a plan as a passive party."""
    plan, means = work.plan, work.means
    # 1. align
    work.trace.emit(StepBegan("align"))
    ids = await asyncio.to_thread(_ids, work)
    async with work.open(plan.active, alignment.STEPS, alignment.PASSIVE) as channel:
        aligned = await alignment.passive(channel, ids, _options(work))
    frame = work.table.frame[ids.rows[aligned.rows]]
    _check_rows(work, len(frame))
    work.witness.aligned(len(frame))
    split = _split(work, len(frame))
    # 2. train
    work.trace.emit(StepBegan("train"))
    rows = TrainingRows(frame[split.fitted], work.features, len(split.training))

    rounds = _Rounds(work.witness)
    async with work.open(plan.active, boosting.STEPS, boosting.PASSIVE) as channel:
        share = await train_passive(channel, rows, work.parameters, means, rounds.begins)
    work.witness.round_over(heard_next=True)
    # 3. evaluate on the rows held out
    work.trace.emit(StepBegan("evaluate"))
    if len(split.test):
        async with work.open(plan.active, prediction.STEPS, prediction.PASSIVE) as channel:
            await score_passive(channel, share, frame[split.test], means.threads)
    return Followed(share, len(ids), len(frame))


class _Rounds:
    """Tells the witness when a tree is the first of a new round."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._under_way = 0

    def begins(self, number: int, _rules: object) -> None:
        """A tree of round ``number`` begins."""
        if number > self._under_way:
            self._under_way = number
            self._witness.round_over(heard_next=True)


@asynccontextmanager
async def _conversations(work: Work, table: Steps, role: str) -> AsyncIterator[list[Channel]]:
    """The same conversation with every passive party of the plan, in its order."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(work.open(peer, table, role)) for peer in work.plan.passive]


def _ids(work: Work) -> Ids:
    return normalise(work.table.frame[work.part.id], work.plan.alignment.rule)


def _options(work: Work) -> alignment.Options:
    seed = derive(work.means.seed, "alignment")
    return alignment.Options(
        run=work.run, rule=work.plan.alignment.rule, seed=seed, threads=work.means.threads
    )


def _check_rows(work: Work, rows: int) -> None:
    """Refuse to learn from more common rows than the plan allows."""
    allowed = work.plan.limits.rows
    if rows > allowed:
        raise PolicyRefused(
            "rows-beyond-plan",
            f"{rows} rows are common to all parties, the plan allows {allowed}",
            remedy="propose a plan with a higher limit, or use a smaller table",
            public=f"more rows are common to all parties than the {allowed} that the plan allows",
        )


def _split(work: Work, rows: int) -> RowSplit:
    chosen = work.plan.evaluation
    return split_rows(rows, chosen.test_size, chosen.validation_size, chosen.seed)


def _problem(work: Work, frame: pl.DataFrame, label: Floats, training: int) -> Problem:
    weight = None if work.part.weight is None else numbers(frame[work.part.weight])
    return problem_of(work.parameters, label, weight, training)


def _measures(model: str, problem: Problem, label: Floats, margin: Floats) -> tuple[Quality, ...]:
    """What people look at first for the objective."""
    predicted = problem.objective.predict(margin)
    match problem.parameters.objective:
        case "binary":
            score = predicted[:, 1]
            values = {"auc": auc(label, score), "ks": ks(label, score)}
        case "regression":
            values = {"rmse": rmse(label, predicted)}
        case "multiclass":
            best = predicted.argmax(axis=1).astype(np.float64)
            values = {"accuracy": accuracy(label, best)}
    return tuple(
        Quality(model, metric, value if np.isfinite(value) else None) for metric, value in values.items()
    )
