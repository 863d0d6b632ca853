"""A relay passes on what two other parties encrypt for one another, and nothing that says what it is."""

import asyncio
import base64
import time

import pytest

from parley.core.plan import Part, Plan
from parley.core.trace import Trace
from parley.net import links as links_module
from parley.net import relay as relay_module
from parley.net.channel import CheckedChannel, Setting
from parley.protocols import proposal

from tests.channels import stream_between
from tests.plaintext import APPLICATION_DATA, found, tls_records
from tests.protocols.test_link import three

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("before", range(4))
def test_a_word_is_found_however_it_is_written(before):
    text = "?" * before + "defaulted-later" + "!"
    written = [
        text.encode(),
        text.encode("utf-16-le"),
        text.encode().hex().encode(),
        base64.b64encode(text.encode()),
    ]
    for data in written:
        assert found({"defaulted-later", "another"}, data) == {"defaulted-later"}


class Overheard:
    """A stream of which is kept what comes on it."""

    def __init__(self, stream):
        self._stream = stream
        self.came = bytearray()

    async def recv(self):
        frame = await self._stream.recv()
        self.came += frame
        return frame

    async def send(self, frame):
        await self._stream.send(frame)


def overheard(monkeypatch):
    """Every pair of streams that a relay joins, from now on."""
    joined = []

    async def join(one, other):
        joined.append((Overheard(one), Overheard(other)))
        await relay_module.join(*joined[-1])

    monkeypatch.setattr(links_module, "join", join)
    return joined


async def test_what_a_relay_passes_on_is_tls_and_tells_nothing_of_the_conversation(monkeypatch):
    people = [f"person-{number:05}" for number in range(300)]
    parties = {
        "left": Part(table="table-of-accounts", id="customer-number", label="defaulted-later"),
        "other": Part(table="table-of-subscribers", id="customer-number", columns=("monthly-minutes",)),
    }
    plan = Plan(name="plan-of-credit", purpose="to grant loans", parties=parties)
    words = {
        "plan-of-credit",
        "to grant loans",
        "customer-number",
        "defaulted-later",
        "monthly-minutes",
        people[7],
    }
    words |= {
        "table-of-accounts",
        "/conversation/one",
        "proposal",
        "Agreement",
        "RunEnds",
        "welcome",
        "websocket",
    }

    async def propose(transport):
        setting = Setting(proposal.STEPS, proposal.ACTIVE, people[7], Trace(time.monotonic), 20.0)
        async with CheckedChannel(transport, setting) as channel:
            await proposal.propose(channel, plan)
            await channel.send(proposal.GoOn(0))
            await channel.send(proposal.RunEnds())
            await channel.recv(proposal.Ended)

    async def agree(transport):
        setting = Setting(proposal.STEPS, proposal.PASSIVE, people[7], Trace(time.monotonic), 20.0)
        async with CheckedChannel(transport, setting) as channel:
            await proposal.agree(channel, await proposal.receive(channel), ())
            await proposal.hear_place(channel, ())
            await channel.recv(proposal.RunEnds)
            await channel.send(proposal.Ended())

    async with three(relays=True) as (left, _, other):
        joined = overheard(monkeypatch)
        async with stream_between(left, other, "/conversation/one") as (near, far):
            await near.send("\n".join(people).encode() * 20)
            assert len(await far.recv()) > 60_000
            await asyncio.gather(propose(near), agree(far))
    ends = [end for both in joined for end in both]  # more than one pair if each had dialled the other
    for end in ends:
        records = tls_records(bytes(end.came))
        assert records
        assert found(words, b"".join(content for _, content in records)) == set()
    assert max(len(end.came) for end in ends) > 60_000
    assert APPLICATION_DATA in {kind for end in ends for kind, _ in tls_records(bytes(end.came))}
