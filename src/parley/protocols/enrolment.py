"""Enrolment: the tokens under which a passive party can be asked about ids, for one model and one time.

A token of an id is the value of an oblivious function F. The roles of an alignment are swapped: the passive
party keeps the ids of its table in a store and learns their tokens; the active party learns nothing of
them, and can compute the token of any id from then on. All secrets are fresh for every enrolment::

    passive (ids b₁…b_M)                                 active (secret s)
      │  Entry M, model, rule                ──────────►   │   0. both refuse another model or rule,
      │               ◄──────────  Terms model, rule       │      nothing, more than a limit
      │               ◄──────────  Offers                  │
      │  Key B, salt                         ──────────►   │   1. one key of every two
      │  MaskedBlock  U, hiding the store    ──────────►   │   2. a row for every cell
      │                         ◄──────────  Challenge     │   3. the sums must be words
      │  Answer  sums of rows and of values  ──────────►   │      of the code
      │  F(b), its tokens       ◄────────►  Enrolled       │   4. each is done: F of any id

`Wait` tells the active party that the passive one is there while it makes its store and its tokens.

Who learns what: the active party how many ids the passive party entered; the passive party its tokens,
of which no other can be worked out, and nothing of the active party's ids. What asking tells each is
said in `asking`. Assumptions are those of an alignment. Parties may enter ids that are not theirs; what
else one could do that departs from the protocol, and the argument: ``spec/prediction.md``.
"""

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Final

import msgspec
import numpy as np

from parley.core.conversation import Channel, Message, Repeat, Step, steps
from parley.core.errors import PolicyRefused
from parley.crypto.randomness import SEED_BYTES, derive
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
from parley.protocols.oblivious import DIGEST, Asker, Bytes, Digests, Function, IdBuffer, Rows, match
from parley.protocols.together import together

ACTIVE: Final = "active"
PASSIVE: Final = "passive"
TOKEN: Final = DIGEST
"""Bytes of a token: of M ids and n asked, one that is not among them passes for one with M·n / 2^128."""

ModelName = Annotated[str, msgspec.Meta(max_length=128)]


@dataclass(frozen=True, slots=True)
class Options:
    """What a party brings to an enrolment beside its ids.

    Attributes:
        model: identifier; equal at both parties. Ids are hashed under it.
        rule: how ids are normalised; equal at both parties, and that of the model's plan.
        seed: 32 random bytes, fresh for each conversation, a repeated one included; all secrets are derived
            from it.
        threads: native threads for all computations of this party together.
        limit: most ids accepted from a peer.
        block_rows: rows per message sent, at most ``BLOCK_ROWS``.
        wait_seconds: the active party hears from a busy passive one this often.

    """

    model: str
    rule: str
    seed: bytes = field(repr=False)
    threads: int = 1
    limit: int = 100_000_000
    block_rows: int = BLOCK_ROWS
    wait_seconds: float = 5.0

    def __post_init__(self) -> None:
        if len(self.seed) != SEED_BYTES:
            raise ValueError(f"seed has {len(self.seed)} bytes, expected {SEED_BYTES}")
        if not 1 <= self.block_rows <= BLOCK_ROWS:
            raise ValueError(f"block_rows is {self.block_rows}, expected 1 to {BLOCK_ROWS}")


class Tokens:
    """The active party's side of an enrolment: tokens of any ids, as often as wanted, from any thread.

    Holds 94 bytes for each id of the peer. The token of an id is the same as long as this lives, and means
    nothing in another enrolment.

    Attributes:
        rows: how many ids the peer entered.

    """

    def __init__(self, function: Function, rows: int) -> None:
        self.rows = rows
        self._function = function

    def of(self, ids: IdBuffer) -> Digests:
        """The token of each id, normalised by the rule of the enrolment, in their order: uint8 [n, 16]."""
        return self._function.of(ids)


# The messages.


class Entry(Message, frozen=True):
    """What the passive party enters: number M of its ids, for which model, and how they were normalised."""

    ids: Count
    model: ModelName
    rule: RuleName


class Terms(Message, frozen=True):
    """The same of the active party, which enters no ids."""

    model: ModelName
    rule: RuleName


class Enrolled(Message, frozen=True):
    """The sender found everything in order, and has what it came for."""


STEPS: Final = steps(
    "enrolment",
    1,
    Step(PASSIVE, ACTIVE, Entry),
    Step(ACTIVE, PASSIVE, Terms),
    Step(ACTIVE, PASSIVE, Offers),
    Repeat(Step(PASSIVE, ACTIVE, Wait)),
    Step(PASSIVE, ACTIVE, Key),
    Repeat(Step(PASSIVE, ACTIVE, MaskedBlock)),
    Step(ACTIVE, PASSIVE, Challenge),
    Step(PASSIVE, ACTIVE, Answer),
    Step(ACTIVE, PASSIVE, Enrolled),
    Repeat(Step(PASSIVE, ACTIVE, Wait)),
    Step(PASSIVE, ACTIVE, Enrolled),
)


# The roles.


async def active(channel: Channel, options: Options) -> Tokens:
    """Enrol the passive party at the end of a channel.

    Raises:
        PolicyRefused: model or rule differ, or the peer brings more ids than the limit.
        BudgetExhausted: there is no room for the rows of so many ids.
        PeerMisbehaved: a message of the peer fails a check.

    """
    # 0. what is entered, and offers of keys
    await channel.send(Terms(options.model, options.rule))
    entry = await channel.recv(Entry)
    _check(channel, entry, options)
    masking.check_count(channel, entry.ids, options.limit)
    function = await channel.compute(
        "offers", Function, _seed(channel, ACTIVE, options), _name(options), options.threads
    )
    await channel.send(Offers(function.offers.tobytes()))
    # 1. the keys
    expected = await masking.expect(channel, function, entry.ids)
    with channel.trace.phase("enrol", expected, "rows") as phase:
        # 2. the masked rows, 3. which must be words of the code
        await masking.take_masked(channel, function, expected, phase)
        await masking.challenge(channel, function)
    # 4. both are done
    await channel.send(Enrolled())
    await after_waiting(channel, Enrolled)
    return Tokens(function, entry.ids)


async def passive(channel: Channel, ids: IdBuffer, options: Options) -> Digests:
    """Enter our ids with the active party.

    Returns:
        the token of each id, in their order: uint8 [n, 16].

    Raises:
        UsageError: there is no id, or one is repeated.
        PolicyRefused: model or rule differ.
        BudgetExhausted: there is no room for the rows of so many ids.
        PeerMisbehaved: a message of the peer fails a check.

    """
    # 0. what is entered
    rows = masking.all_rows(ids)
    await channel.send(Entry(len(rows), options.model, options.rule))
    _check(channel, await channel.recv(Terms), options)
    # 1. keys from the peer's offers, and the store of our ids
    seed = _seed(channel, PASSIVE, options)
    asker = await masking.store(
        channel, len(rows), partial(_asker, ids, rows, seed, options), options.wait_seconds
    )
    await channel.send(Key(asker.point, asker.salt))
    with channel.trace.phase("enrol", asker.size, "rows") as phase:
        # 2. the masked rows, 3. and the sums of them that are asked for
        await masking.send_masked(channel, asker, options.block_rows, phase)
        await masking.answer(channel, asker)
        # 4. our tokens; both are done
        computing = asyncio.ensure_future(_tokens(channel, asker))
        tokens = await together(computing, reassure([channel], computing, options.wait_seconds))
    await channel.send(Enrolled())
    await channel.recv(Enrolled)
    return tokens


def _check(channel: Channel, theirs: Entry | Terms, options: Options) -> None:
    """Checks: 1 same model, 2 same rule."""
    if theirs.model != options.model:
        raise PolicyRefused(
            "wrong-model",
            f"{channel.peer} enrols for model {theirs.model[:64]}, we for {options.model}",
            remedy="name one model at both parties",
            public="another model is to be enrolled for here",
        )
    masking.check_rule(channel, options.rule, theirs.rule)


def _seed(channel: Channel, role: str, options: Options) -> bytes:
    return derive(options.seed, "enrolment", options.model, role, channel.peer)


def _name(options: Options) -> str:
    """What ids are hashed under: no run of an alignment has such a name."""
    return f"enrolment/{options.model}"


def _asker(ids: IdBuffer, rows: Rows, seed: bytes, options: Options, offers: Bytes) -> Asker:
    return Asker(ids, rows, offers, seed, _name(options), options.threads)


async def _tokens(channel: Channel, asker: Asker) -> Digests:
    """Step 4 of the passive party. Check: distinct ids have distinct tokens."""
    tokens = np.empty((len(asker.ids), TOKEN), dtype=np.uint8)
    await masking.digest(channel, asker, tokens)
    asker.forget()
    one, other = await channel.compute("match", match, tokens)
    if len(one):
        raise masking.repeat_of(channel, asker.ids, int(one[0]), int(other[0]))
    return tokens
