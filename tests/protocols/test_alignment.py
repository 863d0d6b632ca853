"""Alignment: the same answer as Python's sets, in one order, and nothing besides."""

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parley._native import rows_of_ids
from parley.core.errors import BudgetExhausted, PeerAborted, PeerMisbehaved, PolicyRefused, UsageError
from parley.core.trace import PhaseAdvanced, PhaseBegan, Received, Sent, Trace
from parley.net.channel import CheckedChannel, Setting
from parley.protocols import alignment
from parley.protocols.alignment import ACTIVE, PASSIVE, STEPS, Options
from parley.protocols.oblivious import ROW, Asker, Evaluator

from tests.channels import CARRIERS, transports


@dataclass
class Buffer:
    buffer: bytes
    offsets: np.ndarray


@dataclass
class Tap:
    """What one party heard about: every event of its channels."""

    events: list = field(default_factory=list)

    def __call__(self, event):
        self.events.append(event)

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


def buffer(ids):
    texts = [each.encode() for each in ids]
    return Buffer(b"".join(texts), np.cumsum([0, *map(len, texts)], dtype=np.uint64))


def options(name, run="r", **changes):
    return replace(Options(run, "as-is", (name * 32)[:32].encode(), block_rows=7, threads=2), **changes)


async def converse(tables, *, taps=None, changes=None, carrier="memory"):
    """The first table is the active party's; results or errors in the order of the tables."""
    async with AsyncExitStack() as stack:
        names = [f"p{index}" for index in range(len(tables))]
        pairs = [await stack.enter_async_context(transports(carrier, (names[0], name))) for name in names[1:]]
        return await over(pairs, tables, taps=taps, changes=changes)


async def over(pairs, tables, *, taps, changes):
    names = [f"p{index}" for index in range(len(tables))]
    taps = taps or [Tap() for _ in tables]
    changes = changes or [{} for _ in tables]

    def channel(transport, role, tap):
        return CheckedChannel(transport, Setting(STEPS, role, "r", Trace(time.monotonic, tap), 20.0))

    async def lead():
        async with asyncio.timeout(60):
            opened = [channel(near, ACTIVE, taps[0]) for near, _ in pairs]
            async with opened_together(opened):
                return (await alignment.active(opened, buffer(tables[0]), options("p0", **changes[0]))).rows

    async def follow(index):
        async with asyncio.timeout(60), channel(pairs[index - 1][1], PASSIVE, taps[index]) as end:
            aligned = await alignment.passive(
                end, buffer(tables[index]), options(names[index], **changes[index])
            )
            return aligned.rows

    works = [lead(), *(follow(index) for index in range(1, len(tables)))]
    return await asyncio.gather(*works, return_exceptions=True)


class opened_together:  # noqa: N801 (reads as a statement)
    """All channels of the active party as one context; an error is told to every peer."""

    def __init__(self, channels):
        self.channels = channels

    async def __aenter__(self):
        await asyncio.gather(*(channel.__aenter__() for channel in self.channels))

    async def __aexit__(self, *error):
        await asyncio.gather(*(channel.__aexit__(*error) for channel in self.channels))


def names_of(tables, results):
    """The ids that each party's common rows name, in the common order."""
    return [[table[row] for row in rows] for table, rows in zip(tables, results, strict=True)]


def people(count, seed, universe):
    random = np.random.default_rng(seed)
    return [f"id-{number:06d}" for number in random.permutation(universe)[:count]]


async def agreed(tables, **more):
    results = await converse(tables, **more)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    named = names_of(tables, results)
    assert all(each == named[0] for each in named)
    return named[0]


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("parties", [2, 3, 4])
async def test_every_party_gets_the_intersection_in_one_order(parties, carrier):
    tables = [people(60 + 5 * index, index, 90) for index in range(parties)]
    common = await agreed(tables, carrier=carrier)
    assert sorted(common) == sorted(set.intersection(*map(set, tables)))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(st.text(max_size=6), min_size=1, max_size=20, unique=True), min_size=2, max_size=4))
def test_it_is_the_intersection_of_sets(tables):
    expected = set.intersection(*map(set, tables))
    results = asyncio.run(converse(tables))
    if expected:
        named = names_of(tables, results)
        assert all(each == named[0] for each in named)
        assert Counter(named[0]) == Counter(expected)
    else:
        assert isinstance(results[0], UsageError)
        assert all(isinstance(result, PeerAborted) for result in results[1:])


async def test_one_id_each():
    assert await agreed([["ann"], ["ann"]]) == ["ann"]


async def test_equal_tables_in_different_orders_are_common_as_a_whole():
    left, right = people(50, 1, 50), people(50, 2, 50)
    assert left != right
    assert sorted(await agreed([left, right])) == sorted(left)


async def test_ids_of_any_length_and_alphabet():
    left = ["", "a", "ab", "b", "ñandú", "日本", "x" * 5000]
    assert set(await agreed([left, [*reversed(left), "more"]])) == set(left)


async def test_the_result_is_one_array_of_rows():
    result, _ = await converse([["a", "b"], ["b", "c"]])
    assert result.dtype == np.int64
    assert result.tolist() == [1]


async def test_nothing_in_common_names_the_likely_causes_and_only_here():
    ours, theirs = await converse([["ann", "bob"], ["cy", "dan"]])
    assert isinstance(ours, UsageError)
    assert ours.code == "no-common-ids"
    assert "as-is" in ours.what
    assert "rule" in ours.remedy
    assert "id" in ours.remedy
    assert isinstance(theirs, PeerAborted)
    assert theirs.code == "no-common-ids"
    assert "id rule" in theirs.what


async def test_the_common_order_is_not_an_order_of_the_table():
    table = people(400, 1, 400)
    rows, _ = await converse([table, table])
    steps = np.diff(rows)
    assert 120 < np.count_nonzero(steps > 0) < 280


async def test_the_same_seeds_give_the_same_order_and_the_same_bytes():
    tables = [people(40, 1, 60), people(40, 2, 60), people(40, 3, 60)]
    first, again = [await converse(tables) for _ in range(2)]
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    fresh = await converse(tables, changes=[{"seed": bytes(32)}, {}, {}])
    assert not np.array_equal(first[0], fresh[0])
    assert sorted(first[0]) == sorted(fresh[0])


async def test_the_active_party_may_keep_the_order_while_all_else_is_fresh():
    tables = [people(40, 1, 60), people(40, 2, 60), people(40, 3, 60)]
    kept = {"order": bytes(range(32))}
    first = await converse(tables, changes=[kept, {}, {}])
    again = await converse(
        tables,
        changes=[kept | {"seed": bytes(32), "run": "s"}, {"seed": b"1" * 32, "run": "s"}, {"run": "s"}],
    )
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    other = await converse(tables, changes=[{"order": bytes(32)}, {}, {}])
    assert not np.array_equal(first[0], other[0])


async def test_another_run_orders_anew_under_the_same_seeds():
    tables = [people(40, 1, 60), people(40, 2, 60)]
    first = await agreed(tables)
    other = await agreed(tables, changes=[{"run": "s"}, {"run": "s"}])
    assert first != other
    assert sorted(first) == sorted(other)


async def test_nothing_of_one_run_serves_in_another():
    ours, theirs = await converse([["ann"], ["ann"]], changes=[{"run": "s"}, {}])
    assert isinstance(theirs, PeerMisbehaved)
    assert ours.code.endswith(theirs.code)


async def test_different_rules_are_refused_on_both_sides():
    results = await converse([["ann"], ["ann"]], changes=[{}, {"rule": "phone"}])
    assert {result.code for result in results} == {"rules-differ"}


async def test_more_ids_than_the_limit_are_refused():
    ours, theirs = await converse([["ann"], ["ann", "bob"]], changes=[{"limit": 1}, {}])
    assert isinstance(ours, PolicyRefused)
    assert isinstance(theirs, PeerAborted)
    assert ours.code == theirs.code == "too-many-ids"


@pytest.mark.parametrize("empty", [0, 1])
async def test_a_party_without_ids_says_so_itself(empty):
    tables = [["ann"], ["ann"]]
    tables[empty] = []
    results = await converse(tables)
    assert isinstance(results[empty], UsageError)
    assert isinstance(results[1 - empty], PeerAborted)
    assert {result.code for result in results} == {"no-ids"}


async def test_our_own_repeated_ids_are_our_mistake_and_named():
    ours, theirs = await converse([["ann", "bob", "ann"], ["ann"]])
    assert isinstance(ours, UsageError)
    assert "ids 0 and 2" in ours.what
    assert isinstance(theirs, PeerAborted)
    assert "2" not in theirs.what


async def test_a_peer_that_repeats_an_id_is_at_fault():
    ours, _ = await converse([["ann", "bob"], ["cy", "cy"]])
    assert isinstance(ours, PeerMisbehaved)
    assert ours.code == "repeated-id"


def packed(number):
    """Bytes of an integer in msgpack."""
    return next(size for size, top in ((1, 2**7), (2, 2**8), (3, 2**16), (5, 2**32)) if number < top)


def framed(name, *fields):
    """Bytes of a frame: sequence number, array head, tag, fields; an integer or ("bytes", n)."""
    total = 8 + 1 + 1 + len(name)
    for each in fields:
        if isinstance(each, int):
            total += packed(each)
        else:
            _, size = each
            total += size + (2 if size < 2**8 else 3 if size < 2**16 else 5)
    return total


def blocks(name, rows, width, step):
    return sum(
        framed(name, first, ("bytes", width * min(step, rows - first))) for first in range(0, rows, step)
    )


def cost(entered, passive, common, step=7, rule="as-is"):
    """Bytes of one pair after the greeting: from active to passive, from passive to active."""
    to_passive = (
        framed("Roster", entered)
        + 1
        + len(rule)
        + framed("Key", ("bytes", 32), ("bytes", 32))
        + blocks("MaskedBlock", rows_of_ids(entered), 72, step)
        + framed("Answer", ("bytes", 64 * 72), ("bytes", 64 * 16))
        + framed("Common", common)
        + blocks("CommonRows", common, 4, step)
    )
    to_active = (
        framed("Roster", passive)
        + 1
        + len(rule)
        + framed("Offers", ("bytes", 572 * 2 * 32))
        + framed("Challenge", ("bytes", 32))
        + blocks("DigestBlock", passive, 16, step)
    )
    return to_passive, to_active


def flow(tap, kind, peer):
    return sum(event.size for event in tap.of(kind) if event.peer == peer and event.message != "Hello")


async def test_the_bytes_are_those_of_the_specification():
    tables = [people(300, 1, 400), people(200, 2, 400), people(350, 3, 400)]
    taps = [Tap() for _ in tables]
    common = await agreed(tables, taps=taps)
    survivors = len(set(tables[0]) & set(tables[1]))
    for index, entered in ((1, 300), (2, survivors)):
        expected = cost(entered, len(tables[index]), len(common))
        assert (flow(taps[0], Sent, f"p{index}"), flow(taps[0], Received, f"p{index}")) == expected
        assert (flow(taps[index], Received, "p0"), flow(taps[index], Sent, "p0")) == expected


def test_the_rows_of_a_store_are_those_of_the_specification():
    assert [rows_of_ids(n) for n in (1, 10, 1_000_000)] == [113, 125, 1_300_112]


async def test_a_passive_party_receives_masked_rows_and_its_own_common_places_only():
    tables = [people(30, 1, 40), people(30, 2, 40), people(30, 3, 40)]
    taps = [Tap() for _ in tables]
    common = await agreed(tables, taps=taps)
    survivors = len(set(tables[0]) & set(tables[1]))
    assert len(common) < survivors
    for tap, entered in ((taps[1], 30), (taps[2], survivors)):
        received = Counter(event.message for event in tap.of(Received))
        assert received == {
            "Hello": 1,
            "Roster": 1,
            "Key": 1,
            "MaskedBlock": -(-rows_of_ids(entered) // 7),
            "Answer": 1,
            "Common": 1,
            "CommonRows": -(-len(common) // 7),
        }
        assert {event.peer for event in tap.of(Received)} == {"p0"}


async def test_the_challenge_goes_out_after_the_last_row_came_in_and_digests_after_the_answer():
    taps = [Tap(), Tap()]
    await agreed([people(30, 1, 40), people(30, 2, 40)], taps=taps)
    order = [event.message for event in taps[1].events if isinstance(event, Sent | Received)]
    last_row = len(order) - 1 - order[::-1].index("MaskedBlock")
    assert last_row < order.index("Challenge") < order.index("Answer") < order.index("DigestBlock")


async def test_each_pair_has_secrets_of_its_own(monkeypatch):
    seen = {}
    send = CheckedChannel.send

    async def noted(self, message):
        if isinstance(message, alignment.MaskedBlock):
            seen.setdefault(self.peer, set()).update(
                message.rows[at : at + ROW] for at in range(0, len(message.rows), ROW)
            )
        await send(self, message)

    monkeypatch.setattr(CheckedChannel, "send", noted)
    table = people(20, 1, 20)
    await agreed([table, table, table])
    assert len(seen["p1"]) == len(seen["p2"]) == rows_of_ids(20)
    assert not seen["p1"] & seen["p2"]


def store_of(ids, seed):
    """The masked rows of a store, for one and the same offers."""
    offers = Evaluator(buffer(["x"]), np.arange(1), b"o" * 32, "r", 1).offers
    asker = Asker(buffer(ids), np.arange(len(ids)), offers, seed, "r", 1)
    return np.unpackbits(asker.masked(0, asker.size))


def test_a_passive_party_sees_as_many_ones_as_zeros_whatever_the_ids():
    for ids in (["ann"], ["bob"], ["ann", "bob", "cy"]):
        bits = store_of(ids, bytes(32))
        assert abs(bits.mean() - 0.5 * 572 / 576) < 0.01
    one, other = store_of(["ann"], bytes(32)), store_of(["ann"], b"o" * 32)
    assert abs(np.mean(one != other) - 0.5 * 572 / 576) < 0.01


async def test_the_active_party_has_no_use_for_digests_of_another_secret():
    table = people(30, 1, 30)

    async def other_key(self, message):
        if isinstance(message, alignment.Offers):
            message = alignment.Offers(
                Evaluator(buffer(["x"]), np.arange(1), b"o" * 32, "r", 1).offers.tobytes()
            )
        await send(self, message)

    send = CheckedChannel.send
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CheckedChannel, "send", other_key)
        ours, theirs = await converse([table, table])
    assert isinstance(theirs, PeerMisbehaved)
    assert theirs.code == "wrong-sums"
    assert isinstance(ours, PeerAborted)


async def test_a_busy_active_party_says_so_while_it_stores_its_ids():
    tables = [people(50_000, 1, 50_000), people(10, 2, 10)]
    taps = [Tap(), Tap()]
    await agreed(tables, taps=taps, changes=[{"wait_seconds": 0.001, "block_rows": 8192}, {}])
    assert any(event.message == "Wait" for event in taps[1].of(Received))


async def test_what_does_not_fit_in_memory_is_said_before_rows_are_sent(monkeypatch):
    def full(*_):
        raise MemoryError("there is no memory for 93600000 bytes")

    monkeypatch.setattr(Evaluator, "expect", full)
    ours, theirs = await converse([["ann"], ["ann"]])
    assert isinstance(theirs, BudgetExhausted)
    assert theirs.code == "no-memory"
    assert "93600000 bytes" in theirs.what
    assert isinstance(ours, PeerAborted)
    assert "93600000" not in ours.what


async def test_idle_parties_hear_that_the_active_one_is_there():
    tables = [people(2000, index, 2000) for index in range(3)]
    taps = [Tap() for _ in tables]
    common = await agreed(tables, taps=taps, changes=[{"wait_seconds": 0.01}, {}, {}])
    assert len(common) == 2000
    for tap in taps[1:]:
        assert any(event.message == "Wait" for event in tap.of(Received))


async def test_an_idle_party_that_fails_stops_the_others():
    tables = [people(2000, 1, 2000), people(2000, 2, 2000), []]
    results = await converse(tables, changes=[{"wait_seconds": 0.01}, {}, {}])
    assert isinstance(results[2], UsageError)
    assert isinstance(results[0], PeerAborted)
    assert results[0].peer == "p2"
    assert isinstance(results[1], PeerAborted)
    assert results[1].peer == "p0"
    assert {result.code for result in results} == {"no-ids"}


async def test_cancelling_a_party_is_told_to_the_other_as_such():
    async with transports("memory", ("p0", "p1")) as (near, far):
        trace = Trace(time.monotonic)
        table = buffer(people(5000, 1, 5000))

        async def lead():
            async with CheckedChannel(near, Setting(STEPS, ACTIVE, "r", trace, 5.0)) as channel:
                return await alignment.active([channel], table, options("p0", block_rows=100))

        async def follow():
            async with CheckedChannel(far, Setting(STEPS, PASSIVE, "r", trace, 5.0)) as channel:
                return await alignment.passive(channel, table, options("p1", block_rows=100))

        ours, theirs = asyncio.ensure_future(lead()), asyncio.ensure_future(follow())
        await asyncio.sleep(0.1)
        ours.cancel()
        with pytest.raises(PeerAborted, match="party-stopped"):
            await theirs
        assert ours.cancelled()


async def test_progress_counts_what_a_party_computes():
    taps = [Tap(), Tap()]
    await agreed([people(30, 1, 40), people(25, 2, 40)], taps=taps)
    for tap in taps:
        assert [event.total for event in tap.of(PhaseBegan)] == [rows_of_ids(30) + 25]
        assert tap.of(PhaseAdvanced)[-1].done == rows_of_ids(30) + 25


def test_a_seed_is_never_shown():
    assert "seed" not in repr(options("p0"))


def test_a_short_seed_is_refused():
    with pytest.raises(ValueError, match="32"):
        Options("r", "as-is", b"short")
