"""Alignment: which ids the parties have in common, as one row order, and nothing else.

Private set intersection by an oblivious function over ristretto255. A passive party has a secret β and
its key K; F(a) = D(4β·H(a)), where H hashes an id to the group and D shortens a point to 16 bytes, both
under the run's tag. The active party learns F of its own ids and nothing of β; the passive party sees
uniformly random points. β and the blinds r are fresh for every pair::

    active (ids a₁…a_N)                                  passive (ids b₁…b_M, secret β)
      │  Roster N, rule                      ──────────►   │   0. both refuse another rule,
      │            ◄──────────  Roster M, rule; Key K=β·G  │      nothing, more than a limit, no key
      │  BlindedBlock  X = 2(H(a) + r·G)     ──────────►   │   1. own shuffle
      │             ◄──────────  EvaluatedBlock  E = β·X   │   2. block for block; beside it,
      │       ◄──────────  DigestBlock  F(b), own shuffle  │      both directions overlap
      │  F(a) = D(2(E − 2r·K)) among the F(b)              │   3. active alone knows the pair's
      │                                                    │      intersection
      │  Common m; CommonRows                ──────────►   │   4. places in passive's shuffle,
                                                                  in the common order

With several passive parties the active party holds steps 0 to 3 with one after the other, each time
with the rows that survived so far, and step 4 with all at the end; `Wait` tells the idle ones that
it is still there. The common order is pseudo-random under a secret of the active party and says
nothing of any party's table.

Who learns what: the active party each passive party's size, and which of the rows it entered with
are common with it; a passive party the number of rows the active party entered with, and the final
intersection. Assumes parties that follow the protocol, the gap Diffie-Hellman problem in
ristretto255, H and D random oracles; what the active party sends is hidden whatever is assumed. The
argument and what a deviating party could do: ``spec/alignment.md``.

Sources: Jarecki, Liu, SCN 2010 (the function), Jarecki, Krawczyk, Xu, PKC 2021 (additive blinding);
RFC 9380 (hashing), RFC 9496 (the group).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final, TypeVar

import msgspec
import numpy as np

from parley._native import DecodeError, EvaluationKey
from parley.core.conversation import Channel, Choice, Message, Repeat, Step, steps
from parley.core.errors import PeerMisbehaved, PolicyRefused, UsageError
from parley.core.trace import Phase
from parley.crypto.randomness import SEED_BYTES, derive, permutation
from parley.protocols.oblivious import DIGEST, POINT, Asker, Digests, Evaluator, IdBuffer, Points, Rows, match
from parley.protocols.payload import Stream, bytes_of
from parley.protocols.together import together

ACTIVE: Final = "active"
PASSIVE: Final = "passive"

PLACE: Final = 4
"""Bytes of a place in a shuffled order, a uint32."""
BLOCK_ROWS: Final = 8192
"""Most rows in one message; 256 KiB of points."""
MAX_IDS: Final = 2**32 - 1
"""Most ids one party may bring: places are 32 bits."""

M = TypeVar("M", bound=Message)
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_IDS)]


@dataclass(frozen=True, slots=True)
class Options:
    """What a party brings to an alignment beside its ids.

    Attributes:
        run: identifier of the run; ids are hashed under it, so that two runs cannot be joined.
        rule: how the ids were normalised; equal at all parties.
        seed: 32 fresh random bytes; secrets, blinds and shuffles are derived from it.
        threads: native threads for all computations of this party together.
        order: the active party's 32 secret bytes that order the common rows: of equal tables in an equal
            order if it is kept. Empty: another order every time.
        limit: most ids accepted from a peer.
        block_rows: rows per message sent, at most ``BLOCK_ROWS``.
        wait_seconds: an idle passive party hears from the active one this often.

    """

    run: str
    rule: str
    seed: bytes = field(repr=False)
    threads: int = 1
    order: bytes = field(default=b"", repr=False)
    limit: int = 100_000_000
    block_rows: int = BLOCK_ROWS
    wait_seconds: float = 5.0

    def __post_init__(self) -> None:
        if len(self.seed) != SEED_BYTES:
            raise ValueError(f"seed has {len(self.seed)} bytes, expected {SEED_BYTES}")
        if not 1 <= self.block_rows <= BLOCK_ROWS:
            raise ValueError(f"block_rows is {self.block_rows}, expected 1 to {BLOCK_ROWS}")


@dataclass(frozen=True, slots=True)
class Aligned:
    """What an alignment leaves with a party.

    Attributes:
        rows: int64 [m]; for each common row, in the common order, which of the party's ids it is.
        peers: how many ids each peer entered, in the order of the channels.

    """

    rows: Rows
    peers: tuple[int, ...]


# The messages.


class Wait(Message, frozen=True):
    """The active party is busy with another passive party."""


class Roster(Message, frozen=True):
    """What a party enters with: the number of its ids (N or M) and how they were normalised."""

    ids: Count
    rule: Annotated[str, msgspec.Meta(max_length=64)]


class Key(Message, frozen=True):
    """The passive party's key for this pair.

    ``point``: K = β·G, a ristretto255 encoding.
    """

    point: Annotated[bytes, msgspec.Meta(min_length=POINT, max_length=POINT)]


class BlindedBlock(Message, frozen=True):
    """The active party's ids from place ``first`` of its shuffle, hashed and blinded.

    ``points``: X = 2·(H(a) + r·G), ristretto255 encodings, uint8 [rows, 32].
    """

    first: Count
    points: bytes


class EvaluatedBlock(Message, frozen=True):
    """The active party's ids from place ``first`` of its shuffle, evaluated under their blinds.

    ``points``: E = β·X, ristretto255 encodings, uint8 [rows, 32].
    """

    first: Count
    points: bytes


class DigestBlock(Message, frozen=True):
    """The passive party's ids from place ``first`` of its shuffle, as the function's values.

    ``digests``: F(b) = D(4β·H(b)), uint8 [rows, 16].
    """

    first: Count
    digests: bytes


class Common(Message, frozen=True):
    """The number m of rows that all parties have."""

    rows: Count


class CommonRows(Message, frozen=True):
    """Common rows from number ``first`` of the common order.

    ``places``: where each stands in the receiver's shuffle, uint32 [rows].
    """

    first: Count
    places: bytes


STEPS: Final = steps(
    "alignment",
    2,
    Repeat(Step(ACTIVE, PASSIVE, Wait)),
    Step(ACTIVE, PASSIVE, Roster),
    Step(PASSIVE, ACTIVE, Roster),
    Step(PASSIVE, ACTIVE, Key),
    Repeat(
        Choice(
            Step(ACTIVE, PASSIVE, BlindedBlock),
            Step(PASSIVE, ACTIVE, EvaluatedBlock),
            Step(PASSIVE, ACTIVE, DigestBlock),
        )
    ),
    Repeat(Step(ACTIVE, PASSIVE, Wait)),
    Step(ACTIVE, PASSIVE, Common),
    Repeat(Step(ACTIVE, PASSIVE, CommonRows)),
)


# The roles.


async def active(channels: Sequence[Channel], ids: IdBuffer, options: Options) -> Aligned:
    """Align with the passive party at the end of each channel (one or more).

    Raises:
        UsageError: there is no common id, or an id of ours is repeated.
        PolicyRefused: the rules differ, or a peer brings more ids than the limit.
        PeerMisbehaved: a peer's message fails a check.

    """
    rows = np.arange(_size(ids), dtype=np.int64)
    places: list[Rows] = []
    peers: list[int] = []
    for channel in channels:
        # 0. to 3. with this pair, while the others are told to wait
        idle = [other for other in channels if other is not channel]
        pair = asyncio.ensure_future(_pair(channel, ids, rows, options))
        own, found, theirs = await together(pair, _reassure(idle, pair, options.wait_seconds))
        rows = rows[own]
        peers.append(theirs)
        places = [*(earlier[own] for earlier in places), found]
        if not len(rows):
            raise _nothing_in_common(channel, options)
    # 4. the common rows, in the common order
    order = await channels[0].compute("order", _common_order, rows, options)
    await together(*(_send_common(c, p[order], options) for c, p in zip(channels, places, strict=True)))
    return Aligned(rows[order], tuple(peers))


async def passive(channel: Channel, ids: IdBuffer, options: Options) -> Aligned:
    """Align with the active party; returns and raises as `active` does."""
    # 0. rosters
    rows = np.arange(_size(ids), dtype=np.int64)
    await channel.send(Roster(len(rows), options.rule))
    seed = derive(options.seed, "alignment", options.run, PASSIVE, channel.peer)
    evaluator = await channel.compute("shuffle", Evaluator, ids, rows, seed, options.run, options.threads)
    await channel.send(Key(evaluator.key))
    theirs = await _roster(channel, options)
    # 1., 2. evaluate theirs, and digest ours
    with channel.trace.phase("align", len(rows) + theirs, "ids") as phase:
        await together(
            _evaluate(channel, evaluator, theirs, phase),
            _send_digests(channel, evaluator, options.block_rows, phase),
        )
    # 4. the common rows
    places = await _receive_common(channel, len(rows), min(len(rows), theirs))
    return Aligned(evaluator.ids.shuffle[places], (theirs,))


async def _pair(channel: Channel, ids: IdBuffer, rows: Rows, options: Options) -> tuple[Rows, Rows, int]:
    """Steps 0 to 3 of the active party with one passive party: who is common, ordered by digest.

    Returns:
        two int64 [m], an index into ``rows`` and the place in the peer's shuffle; and the peer's ids.

    """
    # 0. rosters
    await channel.send(Roster(len(rows), options.rule))
    seed = derive(options.seed, "alignment", options.run, ACTIVE, channel.peer)
    asker = await channel.compute("shuffle", Asker, ids, rows, seed, options.run, options.threads)
    theirs = await _roster(channel, options)
    key = await _key(channel)
    # 1., 2. blind our ids; unblind what comes back
    size = len(rows)
    digests = np.empty((size + theirs, DIGEST), dtype=np.uint8)  # ours, then theirs
    with channel.trace.phase("align", size + theirs, "ids") as phase:
        await together(
            _send_blinded(channel, asker, options.block_rows),
            _collect(channel, asker, key, digests[:size], digests[size:], phase),
        )
    # 3. match
    own, found = await channel.compute("match", match, digests)
    _refuse_repeats(channel, asker, own, found)
    return asker.ids.shuffle[own], found - size, theirs


def _common_order(rows: Rows, options: Options) -> Rows:
    """Which common row comes when: by a secret permutation of the order they have in our table."""
    secret = options.order or derive(options.seed, "order", options.run)
    drawn = permutation(derive(secret, "common order"), len(rows))
    return np.argsort(rows)[drawn]


async def _roster(channel: Channel, options: Options) -> int:
    """The size of the peer's roster. Checks: 1 same rule, 2 not empty, 3 within our limit."""
    roster = await _after_waiting(channel, Roster)
    if roster.rule != options.rule:  # nobody's misconduct
        raise PolicyRefused(
            "rules-differ",
            f"ids are normalised by {options.rule!r} here and by {roster.rule!r} at {channel.peer}",
            remedy="agree on one id rule in the plan",
        )
    if roster.ids == 0:
        raise channel.fault("empty-roster", "entered the alignment with no ids")
    if roster.ids > options.limit:
        raise PolicyRefused(
            "too-many-ids",
            f"{channel.peer} enters with {roster.ids} ids, the limit is {options.limit}",
            remedy="raise the limit if a table of that size is expected",
        )
    return roster.ids


async def _key(channel: Channel) -> EvaluationKey:
    """The peer's key K. Checks: 1 a point of the group, 2 not the neutral one."""
    key = await channel.recv(Key)
    try:
        return await channel.compute("key", EvaluationKey.decode, key.point)
    except ValueError:
        raise channel.fault("bad-key", "sent as its key no point of the group, or the neutral one") from None


async def _send_blinded(channel: Channel, asker: Asker, step: int) -> None:
    """Step 1: our ids in the order of our shuffle, each hashed and blinded, ``step`` to a block."""
    for first in range(0, len(asker.ids), step):
        points = await channel.compute("blind", asker.blinded, first, first + step)
        await channel.send(BlindedBlock(first, points.tobytes()))


async def _evaluate(channel: Channel, evaluator: Evaluator, theirs: int, phase: Phase) -> None:
    """Step 2 of the passive party: evaluate each block of the active party and send it back."""
    blocks = Stream(channel, theirs, most=BLOCK_ROWS, width=POINT, name="blinded ids")
    while not blocks.complete:
        block = await channel.recv(BlindedBlock)
        points = _points(channel, blocks, block)
        try:
            evaluated = await channel.compute("evaluate", evaluator.evaluated, points)
        except DecodeError as error:
            raise _no_point(channel, block, error) from None
        await channel.send(EvaluatedBlock(block.first, evaluated.tobytes()))
        phase.advance(len(evaluated))


async def _send_digests(channel: Channel, evaluator: Evaluator, step: int, phase: Phase) -> None:
    """Step 2 of the passive party: its own ids in the order of its shuffle, ``step`` to a block."""
    for first in range(0, len(evaluator.ids), step):
        digests = await channel.compute("digest", evaluator.digests, first, first + step)
        await channel.send(DigestBlock(first, digests.tobytes()))
        phase.advance(len(digests))


async def _collect(
    channel: Channel, asker: Asker, key: EvaluationKey, ours: Digests, theirs: Digests, phase: Phase
) -> None:
    """Steps 2 and 3 of the active party: fill in the digests of both sides' ids."""
    answers = Stream(channel, len(ours), most=BLOCK_ROWS, width=POINT, name="evaluated ids")
    values = Stream(channel, len(theirs), most=BLOCK_ROWS, width=DIGEST, name="digests")
    while not (answers.complete and values.complete):
        block = await channel.recv(EvaluatedBlock, DigestBlock)
        if isinstance(block, DigestBlock):
            digests = values.accept(block.first, block.digests)
            theirs[block.first : values.done] = digests
        else:
            points = _points(channel, answers, block)
            try:
                digests = await channel.compute("unblind", asker.unblinded, block.first, points, key)
            except DecodeError as error:
                raise _no_point(channel, block, error) from None
            ours[block.first : answers.done] = digests
        phase.advance(len(digests))


def _points(channel: Channel, stream: Stream, block: BlindedBlock | EvaluatedBlock) -> Points:
    """The next points of a stream, uint8 [rows, 32]. Checks: 1 their place, 2 none is neutral."""
    points = stream.accept(block.first, block.points)
    neutral = np.flatnonzero(~points.any(axis=1))
    if len(neutral):
        raise channel.fault("bad-point", f"sent the neutral point for row {block.first + neutral[0]}")
    return points


def _no_point(channel: Channel, block: BlindedBlock | EvaluatedBlock, error: DecodeError) -> PeerMisbehaved:
    return channel.fault("bad-point", f"sent no point of the group for row {block.first + error.index}")


def _refuse_repeats(channel: Channel, asker: Asker, one: Rows, other: Rows) -> None:
    """Distinct ids have distinct digests; whoever repeats one is told so."""
    size = len(asker.ids)
    if (one >= size).any():
        raise channel.fault("repeated-id", "sent one id twice")
    ours = np.flatnonzero(other < size)
    if len(ours):
        first, second = sorted(asker.ids.id_at(place) for place in (one[ours[0]], other[ours[0]]))
        if asker.ids.text(first) != asker.ids.text(second):
            raise channel.fault("repeated-digest", "answered two different ids with one digest")
        raise UsageError(
            "repeated-id",
            f"ids {first} and {second} of the table are the same",
            remedy="remove repeated ids from the table, or say in the plan how to resolve them",
        )


async def _send_common(channel: Channel, places: Rows, options: Options) -> None:
    """Step 4 of the active party: the peer's places of the common rows, in the common order."""
    await channel.send(Common(len(places)))
    for first in range(0, len(places), options.block_rows):
        block = places[first : first + options.block_rows].astype(np.uint32)
        await channel.send(CommonRows(first, bytes_of(block)))


async def _receive_common(channel: Channel, size: int, most: int) -> Rows:
    """Step 4 of a passive party: places below ``size``, each at most once, at most ``most`` of them."""
    common = await _after_waiting(channel, Common)
    if not 1 <= common.rows <= most:
        raise channel.fault("wrong-count", f"claims {common.rows} common rows of at most {most}")
    places = np.empty(common.rows, dtype=np.int64)
    taken = np.zeros(size, dtype=np.bool_)
    stream = Stream(channel, common.rows, most=BLOCK_ROWS, width=PLACE, name="common rows")
    while not stream.complete:
        block = await channel.recv(CommonRows)
        found = stream.accept(block.first, block.places).view("<u4")[:, 0]
        if (found >= size).any():
            raise channel.fault("wrong-place", f"names row {found.max()} of {size}")
        if taken[found].any() or len(np.unique(found)) != len(found):
            raise channel.fault("repeated-place", "names one of our rows twice")
        taken[found] = True
        places[block.first : stream.done] = found
    return places


async def _reassure(
    idle: Sequence[Channel], busy: "asyncio.Future[tuple[Rows, Rows, int]]", every: float
) -> None:
    """Tell idle parties every so many seconds that we are still here, until the busy pair is done."""
    while True:
        await asyncio.wait([busy], timeout=every)
        if busy.done():
            return
        for channel in idle:
            await channel.send(Wait())


async def _after_waiting(channel: Channel, kind: type[M]) -> M:
    """The next message that is not `Wait`."""
    while True:
        message = await channel.recv(Wait, kind)
        if not isinstance(message, Wait):
            return message


def _size(ids: IdBuffer) -> int:
    size = len(ids.offsets) - 1
    if not 1 <= size <= MAX_IDS:
        raise UsageError(
            "no-ids" if size < 1 else "too-many-ids",
            f"an alignment takes 1 to {MAX_IDS} ids, the table has {size}",
            remedy="check the id column and the filter of the plan",
        )
    return size


def _nothing_in_common(channel: Channel, options: Options) -> UsageError:
    return UsageError(
        "no-common-ids",
        f"after {channel.peer} no id is common to all parties; ids were normalised by {options.rule!r}",
        remedy="check with the other parties that the plan names the same kind of id in every table "
        "and that its id rule fits how each writes them",
        public="the parties have no id in common: check the id columns and the id rule of the plan",
    )
