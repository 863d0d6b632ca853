"""The checked channel: order, identity, reasons and limits, over the in-memory transport."""

import asyncio
import time

import pytest

from parley.core.conversation import Choice, Message, Repeat, Step, steps
from parley.core.errors import PeerAborted, PeerLost, PeerMisbehaved, PolicyRefused, ProtocolBug, UsageError
from parley.core.trace import Trace
from parley.net.channel import Abort, CheckedChannel, Setting
from parley.net.memory import memory_pair
from parley.net.transport import MAX_FRAME


class Ask(Message, frozen=True):
    number: int


class Block(Message, frozen=True):
    data: bytes


class Done(Message, frozen=True):
    pass


STEPS = steps(
    "echo", 1, Step("left", "right", Ask), Repeat(Step("right", "left", Block)), Step("right", "left", Done)
)


def ends(left_steps=STEPS, right_steps=STEPS, *, runs=("r", "r"), patience=5.0):
    left, right = memory_pair("left", "right")
    trace = Trace(time.monotonic)
    return (
        CheckedChannel(left, Setting(left_steps, "left", runs[0], trace, patience)),
        CheckedChannel(right, Setting(right_steps, "right", runs[1], trace, patience)),
    )


async def both(left, right):
    return await asyncio.gather(left, right, return_exceptions=True)


async def ask(channel, number=3):
    async with channel:
        await channel.send(Ask(number))
        received = []
        while isinstance(message := await channel.recv(Block, Done), Block):
            received.append(message.data)
        return received


async def answer(channel):
    async with channel:
        ask = await channel.recv(Ask)
        for index in range(ask.number):
            await channel.send(Block(bytes([index])))
        await channel.send(Done())
        return ask.number


async def test_a_conversation_by_the_table_succeeds():
    left, right = ends()
    assert await both(ask(left), answer(right)) == [[b"\0", b"\1", b"\2"], 3]


async def test_an_out_of_turn_send_is_our_bug_and_the_peer_is_told():
    left, right = ends()

    async def wrong(channel):
        async with channel:
            await channel.send(Done())

    ours, theirs = await both(wrong(left), answer(right))
    assert isinstance(ours, ProtocolBug)
    assert isinstance(theirs, PeerAborted)
    assert theirs.code == "out-of-turn-send"


async def test_leaving_before_the_end_is_our_bug():
    left, right = ends()

    async def early(channel):
        async with channel:
            await channel.recv(Ask)

    theirs, ours = await both(ask(left), early(right))
    assert isinstance(ours, ProtocolBug)
    assert isinstance(theirs, PeerAborted)


async def test_only_the_public_text_crosses():
    left, right = ends()

    async def fails(channel):
        async with channel:
            raise UsageError("bad-table", "column income of customers.csv is empty", remedy="fill it")

    _, theirs = await both(fails(left), answer(right))
    assert isinstance(theirs, PeerAborted)
    assert "income" not in str(theirs)
    assert theirs.code == "bad-table"


async def test_a_foreign_exception_crosses_as_internal_only():
    left, right = ends()

    async def fails(channel):
        async with channel:
            raise ZeroDivisionError("secret 42")

    _, theirs = await both(fails(left), answer(right))
    assert theirs.code == "internal"
    assert "42" not in str(theirs)


async def test_other_versions_are_refused_on_both_sides():
    left, right = ends(right_steps=steps("echo", 2, *STEPS.parts))
    ours, theirs = await both(ask(left), answer(right))
    assert {type(ours), type(theirs)} <= {PolicyRefused, PeerAborted}
    assert ours.code == theirs.code == "version-mismatch"


async def test_another_run_is_the_peers_fault():
    left, right = ends(runs=("one", "two"))
    ours, theirs = await both(ask(left), answer(right))
    assert isinstance(ours, PeerMisbehaved | PeerAborted)
    assert isinstance(theirs, PeerMisbehaved | PeerAborted)


async def test_silence_is_loss_after_the_patience():
    left, right = ends(patience=0.2)

    async def silent(channel):
        async with channel:
            await asyncio.sleep(1)

    ours, _ = await both(ask(left), silent(right))
    assert isinstance(ours, PeerLost)
    assert ours.code == "silent-peer"


@pytest.mark.parametrize(
    "frame", [b"", b"\0" * 8, (1).to_bytes(8, "big") + b"\xff", (1).to_bytes(8, "big") + b"\x92"]
)
async def test_a_frame_that_does_not_decode_is_the_peers_fault(frame):
    near, far = memory_pair("left", "right")
    channel = CheckedChannel(near, Setting(STEPS, "left", "r", Trace(time.monotonic), 5.0))
    honest = CheckedChannel(far, Setting(STEPS, "right", "r", Trace(time.monotonic), 5.0))

    async def hostile():
        await honest._greet()
        await far.send(frame)

    ours, _ = await both(ask(channel), hostile())
    assert isinstance(ours, PeerMisbehaved)
    assert ours.code in {"malformed-frame", "malformed-message"}


def test_the_table_projects_on_each_sender():
    table = steps("t", 1, Repeat(Step("a", "b", Ask), Choice(Step("b", "a", Block), Step("a", "b", Done))))
    a, b = table.automaton("a"), table.automaton("b")
    assert a.allows(None, Ask)
    assert not a.allows(None, Done)
    assert a.allows(Ask, Done)
    assert a.allows(Ask, Ask)
    assert a.allows(None, None)
    assert b.allows(None, Block)
    assert b.allows(Block, Block)


async def test_a_cancelled_send_leaves_no_gap_before_the_farewell():
    left, right = ends()

    async def cancelled(channel):
        async with channel:
            await channel.recv(Ask)
            async with asyncio.timeout(0.1):
                for index in range(100):  # far more than the transport holds
                    await channel.send(Block(bytes([index])))

    async def slow(channel):
        async with channel:
            await channel.send(Ask(100))
            await asyncio.sleep(0.3)
            while True:
                await channel.recv(Block, Done)

    theirs, _ = await both(slow(left), cancelled(right))
    assert isinstance(theirs, PeerAborted)


async def test_a_peer_that_takes_nothing_is_lost_after_the_patience():
    left, right = ends(patience=0.2)

    async def deaf(channel):
        async with channel:
            await channel.send(Ask(100))
            await asyncio.sleep(1)

    began = time.monotonic()
    _, ours = await both(deaf(left), answer(right))
    assert isinstance(ours, PeerLost)
    assert ours.code == "stalled-peer"
    assert time.monotonic() - began < 4


async def test_a_silent_but_living_peer_is_told_that_it_was_given_up():
    left, right = ends(patience=0.2)

    async def late(channel):
        async with channel:
            await channel.recv(Ask)
            await asyncio.sleep(0.4)
            await channel.send(Done())

    ours, theirs = await both(ask(left), late(right))
    assert (type(ours), ours.code) == (PeerLost, "silent-peer")
    assert (type(theirs), theirs.code) == (PeerAborted, "silent-peer")


async def test_leaving_before_the_peer_has_finished_is_our_bug():
    left, right = ends()

    async def hasty(channel):
        async with channel:
            await channel.send(Ask(3))

    ours, theirs = await both(hasty(left), answer(right))
    assert (type(ours), ours.code) == (ProtocolBug, "left-early")
    assert isinstance(theirs, PeerAborted | int)


async def test_waiting_for_what_the_table_does_not_allow_is_our_bug_not_the_peers():
    left, right = ends()

    async def confused(channel):
        async with channel:
            await channel.send(Ask(1))
            await channel.recv(Ask)

    ours, theirs = await both(confused(left), answer(right))
    assert (type(ours), ours.code) == (ProtocolBug, "out-of-turn-recv")
    assert isinstance(theirs, PeerAborted | int)


async def test_a_task_group_does_not_hide_whose_fault_it_was():
    left, right = ends()

    async def grouped(channel):
        async with channel, asyncio.TaskGroup() as tasks:
            tasks.create_task(channel.send(Ask(1)))
            tasks.create_task(failing(channel))

    async def failing(channel):
        await channel.recv(Block)
        raise channel.fault("bad-block", "sent a block we do not like")

    ours, theirs = await both(grouped(left), answer(right))
    assert (type(ours), ours.code) == (PeerMisbehaved, "bad-block")
    assert theirs == 1 or theirs.code == "bad-block"


async def test_every_task_of_ours_hears_the_peers_reason():
    left, right = ends()

    async def fails(channel):
        async with channel:
            await channel.recv(Ask)
            raise UsageError("bad-table", "private", remedy="fill it")

    async def two(channel):
        async with channel:
            await channel.send(Ask(1))
            first, second = await both(channel.recv(Block), channel.recv(Block))
            assert isinstance(first, PeerAborted)
            assert isinstance(second, PeerAborted)
            raise first

    ours, _ = await both(two(left), fails(right))
    assert ours.code == "bad-table"


class Note(Message, frozen=True):
    text: str


NOTES = steps("notes", 1, Step("right", "left", Note))


@pytest.mark.parametrize(
    "body",
    [
        b"\x92\xa4Note\xa2\xff\xfe",
        b"\x92\xa9\n\x1b[31mFoo\x01",
        b"\x91" * 3000,
        b"\x92\xa4Note\xdb\xff\xff\xff\xff",
    ],
)
async def test_invalid_text_and_tags_are_the_peers_fault_and_cannot_write_our_log(body):
    near, far = memory_pair("left", "right")
    channel = CheckedChannel(near, Setting(NOTES, "left", "r", Trace(time.monotonic), 5.0))
    honest = CheckedChannel(far, Setting(NOTES, "right", "r", Trace(time.monotonic), 5.0))

    async def hostile():
        await honest._greet()
        await far.send((1).to_bytes(8, "big") + body)

    async def read():
        async with channel:
            await channel.recv(Note)

    ours, _ = await both(read(), hostile())
    assert (type(ours), ours.code) == (PeerMisbehaved, "malformed-message")
    assert ours.what.isprintable()


async def test_the_peers_reason_cannot_write_our_log_either():
    near, far = memory_pair("left", "right")
    channel = CheckedChannel(near, Setting(NOTES, "left", "r", Trace(time.monotonic), 5.0))
    honest = CheckedChannel(far, Setting(NOTES, "right", "r", Trace(time.monotonic), 5.0))

    async def hostile():
        await honest._greet()
        await honest._send(Abort("fam\x1bily" * 50, "bad\n\x1b[2Jcode" * 50, "line\r\nline" * 500))

    async def read():
        async with channel:
            await channel.recv(Note)

    ours, _ = await both(read(), hostile())
    assert isinstance(ours, PeerAborted)
    assert set(ours.code) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert len(ours.code) <= 64
    assert set(ours.cause) <= set("abcdefghijklmnopqrstuvwxyz")
    assert ours.what.isprintable()
    assert len(ours.what) < 500


async def test_memory_refuses_oversized_frames_like_the_network():
    near, far = memory_pair("left", "right")
    await far.send(bytes(MAX_FRAME + 1))
    with pytest.raises(PeerMisbehaved) as caught:
        await near.recv()
    assert caught.value.code == "frame-too-large"
