"""A party that departs from the alignment is named by the other, and never makes it answer wrongly."""

import asyncio
import time

import msgspec
import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from parley._native import rows_of_ids
from parley.core.errors import PeerAborted, PeerMisbehaved, UsageError
from parley.core.trace import Trace
from parley.crypto.randomness import derive
from parley.net.channel import CheckedChannel, Setting
from parley.net.memory import memory_pair
from parley.protocols import alignment
from parley.protocols.alignment import (
    ACTIVE,
    PASSIVE,
    STEPS,
    Answer,
    Challenge,
    Common,
    CommonRows,
    DigestBlock,
    Key,
    MaskedBlock,
    Offers,
    Options,
    Roster,
)
from parley.protocols.oblivious import BITS, ROW, Asker
from parley.protocols.payload import bytes_of

from tests.adversary.harness import cases, sweep


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


async def lead_or_find_nothing(channel):
    """Another salt than ours in the peer's hands makes another function: then no id is common."""
    try:
        return await lead(channel)
    except UsageError as error:
        if error.code != "no-common-ids":
            raise
        return []


async def follow_or_hear_of_nothing(channel):
    try:
        return await follow(channel)
    except PeerAborted as error:
        if error.code != "no-common-ids":
            raise
        return []


@pytest.mark.parametrize(
    ("carrier", "each"),
    [
        ("memory", 2),
        ("tls", 6),
        ("link", 6),
        pytest.param("memory", 1, marks=pytest.mark.soak),
        pytest.param("tls", 1, marks=pytest.mark.soak),
        pytest.param("link", 1, marks=pytest.mark.soak),
    ],
)
async def test_nobody_is_fooled_hung_or_surprised(carrier, each):
    """Every so many cases, and all of them when there is time."""
    roles = {ACTIVE: lead_or_find_nothing, PASSIVE: follow_or_hear_of_nothing}
    chosen = list(cases(STEPS, (0, 1, 2)))[::each]
    outcomes = await sweep(chosen, STEPS, roles, carrier=carrier)
    assert not {str(case): verdict for case, verdict in outcomes.items() if not verdict.acceptable}
    assert {verdict.verdict for verdict in outcomes.values()} >= {"correct", "PeerMisbehaved", "PeerLost"}


def editing(kind, edit, *, first=None):
    """Edit the fields of messages of ``kind`` (only the one with this ``first``, if given)."""

    def twist(message):
        if not isinstance(message, kind) or (first is not None and message.first != first):
            return message
        return msgspec.structs.replace(message, **edit(message))

    return twist


def changed(name, change):
    return lambda message: {name: change(getattr(message, name))}


def spoilt(name, place, bit=1):
    """Flip one bit of a field."""

    def change(data):
        at = place % len(data)
        return data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]

    return changed(name, change)


def places(change):
    return lambda block: {
        "places": bytes_of(change(np.frombuffer(block.places, "<u4").copy()).astype(np.uint32))
    }


def setting_place(index, value):
    def change(array):
        array[index] = array[value] if value < 0 else value
        return array

    return change


LAST = (rows_of_ids(20) - 1) // 8 * 8
"""Where the last block of rows begins."""

FROM_EITHER = {
    "no ids": (editing(Roster, lambda _: {"ids": 0}), "empty-roster"),
    "a roster beyond what can be": (editing(Roster, lambda _: {"ids": 2**31 + 1}), "malformed-message"),
    "a negative roster": (editing(Roster, lambda _: {"ids": -1}), "malformed-message"),
    "an endless rule": (editing(Roster, lambda _: {"rule": "x" * 65}), "malformed-message"),
}

FROM_PASSIVE = {
    "fewer ids than sent": (editing(Roster, lambda _: {"ids": 12}), "too-many-rows"),
    "offers that are no points": (
        editing(Offers, changed("points", lambda p: b"\xff" * 32 + p[32:])),
        "bad-point",
    ),
    "half the offers": (editing(Offers, changed("points", lambda p: p[: len(p) // 2])), "malformed-message"),
    "more than the offers": (editing(Offers, changed("points", lambda p: p + p[:32])), "malformed-message"),
    "half a challenge": (editing(Challenge, changed("seed", lambda s: s[:16])), "malformed-message"),
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
    "fewer ids than sent rows for": (editing(Roster, lambda _: {"ids": 11}), "too-many-rows"),
    "a neutral key": (editing(Key, lambda _: {"point": bytes(32)}), "bad-key"),
    "a key that is no point": (editing(Key, lambda _: {"point": b"\xff" * 32}), "bad-key"),
    "half a key": (editing(Key, lambda k: {"point": k.point[:16]}), "malformed-message"),
    "no salt": (editing(Key, lambda _: {"salt": b""}), "malformed-message"),
    "half a row": (editing(MaskedBlock, changed("rows", lambda r: r[:-36])), "wrong-length"),
    "an empty block": (editing(MaskedBlock, changed("rows", lambda _: b"")), "wrong-length"),
    "a huge block": (editing(MaskedBlock, changed("rows", lambda r: r[:72] * 8193)), "wrong-length"),
    "too short a block": (editing(MaskedBlock, changed("rows", lambda r: r[:72]), first=0), "wrong-order"),
    "blocks out of order": (editing(MaskedBlock, lambda _: {"first": 16}, first=8), "wrong-order"),
    "surplus rows": (editing(MaskedBlock, changed("rows", lambda r: r * 2), first=LAST), "too-many-rows"),
    "a block of rows twice": (
        editing(MaskedBlock, changed("rows", lambda r: r[:36] * (len(r) // 36)), first=8),
        "wrong-sums",
    ),
    "a row that is no word": (
        editing(MaskedBlock, changed("rows", lambda r: bytes(72) + r[72:]), first=8),
        "wrong-sums",
    ),
    "a wrong row behind the cells": (
        editing(MaskedBlock, changed("rows", lambda r: r[:-72] + b"\xff" * 72), first=LAST),
        "wrong-sums",
    ),
    "a wrong sum of rows": (editing(Answer, spoilt("rows", 0)), "wrong-sums"),
    "a wrong last sum of rows": (editing(Answer, spoilt("rows", -1, 128)), "wrong-sums"),
    "a wrong sum of values": (editing(Answer, spoilt("values", 0)), "wrong-sums"),
    "a sum of more than the value's bits": (editing(Answer, spoilt("values", -1, 128)), "wrong-sums"),
    "sums of nothing": (
        editing(Answer, lambda a: {"rows": bytes(len(a.rows)), "values": bytes(len(a.values))}),
        "wrong-sums",
    ),
    "a sum too few": (editing(Answer, changed("rows", lambda r: r[72:])), "malformed-message"),
    "a sum too many": (editing(Answer, changed("values", lambda v: v + v[:16])), "malformed-message"),
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


async def test_one_value_for_two_ids_is_refused(monkeypatch):
    """As if the passive party had found two ids with one digest."""
    honest = Asker.digests

    def colliding(self, first, end):
        digests = honest(self, first, end)
        digests[3] = digests[5]
        return digests

    monkeypatch.setattr(Asker, "digests", colliding)
    await blamed(PASSIVE, lambda message: message, "repeated-digest")


async def test_one_wrong_bit_is_caught_where_the_secret_has_a_one_and_harmless_elsewhere():
    """An active party that wrongs one column may learn that bit of s; no wrong result comes of it."""
    bits = np.random.default_rng(1).choice(BITS, 40, replace=False)
    caught = []
    for column in bits.tolist():
        wrong = editing(MaskedBlock, spoilt("rows", column // 8, 1 << column % 8), first=8)
        ours, theirs = await converse(ACTIVE, wrong)
        caught.append(isinstance(theirs, PeerMisbehaved))
        if caught[-1]:
            assert theirs.code == "wrong-sums"
            assert isinstance(ours, PeerAborted)
        else:
            assert [row - 10 for row in ours] == theirs
    assert 8 < sum(caught) < 32


async def test_an_answer_to_another_challenge_is_refused():
    """Foreseen or kept from another run: it fits only the challenge it was computed for."""
    _, theirs = await converse(PASSIVE, editing(Challenge, spoilt("seed", 0)))
    assert isinstance(theirs, PeerMisbehaved)
    assert theirs.code == "wrong-sums"


def coefficients(challenge, rows):
    """Which sums each row goes into, as a number of 64 bits."""
    stream = Cipher(algorithms.ChaCha20(challenge, bytes(16)), None).encryptor().update(bytes(8 * rows))
    return np.frombuffer(stream, "<u8").tolist()


def cancelling(words):
    """Places of words that add up to zero over GF(2); 65 words of 64 bits have some."""
    reduced = {}
    for place, each in enumerate(words):
        word, members = each, {place}
        while word and word.bit_length() in reduced:
            other, others = reduced[word.bit_length()]
            word, members = word ^ other, members ^ others
        if not word:
            return members
        reduced[word.bit_length()] = word, members
    raise AssertionError("the words are independent")


@pytest.mark.parametrize("foreseen", [True, False])
async def test_who_foresees_the_challenge_can_pass_the_check_and_only_then(foreseen):
    """Why the challenge is drawn from the passive party's seed and told after the last row."""
    seed = derive(options(PASSIVE).seed, "alignment", "r", PASSIVE, ACTIVE)
    challenge = derive(seed, "challenge") if foreseen else b"guess" + bytes(27)
    wrong = cancelling(coefficients(challenge, rows_of_ids(20) - 64)[::-1])
    places = {rows_of_ids(20) - 65 - place for place in wrong}

    def twist(message):
        if not isinstance(message, MaskedBlock):
            return message
        rows = np.frombuffer(message.rows, np.uint8).reshape(-1, ROW).copy()
        for place in places & set(range(message.first, message.first + len(rows))):
            rows[place - message.first] ^= 255
        return msgspec.structs.replace(message, rows=rows.tobytes())

    _, theirs = await converse(ACTIVE, twist)
    assert isinstance(theirs, PeerMisbehaved) != foreseen or theirs.code != "wrong-sums"
    if not foreseen:
        assert theirs.code == "wrong-sums"


async def test_a_place_repeated_in_a_later_block_is_refused():
    first = []

    def twist(message):
        if isinstance(message, CommonRows):
            first.append(message.places)
            return msgspec.structs.replace(message, places=first[0][: len(message.places)])
        return message

    await blamed(ACTIVE, twist, "repeated-place")
