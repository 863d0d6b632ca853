"""A party that departs from the alignment is named by the other, and never makes it answer wrongly."""

import asyncio
import time

import msgspec
import numpy as np
import pytest

from parley.core.errors import PeerAborted, PeerMisbehaved
from parley.core.trace import Trace
from parley.crypto.randomness import derive
from parley.net.channel import CheckedChannel, Setting
from parley.net.memory import memory_pair
from parley.protocols import alignment
from parley.protocols.alignment import (
    ACTIVE,
    PASSIVE,
    STEPS,
    BlindedBlock,
    Common,
    CommonRows,
    DigestBlock,
    EvaluatedBlock,
    Key,
    Options,
    Roster,
)
from parley.protocols.oblivious import Asker, Evaluator
from parley.protocols.payload import bytes_of

from tests.adversary.harness import cases, sweep
from tests.channels import CARRIERS


class Ids:
    def __init__(self, texts):
        encoded = [text.encode() for text in texts]
        self.buffer = b"".join(encoded)
        self.offsets = np.cumsum([0, *map(len, encoded)], dtype=np.uint64)


class Twisted(CheckedChannel):
    """An honest party's end whose messages are edited on their way out."""

    twist = staticmethod(lambda message: message)

    async def send(self, message):
        await super().send(self.twist(message))


OURS = Ids([f"person-{number}" for number in range(20)])
THEIRS = Ids([f"person-{number}" for number in range(10, 30)])


async def converse(villain, twist):
    """What each party ends with when ``villain`` sends ``twist`` of every message."""
    near, far = memory_pair(ACTIVE, PASSIVE)

    def end(transport, role):
        setting = Setting(STEPS, role, "r", Trace(time.monotonic), 5.0)
        channel = (Twisted if role == villain else CheckedChannel)(transport, setting)
        if role == villain:
            channel.twist = twist
        return channel

    async with asyncio.timeout(20):
        return await asyncio.gather(
            lead(end(near, ACTIVE)), follow(end(far, PASSIVE)), return_exceptions=True
        )


def options(role):
    return Options("r", "as-is", (role * 8)[:32].encode(), block_rows=8)


async def lead(channel):
    async with channel:
        return (await alignment.active([channel], OURS, options(ACTIVE))).rows.tolist()


async def follow(channel):
    async with channel:
        return (await alignment.passive(channel, THEIRS, options(PASSIVE))).rows.tolist()


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_nobody_is_fooled_hung_or_surprised(carrier):
    outcomes = await sweep(cases(STEPS, (0, 1, 2)), STEPS, {ACTIVE: lead, PASSIVE: follow}, carrier=carrier)
    assert not {str(case): verdict for case, verdict in outcomes.items() if not verdict.acceptable}
    assert {verdict.verdict for verdict in outcomes.values()} >= {"correct", "PeerMisbehaved", "PeerLost"}


def editing(kind, edit, *, first=None):
    """Edit the fields of messages of ``kind`` (only the one with this ``first``, if given)."""

    def twist(message):
        if not isinstance(message, kind) or (first is not None and message.first != first):
            return message
        return msgspec.structs.replace(message, **edit(message))

    return twist


def points(change):
    return lambda block: {"points": change(block.points)}


def places(change):
    return lambda block: {
        "places": bytes_of(change(np.frombuffer(block.places, "<u4").copy()).astype(np.uint32))
    }


def setting_place(index, value):
    def change(array):
        array[index] = array[value] if value < 0 else value
        return array

    return change


def points_of(kind):
    """What may not be among the points of a party's blocks."""
    return {
        "no point of the group": (editing(kind, points(lambda p: b"\xff" * 32 + p[32:])), "bad-point"),
        "the neutral point": (editing(kind, points(lambda p: bytes(32) + p[32:])), "bad-point"),
        "half a point": (editing(kind, points(lambda p: p[:-16])), "wrong-length"),
        "an empty block": (editing(kind, points(lambda _: b"")), "wrong-length"),
        "a huge block": (editing(kind, points(lambda p: p[:32] * 8193)), "wrong-length"),
        "too short a block": (editing(kind, points(lambda p: p[:32]), first=0), "wrong-order"),
        "blocks out of order": (editing(kind, lambda _: {"first": 16}, first=8), "wrong-order"),
    }


FROM_EITHER = {
    "no ids": (editing(Roster, lambda _: {"ids": 0}), "empty-roster"),
    "a roster beyond what can be": (editing(Roster, lambda _: {"ids": 2**32}), "malformed-message"),
    "a negative roster": (editing(Roster, lambda _: {"ids": -1}), "malformed-message"),
    "an endless rule": (editing(Roster, lambda _: {"rule": "x" * 65}), "malformed-message"),
    "fewer ids than sent": (editing(Roster, lambda _: {"ids": 12}), "too-many-rows"),
}

FROM_PASSIVE = {
    **points_of(EvaluatedBlock),
    "a neutral key": (editing(Key, lambda _: {"point": bytes(32)}), "bad-key"),
    "a key that is no point": (editing(Key, lambda _: {"point": b"\xff" * 32}), "bad-key"),
    "half a key": (editing(Key, lambda k: {"point": k.point[:16]}), "malformed-message"),
    "more than a key": (editing(Key, lambda k: {"point": k.point * 2}), "malformed-message"),
    "an id twice": (
        editing(DigestBlock, lambda b: {"digests": b.digests[:16] * 2 + b.digests[32:]}, first=0),
        "repeated-id",
    ),
    "half a digest": (editing(DigestBlock, lambda b: {"digests": b.digests[:-1]}), "wrong-length"),
    "too many digests": (
        editing(DigestBlock, lambda _: {"digests": bytes(range(16 * 8))}, first=16),
        "too-many-rows",
    ),
    "digests out of order": (editing(DigestBlock, lambda _: {"first": 0}, first=8), "wrong-order"),
}

FROM_ACTIVE = {
    **points_of(BlindedBlock),
    "more common rows than there are": (editing(Common, lambda _: {"rows": 21}), "wrong-count"),
    "no common rows": (editing(Common, lambda _: {"rows": 0}), "wrong-count"),
    "fewer common rows than sent": (editing(Common, lambda _: {"rows": 9}), "too-many-rows"),
    "a place that is not": (editing(CommonRows, places(setting_place(0, 20)), first=0), "wrong-place"),
    "one place twice": (editing(CommonRows, places(setting_place(0, -1)), first=0), "repeated-place"),
    "half a place": (editing(CommonRows, lambda b: {"places": b.places[:-2]}), "wrong-length"),
    "common rows out of order": (editing(CommonRows, lambda _: {"first": 8}, first=0), "wrong-order"),
}


async def test_the_honest_conversation_ends_well():
    ours, theirs = await converse(PASSIVE, lambda message: message)
    assert [row - 10 for row in ours] == theirs


@pytest.mark.parametrize("case", FROM_EITHER)
@pytest.mark.parametrize("villain", [ACTIVE, PASSIVE])
async def test_what_either_party_may_not_send(villain, case):
    await blamed(villain, *FROM_EITHER[case])


@pytest.mark.parametrize("case", FROM_PASSIVE)
async def test_what_a_passive_party_may_not_send(case):
    await blamed(PASSIVE, *FROM_PASSIVE[case])


@pytest.mark.parametrize("case", FROM_ACTIVE)
async def test_what_the_active_party_may_not_send(case):
    await blamed(ACTIVE, *FROM_ACTIVE[case])


async def blamed(villain, twist, code):
    outcomes = dict(zip((ACTIVE, PASSIVE), await converse(villain, twist), strict=True))
    wronged = outcomes[PASSIVE if villain == ACTIVE else ACTIVE]
    assert isinstance(wronged, PeerMisbehaved)
    assert (wronged.peer, wronged.code) == (villain, code)
    assert isinstance(outcomes[villain], PeerAborted | list)


async def test_one_value_for_two_ids_is_refused():
    """A passive party that knew the blinds could answer every row as if it held the same id."""
    seeds = {
        role: derive(options(role).seed, "alignment", "r", role, peer)
        for role, peer in ((ACTIVE, PASSIVE), (PASSIVE, ACTIVE))
    }
    asker = Asker(Ids(["x"] * 20), np.arange(20), seeds[ACTIVE], "r", 1)
    evaluator = Evaluator(THEIRS, np.arange(20), seeds[PASSIVE], "r", 1)

    def of_one_id(block):
        rows = len(block.points) // 32
        return {"points": evaluator.evaluated(asker.blinded(block.first, block.first + rows)).tobytes()}

    await blamed(PASSIVE, editing(EvaluatedBlock, of_one_id), "repeated-digest")


async def test_a_place_repeated_in_a_later_block_is_refused():
    first = []

    def twist(message):
        if isinstance(message, CommonRows):
            first.append(message.places)
            return msgspec.structs.replace(message, places=first[0][: len(message.places)])
        return message

    await blamed(ACTIVE, twist, "repeated-place")
