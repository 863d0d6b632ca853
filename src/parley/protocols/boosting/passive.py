"""A passive party's side of joint boosting: it sums encrypted gradients over its own bins."""

from collections.abc import Awaitable, Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from parley._native import Ciphertexts, DecodeError, PublicKey, encrypted_histogram
from parley.core.conversation import Channel
from parley.crypto.randomness import derive
from parley.learn.columns import ColumnBlock, DrawnColumns
from parley.learn.histograms import Bools, coarsen
from parley.learn.parameters import BoostingParameters
from parley.learn.trees import Membership, SplitRule
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
from parley.protocols.boosting.order import TreeOrder
from parley.protocols.payload import Stream, bytes_of, pack_bits, unpack_bits

_LEFT_OUT = 0xFFFFFFFF


async def passive(
    channel: Channel,
    parameters: BoostingParameters,
    own: ColumnBlock,
    resources: Resources,
    on_tree: Callable[[int, tuple[SplitRule, ...]], Awaitable[None]] | None = None,
    *,
    rounds: int = 0,
    rules: Sequence[SplitRule] = (),
) -> tuple[SplitRule, ...]:
    """Follow the training with our columns.

    Args:
        channel: to the active party.
        parameters: of the plan; the active party is held to them.
        own: our columns over the aligned rows, with the minimum of rows that a sum must hold.
        resources: seed and threads.
        on_tree: told the round and all rules so far before each tree, which we take part in when it returns.
        rounds: rounds done in a former conversation, to go on from there.
        rules: what ``on_tree`` was told before the first tree of the round after those.

    Returns:
        What each of our splits tests, in the order of their numbers in the model.

    Raises:
        PeerMisbehaved: the active party's message does not pass a check.
        PeerLost, PeerAborted: the active party is gone.
    """
    # 1. the key comes in, the shapes of our columns go out
    public = _read_key(channel, await channel.recv(PublicKeyOffer))
    rows = own.codes.shape[1]
    counts, kinds = bytes_of(own.bin_counts), pack_bits(own.categorical)
    await channel.send(ColumnsOffer(rows, len(own.codes), counts, kinds))
    rules = list(rules)
    order = TreeOrder(channel, parameters, rounds, len(rules))
    compute = channel.compute
    with channel.trace.phase("train", parameters.n_estimators, "rounds") as phase:
        phase.advance(rounds)
        while isinstance(begun := await channel.recv(TreeBegins, TrainingEnds), TreeBegins):
            # 2. rows and columns drawn, encrypted gradients
            order.begin(begun, len(rules))
            if on_tree is not None:
                await on_tree(begun.round, tuple(rules))
            chosen = unpack_bits(channel, begun.columns, len(own.codes), "columns drawn")
            sampled = unpack_bits(channel, begun.sampled, rows, "rows drawn")
            order.draw(chosen, sampled)
            columns = np.flatnonzero(chosen)
            ciphertexts = await _receive_gradients(channel, public.k, int(sampled.sum()), resources.threads)
            membership = Membership(sampled, parameters.max_depth, parameters.min_child_samples)
            drawn = await compute("draw", DrawnColumns, own, columns, sampled)
            seed = derive(resources.seed, "rerandomise", begun.round, begun.output)
            while membership.pairs:
                # 3. sums of the small nodes
                level = await compute("count rows", _Level, drawn, membership, resources.threads)
                for place in level.places():
                    place_seed = derive(seed, membership.depth, *place)
                    block = await compute(
                        "sum", level.block, place, ciphertexts, public, place_seed, resources.threads
                    )
                    await channel.send(block)
                # 4. say where the rows of our own splits go
                splits = await channel.recv(Splits)
                _check_splits(channel, splits, level)
                order.split(splits)
                added = [_read_split(channel, note, own, columns, level) for note in splits.own]
                left = await compute("direct", _directions, splits, added, own, membership)
                await compute("check", _check_sides, channel, left, membership)
                rules.extend(added)
                await channel.send(Directions(tuple(pack_bits(left[note.node]) for note in splits.own)))
                # 5. learn where the others' rows went
                told = await channel.recv(Memberships)
                others = () if membership.last_level() else splits.others
                moved = _read_memberships(channel, told, others, membership)
                if membership.last_level():
                    break
                await compute("check", _check_sides, channel, moved, membership)
                left |= moved
                await compute("divide", membership.divide, sorted(left.items()))
            del ciphertexts  # before the next tree's arrive: they are most of our memory
            phase.advance(int(begun.output == 0))
    # 6. forget what the model does not keep
    return tuple(rules[: order.end(begun, len(rules))])


def _read_key(channel: Channel, offer: PublicKeyOffer) -> PublicKey:
    if len(offer.key) not in (POINT, 2 * POINT):
        raise channel.fault("wrong-length", f"sent a public key of {len(offer.key)} bytes, not 32 or 64")
    try:
        return PublicKey.decode(offer.key)
    except ValueError as error:
        raise channel.fault("bad-point", f"sent a public key that does not decode: {error}") from None


async def _receive_gradients(channel: Channel, k: int, rows: int, threads: int) -> Ciphertexts:
    ciphertexts = Ciphertexts(k, rows)
    stream = Stream(channel, rows, most=GRADIENT_BLOCK, width=(k + 1) * POINT, name="gradients")
    while not stream.complete:
        block = await channel.recv(GradientBlock)
        points = stream.accept(block.first, block.ciphertexts).reshape(-1, k + 1, POINT)
        try:
            await channel.compute("decode", ciphertexts.append, points, threads)
        except DecodeError as error:
            raise channel.fault("bad-point", f"sent gradients that do not decode: {error}") from None
    return ciphertexts


class _Level:
    """The small nodes of one level: rows per bin, groups, and the blocks made of them.

    Args:
        drawn: our columns and rows in this tree.
        membership: its pairs.
        threads: for the kernel.
    """

    def __init__(self, drawn: DrawnColumns, membership: Membership, threads: int) -> None:
        self._drawn = drawn
        self._blocks = column_blocks(drawn.layout)
        self._rows = [membership.sampled_rows(pair.small) for pair in membership.pairs]
        nothing = np.zeros((drawn.codes.shape[1], 0), dtype=np.int32)
        fine = drawn.small_sums(membership, nothing, threads)[0]
        self._ends = drawn.counts.group(membership.pairs, fine)
        self._counts = coarsen(fine, self._ends)
        self.nodes = {
            node: index
            for index, pair in enumerate(membership.pairs)
            for node, opens in zip(pair.nodes, membership.opens(pair), strict=True)
            if opens
        }

    def places(self) -> Iterator[tuple[int, int, int]]:
        """Pair, first column and end of the columns of each block, in the order of sending."""
        return ((index, *block) for index in range(len(self._rows)) for block in self._blocks)

    def ends(self, node: int, column: int) -> NDArray[np.int64]:
        """The last bins of the groups of a drawn column in a node, ascending."""
        return np.flatnonzero(self._ends[self.nodes[node], column])

    def block(
        self,
        place: tuple[int, int, int],
        ciphertexts: Ciphertexts,
        public: PublicKey,
        seed: bytes,
        threads: int,
    ) -> HistogramBlock:
        """Sum, merge small groups, leave out empty ones, and re-randomise."""
        index, first, last = place
        layout = self._drawn.layout
        bin_counts = layout.bin_counts[first:last]
        present = layout.present[first:last]
        ends = self._ends[index, first:last][present]
        counts = self._counts[index, first:last][present][ends]
        filled = counts > 0
        target = np.where(filled, np.cumsum(filled) - 1, _LEFT_OUT).astype(np.uint32)
        group: NDArray[np.int64] = np.cumsum(ends) - ends
        codes = self._drawn.codes[first:last]
        sums = encrypted_histogram(ciphertexts, codes, bin_counts, self._rows[index], threads)
        merged = sums.merge(target[group], int(filled.sum()), threads)
        points = merged.rerandomised(public, seed, 0, threads)
        counted = bytes_of(counts.astype(np.uint32))
        return HistogramBlock(index, first, pack_bits(ends), counted, points.tobytes())


def _check_splits(channel: Channel, splits: Splits, level: _Level) -> None:
    """Every split node must be open, and named once."""
    own = [note.node for note in splits.own]
    named = [*own, *splits.others]
    ascending = own == sorted(own) and list(splits.others) == sorted(splits.others)
    if len(set(named)) != len(named) or not ascending or not set(named) <= level.nodes.keys():
        raise channel.fault("bad-split", "split a node twice, out of order, or one that is not open")


def _read_split(
    channel: Channel, note: SplitNote, own: ColumnBlock, columns: NDArray[np.int64], level: _Level
) -> SplitRule:
    """What our split tests; it may not tell apart bins that we merged."""
    place = int(np.searchsorted(columns, note.column))
    if place >= len(columns) or columns[place] != note.column:
        raise channel.fault("bad-split", f"split on column {note.column}, which this tree does not look at")
    left = unpack_bits(channel, note.left, int(own.bin_counts[note.column]), "bins to the left")
    ends = level.ends(note.node, place)
    group = np.searchsorted(ends, np.arange(len(left)))
    if (left != left[ends][group]).any():
        raise channel.fault("bad-split", "asked for directions within a group of merged bins")
    return SplitRule(note.column, tuple(np.flatnonzero(left).tolist()))


def _directions(
    splits: Splits, rules: Sequence[SplitRule], own: ColumnBlock, membership: Membership
) -> dict[int, Bools]:
    """Directions of the rows of nodes that are split on our columns."""
    return {
        note.node: rule.goes_left(own.codes[rule.column, membership.rows(note.node)])
        for note, rule in zip(splits.own, rules, strict=True)
    }


def _check_sides(channel: Channel, left: dict[int, Bools], membership: Membership) -> None:
    """Both sides of every split must keep the sampled rows that the plan demands."""
    for node, goes_left in left.items():
        if not membership.allows(node, goes_left):
            raise channel.fault(
                "bad-split", "split a node so that one side keeps fewer rows than the plan demands"
            )


def _read_memberships(
    channel: Channel, told: Memberships, nodes: Sequence[int], membership: Membership
) -> dict[int, Bools]:
    """Directions of the rows of nodes that were split on others' columns."""
    if len(told.left) != len(nodes):
        raise channel.fault("wrong-length", f"sent memberships of {len(told.left)} nodes, not {len(nodes)}")
    return {
        node: unpack_bits(channel, bits, len(membership.rows(node)), "memberships")
        for node, bits in zip(nodes, told.left, strict=True)
    }
