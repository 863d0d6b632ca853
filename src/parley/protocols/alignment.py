"""Alignment: which ids the parties have in common, as one row order, and nothing else.

Private set intersection by an oblivious function F, made of an oblivious transfer of 572 pairs of keys
and a store of hashed ids. The passive party can compute F of any id; the active party learns F of the
ids in its store and nothing that lets it compute F of another; the passive party sees what looks like
random rows. All secrets are fresh for every pair::

    active (ids a₁…a_N)                                  passive (ids b₁…b_M, secret s)
      │  Roster N, rule                      ──────────►   │   0. both refuse another rule,
      │               ◄──────────  Roster M, rule; Offers  │      nothing, more than a limit
      │  Key B, salt                         ──────────►   │   1. one key of every two
      │  MaskedBlock  U, hiding the store    ──────────►   │   2. a row for every cell
      │                         ◄──────────  Challenge     │   3. the sums must be words
      │  Answer  sums of rows and of values  ──────────►   │      of the code
      │       ◄──────────  DigestBlock  F(b), own shuffle  │   4. active alone knows the pair's
      │  F(a) among the F(b)                               │      intersection
      │  Common m; CommonRows                ──────────►   │   5. places in passive's shuffle,
                                                                  in the common order

With several passive parties the active party holds steps 0 to 4 with one after the other, each time
with the rows that survived so far, and step 5 with all at the end; `Wait` tells the idle ones that
it is still there. The common order is pseudo-random under a secret of the active party and says
nothing of any party's table.

Who learns what: the active party each passive party's size, and which of the rows it entered with
are common with it; a passive party the number of rows the active party entered with, and the final
intersection. Assumes the gap Diffie-Hellman problem in ristretto255, for the keys, that ChaCha20 is a
stream of random bits, and SHA-256 a random oracle. Parties may enter ids that are not theirs; what
else one could do that departs from the protocol, and the argument: ``spec/alignment.md``.

Sources: Pinkas, Rosulek, Trieu, Yanai, Eurocrypt 2020 (the intersection), Orrù, Orsini, Scholl, CT-RSA
2017 (the rows and their check), Masny, Rindal, CCS 2019 (the keys).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final, TypeVar

import msgspec
import numpy as np

from parley._native import DecodeError
from parley.core.conversation import Channel, Message, Repeat, Step, steps
from parley.core.errors import BudgetExhausted, PolicyRefused, UsageError
from parley.core.trace import Phase
from parley.crypto.randomness import SEED_BYTES, derive, permutation
from parley.protocols.oblivious import (
    BITS,
    DIGEST,
    POINT,
    ROW,
    SALT,
    SUMS,
    VALUE,
    Asker,
    Digests,
    Evaluator,
    IdBuffer,
    Rows,
    match,
)
from parley.protocols.payload import Stream, array_of, bytes_of
from parley.protocols.together import together

ACTIVE: Final = "active"
PASSIVE: Final = "passive"

PLACE: Final = 4
"""Bytes of a place in a shuffled order, a uint32."""
BLOCK_ROWS: Final = 8192
"""Most rows in one message; 576 KiB of masked rows."""
DIGESTED: Final = 65536
"""Own ids whose digests the active party computes in one go."""
MAX_IDS: Final = 2**31
"""Most ids one party may bring: places and rows are numbered in 32 bits."""

T = TypeVar("T")
M = TypeVar("M", bound=Message)
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_IDS)]
RowNumber = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]


@dataclass(frozen=True, slots=True)
class Options:
    """What a party brings to an alignment beside its ids.

    Attributes:
        run: identifier of the run; ids are hashed under it, so that two runs cannot be joined.
        rule: how the ids were normalised; equal at all parties.
        seed: 32 random bytes, fresh for each conversation, a repeated one included; all secrets are derived
            from it.
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


def _exactly(size: int) -> msgspec.Meta:
    return msgspec.Meta(min_length=size, max_length=size)


class Offers(Message, frozen=True):
    """What the passive party's keys are to be made from.

    ``points``: r₀ and r₁ for every bit of s, ristretto255 encodings, uint8 [572, 2, 32].
    """

    points: Annotated[bytes, _exactly(BITS * 2 * POINT)]


class Key(Message, frozen=True):
    """What opens the passive party's keys, and what the pair's hashes are salted with.

    ``point``: B = b·G, a ristretto255 encoding. ``salt``: random bytes.
    """

    point: Annotated[bytes, _exactly(POINT)]
    salt: Annotated[bytes, _exactly(SALT)]


class MaskedBlock(Message, frozen=True):
    """The active party's rows from number ``first`` on, which hide its store.

    ``rows``: U = T + T' + C(D), uint8 [rows, 72].
    """

    first: RowNumber
    rows: bytes


class Challenge(Message, frozen=True):
    """Which rows the passive party wants to see the sums of.

    ``seed``: of the stream whose bits say so.
    """

    seed: Annotated[bytes, _exactly(32)]


class Answer(Message, frozen=True):
    """The sums, each of them with a random row that was kept for it.

    ``rows``: of T, uint8 [64, 72]. ``values``: of D, uint8 [64, 16].
    """

    rows: Annotated[bytes, _exactly(SUMS * ROW)]
    values: Annotated[bytes, _exactly(SUMS * VALUE)]


class DigestBlock(Message, frozen=True):
    """The passive party's ids from place ``first`` of its shuffle, as the function's values.

    ``digests``: F(b), uint8 [rows, 16].
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
    3,
    Repeat(Step(ACTIVE, PASSIVE, Wait)),
    Step(ACTIVE, PASSIVE, Roster),
    Step(PASSIVE, ACTIVE, Roster),
    Step(PASSIVE, ACTIVE, Offers),
    Repeat(Step(ACTIVE, PASSIVE, Wait)),
    Step(ACTIVE, PASSIVE, Key),
    Repeat(Step(ACTIVE, PASSIVE, MaskedBlock)),
    Step(PASSIVE, ACTIVE, Challenge),
    Step(ACTIVE, PASSIVE, Answer),
    Repeat(Step(PASSIVE, ACTIVE, DigestBlock)),
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
        # 0. to 4. with this pair, while the others are told to wait
        idle = [other for other in channels if other is not channel]
        pair = asyncio.ensure_future(_pair(channel, ids, rows, options))
        own, found, theirs = await together(pair, _reassure(idle, pair, options.wait_seconds))
        rows = rows[own]
        peers.append(theirs)
        places = [*(earlier[own] for earlier in places), found]
        if not len(rows):
            raise _nothing_in_common(channel, options)
    # 5. the common rows, in the common order
    order = await channels[0].compute("order", _common_order, rows, options)
    await together(*(_send_common(c, p[order], options) for c, p in zip(channels, places, strict=True)))
    return Aligned(rows[order], tuple(peers))


async def passive(channel: Channel, ids: IdBuffer, options: Options) -> Aligned:
    """Align with the active party; returns and raises as `active` does."""
    # 0. rosters, and offers of keys
    rows = np.arange(_size(ids), dtype=np.int64)
    await channel.send(Roster(len(rows), options.rule))
    seed = derive(options.seed, "alignment", options.run, PASSIVE, channel.peer)
    evaluator = await channel.compute("shuffle", Evaluator, ids, rows, seed, options.run, options.threads)
    theirs = await _roster(channel, options)
    await channel.send(Offers(evaluator.offers.tobytes()))
    # 1. the keys
    expected = await _expect(channel, evaluator, theirs)
    with channel.trace.phase("align", expected + len(rows), "rows") as phase:
        # 2. the masked rows, 3. which must be words of the code
        await _take_masked(channel, evaluator, expected, phase)
        await _challenge(channel, evaluator)
        # 4. digest ours
        await _send_digests(channel, evaluator, options.block_rows, phase)
    # 5. the common rows
    places = await _receive_common(channel, len(rows), min(len(rows), theirs))
    return Aligned(evaluator.ids.order[places], (theirs,))


async def _pair(channel: Channel, ids: IdBuffer, rows: Rows, options: Options) -> tuple[Rows, Rows, int]:
    """Steps 0 to 4 of the active party with one passive party: who is common, ordered by digest.

    Returns:
        two int64 [m], an index into ``rows`` and the place in the peer's shuffle; and the peer's ids.

    """
    # 0. rosters
    size = len(rows)
    await channel.send(Roster(size, options.rule))
    theirs = await _roster(channel, options)
    # 1. keys from the peer's offers, and the store of our ids
    asker = await _asker(channel, ids, rows, options)
    await channel.send(Key(asker.point, asker.salt))
    digests = np.empty((size + theirs, DIGEST), dtype=np.uint8)  # ours, then theirs
    with channel.trace.phase("align", asker.size + theirs, "rows") as phase:
        # 2. the masked rows, 3. and the sums of them that are asked for
        await _send_masked(channel, asker, options.block_rows, phase)
        challenge = await channel.recv(Challenge)
        sums, values = await channel.compute("answer", asker.answer, challenge.seed)
        await channel.send(Answer(sums.tobytes(), values.tobytes()))
        # 4. digest ours, while theirs come
        await together(
            _receive_digests(channel, digests[size:], phase), _digest(channel, asker, digests[:size])
        )
    asker.forget()
    own, found = await channel.compute("match", match, digests)
    _refuse_repeats(channel, asker, own, found)
    return own, found - size, theirs


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


async def _asker(channel: Channel, ids: IdBuffer, rows: Rows, options: Options) -> Asker:
    """Step 1 of the active party. Check: the peer offers points of the group."""
    offers = await channel.recv(Offers)
    points = array_of(channel, offers.points, np.uint8, BITS * 2 * POINT, "offers").reshape(BITS, 2, POINT)
    seed = derive(options.seed, "alignment", options.run, ACTIVE, channel.peer)
    work = channel.compute("store", Asker, ids, rows, points, seed, options.run, options.threads)
    storing = asyncio.ensure_future(work)
    try:
        return await together(storing, _reassure([channel], storing, options.wait_seconds))
    except DecodeError as error:
        raise channel.fault(
            "bad-point", f"offered no point of the group for bit {error.index // 2}"
        ) from None
    except MemoryError as error:
        raise _no_memory(len(rows), error) from None


async def _expect(channel: Channel, evaluator: Evaluator, theirs: int) -> int:
    """Step 1 of the passive party: how many rows will come. Checks: B is 1 a point, 2 not the neutral one."""
    key = await _after_waiting(channel, Key)
    try:
        return await channel.compute("keys", evaluator.expect, key.point, key.salt, theirs)
    except ValueError:
        raise channel.fault("bad-key", "sent as its key no point of the group, or the neutral one") from None
    except MemoryError as error:
        raise _no_memory(theirs, error) from None


async def _send_masked(channel: Channel, asker: Asker, step: int, phase: Phase) -> None:
    """Step 2 of the active party: its store under masks, ``step`` rows to a block."""
    for first in range(0, asker.size, step):
        rows = await channel.compute("mask", asker.masked, first, first + step)
        await channel.send(MaskedBlock(first, rows.tobytes()))
        phase.advance(len(rows))


async def _take_masked(channel: Channel, evaluator: Evaluator, expected: int, phase: Phase) -> None:
    """Step 2 of the passive party."""
    stream = Stream(channel, expected, most=BLOCK_ROWS, width=ROW, name="masked rows")
    while not stream.complete:
        block = await channel.recv(MaskedBlock)
        rows = stream.accept(block.first, block.rows)
        await channel.compute("take", evaluator.take, block.first, rows)
        phase.advance(len(rows))


async def _challenge(channel: Channel, evaluator: Evaluator) -> None:
    """Step 3 of the passive party. Check: the sums of the rows that came are words of the code."""
    await channel.send(Challenge(evaluator.challenge))
    answer = await channel.recv(Answer)
    rows = array_of(channel, answer.rows, np.uint8, SUMS * ROW, "sums").reshape(SUMS, ROW)
    values = array_of(channel, answer.values, np.uint8, SUMS * VALUE, "sums").reshape(SUMS, VALUE)
    if not await channel.compute("check", evaluator.agrees, rows, values):
        raise channel.fault(
            "wrong-sums", "sent masked rows that are no words of the code, or wrong sums of them"
        )


async def _send_digests(channel: Channel, evaluator: Evaluator, step: int, phase: Phase) -> None:
    """Step 4 of the passive party: its own ids in the order of its shuffle, ``step`` to a block."""
    for first in range(0, len(evaluator.ids), step):
        digests = await channel.compute("digest", evaluator.digests, first, first + step)
        await channel.send(DigestBlock(first, digests.tobytes()))
        phase.advance(len(digests))


async def _receive_digests(channel: Channel, digests: Digests, phase: Phase) -> None:
    """Step 4 of the active party: fill in the peer's digests."""
    stream = Stream(channel, len(digests), most=BLOCK_ROWS, width=DIGEST, name="digests")
    while not stream.complete:
        block = await channel.recv(DigestBlock)
        values = stream.accept(block.first, block.digests)
        digests[block.first : stream.done] = values
        phase.advance(len(values))


async def _digest(channel: Channel, asker: Asker, digests: Digests) -> None:
    """Step 4 of the active party: fill in its own digests."""
    for first in range(0, len(digests), DIGESTED):
        values = await channel.compute("digest", asker.digests, first, first + DIGESTED)
        digests[first : first + DIGESTED] = values


def _refuse_repeats(channel: Channel, asker: Asker, one: Rows, other: Rows) -> None:
    """Distinct ids have distinct digests; whoever repeats one is told so."""
    size = len(asker.ids)
    if (one >= size).any():
        raise channel.fault("repeated-id", "sent one id twice")
    ours = np.flatnonzero(other < size)
    if len(ours):
        first, second = sorted(int(asker.ids.order[place]) for place in (one[ours[0]], other[ours[0]]))
        if asker.ids.text(first) != asker.ids.text(second):
            raise channel.fault("repeated-digest", "made two different ids have one digest")
        raise UsageError(
            "repeated-id",
            f"ids {first} and {second} of the table are the same",
            remedy="make one row of each id in the source of the table, or with a query",
        )


async def _send_common(channel: Channel, places: Rows, options: Options) -> None:
    """Step 5 of the active party: the peer's places of the common rows, in the common order."""
    await channel.send(Common(len(places)))
    for first in range(0, len(places), options.block_rows):
        block = places[first : first + options.block_rows].astype(np.uint32)
        await channel.send(CommonRows(first, bytes_of(block)))


async def _receive_common(channel: Channel, size: int, most: int) -> Rows:
    """Step 5 of a passive party: places below ``size``, each at most once, at most ``most`` of them."""
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


async def _reassure(idle: Sequence[Channel], busy: "asyncio.Future[T]", every: float) -> None:
    """Tell idle parties every so many seconds that we are still here, until what we are busy with is done."""
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
            remedy="check the id column and the query of the table",
        )
    return size


def _no_memory(ids: int, error: MemoryError) -> BudgetExhausted:
    return BudgetExhausted(
        "no-memory",
        f"an alignment with {ids} ids of the active party does not fit: {error}",
        remedy="align on a machine with more memory, or fewer ids at a time",
    )


def _nothing_in_common(channel: Channel, options: Options) -> UsageError:
    return UsageError(
        "no-common-ids",
        f"after {channel.peer} no id is common to all parties; ids were normalised by {options.rule!r}",
        remedy="check with the other parties that the plan names the same kind of id in every table "
        "and that its id rule fits how each writes them",
        public="the parties have no id in common: check the id columns and the id rule of the plan",
    )
