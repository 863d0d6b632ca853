"""Both ends of a link's session without a network: exactly once, in order, bounded, and never surprised."""

import asyncio
import random
from contextlib import suppress
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley.core.errors import PeerLost
from parley.net import session as session_module
from parley.net.chunks import HEAD, MAX_CHUNK, Broken, Kind, read, written
from parley.net.session import Session
from parley.net.streams import FRAME_COST, WINDOW, Stream
from parley.net.wire import Ending

GONE = Ending(PeerLost, "connection-lost", "vanished")


class Pair:
    """Two ends, and what was written and has not come."""

    def __init__(self):
        self.came = [], []
        self.ends = tuple(
            Session(
                name, number, lambda _path, stream, number=number: self.arrived(number, stream), lambda: None
            )
            for number, name in ((1, "right"), (2, "left"))
        )
        self.under_way = [], []

    def arrived(self, number, stream):
        self.came[number - 1].append(stream)

    def write(self, end, most):
        """Let one end write some chunks."""
        for _ in range(most):
            chunk = self.ends[end].next()
            if chunk is None:
                break
            self.under_way[end].append(chunk)

    def pass_on(self, end, most):
        """Let some of what one end wrote come to the other."""
        coming, self.under_way[end][:most] = self.under_way[end][:most], []
        for chunk in coming:
            self.ends[1 - end].take(b"".join(chunk))

    def cut(self):
        """Lose what is under way, and go on."""
        for end in (0, 1):
            self.under_way[end].clear()
        heard = [each.heard for each in self.ends]
        for end in (0, 1):
            self.ends[end].resume(heard[1 - end])

    def settle(self):
        """Let everything come."""
        while True:
            for end in (0, 1):
                self.write(end, 1000)
            if not any(self.under_way):
                return
            for end in (0, 1):
                self.pass_on(end, 10_000)
            for each in self.ends:
                each.say_heard()


def hand_over(stream, frame):
    """As `Stream.send` where there is room; says whether there was."""
    if not stream._has_room(len(frame), len(frame) + FRAME_COST):
        return False
    sending = stream.send(frame)
    try:
        sending.send(None)
    except StopIteration:
        return True
    raise AssertionError


def taken(stream):
    frames = []
    while stream._frames:
        reading = stream.recv()
        try:
            reading.send(None)
        except StopIteration as stop:
            frames.append(stop.value)
    return frames


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_every_frame_comes_once_and_in_order_over_any_number_of_cuts(seed):
    chance = random.Random(seed)
    pair = Pair()
    mine = [pair.ends[0].open(f"/{n}") for n in range(3)]
    sent, heard = {each.number: [] for each in mine}, {each.number: [] for each in mine}
    for step in range(chance.randrange(300)):
        action = chance.randrange(10)
        if action < 3:
            stream = chance.choice(mine)
            frame = step.to_bytes(4, "big") + bytes(chance.choice((0, 10, 5000, 100_000, 700_000)))
            if hand_over(stream, frame):
                sent[stream.number].append(frame)
        elif action < 6:
            pair.write(chance.randrange(2), chance.randrange(1, 5))
        elif action < 8:
            pair.pass_on(chance.randrange(2), chance.randrange(1, 5))
        elif action < 9:
            for stream in pair.came[1]:
                heard[stream.number] += taken(stream)
        else:
            pair.cut()
        assert all(each._kept_bytes <= session_module.KEPT + MAX_CHUNK + 64 for each in pair.ends)
        assert all(stream._received - stream._taken <= WINDOW for stream in pair.came[1])
    pair.settle()
    for stream in pair.came[1]:
        heard[stream.number] += taken(stream)
    assert heard == sent


def test_what_came_twice_is_acted_on_once():
    pair = Pair()
    stream = pair.ends[0].open("/x")
    hand_over(stream, b"once")
    chunks = [pair.ends[0].next() for _ in range(2)]
    for chunk in (*chunks, *chunks):
        pair.ends[1].take(b"".join(chunk))
    assert len(pair.came[1]) == 1
    assert taken(pair.came[1][0]) == [b"once"]


def test_streams_take_turns():
    pair = Pair()
    bulk, small = (pair.ends[0].open(path) for path in ("/bulk", "/small"))
    pair.settle()
    hand_over(bulk, bytes(4_000_000))
    hand_over(small, b"small")
    kinds = [read(b"".join(pair.ends[0].next())) for _ in range(2)]
    assert {each.stream for each in kinds} == {bulk.number, small.number}
    assert all(len(each.body) <= session_module.PIECE for each in kinds)


@settings(max_examples=500, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=200),
            st.builds(
                written,
                st.sampled_from(Kind),
                st.integers(0, 6),
                st.integers(0, 12),
                st.integers(0, 3),
                st.one_of(
                    st.binary(max_size=40), st.just(b"/path"), st.just(bytes(8)), st.just(bytes(20_000))
                ),
            ),
        ),
        max_size=40,
    )
)
def test_whatever_comes_is_acted_on_or_named_as_broken(chunks):
    pair = Pair()
    hand_over(pair.ends[0].open("/ours"), b"frame")
    pair.settle()
    with suppress(Broken):
        for chunk in chunks:
            pair.ends[0].take(chunk)
    assert pair.ends[0].streams <= 2 * session_module.STREAMS
    pair.ends[0].end(GONE)


def test_a_chunk_in_order_for_any_stream_holds_bounded_memory():
    """A sender that sends on, whatever it is told, is stopped by the window at the latest."""
    pair = Pair()
    pair.ends[1].take(written(Kind.OPEN, 1, 1, 0, b"/x"))
    numbers = count(2)
    with pytest.raises(Broken, match="window"):  # noqa: PT012 (which one is told by the next line)
        while True:
            pair.ends[1].take(written(Kind.LAST, 1, next(numbers), 0))
    assert len(pair.came[1][0]._frames) <= WINDOW // FRAME_COST


async def test_a_stream_of_an_ended_session_says_why_to_everyone_who_waits():
    stream = Stream(1, "peer", lambda _: None)
    waiting = [asyncio.create_task(stream.recv()), asyncio.create_task(fill(stream))]
    await asyncio.sleep(0)
    stream.end(GONE)
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert {each.code for each in ends} == {"connection-lost"}


async def fill(stream):
    while True:
        await stream.send(bytes(1_000_000))


def test_the_head_of_a_chunk_is_small():
    assert HEAD == 21
