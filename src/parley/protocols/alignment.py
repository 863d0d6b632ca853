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
from functools import partial
from typing import Final

import numpy as np

from parley.core.conversation import Channel, Message, Repeat, Step, steps
from parley.core.errors import UsageError
from parley.core.trace import Phase
from parley.crypto.randomness import SEED_BYTES, derive, permutation
from parley.protocols import masking
from parley.protocols.masking import (
    BLOCK_ROWS,
    Answer,
    Challenge,
    Count,
    Key,
    MaskedBlock,
    Offers,
    RuleName,
    Wait,
    after_waiting,
    reassure,
)
from parley.protocols.oblivious import DIGEST, Asker, Bytes, Digests, Evaluator, IdBuffer, Rows, match
from parley.protocols.payload import Stream, bytes_of
from parley.protocols.together import together

ACTIVE: Final = "active"
PASSIVE: Final = "passive"

PLACE: Final = 4
"""Bytes of a place in a shuffled order, a uint32."""


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


class Roster(Message, frozen=True):
    """What a party enters with: the number of its ids (N or M) and how they were normalised."""

    ids: Count
    rule: RuleName


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
    rows = masking.all_rows(ids)
    places: list[Rows] = []
    peers: list[int] = []
    for channel in channels:
        # 0. to 4. with this pair, while the others are told to wait
        idle = [other for other in channels if other is not channel]
        pair = asyncio.ensure_future(_pair(channel, ids, rows, options))
        own, found, theirs = await together(pair, reassure(idle, pair, options.wait_seconds))
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
    rows = masking.all_rows(ids)
    await channel.send(Roster(len(rows), options.rule))
    seed = derive(options.seed, "alignment", options.run, PASSIVE, channel.peer)
    evaluator = await channel.compute("shuffle", Evaluator, ids, rows, seed, options.run, options.threads)
    theirs = await _roster(channel, options)
    await channel.send(Offers(evaluator.offers.tobytes()))
    # 1. the keys
    expected = await masking.expect(channel, evaluator, theirs)
    with channel.trace.phase("align", expected + len(rows), "rows") as phase:
        # 2. the masked rows, 3. which must be words of the code
        await masking.take_masked(channel, evaluator, expected, phase)
        await masking.challenge(channel, evaluator)
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
    seed = derive(options.seed, "alignment", options.run, ACTIVE, channel.peer)
    asker = await masking.store(
        channel, size, partial(_asker, ids, rows, seed, options), options.wait_seconds
    )
    await channel.send(Key(asker.point, asker.salt))
    digests = np.empty((size + theirs, DIGEST), dtype=np.uint8)  # ours, then theirs
    with channel.trace.phase("align", asker.size + theirs, "rows") as phase:
        # 2. the masked rows, 3. and the sums of them that are asked for
        await masking.send_masked(channel, asker, options.block_rows, phase)
        await masking.answer(channel, asker)
        # 4. digest ours, while theirs come
        await together(
            _receive_digests(channel, digests[size:], phase), masking.digest(channel, asker, digests[:size])
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
    roster = await after_waiting(channel, Roster)
    masking.check_rule(channel, options.rule, roster.rule)
    masking.check_count(channel, roster.ids, options.limit)
    return roster.ids


def _asker(ids: IdBuffer, rows: Rows, seed: bytes, options: Options, offers: Bytes) -> Asker:
    return Asker(ids, rows, offers, seed, options.run, options.threads)


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


def _refuse_repeats(channel: Channel, asker: Asker, one: Rows, other: Rows) -> None:
    """Distinct ids have distinct digests; whoever repeats one is told so."""
    size = len(asker.ids)
    if (one >= size).any():
        raise channel.fault("repeated-id", "sent one id twice")
    ours = np.flatnonzero(other < size)
    if len(ours):
        raise masking.repeat_of(channel, asker.ids, int(one[ours[0]]), int(other[ours[0]]))


async def _send_common(channel: Channel, places: Rows, options: Options) -> None:
    """Step 5 of the active party: the peer's places of the common rows, in the common order."""
    await channel.send(Common(len(places)))
    for first in range(0, len(places), options.block_rows):
        block = places[first : first + options.block_rows].astype(np.uint32)
        await channel.send(CommonRows(first, bytes_of(block)))


async def _receive_common(channel: Channel, size: int, most: int) -> Rows:
    """Step 5 of a passive party: places below ``size``, each at most once, at most ``most`` of them."""
    common = await after_waiting(channel, Common)
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


def _nothing_in_common(channel: Channel, options: Options) -> UsageError:
    return UsageError(
        "no-common-ids",
        f"after {channel.peer} no id is common to all parties; ids were normalised by {options.rule!r}",
        remedy="check with the other parties that the plan names the same kind of id in every table "
        "and that its id rule fits how each writes them",
        public="the parties have no id in common: check the id columns and the id rule of the plan",
    )
