"""Asking: every ask gets its own answer, many at once, or one error; nobody is fooled about shapes."""

import asyncio
import time

import msgspec
import numpy as np
import pytest

from parley.core.errors import PeerAborted, PeerLost, PeerMisbehaved, PolicyRefused, UsageError
from parley.core.trace import Sent, Trace
from parley.net.channel import CheckedChannel, Setting
from parley.protocols import asking
from parley.protocols.asking import (
    ACTIVE,
    MAX_DIRECTIONS,
    MAX_TOKENS,
    PASSIVE,
    STEPS,
    UNDER_WAY,
    Answer,
    Ask,
    Begin,
    Directions,
    Inquiry,
    Refused,
    most_tokens,
    width_of,
)

from tests.adversary.harness import cases, sweep
from tests.channels import transports

SPLITS = 13


class Twisted(CheckedChannel):
    """An honest party's end whose messages are edited on their way out."""

    twist = staticmethod(lambda message: message)

    async def send(self, message):
        await super().send(self.twist(message))


def tokens_of(*numbers):
    """A token for each number; those below 100 are in the passive party's table."""
    tokens = np.zeros((len(numbers), 16), dtype=np.uint8)
    tokens[:, :4] = np.array(numbers, dtype="<u4").reshape(-1, 1).view(np.uint8)
    return tokens


def numbers_of(tokens):
    return tokens[:, :4].copy().view("<u4")[:, 0]


def row_of(number, splits=SPLITS):
    bits = (np.uint64(number + 1) * np.arange(1, splits + 1, dtype=np.uint64)) % 3 == 0
    return np.packbits(bits, bitorder="little")


def answering(tokens, splits=SPLITS):
    numbers = numbers_of(tokens)
    known = numbers < 100
    rows = [row_of(number, splits) for number in numbers[known].tolist()]
    return Answer(known, np.array(rows, dtype=np.uint8).reshape(len(rows), width_of(splits)))


def check(answer, *numbers):
    assert answer.known.tolist() == [number < 100 for number in numbers]
    assert answer.left.tolist() == [row_of(number).tolist() for number in numbers if number < 100]


async def converse(
    work,
    *,
    answer=answering,
    begins=("m", SPLITS),
    serves=("m", SPLITS),
    carrier="memory",
    villain="",
    twist=None,
    patience=20.0,
    alive_seconds=5.0,
    heard=lambda _event: None,
):
    """What ``work`` with the inquiry and the passive party end with."""
    async with transports(carrier, (ACTIVE, PASSIVE)) as ends:

        def channel(end, role):
            setting = Setting(STEPS, role, "service", Trace(time.monotonic, heard), patience)
            made = (Twisted if role == villain else CheckedChannel)(end, setting)
            if role == villain:
                made.twist = twist
            return made

        async def lead():
            async with (
                channel(ends[0], ACTIVE) as end,
                Inquiry(end, *begins, alive_seconds=alive_seconds) as one,
            ):
                return await work(one)

        async def follow():
            async with channel(ends[1], PASSIVE) as end:
                return await asking.passive(end, *serves, lambda tokens: asyncio.to_thread(answer, tokens))

        async with asyncio.timeout(60):
            return await asyncio.gather(lead(), follow(), return_exceptions=True)


async def nothing(_inquiry):
    pass


async def ask_once(inquiry):
    return await inquiry.ask(tokens_of(1, 100, 2))


@pytest.mark.parametrize("carrier", ["memory", "tls"])
async def test_an_ask_gets_the_directions_of_the_known_rows(carrier):
    ours, answered = await converse(ask_once, carrier=carrier)
    check(ours, 1, 100, 2)
    assert answered == 3


async def test_many_tasks_ask_at_once_and_each_gets_its_own_answer():
    async def work(inquiry):
        asks = [(n, n + 50, n + 90) for n in range(2 * UNDER_WAY)]
        answers = await asyncio.gather(*(inquiry.ask(tokens_of(*each)) for each in asks))
        for each, answer in zip(asks, answers, strict=True):
            check(answer, *each)

    ours, answered = await converse(work)
    assert ours is None
    assert answered == 6 * UNDER_WAY


async def test_asks_are_under_way_together_while_the_first_is_computed():
    """They wait at the passive party, not here for the answer before."""
    sent = []

    def note(message):
        sent.append(type(message).__name__)
        return message

    async def work(inquiry):
        await asyncio.gather(*(inquiry.ask(tokens_of(n)) for n in range(3)))

    def slow(tokens):
        deadline = time.monotonic() + 30
        while sent.count("Ask") < 3 and time.monotonic() < deadline:
            time.sleep(0.001)
        assert sent.count("Ask") == 3
        return answering(tokens)

    ours, answered = await converse(work, answer=slow, villain=ACTIVE, twist=note)
    assert ours is None
    assert answered == 3


async def test_the_bytes_are_those_of_the_specification():
    sizes = {}

    def note(event):
        if isinstance(event, Sent):
            sizes[event.message] = event.size

    await converse(ask_once, heard=note)
    assert sizes["Ask"] == 13 + 1 + (2 + 16 * 3)
    assert sizes["Directions"] == 20 + 1 + (2 + 1) + (2 + 2 * 2)


async def test_no_tokens_need_no_message_and_no_splits_no_directions():
    async def work(inquiry):
        return await inquiry.ask(tokens_of()), await inquiry.ask(tokens_of(1, 100))

    (none, some), answered = await converse(
        work, begins=("m", 0), serves=("m", 0), answer=lambda tokens: answering(tokens, 0)
    )
    assert none.known.shape == (0,)
    assert some.known.tolist() == [True, False]
    assert none.left.shape == (0, 0)
    assert some.left.shape == (1, 0)
    assert answered == 2


async def test_an_ask_is_cut_where_its_answer_would_not_fit_a_message():
    splits = asking.MAX_SPLITS  # 24 rows to an answer
    sizes = []

    def answer(tokens):
        sizes.append(len(tokens))
        known = numbers_of(tokens) < 100
        left = np.zeros((np.count_nonzero(known), width_of(splits)), dtype=np.uint8)
        left[:, 0] = numbers_of(tokens)[known]
        return Answer(known, left)

    async def work(inquiry):
        return await inquiry.ask(tokens_of(*range(28), 100, 29))

    ours, _ = await converse(work, begins=("m", splits), serves=("m", splits), answer=answer)
    assert sizes == [24, 6]
    assert ours.known.tolist() == [True] * 28 + [False, True]
    assert ours.left[:, 0].tolist() == [*range(28), 29]


def test_a_full_ask_and_its_answer_fit_a_message():
    for splits in (0, 1, 384, 385, 3100, asking.MAX_SPLITS):
        assert 1 <= most_tokens(splits) <= MAX_TOKENS
        assert most_tokens(splits) * width_of(splits) <= MAX_DIRECTIONS
    assert most_tokens(384) == MAX_TOKENS


async def test_more_or_other_tokens_than_there_may_be_are_our_own_mistake():
    async def work(inquiry):
        for wrong in (
            np.zeros((MAX_TOKENS + 1, 16), np.uint8),
            np.zeros((2, 15), np.uint8),
            np.zeros((2, 16)),
        ):
            with pytest.raises(ValueError, match="tokens are"):
                await inquiry.ask(wrong)
        return await ask_once(inquiry)

    ours, _ = await converse(work)
    check(ours, 1, 100, 2)


async def test_a_refusal_meets_one_ask_and_the_others_go_on():
    def answer(tokens):
        return "quota-exceeded" if 13 in numbers_of(tokens) else answering(tokens)

    async def work(inquiry):
        return await asyncio.gather(
            *(inquiry.ask(tokens_of(n)) for n in (12, 13, 14)), return_exceptions=True
        )

    (before, refused, after), answered = await converse(work, answer=answer)
    check(before, 12)
    check(after, 14)
    assert isinstance(refused, PolicyRefused)
    assert refused.code == "ledger-quota-exceeded"
    assert answered == 2


async def test_a_task_that_gives_up_leaves_the_others_alone():
    gone = asyncio.Event()

    async def work(inquiry):
        tasks = [asyncio.ensure_future(inquiry.ask(tokens_of(n))) for n in range(2 * UNDER_WAY)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        gone.set()
        for n, answer in zip(range(1, 2 * UNDER_WAY, 2), await asyncio.gather(*tasks[1::2]), strict=True):
            check(answer, n)
        return await ask_once(inquiry)

    ours, _ = await converse(work)
    check(ours, 1, 100, 2)


async def test_an_idle_conversation_stays_alive():
    async def work(inquiry):
        await asyncio.sleep(1.2)
        return await ask_once(inquiry)

    ours, _ = await converse(work, patience=0.6, alive_seconds=0.05)
    check(ours, 1, 100, 2)


async def test_leaving_waits_for_answers_that_are_due():
    async def work(inquiry):
        task = asyncio.ensure_future(inquiry.ask(tokens_of(5)))
        await asyncio.sleep(0)
        return task

    task, answered = await converse(work)
    check(await task, 5)
    assert answered == 1


async def test_after_the_end_nothing_is_asked():
    async def work(inquiry):
        return inquiry

    inquiry, _ = await converse(work)
    await inquiry.over()
    with pytest.raises(PeerLost, match="connection-closed"):
        await inquiry.ask(tokens_of(1))


async def test_when_the_peer_stops_all_who_wait_hear_its_reason_and_later_asks_too():
    def stops(_tokens):
        raise UsageError("no-source", "the table's file is gone", remedy="put it back")

    async def work(inquiry):
        waiting = await asyncio.gather(*(inquiry.ask(tokens_of(n)) for n in range(5)), return_exceptions=True)
        with pytest.raises(PeerAborted, match="no-source"):
            await inquiry.over()
        with pytest.raises(PeerAborted, match="no-source"):
            await inquiry.ask(tokens_of(1))
        raise waiting[0]

    ours, theirs = await converse(work, answer=stops)
    assert isinstance(theirs, UsageError)
    assert isinstance(ours, PeerAborted)
    assert "file" not in ours.what


async def test_when_the_channel_dies_all_who_wait_fail_by_it():
    async with transports("memory", (ACTIVE, PASSIVE)) as (near, far):
        setting = Setting(STEPS, ACTIVE, "service", Trace(time.monotonic), 20.0)
        silent = CheckedChannel(far, Setting(STEPS, PASSIVE, "service", Trace(time.monotonic), 20.0))

        async def vanish():
            async with silent:
                await silent.recv(Begin)
                await silent.send(asking.Ready())
                await silent.recv(Ask, asking.Alive, asking.End)
                await far.close()
                raise PeerLost("connection-lost", "cut", peer=ACTIVE, remedy="none")

        async def lead():
            async with CheckedChannel(near, setting) as channel, Inquiry(channel, "m", SPLITS) as inquiry:
                found = await asyncio.gather(
                    *(inquiry.ask(tokens_of(n)) for n in range(3)), return_exceptions=True
                )
                assert [type(each) for each in found] == [PeerLost] * 3
                raise found[0]

        async with asyncio.timeout(30):
            ours, _ = await asyncio.gather(lead(), vanish(), return_exceptions=True)
        assert isinstance(ours, PeerLost)


async def test_leaving_by_an_error_fails_those_who_wait():
    waiting = []

    async def work(inquiry):
        waiting.append(asyncio.ensure_future(inquiry.ask(tokens_of(5))))
        await asyncio.sleep(0)
        raise UsageError("no-source", "we stop", remedy="none")

    ours, theirs = await converse(work, answer=lambda tokens: time.sleep(0.05) or answering(tokens))
    assert isinstance(ours, UsageError)
    assert isinstance(theirs, PeerAborted)
    with pytest.raises(PeerLost, match="connection-closed"):
        await waiting[0]


@pytest.mark.parametrize("serves", [("n", SPLITS), ("m", SPLITS + 1)])
async def test_another_model_or_other_splits_are_refused(serves):
    ours, theirs = await converse(nothing, serves=serves)
    assert isinstance(theirs, PolicyRefused)
    assert isinstance(ours, PeerAborted)
    assert ours.code == theirs.code == "wrong-model"


async def test_an_answer_of_another_shape_is_our_own_mistake_and_never_sent():
    def wrong(tokens):
        return Answer(np.ones(len(tokens), np.bool_), np.zeros((len(tokens), 1), np.uint8))

    ours, theirs = await converse(ask_once, answer=wrong)
    assert isinstance(theirs, ValueError)
    assert isinstance(ours, PeerAborted)
    assert ours.code == "internal"


# ── who departs from it ───────────────────────────────────────────────────────────────────────────────


def editing(kind, **changes):
    """Edit the fields of messages of ``kind``."""

    def twist(message):
        if not isinstance(message, kind):
            return message
        return msgspec.structs.replace(
            message, **{name: change(getattr(message, name)) for name, change in changes.items()}
        )

    return twist


FROM_PASSIVE = {
    "an answer to another ask": (editing(Directions, number=lambda n: n + 1), "wrong-order"),
    "a sign of life for an answer": (
        lambda m: asking.StillAlive() if isinstance(m, Directions) else m,
        "wrong-order",
    ),
    "an end before the last answer": (
        lambda m: asking.Ended() if isinstance(m, Directions) else m,
        "out-of-turn",
    ),
    "too few known": (editing(Directions, known=lambda _: b""), "wrong-length"),
    "too many known": (editing(Directions, known=lambda k: k + b"\0"), "wrong-length"),
    "a known token beyond those asked": (editing(Directions, known=lambda _: b"\x0d"), "wrong-filling"),
    "more known than rows": (editing(Directions, known=lambda _: b"\7"), "wrong-length"),
    "half a row": (editing(Directions, left=lambda d: d[:-1]), "wrong-length"),
    "a row too many": (editing(Directions, left=lambda d: d + bytes(2)), "wrong-length"),
    "directions beyond the splits": (editing(Directions, left=lambda d: d[:-1] + b"\xff"), "wrong-filling"),
    "a reason of its own": (
        lambda m: Refused(m.number, "because") if isinstance(m, Directions) else m,
        "malformed-message",
    ),
    "a refusal of another ask": (
        lambda m: Refused(7, "model-withdrawn") if isinstance(m, Directions) else m,
        "wrong-order",
    ),
}

FROM_ACTIVE = {
    "another number": (editing(Ask, number=lambda n: n + 1), "wrong-order"),
    "no tokens": (editing(Ask, tokens=lambda _: b""), "wrong-length"),
    "half a token": (editing(Ask, tokens=lambda t: t[:-1]), "wrong-length"),
    "more than can be": (editing(Ask, tokens=lambda _: bytes(16 * MAX_TOKENS + 16)), "malformed-message"),
    "endless splits": (editing(Begin, splits=lambda _: 2**62), "malformed-message"),
    "an endless model": (editing(Begin, model=lambda _: "m" * 129), "malformed-message"),
}


@pytest.mark.parametrize("case", FROM_PASSIVE)
async def test_what_the_passive_party_may_not_send(case):
    twist, code = FROM_PASSIVE[case]
    ours, theirs = await converse(ask_once, villain=PASSIVE, twist=twist)
    if code == "out-of-turn":
        assert isinstance(ours, PeerMisbehaved)
        assert ours.code in {"out-of-turn", "wrong-order"}
        return
    assert isinstance(ours, PeerMisbehaved)
    assert (ours.peer, ours.code) == (PASSIVE, code)
    assert isinstance(theirs, PeerAborted)


@pytest.mark.parametrize("case", FROM_ACTIVE)
async def test_what_the_active_party_may_not_send(case):
    twist, code = FROM_ACTIVE[case]
    ours, theirs = await converse(ask_once, villain=ACTIVE, twist=twist)
    assert isinstance(theirs, PeerMisbehaved)
    assert (theirs.peer, theirs.code) == (ACTIVE, code)
    assert isinstance(ours, PeerAborted)


async def test_more_tokens_at_once_than_the_splits_allow_are_the_peers_fault():
    splits = 8 * MAX_DIRECTIONS
    message = Ask(0, bytes(16 * 2))
    assert most_tokens(splits) == 1

    class Blames:
        def fault(self, code, what):
            return PeerMisbehaved(code, what, peer=ACTIVE, remedy="none")

    with pytest.raises(PeerMisbehaved, match="1 to 1"):
        asking.tokens_of(Blames(), message, 0, splits)


async def test_answers_in_another_order_are_the_peers_fault_and_meet_all_who_wait():
    held = []

    def swap(message):
        """The second answer under the number of the first."""
        if isinstance(message, Directions):
            held.append(message.number)
            return msgspec.structs.replace(message, number=1 - message.number)
        return message

    async def work(inquiry):
        found = await asyncio.gather(*(inquiry.ask(tokens_of(n)) for n in (1, 2)), return_exceptions=True)
        assert all(isinstance(each, PeerMisbehaved) for each in found)
        raise found[0]

    ours, _ = await converse(work, villain=PASSIVE, twist=swap)
    assert ours.code == "wrong-order"


async def lead(channel):
    async with channel, Inquiry(channel, "m", SPLITS, alive_seconds=0.1) as inquiry:
        found = await asyncio.gather(*(inquiry.ask(tokens_of(n, 100, n + 1)) for n in range(3)))
        await asyncio.sleep(0.15)
        found.append(await inquiry.ask(tokens_of(*range(40))))
        return [(each.known.tolist(), each.left.tolist()) for each in found]


async def follow(channel):
    """How much it answered is not judged: the active party may end whenever it likes."""
    async with channel:
        await asking.passive(channel, "m", SPLITS, lambda tokens: asyncio.to_thread(answering, tokens))


@pytest.mark.parametrize(
    ("carrier", "each"),
    [
        ("memory", 3),
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
