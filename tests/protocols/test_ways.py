"""The ways of a program to a passive party: past our own party while that says so, and through it."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from parley.core.errors import PeerLost, UsageError
from parley.core.log import Log
from parley.core.trace import Trace
from parley.net.channel import CheckedChannel, Setting
from parley.net.memory import memory_pair
from parley.party.upkeep import until_either
from parley.protocols import ticketing
from parley.serving import ways
from parley.serving.ways import Ways

from tests.channels import identity_of, listening, pin_of

pytestmark = pytest.mark.timeout(60)
PATH = "/serving/m/0123/asking"
FAR = 1e6


class Own:
    """Our own party, in this process: what it says of the way, and who came through it."""

    def __init__(self, address):
        self.address, self.runs = address, True
        self.over, self.through = asyncio.Event(), []
        self.tasks = set()

    async def __call__(self, path):
        if not self.runs:
            raise UsageError("party-not-running", "it is not running", remedy="start it")
        near, far = memory_pair("program", "left")
        if path.startswith("/way/"):
            task = asyncio.create_task(self._tell(far))
            self.tasks.add(task)
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        else:
            self.through.append((path, far))
        return near

    async def _tell(self, transport):
        setting = Setting(ticketing.WAY_STEPS, ticketing.PARTY, "way", Trace(time.monotonic), FAR)
        async with CheckedChannel(transport, setting) as channel:
            ticket = "0" * 32 if self.address else ""
            await channel.send(ticketing.Way(self.address, pin_of("right").certificate_pem, ticket))
            await until_either(channel.recv(ticketing.Left), self._replaced())
            await channel.send(ticketing.Over())

    async def _replaced(self):
        await self.over.wait()
        raise PeerLost("certificate-revoked", "right is another one now", peer="right", remedy="look")


@asynccontextmanager
async def arranged(*, address=None, closes=False):
    arrived = asyncio.Queue()

    async def serve(peer, path, transport):
        arrived.put_nowait((peer, path))
        while not closes:
            await transport.send(await transport.recv())

    async with listening(serve) as listener:
        own = Own(listener.address if address is None else address)
        own.arrived, own.said = arrived, []
        log = Log("left", time.time, lambda record: own.said.append(record.text))
        own.ways = Ways(own, lambda: identity_of("left"), Trace(time.monotonic), log)
        try:
            yield own
        finally:
            for task in own.tasks:
                task.cancel()
            await asyncio.gather(*own.tasks, return_exceptions=True)


async def test_a_conversation_that_is_waited_for_goes_directly_and_others_through_our_party():
    async with arranged() as own:
        line = await own.ways("right", PATH)
        await line.send(b"x")
        assert (line.peer, await line.recv()) == ("right", b"x")
        assert await own.arrived.get() == ("left", PATH)
        assert own.said == ["right is asked directly"]
        await line.close()
        other = await own.ways("right", "/serving/m/0123/enrolment")
        assert (other.peer, own.through[0][0]) == ("right", "/through/right/serving/m/0123/enrolment")


async def test_a_direct_connection_ends_when_our_party_says_that_somebody_was_replaced():
    async with arranged() as own:
        line = await own.ways("right", PATH)
        waiting = asyncio.create_task(line.recv())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        own.over.set()
        with pytest.raises(PeerLost):
            await waiting
        await line.close()


@pytest.mark.parametrize("address", ["", "127.0.0.1:1"])
async def test_a_peer_that_cannot_be_dialled_is_asked_through_our_party(address):
    async with arranged(address=address) as own:
        for _ in range(2):
            await own.ways("right", PATH)
        assert [path for path, _ in own.through] == [f"/through/right{PATH}"] * 2
        assert len(own.tasks) == (2 if not address else 1), "what led nowhere is not tried again at once"


async def test_a_direct_way_that_breaks_at_once_is_not_taken_again_at_once():
    async with arranged(closes=True) as own:
        line = await own.ways("right", PATH)
        with pytest.raises(PeerLost):
            await line.recv()
        await line.close()
        await own.ways("right", PATH)
        assert own.through


async def test_a_direct_connection_lasts_no_longer_than_the_certificates(monkeypatch):
    async with arranged() as own:
        soon = identity_of("left").ends

        class Clock(ways.datetime):
            @classmethod
            def now(cls, _zone):
                return soon

        monkeypatch.setattr(ways, "datetime", Clock)
        line = await own.ways("right", PATH)
        with pytest.raises(PeerLost):
            await line.recv()
        await line.close()


async def test_what_ends_a_conversation_through_our_party_is_named():
    async with arranged(address="") as own:
        line = await own.ways("right", PATH)
        await own.through[0][1].close()
        with pytest.raises(PeerLost) as lost:
            await line.recv()
        assert lost.value.peer == "right"
        line = await own.ways("right", PATH)
        await own.through[-1][1].close()
        own.runs = False
        with pytest.raises(PeerLost) as lost:
            await line.recv()
        assert lost.value.peer == "left"
