"""How ids become rows at another party: the steps that an alignment and an enrolment have in common.

    asker (ids)                                          evaluator (secret s)
      │               ◄──────────  Offers                  │   1. one key of every two
      │  Key B, salt                         ──────────►   │
      │  MaskedBlock  U, hiding the store    ──────────►   │   2. a row for every cell
      │                         ◄──────────  Challenge     │   3. the sums must be words
      │  Answer  sums of rows and of values  ──────────►   │      of the code

After that either side computes the oblivious function, the asker of its ids and the evaluator of any.
What it is and why: ``oblivious.py`` and ``spec/alignment.md``.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated, Final, TypeVar

import msgspec
import numpy as np

from parley._native import DecodeError
from parley.core.conversation import Channel, Message
from parley.core.errors import BudgetExhausted, PeerMisbehaved, PolicyRefused, UsageError
from parley.core.trace import Phase
from parley.protocols.oblivious import (
    BITS,
    POINT,
    ROW,
    SALT,
    SUMS,
    VALUE,
    Asker,
    Bytes,
    Digests,
    Entered,
    Function,
    IdBuffer,
    RepeatedId,
    Rows,
)
from parley.protocols.payload import Stream, array_of
from parley.protocols.together import together

BLOCK_ROWS: Final = 8192
"""Most rows in one message; 576 KiB of masked rows."""
DIGESTED: Final = 65536
"""Own ids whose digests the asker computes in one go."""
MAX_IDS: Final = 2**31
"""Most ids one party may bring: places and rows are numbered in 32 bits."""
MAX_RULE: Final = 64
"""Longest name of an id rule."""

T = TypeVar("T")
M = TypeVar("M", bound=Message)
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_IDS)]
RowNumber = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
RuleName = Annotated[str, msgspec.Meta(max_length=MAX_RULE)]


def _exactly(size: int) -> msgspec.Meta:
    return msgspec.Meta(min_length=size, max_length=size)


# The messages.


class Wait(Message, frozen=True):
    """The sender is busy, and still there."""


class Offers(Message, frozen=True):
    """What the evaluator's keys are to be made from.

    ``points``: r₀ and r₁ for every bit of s, ristretto255 encodings, uint8 [572, 2, 32].
    """

    points: Annotated[bytes, _exactly(BITS * 2 * POINT)]


class Key(Message, frozen=True):
    """What opens the evaluator's keys, and what the pair's hashes are salted with.

    ``point``: B = b·G, a ristretto255 encoding. ``salt``: random bytes.
    """

    point: Annotated[bytes, _exactly(POINT)]
    salt: Annotated[bytes, _exactly(SALT)]


class MaskedBlock(Message, frozen=True):
    """The asker's rows from number ``first`` on, which hide its store.

    ``rows``: U = T + T' + C(D), uint8 [rows, 72].
    """

    first: RowNumber
    rows: bytes


class Challenge(Message, frozen=True):
    """Which rows the evaluator wants to see the sums of.

    ``seed``: of the stream whose bits say so.
    """

    seed: Annotated[bytes, _exactly(32)]


class Answer(Message, frozen=True):
    """The sums, each of them with a random row that was kept for it.

    ``rows``: of T, uint8 [64, 72]. ``values``: of D, uint8 [64, 16].
    """

    rows: Annotated[bytes, _exactly(SUMS * ROW)]
    values: Annotated[bytes, _exactly(SUMS * VALUE)]


# What either side enters with.


def size_of(ids: IdBuffer) -> int:
    """How many ids we bring.

    Raises:
        UsageError: none, or more than rows can be numbered.

    """
    size = len(ids.offsets) - 1
    if not 1 <= size <= MAX_IDS:
        raise UsageError(
            "no-ids" if size < 1 else "too-many-ids",
            f"1 to {MAX_IDS} ids can be entered, the table has {size}",
            remedy="check the id column and the query of the table",
        )
    return size


def check_rule(channel: Channel, ours: str, theirs: str) -> None:
    """Both write ids by the same rule; a difference is nobody's misconduct."""
    if theirs != ours:
        raise PolicyRefused(
            "rules-differ",
            f"ids are normalised by {ours!r} here and by {theirs!r} at {channel.peer}",
            remedy="agree on one id rule in the plan",
        )


def check_count(channel: Channel, theirs: int, limit: int) -> None:
    """The peer enters with ids, and within our limit."""
    if theirs == 0:
        raise channel.fault("empty-roster", "entered with no ids")
    if theirs > limit:
        raise PolicyRefused(
            "too-many-ids",
            f"{channel.peer} enters with {theirs} ids, the limit is {limit}",
            remedy="raise the limit if a table of that size is expected",
        )


# The asker's part.


async def store(channel: Channel, size: int, make: Callable[[Bytes], Asker], wait_seconds: float) -> Asker:
    """Step 1 of the asker: ``make`` its store for the peer's offers. Check: these are points of the group.

    Args:
        channel: to the evaluator.
        size: number of our ids.
        make: an `Asker` for offers, uint8 [BITS, 2, POINT].
        wait_seconds: the peer hears from us this often meanwhile.

    """
    offers = await channel.recv(Offers)
    points = array_of(channel, offers.points, np.uint8, BITS * 2 * POINT, "offers").reshape(BITS, 2, POINT)
    storing = asyncio.ensure_future(channel.compute("store", make, points))
    try:
        return await together(storing, reassure([channel], storing, wait_seconds))
    except DecodeError as error:
        raise channel.fault(
            "bad-point", f"offered no point of the group for bit {error.index // 2}"
        ) from None
    except RepeatedId as error:
        raise repeat_of(channel, error.ids, error.one, error.other) from None
    except MemoryError as error:
        raise _no_memory(size, error) from None


async def send_masked(channel: Channel, asker: Asker, step: int, phase: Phase) -> None:
    """Step 2 of the asker: its store under masks, ``step`` rows to a block."""
    for first in range(0, asker.size, step):
        rows = await channel.compute("mask", asker.masked, first, first + step)
        await channel.send(MaskedBlock(first, rows.tobytes()))
        phase.advance(len(rows))


async def answer(channel: Channel, asker: Asker) -> None:
    """Step 3 of the asker: the sums that it is asked for."""
    challenge = await channel.recv(Challenge)
    sums, values = await channel.compute("answer", asker.answer, challenge.seed)
    await channel.send(Answer(sums.tobytes(), values.tobytes()))


async def digest(channel: Channel, asker: Asker, digests: Digests) -> None:
    """After step 3: fill in F of the asker's ids, uint8 [ids, DIGEST]."""
    for first in range(0, len(digests), DIGESTED):
        values = await channel.compute("digest", asker.digests, first, first + DIGESTED)
        digests[first : first + DIGESTED] = values


def repeat_of(channel: Channel, ids: Entered, one: int, other: int) -> UsageError | PeerMisbehaved:
    """Two places of ours have one digest: whose error that is."""
    first, second = sorted(int(ids.order[place]) for place in (one, other))
    if ids.text(first) != ids.text(second):
        return channel.fault("repeated-digest", "made two different ids have one digest")
    return UsageError(
        "repeated-id",
        f"ids {first} and {second} of the table are the same",
        remedy="make one row of each id in the source of the table, or with a query",
    )


# The evaluator's part.


async def expect(channel: Channel, function: Function, theirs: int) -> int:
    """Step 1 of the evaluator: how many rows will come. Checks: B is 1 a point, 2 not the neutral one."""
    key = await after_waiting(channel, Key)
    try:
        return await channel.compute("keys", function.expect, key.point, key.salt, theirs)
    except ValueError:
        raise channel.fault("bad-key", "sent as its key no point of the group, or the neutral one") from None
    except MemoryError as error:
        raise _no_memory(theirs, error) from None


async def take_masked(channel: Channel, function: Function, expected: int, phase: Phase) -> None:
    """Step 2 of the evaluator."""
    stream = Stream(channel, expected, most=BLOCK_ROWS, width=ROW, name="masked rows")
    while not stream.complete:
        block = await channel.recv(MaskedBlock)
        rows = stream.accept(block.first, block.rows)
        await channel.compute("take", function.take, block.first, rows)
        phase.advance(len(rows))


async def challenge(channel: Channel, function: Function) -> None:
    """Step 3 of the evaluator. Check: the sums of the rows that came are words of the code."""
    await channel.send(Challenge(function.challenge))
    answered = await channel.recv(Answer)
    rows = array_of(channel, answered.rows, np.uint8, SUMS * ROW, "sums").reshape(SUMS, ROW)
    values = array_of(channel, answered.values, np.uint8, SUMS * VALUE, "sums").reshape(SUMS, VALUE)
    if not await channel.compute("check", function.agrees, rows, values):
        raise channel.fault(
            "wrong-sums", "sent masked rows that are no words of the code, or wrong sums of them"
        )


# Waiting.


async def reassure(idle: Sequence[Channel], busy: "asyncio.Future[T]", every: float) -> None:
    """Tell idle parties every so many seconds that we are still here, until what we are busy with is done."""
    while True:
        await asyncio.wait([busy], timeout=every)
        if busy.done():
            return
        for channel in idle:
            await channel.send(Wait())


async def after_waiting(channel: Channel, kind: type[M]) -> M:
    """The next message that is not `Wait`."""
    while True:
        message = await channel.recv(Wait, kind)
        if not isinstance(message, Wait):
            return message


def all_rows(ids: IdBuffer) -> Rows:
    """Every id, in the table's order; raises as `size_of`."""
    return np.arange(size_of(ids), dtype=np.int64)


def _no_memory(ids: int, error: MemoryError) -> BudgetExhausted:
    return BudgetExhausted(
        "no-memory",
        f"the rows that {ids} ids make do not fit: {error}",
        remedy="use a machine with more memory, or enter fewer ids at a time",
    )
