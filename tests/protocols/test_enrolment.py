"""Enrolment: both sides have the same token for the same id, and only the active party one for any other."""

import asyncio
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np
import pytest

from parley._native import rows_of_ids
from parley.core.errors import BudgetExhausted, PeerAborted, PeerMisbehaved, PolicyRefused, UsageError
from parley.core.trace import PhaseAdvanced, PhaseBegan, Received, Sent, Trace
from parley.net.channel import CheckedChannel, Setting
from parley.protocols import enrolment
from parley.protocols.enrolment import ACTIVE, PASSIVE, STEPS, Entry, Options, Terms
from parley.protocols.masking import Answer, Challenge, Key, MaskedBlock, Offers
from parley.protocols.oblivious import Asker, Function

from tests.adversary.harness import cases, sweep
from tests.channels import transports


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


@dataclass
class Tap:
    events: list = field(default_factory=list)

    def __call__(self, event):
        self.events.append(event)

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


TABLE = [f"person-{number}" for number in range(20)]


def options(role, **changes):
    return replace(Options("m", "as-is", (role * 8)[:32].encode(), block_rows=8, threads=2), **changes)


async def converse(table, *, changes=None, taps=(), carrier="memory", villain="", twist=None):
    """What the active and the passive party end with: `Tokens` and tokens, or errors."""
    changes = changes or ({}, {})
    taps = taps or (Tap(), Tap())
    async with transports(carrier, (ACTIVE, PASSIVE)) as ends:

        def channel(end, role, tap):
            setting = Setting(STEPS, role, "service", Trace(time.monotonic, tap), 20.0)
            made = (Twisted if role == villain else CheckedChannel)(end, setting)
            if role == villain:
                made.twist = twist
            return made

        async def lead():
            async with channel(ends[0], ACTIVE, taps[0]) as end:
                return await enrolment.active(end, options(ACTIVE, **changes[0]))

        async def follow():
            async with channel(ends[1], PASSIVE, taps[1]) as end:
                return await enrolment.passive(end, Ids(table), options(PASSIVE, **changes[1]))

        async with asyncio.timeout(60):
            return await asyncio.gather(lead(), follow(), return_exceptions=True)


async def enrolled(table, **more):
    for result in (results := await converse(table, **more)):
        if isinstance(result, BaseException):
            raise result
    return results


@pytest.fixture(scope="module")
def one():
    """One enrolment of the table, to be looked at from all sides."""
    return asyncio.run(enrolled(TABLE))


@pytest.mark.parametrize("carrier", ["memory", "tls"])
async def test_both_sides_have_the_same_token_for_the_same_id(carrier):
    tokens, theirs = await enrolled(TABLE, carrier=carrier)
    assert tokens.rows == len(TABLE)
    assert theirs.shape == (len(TABLE), 16)
    assert theirs.dtype == np.uint8
    assert np.array_equal(tokens.of(Ids(TABLE)), theirs)
    some = [TABLE[7], "stranger", TABLE[3], TABLE[7]]
    found = tokens.of(Ids(some))
    assert np.array_equal(found[[0, 2, 3]], theirs[[7, 3, 7]])


def test_ids_that_the_table_does_not_have_look_unrelated(one):
    tokens, theirs = one
    strangers = tokens.of(Ids([f"stranger-{number}" for number in range(500)]))
    assert len(np.unique(np.concatenate((strangers, theirs)), axis=0)) == 500 + len(TABLE)
    assert abs(np.unpackbits(strangers).mean() - 0.5) < 0.01


def test_the_active_party_can_ask_for_any_ids_at_any_time(one):
    tokens, _ = one
    odd = ["", "a", "ñandú", "日本", "x" * 5000]
    again = [bytes(tokens.of(Ids([text]))[0]) for text in odd]
    assert [bytes(each) for each in tokens.of(Ids(odd))] == again
    assert len(set(again)) == len(odd)
    assert tokens.of(Ids([])).shape == (0, 16)


def test_many_threads_may_compute_tokens(one):
    tokens, theirs = one
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda name: tokens.of(Ids([name]))[0], TABLE * 10))
    assert np.array_equal(np.array(found[: len(TABLE)]), theirs)
    assert np.array_equal(np.array(found).reshape(10, *theirs.shape)[9], theirs)


async def test_tokens_of_two_models_and_of_two_enrolments_cannot_be_joined(one):
    seen = [set(map(bytes, one[1]))]
    other_model = ({"model": "n"}, {"model": "n"})
    other_time = ({"seed": b"1" * 32}, {})
    for changes in (other_model, other_time, ({}, {"seed": b"1" * 32})):
        tokens, theirs = await enrolled(TABLE, changes=changes)
        assert np.array_equal(tokens.of(Ids(TABLE)), theirs)
        seen.append(set(map(bytes, theirs)))
    assert len(set.union(*seen)) == 4 * len(TABLE)


def test_an_alignment_under_the_same_name_computes_another_function():
    """Even under a run that is called as the model is, from the same seeds."""
    function = Function(b"s" * 32, enrolment._name(options(ACTIVE)), 1)
    of_run = Function(b"s" * 32, "m", 1)
    assert function.offers.tobytes() != of_run.offers.tobytes()


async def test_the_same_seeds_give_the_same_tokens(one):
    _, again = await enrolled(TABLE)
    assert np.array_equal(again, one[1])


async def test_one_id_is_enough():
    tokens, theirs = await enrolled(["ann"])
    assert np.array_equal(tokens.of(Ids(["ann"])), theirs)


def flow(tap, kind):
    return Counter(event.message for event in tap.of(kind))


async def test_what_crosses_is_what_the_specification_says():
    taps = (Tap(), Tap())
    await enrolled(TABLE, taps=taps)
    rows = rows_of_ids(len(TABLE))
    assert flow(taps[0], Received) == {
        "Hello": 1,
        "Entry": 1,
        "Key": 1,
        "MaskedBlock": -(-rows // 8),
        "Answer": 1,
        "Enrolled": 1,
    }
    assert flow(taps[1], Received) == {"Hello": 1, "Terms": 1, "Offers": 1, "Challenge": 1, "Enrolled": 1}
    order = [event.message for event in taps[0].events if isinstance(event, Sent | Received)]
    assert len(order) - 1 - order[::-1].index("MaskedBlock") < order.index("Challenge")
    for tap in taps:
        assert [event.total for event in tap.of(PhaseBegan)] == [rows]
        assert tap.of(PhaseAdvanced)[-1].done == rows


def array(name, rows, width, step):
    """Bytes of an array in blocks, by the formula of the specification; for less than 256 rows."""
    total = 0
    for first in range(0, rows, step):
        size = width * min(step, rows - first)
        total += 10 + len(name) + (1 if first < 2**7 else 2) + size + (2 if size < 2**8 else 3)
    return total


async def test_the_bytes_are_those_of_the_specification():
    taps = (Tap(), Tap())
    await enrolled(TABLE, taps=taps)
    names = (1 + len("m")) + (1 + len("as-is"))
    to_active, to_passive = (
        sum(event.size for event in tap.of(Received) if event.message != "Hello") for tap in taps
    )
    rows = rows_of_ids(len(TABLE))
    assert to_active == (15 + 1 + names) + 81 + array("MaskedBlock", rows, 72, 8) + 5654 + 18
    assert to_passive == (15 + names) + 36_627 + 53 + 18


async def test_a_passive_party_that_computes_says_so():
    taps = (Tap(), Tap())
    table = [f"id-{number}" for number in range(20_000)]
    tokens, theirs = await enrolled(
        table, taps=taps, changes=({}, {"wait_seconds": 0.0005, "block_rows": 8192})
    )
    assert "Wait" in flow(taps[0], Received)
    assert np.array_equal(tokens.of(Ids(table[:50])), theirs[:50])


# ── what is refused ───────────────────────────────────────────────────────────────────────────────────


async def test_another_rule_is_refused_on_both_sides():
    results = await converse(["ann"], changes=({}, {"rule": "phone"}))
    assert {result.code for result in results} == {"rules-differ"}


async def test_another_model_is_refused_on_both_sides():
    results = await converse(["ann"], changes=({}, {"model": "n"}))
    assert {result.code for result in results} == {"wrong-model"}
    assert any(isinstance(result, PolicyRefused) for result in results)


async def test_more_ids_than_the_limit_are_refused():
    ours, theirs = await converse(TABLE, changes=({"limit": 19}, {}))
    assert isinstance(ours, PolicyRefused)
    assert isinstance(theirs, PeerAborted)
    assert ours.code == theirs.code == "too-many-ids"


async def test_an_empty_table_is_its_owners_mistake():
    ours, theirs = await converse([])
    assert isinstance(theirs, UsageError)
    assert isinstance(ours, PeerAborted)
    assert ours.code == theirs.code == "no-ids"


async def test_a_repeated_id_is_its_owners_mistake_and_named_to_it_only():
    ours, theirs = await converse(["ann", "bob", "ann"])
    assert isinstance(theirs, UsageError)
    assert "ids 0 and 2" in theirs.what
    assert isinstance(ours, PeerAborted)
    assert ours.code == "repeated-id"
    assert "2" not in ours.what


async def test_so_is_a_table_with_thousands_of_them():
    ours, theirs = await converse([f"person-{number}" for number in range(8300)] * 2)
    assert isinstance(theirs, UsageError)
    assert "ids 0 and 8300" in theirs.what
    assert isinstance(ours, PeerAborted)
    assert ours.code == "repeated-id"


async def test_what_does_not_fit_in_memory_is_said_before_rows_are_sent(monkeypatch):
    def full(*_):
        raise MemoryError("there is no memory for 93600000 bytes")

    monkeypatch.setattr(Function, "expect", full)
    ours, theirs = await converse(["ann"])
    assert isinstance(ours, BudgetExhausted)
    assert ours.code == "no-memory"
    assert isinstance(theirs, PeerAborted)
    assert "93600000" not in theirs.what


def test_a_seed_is_never_shown_and_never_short():
    assert "seed" not in repr(options(ACTIVE))
    with pytest.raises(ValueError, match="32"):
        Options("m", "as-is", b"short")
    with pytest.raises(ValueError, match="block_rows"):
        options(ACTIVE, block_rows=0)


# ── who departs from it ───────────────────────────────────────────────────────────────────────────────


def editing(kind, edit, *, first=None):
    """Edit the fields of messages of ``kind`` (only the one with this ``first``, if given)."""

    def twist(message):
        if not isinstance(message, kind) or (first is not None and message.first != first):
            return message
        return msgspec.structs.replace(message, **edit(message))

    return twist


FROM_PASSIVE = {
    "no ids": (editing(Entry, lambda _: {"ids": 0}), "empty-roster"),
    "more ids than can be": (editing(Entry, lambda _: {"ids": 2**31 + 1}), "malformed-message"),
    "fewer ids than sent rows for": (editing(Entry, lambda _: {"ids": 11}), "too-many-rows"),
    "a neutral key": (editing(Key, lambda _: {"point": bytes(32)}), "bad-key"),
    "a key that is no point": (editing(Key, lambda _: {"point": b"\xff" * 32}), "bad-key"),
    "half a row": (editing(MaskedBlock, lambda b: {"rows": b.rows[:-36]}), "wrong-length"),
    "rows out of order": (editing(MaskedBlock, lambda _: {"first": 16}, first=8), "wrong-order"),
    "rows that are no words": (
        editing(MaskedBlock, lambda b: {"rows": bytes(72) + b.rows[72:]}, first=8),
        "wrong-sums",
    ),
    "a wrong sum": (editing(Answer, lambda a: {"rows": b"\xff" + a.rows[1:]}), "wrong-sums"),
    "sums of nothing": (
        editing(Answer, lambda a: {"rows": bytes(len(a.rows)), "values": bytes(len(a.values))}),
        "wrong-sums",
    ),
    "a sum too few": (editing(Answer, lambda a: {"rows": a.rows[72:]}), "malformed-message"),
}

FROM_ACTIVE = {
    "an endless rule": (editing(Terms, lambda _: {"rule": "x" * 65}), "malformed-message"),
    "offers that are no points": (
        editing(Offers, lambda o: {"points": b"\xff" * 32 + o.points[32:]}),
        "bad-point",
    ),
    "half the offers": (editing(Offers, lambda o: {"points": o.points[:-32]}), "malformed-message"),
    "half a challenge": (editing(Challenge, lambda c: {"seed": c.seed[:16]}), "malformed-message"),
}


@pytest.mark.parametrize("case", FROM_PASSIVE)
async def test_what_the_passive_party_may_not_send(case):
    twist, code = FROM_PASSIVE[case]
    ours, theirs = await converse(TABLE, villain=PASSIVE, twist=twist)
    assert isinstance(ours, PeerMisbehaved)
    assert (ours.peer, ours.code) == (PASSIVE, code)
    assert isinstance(theirs, PeerAborted)


@pytest.mark.parametrize("case", FROM_ACTIVE)
async def test_what_the_active_party_may_not_send(case):
    twist, code = FROM_ACTIVE[case]
    ours, theirs = await converse(TABLE, villain=ACTIVE, twist=twist)
    assert isinstance(theirs, PeerMisbehaved)
    assert (theirs.peer, theirs.code) == (ACTIVE, code)
    assert isinstance(ours, PeerAborted)


async def test_an_answer_to_another_challenge_is_refused():
    """Foreseen or kept from another enrolment: it fits only the challenge it was computed for."""
    other = editing(Challenge, lambda c: {"seed": bytes([c.seed[0] ^ 1]) + c.seed[1:]})
    ours, _ = await converse(TABLE, villain=ACTIVE, twist=other)
    assert isinstance(ours, PeerMisbehaved)
    assert ours.code == "wrong-sums"


async def test_one_token_for_two_ids_is_refused(monkeypatch):
    """As if the active party had found two ids with one value."""
    honest = Asker.digests

    def colliding(self, first, end):
        tokens = honest(self, first, end)
        tokens[3] = tokens[5]
        return tokens

    monkeypatch.setattr(Asker, "digests", colliding)
    ours, theirs = await converse(TABLE)
    assert isinstance(theirs, PeerMisbehaved)
    assert (theirs.peer, theirs.code) == (ACTIVE, "repeated-digest")
    assert isinstance(ours, PeerAborted)


async def lead(channel):
    async with channel:
        tokens = await enrolment.active(channel, options(ACTIVE))
        return tokens.rows, tokens.of(Ids(TABLE)).tolist()


async def follow(channel):
    async with channel:
        return (await enrolment.passive(channel, Ids(TABLE), options(PASSIVE))).tolist()


@pytest.mark.parametrize(
    ("carrier", "each"),
    [
        ("memory", 17),
        pytest.param("memory", 1, marks=pytest.mark.soak),
        pytest.param("tls", 1, marks=pytest.mark.soak),
        pytest.param("link", 1, marks=pytest.mark.soak),
    ],
)
async def test_nobody_is_fooled_hung_or_surprised(carrier, each):
    """Every so many cases, and all of them when there is time."""
    chosen = list(cases(STEPS, (0, 1, 2)))[::each]
    outcomes = await sweep(chosen, STEPS, {ACTIVE: lead, PASSIVE: follow}, carrier=carrier)
    assert not {str(case): verdict for case, verdict in outcomes.items() if not verdict.acceptable}
    assert {verdict.verdict for verdict in outcomes.values()} >= {"correct", "PeerMisbehaved", "PeerLost"}
