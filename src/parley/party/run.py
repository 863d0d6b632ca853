"""One run of a plan, from the ids to the report, as the active party leads it and a passive one follows.

Both are straight functions over injected means: how to open a conversation with a peer, where to
report, what to compute with. The same two run in one process and across machines.

After the alignment, after each round and at the end both keep in their journal what they need to go on
from there, and only then commit to the round before on the ledger: whatever a party has committed to, all
have kept. So a run that was interrupted goes on from the last place that all have, and nothing that was
committed to is ever said again. What a place is called: see `parley.store.journal`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from parley.core.conversation import Channel, Steps
from parley.core.errors import PolicyRefused, UsageError
from parley.core.plan import Part, Plan
from parley.core.trace import StepBegan, Trace
from parley.crypto.randomness import derive
from parley.data.cells import numbers
from parley.data.ids import Ids, normalise
from parley.data.preflight import IdColumn, Label, preflight
from parley.data.table import Table
from parley.learn.boosting import BoostingState, Problem
from parley.learn.checkpoint import (
    BEGINNING,
    PassiveState,
    decode_active,
    decode_passive,
    encode_active,
    encode_passive,
)
from parley.learn.labels import encode_label
from parley.learn.metrics import accuracy, auc, ks, rmse
from parley.learn.parameters import BoostingParameters, boosting_parameters
from parley.learn.reference import Reference, baseline_of
from parley.learn.shares import ActiveShare, PassiveShare
from parley.learn.trees import SplitRule
from parley.party.report import Quality
from parley.party.stages import (
    Means,
    RowCounts,
    RowSplit,
    TrainingRows,
    problem_of,
    score_active,
    score_alone,
    score_passive,
    split_rows,
    train_active,
    train_alone,
    train_passive,
)
from parley.party.tables import digest_of
from parley.protocols import alignment, boosting, prediction
from parley.store.journal import ALIGNED, Journal

Floats = NDArray[np.float64]
Opening = Callable[[str, Steps, str], AbstractAsyncContextManager[Channel]]
"""Opens a conversation: with a peer, by a table of steps, in a role."""


class Witness(Protocol):
    """Hears where a run stands; where the parties keep a ledger, it commits to what was said."""

    async def aligned(self, rows: int) -> None:
        """The alignment is over, with so many common rows."""

    async def round_over(self, *, heard_next: bool) -> None:
        """A round is over; ``heard_next``: the last message heard already belongs to what comes next."""

    async def kept(self) -> None:
        """What the round leaves is kept: whoever commits may commit to the round before."""


class NoWitness:
    """Where the parties keep no ledger."""

    async def aligned(self, rows: int) -> None:
        """Nothing to do."""

    async def round_over(self, *, heard_next: bool) -> None:
        """Nothing to do."""

    async def kept(self) -> None:
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
        journal: keeps where the run can be gone on from.
    """

    run: str
    plan: Plan
    table: Table
    features: tuple[str, ...]
    means: Means
    open: Opening
    trace: Trace
    witness: Witness
    journal: Journal

    @property
    def part(self) -> Part:
        """What the plan says of us."""
        return self.plan.parties[self.means.party]

    @property
    def parameters(self) -> BoostingParameters:
        """The model's parameters, validated."""
        return boosting_parameters(self.plan.model)


class Led(msgspec.Struct, frozen=True):
    """What leading a run gives.

    Attributes:
        share: our piece of the model.
        entered: our ids that entered the alignment.
        peers: ids that each passive party entered.
        rows: how many aligned rows were for what.
        quality: of this party alone and of the joint model, on the test rows.
        warnings: about our own table.
        reference: for when the model is used; none of a run that an earlier release led.
    """

    share: ActiveShare
    entered: int
    peers: dict[str, int]
    rows: RowCounts
    quality: tuple[Quality, ...]
    warnings: tuple[str, ...]
    reference: Reference | None = None


class Followed(msgspec.Struct, frozen=True):
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


async def lead(work: Work, place: int = 0) -> Led:
    """Lead the run of a plan as its active party, from a place in our journal on."""
    if work.journal.done(place) is not None:
        return led_of(work.journal, place)
    means = work.means
    warnings = await asyncio.to_thread(check, work)
    # 1. align
    work.trace.emit(StepBegan("align"))
    ids = await asyncio.to_thread(_ids, work)
    if place < ALIGNED:
        async with _conversations(work, alignment.STEPS, alignment.ACTIVE) as channels:
            aligned = await alignment.active(channels, ids, _options(work))
        await _keep_alignment(work, ids.rows[aligned.rows], aligned.peers)
    common = await asyncio.to_thread(_common, work)
    frame = common.frame
    label, classes = encode_label(frame[str(work.part.label)], work.parameters.objective)
    split = _split(work, len(frame))
    # 2. train
    work.trace.emit(StepBegan("train"))
    rows = TrainingRows(frame[split.fitted], work.features, len(split.training))
    problem = _problem(work, rows.frame, label[split.fitted], rows.training)
    rounds = _LedRounds(work)
    async with _conversations(work, boosting.STEPS, boosting.ACTIVE) as channels:
        share, _ = await train_active(
            channels, rows, problem, classes, means, rounds.over, rounds.state_at(place)
        )
    # 3. evaluate on the rows held out
    work.trace.emit(StepBegan("evaluate"))
    joint = np.empty((problem.objective.outputs, 0))
    if len(split.test):
        async with _conversations(work, prediction.STEPS, prediction.ACTIVE) as channels:
            joint = await score_active(channels, share, frame[split.test], means.threads)
    # 4. compare with what our columns alone give, and keep that
    work.trace.emit(StepBegan("compare"))
    with work.trace.phase("compare", 1, "model") as phase, work.trace.working("train alone"):
        alone = await asyncio.to_thread(train_alone, rows, problem, classes, means)
        phase.advance(1, f"{means.party} alone")
    reference = Reference(classes, baseline_of(problem.objective, joint), alone)
    quality: tuple[Quality, ...] = ()
    if len(split.test):
        margin = await asyncio.to_thread(score_alone, alone, frame[split.test], means.threads)
        quality = (
            *_measures(f"{means.party} alone", problem, label[split.test], margin),
            *_measures("joint", problem, label[split.test], joint),
        )
    peers = dict(zip(work.plan.passive, common.peers, strict=True))
    led = Led(share, len(ids), peers, split.counts, quality, warnings, reference)
    await _keep_done(work, rounds.done, msgspec.msgpack.encode(led))
    return led


async def follow(work: Work, place: int = 0) -> Followed:
    """Follow the run of a plan as a passive party, from a place in our journal on."""
    if work.journal.done(place) is not None:
        return followed_of(work.journal, place)
    plan, means = work.plan, work.means
    # 1. align
    work.trace.emit(StepBegan("align"))
    ids = await asyncio.to_thread(_ids, work)
    if place < ALIGNED:
        async with work.open(plan.active, alignment.STEPS, alignment.PASSIVE) as channel:
            aligned = await alignment.passive(channel, ids, _options(work))
        await _keep_alignment(work, ids.rows[aligned.rows], aligned.peers)
    frame = (await asyncio.to_thread(_common, work)).frame
    split = _split(work, len(frame))
    # 2. train
    work.trace.emit(StepBegan("train"))
    rows = TrainingRows(frame[split.fitted], work.features, len(split.training))
    rounds = _FollowedRounds(work, place)
    async with work.open(plan.active, boosting.STEPS, boosting.PASSIVE) as channel:
        share = await train_passive(
            channel, rows, work.parameters, means, rounds.tree_begins, rounds.state_at(place)
        )
    await rounds.ended(share.rules)
    # 3. evaluate on the rows held out
    work.trace.emit(StepBegan("evaluate"))
    if len(split.test):
        async with work.open(plan.active, prediction.STEPS, prediction.PASSIVE) as channel:
            await score_passive(channel, share, frame[split.test], means.threads)
    followed = Followed(share, len(ids), len(frame))
    await _keep_done(work, rounds.done, msgspec.msgpack.encode(followed))
    return followed


def led_of(journal: Journal, place: int) -> Led:
    """What leading a run left at its end."""
    return msgspec.msgpack.decode(journal.done(place) or b"", type=Led)


def followed_of(journal: Journal, place: int) -> Followed:
    """What following a run left at its end."""
    return msgspec.msgpack.decode(journal.done(place) or b"", type=Followed)


# ── places to go on from ──────────────────────────────────────────────────────────────────────────────


class _KeptAlignment(msgspec.Struct, frozen=True):
    """The outcome of an alignment.

    Attributes:
        rows: which rows of our table are common, in the common order, little-endian int64.
        peers: how many ids each peer entered.
        table: digest of those rows as they were.
    """

    rows: bytes
    peers: tuple[int, ...]
    table: bytes


@dataclass(frozen=True)
class _Common:
    """The common rows of our table, and how many ids each peer entered."""

    frame: pl.DataFrame
    peers: tuple[int, ...]


async def _keep_alignment(work: Work, rows: NDArray[np.int64], peers: tuple[int, ...]) -> None:
    _check_rows(work, len(rows))
    await work.witness.aligned(len(rows))
    digest = await asyncio.to_thread(digest_of, work.table.frame[rows])
    kept = _KeptAlignment(rows.astype("<i8").tobytes(), peers, digest)
    await asyncio.to_thread(work.journal.keep_alignment, msgspec.msgpack.encode(kept))
    await work.witness.kept()


def _common(work: Work) -> _Common:
    """What the alignment left, with our table as it is now.

    Raises:
        UsageError: a common row of our table is not what it was.
    """
    kept = msgspec.msgpack.decode(work.journal.alignment() or b"", type=_KeptAlignment)
    rows = np.frombuffer(kept.rows, dtype="<i8")
    if rows.max(initial=-1) >= len(work.table) or digest_of(frame := work.table.frame[rows]) != kept.table:
        raise UsageError(
            "table-changed",
            f"table {work.part.table!r} is not what it was when run {work.run} began",
            remedy="run the plan again; leave the table's source alone while a run lasts",
            public="a table of ours has changed since the run began",
        )
    return _Common(frame, kept.peers)


class _LedRounds:
    """Keeps what each round leaves to the active party."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self.done = 0

    def state_at(self, place: int) -> BoostingState | None:
        """The state to go on from; none for the first round."""
        kept = self._work.journal.state(place - ALIGNED) if place > ALIGNED else None
        state = None if kept is None else decode_active(kept)
        self.done = 0 if state is None else state.round
        return state

    async def over(self, state: BoostingState) -> None:
        """A round is over."""
        work = self._work
        await work.witness.round_over(heard_next=False)
        await asyncio.to_thread(lambda: work.journal.keep_state(state.round, encode_active(state)))
        await work.witness.kept()
        self.done = state.round


class _FollowedRounds:
    """Keeps what each round leaves to a passive party, which hears that it is over when the next begins."""

    def __init__(self, work: Work, place: int) -> None:
        self._work = work
        self.done = self._begun = max(place - ALIGNED, 0)

    def state_at(self, place: int) -> PassiveState:
        """The state to go on from."""
        kept = self._work.journal.state(place - ALIGNED) if place > ALIGNED else None
        return BEGINNING if kept is None else decode_passive(kept)

    async def tree_begins(self, number: int, rules: tuple[SplitRule, ...]) -> None:
        """A tree of round ``number`` begins, so the rounds before are over."""
        if number > self.done:
            await self._over(rules)
        self._begun = number + 1

    async def ended(self, rules: tuple[SplitRule, ...]) -> None:
        """No tree follows."""
        if self._begun > self.done:
            await self._over(rules)

    async def _over(self, rules: tuple[SplitRule, ...]) -> None:
        work, state = self._work, PassiveState(self.done + 1, rules)
        await work.witness.round_over(heard_next=True)
        await asyncio.to_thread(lambda: work.journal.keep_state(state.round, encode_passive(state)))
        await work.witness.kept()
        self.done = state.round


async def _keep_done(work: Work, rounds: int, outcome: bytes) -> None:
    """Keep what the run leaves: nothing more is said in it."""
    await work.witness.round_over(heard_next=False)
    await asyncio.to_thread(work.journal.keep_done, rounds + 2, outcome)


@asynccontextmanager
async def _conversations(work: Work, table: Steps, role: str) -> AsyncIterator[list[Channel]]:
    """The same conversation with every passive party of the plan, in its order."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(work.open(peer, table, role)) for peer in work.plan.passive]


def _ids(work: Work) -> Ids:
    return normalise(work.table.frame[work.part.id], work.plan.alignment.rule)


def _options(work: Work) -> alignment.Options:
    means = work.means
    # the same for all runs of a plan, so that they hold out the same rows and make the same model
    order = derive(means.handles or means.seed, "common order", work.plan.digest)
    return alignment.Options(
        run=work.run,
        rule=work.plan.alignment.rule,
        seed=derive(means.seed, "alignment"),
        threads=means.threads,
        order=order,
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
