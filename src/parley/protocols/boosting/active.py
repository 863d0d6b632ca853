"""The active party's side of joint boosting: it holds the label, encrypts, decrypts and decides."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parley._native import DecodeError, SecretKey
from parley.core.conversation import Channel
from parley.crypto.randomness import derive
from parley.learn.boosting import (
    BoostingState,
    Problem,
    TreeTask,
    begin,
    finish_round,
    finish_tree,
    finished,
    grower,
    kept_rounds,
    rule_of,
    tasks,
)
from parley.learn.columns import ColumnBlock, DrawnColumns
from parley.learn.histograms import BinLayout, Bools, Ints, coarsen
from parley.learn.joined import small_sums
from parley.learn.trees import Chosen, Membership, SplitRule, TreeGrower
from parley.protocols.boosting.ahead import Ahead
from parley.protocols.boosting.messages import (
    GRADIENT_BLOCK,
    POINT,
    ColumnsOffer,
    Directions,
    GradientBlock,
    HistogramBlock,
    Memberships,
    PublicKeyOffer,
    Resources,
    SplitNote,
    Splits,
    TrainingEnds,
    TreeBegins,
    column_blocks,
)
from parley.protocols.payload import array_of, pack_bits, unpack_bits
from parley.protocols.together import all_of


@dataclass(frozen=True)
class ActiveOutcome:
    """What training leaves with the active party.

    Attributes:
        state: trees, margins and losses of all rounds.
        rules: what each of its own splits tests, as far as the model keeps them.
        rounds: rounds the model keeps.
    """

    state: BoostingState
    rules: tuple[SplitRule, ...]
    rounds: int


@dataclass(frozen=True)
class _Partner:
    """A passive party as the active one knows it."""

    channel: Channel
    owner: int
    layout: BinLayout
    categorical: Bools


async def active(
    channels: Sequence[Channel],
    problem: Problem,
    own: ColumnBlock,
    resources: Resources,
    on_round: Callable[[BoostingState], Awaitable[None]] | None = None,
    state: BoostingState | None = None,
) -> ActiveOutcome:
    """Lead the training.

    Args:
        channels: one to each passive party; their order breaks ties between equally good splits.
        problem: label, weights and parameters over the aligned rows.
        own: our columns over the same rows; may hold no column at all.
        resources: seed and threads.
        on_round: told the state after each round; the next begins when it returns.
        state: what a former conversation told ``on_round``, to go on from there; the passive parties
            must go on from the same round.

    Raises:
        PeerMisbehaved: a passive party's message does not pass a check.
        BudgetExhausted: its columns are more than our memory holds sums of.
        PeerLost, PeerAborted: a passive party is gone.
    """
    secret = SecretKey.from_seed(problem.messages, derive(resources.seed, "key"))
    # 1. the key goes out, the shapes of the columns come in
    partners = await all_of(
        _introduce(channel, owner, secret, problem) for owner, channel in enumerate(channels, start=1)
    )
    categorical = [own.categorical, *(partner.categorical for partner in partners)]
    compute = channels[0].compute
    state = begin(problem, len(categorical)) if state is None else state
    planned = problem.parameters.n_estimators
    with (
        channels[0].trace.phase("train", planned, "rounds") as phase,
        Ahead(channels[0], secret, resources.threads) as ahead,
    ):
        phase.advance(state.round)
        while not finished(problem, state):
            for task in await compute(
                "gradients", tasks, problem, state, [len(each) for each in categorical]
            ):
                growing = await compute("divide", grower, problem, task, categorical)
                # 2. rows and columns drawn, encrypted gradients
                await all_of(_open_tree(partner, state.round, task) for partner in partners)
                await _send_gradients(channels, task, ahead, _seed(resources, state.round, task.output))
                following = _next_tree(problem, state, task)
                if following is not None:
                    ahead.begin(_seed(resources, *following), len(task.quantised.messages))
                mine = await compute("draw", DrawnColumns, own, task.columns[0], task.sampled)
                while growing.membership.pairs:
                    # 3. sums of the small nodes, ours and theirs
                    found = await all_of(
                        [
                            compute(
                                "sum own",
                                small_sums,
                                mine,
                                growing,
                                task.quantised.messages,
                                resources.threads,
                            ),
                            *(
                                _receive_sums(partner, growing, task, secret, resources.threads)
                                for partner in partners
                            ),
                        ]
                    )
                    for owner, sums in enumerate(found):
                        growing.supply(owner, *sums)
                    # 4. decide, and let the owners of the splits say where the rows go
                    chosen = await compute("split", growing.decide)
                    left = await compute("direct", _own_directions, chosen, task, own, growing.membership)
                    for answers in await all_of(_ask(partner, chosen, task, growing) for partner in partners):
                        left |= answers
                    # 5. tell everyone the rest
                    await all_of(_tell(partner, chosen, left, growing.membership) for partner in partners)
                    await compute("divide", growing.divide, chosen, [left[each.node] for each in chosen])
                state = await compute("leaves", finish_tree, problem, state, task, growing)
            state = finish_round(problem, state)
            if on_round is not None:
                await on_round(state)
            phase.advance(1, f"validation loss {state.losses[-1]:.5f}" if state.losses else "")
    # 6. cut to the rounds worth keeping
    rounds = kept_rounds(problem, state)
    kept = _kept_splits(state, rounds * problem.objective.outputs)
    await all_of(partner.channel.send(TrainingEnds(kept[partner.owner])) for partner in partners)
    return ActiveOutcome(state, state.rules[: kept[0]], rounds)


async def _introduce(channel: Channel, owner: int, secret: SecretKey, problem: Problem) -> _Partner:
    rows = len(problem.label)
    await channel.send(PublicKeyOffer(secret.public().encode()))
    offer = await channel.recv(ColumnsOffer)
    if offer.rows != rows:
        raise channel.fault("rows-differ", f"offers columns over {offer.rows} rows where {rows} are aligned")
    counts = array_of(channel, offer.bin_counts, np.uint32, offer.columns, "bin counts")
    if not ((counts >= 1) & (counts <= 256)).all():  # noqa: PLR2004 (a code is one byte)
        raise channel.fault("bin-counts", "offers a column without bins or with more than 256")
    problem.parameters.check_level(problem.training_rows, offer.columns, int(counts.max(initial=0)))
    categorical = unpack_bits(channel, offer.categorical, offer.columns, "column kinds")
    return _Partner(channel, owner, BinLayout(counts), categorical)


async def _open_tree(partner: _Partner, number: int, task: TreeTask) -> None:
    columns = np.zeros(partner.layout.columns, dtype=np.bool_)
    columns[task.columns[partner.owner]] = True
    await partner.channel.send(TreeBegins(number, task.output, pack_bits(columns), pack_bits(task.sampled)))


def _seed(resources: Resources, number: int, output: int) -> bytes:
    """What a tree's ciphertexts are randomised by."""
    return derive(resources.seed, "encrypt", number, output)


def _next_tree(problem: Problem, state: BoostingState, task: TreeTask) -> tuple[int, int] | None:
    """Round and output of the tree after the task's, should training go on."""
    if task.output + 1 < problem.objective.outputs:
        return state.round, task.output + 1
    return (state.round + 1, 0) if state.round + 1 < problem.parameters.n_estimators else None


async def _send_gradients(channels: Sequence[Channel], task: TreeTask, ahead: Ahead, seed: bytes) -> None:
    messages, bound = task.quantised.messages, max(task.quantised.tops)
    ahead.stop()
    for first in range(0, len(messages), GRADIENT_BLOCK):
        rows = messages[first : first + GRADIENT_BLOCK]
        ciphertexts = await channels[0].compute("encrypt", ahead.encrypt, rows, seed, first, bound)
        await all_of(channel.send(GradientBlock(first, ciphertexts)) for channel in channels)


async def _receive_sums(
    partner: _Partner, growing: TreeGrower, task: TreeTask, secret: SecretKey, threads: int
) -> tuple[Ints, Bools]:
    """Sums ``int64[3, P, C, W]`` and group ends ``bool[P, C, W]`` of one passive party."""
    channel, layout = partner.channel, partner.layout.take(task.columns[partner.owner])
    pairs = growing.membership.pairs
    sums = np.zeros((3, len(pairs), layout.columns, layout.width), dtype=np.int64)
    ends = np.zeros(sums.shape[1:], dtype=np.bool_)
    for index, pair in enumerate(pairs):
        parent = growing.parent(partner.owner, pair)
        totals = growing.totals(pair.small)
        for first, last in column_blocks(layout):
            block = await channel.recv(HistogramBlock)
            if (block.pair, block.first) != (index, first):
                raise channel.fault("wrong-order", f"sent sums of pair {block.pair} where {index} was due")
            part = BinLayout(layout.bin_counts[first:last])
            place = (index, slice(first, last), slice(0, part.width))
            ends[place] = _read_ends(channel, block, part, None if parent is None else parent[1][first:last])
            counts = array_of(channel, block.counts, np.uint32, int(ends[place].sum()), "group counts")
            groups = await channel.compute("decrypt", _decrypt, channel, block, counts, task, secret, threads)
            sums[(slice(None), *place)][:, ends[place]] = groups
        _check_sums(channel, sums[:, index], totals)
        if parent is not None:
            _check_sibling(channel, coarsen(parent[0], ends[index]) - sums[:, index], task.quantised.tops)
    return sums, ends


def _read_ends(channel: Channel, block: HistogramBlock, layout: BinLayout, allowed: Bools | None) -> Bools:
    """Where groups end, ``bool[C, W]``; every column must end, and only where its parent's groups do."""
    flat = unpack_bits(channel, block.ends, int(layout.bin_counts.sum()), "group ends")
    ends = np.zeros((layout.columns, layout.width), dtype=np.bool_)
    ends[layout.present] = flat
    last = layout.bin_counts.astype(np.int64) - 1
    if not ends[np.arange(layout.columns), last].all():
        raise channel.fault("bad-groups", "sent a column whose last bin ends no group")
    if allowed is not None and (ends & ~allowed[:, : layout.width]).any():
        raise channel.fault("bad-groups", "sent groups that cut through those of the parent node")
    return ends


def _decrypt(
    channel: Channel,
    block: HistogramBlock,
    counts: NDArray[np.uint32],
    task: TreeTask,
    secret: SecretKey,
    threads: int,
) -> Ints:
    """``int64[3, groups]``: gradient, hessian and rows of every group of a block."""
    filled = counts > 0
    size = int(filled.sum())
    points = array_of(
        channel, block.ciphertexts, np.uint8, size * (secret.k + 1) * POINT, "encrypted sums"
    ).reshape(size, secret.k + 1, POINT)
    bounds = counts[filled, None].astype(np.int64) * task.quantised.tops
    sums = np.zeros((3, len(counts)), dtype=np.int64)
    sums[2] = counts
    try:
        messages = secret.decrypt(points, bounds, threads)
    except DecodeError as error:
        raise channel.fault("bad-point", f"sent sums that do not decode: {error}") from None
    except ValueError:
        raise channel.fault("bad-sum", "sent a sum larger than its rows allow") from None
    sums[0, filled] = messages[:, 0]
    sums[1, filled] = messages[:, 1] if secret.k > 1 else counts[filled]
    if (sums[1] < 0).any():
        raise channel.fault("bad-sum", "sent a negative sum of hessians")
    return sums


def _check_sums(channel: Channel, sums: Ints, totals: Ints) -> None:
    """Every column must add up to the node's totals."""
    if (sums.sum(axis=-1) != totals[:, None]).any():
        raise channel.fault("sums-differ", "sent a column whose sums do not add up to the node's")


def _check_sibling(channel: Channel, sums: Ints, tops: tuple[int, ...]) -> None:
    """What is left for the sibling must be sums that so many rows can have."""
    gradient, hessian, rows = sums
    possible = (rows >= 0) & (np.abs(gradient) <= rows * tops[0])
    if len(tops) > 1:
        possible &= (hessian >= 0) & (hessian <= rows * tops[1])
    if not possible.all():
        raise channel.fault("sums-differ", "sent sums of a node that its parent cannot hold")


def _own_directions(
    chosen: Sequence[Chosen], task: TreeTask, own: ColumnBlock, membership: Membership
) -> dict[int, Bools]:
    """Directions of the rows of nodes that are split on our own columns."""
    rules = {each.node: rule_of(task, each) for each in chosen if each.owner == 0}
    return {
        node: rule.goes_left(own.codes[rule.column, membership.rows(node)]) for node, rule in rules.items()
    }


async def _ask(
    partner: _Partner, chosen: Sequence[Chosen], task: TreeTask, growing: TreeGrower
) -> dict[int, Bools]:
    """Announce the level's splits; directions of the rows of those on the partner's columns."""
    channel, owner = partner.channel, partner.owner
    own = [each for each in chosen if each.owner == owner]
    notes = []
    for each in own:
        column = int(task.columns[owner][each.candidate.column])
        bins = int(partner.layout.bin_counts[column])
        notes.append(SplitNote(each.node, column, pack_bits(each.candidate.left[:bins])))
    others = tuple(each.node for each in chosen if each.owner != owner)
    await channel.send(Splits(tuple(notes), others))
    answer = await channel.recv(Directions)
    if len(answer.left) != len(own):
        raise channel.fault("wrong-length", f"sent directions of {len(answer.left)} nodes, not {len(own)}")
    left = {}
    for each, bits in zip(own, answer.left, strict=True):
        rows = growing.membership.rows(each.node)
        left[each.node] = unpack_bits(channel, bits, len(rows), "directions")
        if int((left[each.node] & task.sampled[rows]).sum()) != each.candidate.left_sums[2]:
            raise channel.fault("directions-differ", "sent directions that contradict its own sums")
    return left


async def _tell(
    partner: _Partner, chosen: Sequence[Chosen], left: dict[int, Bools], membership: Membership
) -> None:
    others = [] if membership.last_level() else [each for each in chosen if each.owner != partner.owner]
    await partner.channel.send(Memberships(tuple(pack_bits(left[each.node]) for each in others)))


def _kept_splits(state: BoostingState, trees: int) -> list[int]:
    """Per owner, splits within the first ``trees`` trees."""
    kept = [0] * len(state.splits)
    for tree in state.trees[:trees]:
        for split in tree.splits:
            kept[split.owner] += 1
    return kept
