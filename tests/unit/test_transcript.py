"""Transcripts: both ends of a conversation take down the same, whatever the order of the directions."""

import asyncio
import hashlib
import time

from parley.core.trace import Trace
from parley.core.transcript import Transcript
from parley.net.channel import CheckedChannel, Setting

from tests.channels import transports
from tests.echo import STEPS


async def test_both_ends_list_the_same_messages():
    roles = STEPS.roles()
    kept = {"left": Transcript("left"), "right": Transcript("right")}
    async with transports("memory") as ends:
        channels = [
            CheckedChannel(end, Setting(STEPS, role, "r", Trace(time.monotonic), 5.0, kept[name]))
            for end, role, name in zip(ends, roles, kept, strict=True)
        ]
        await asyncio.gather(*(channel._greet() for channel in channels))
    left, right = kept["left"].cut().said(), kept["right"].cut().said()
    assert left == right
    assert len({said.leaf() for said in left}) == 2
    assert kept["left"].cut().said() == ()


def test_frames_long_and_short_are_listed_in_order_with_their_digests():
    transcript = Transcript("left")
    frames = [bytes([number]) * (1 << 17 if number % 2 else 10) for number in range(6)]
    for number, frame in enumerate(frames):
        transcript.received("echo", "right", number, frame)
    assert [said.digest for said in transcript.cut(before_last=True).said()] == [
        hashlib.sha256(frame).digest() for frame in frames[:-1]
    ]
    assert [said.number for said in transcript.cut().said()] == [5]
