"""A passive party as the active one has it: asked while it answers, left alone when it does not."""

import asyncio
import time
from contextlib import asynccontextmanager

import numpy as np
import polars as pl
import pytest

from parley.core.errors import PeerLost, PolicyRefused
from parley.core.log import Log
from parley.core.trace import Trace
from parley.net.channel import CheckedChannel, Setting
from parley.net.memory import memory_pair
from parley.protocols import asking, enrolment
from parley.serving import partner
from parley.serving.engine import Asked
from parley.serving.monitor import Monitor
from parley.serving.partner import Partner, Served

from tests.in_use import until

SPLITS = 9
TABLE = ["a", "b", "c"]


class Passive:
    """The passive party's side of every conversation, in this process."""

    def __init__(self):
        self.enrolments, self.hangs, self.error, self.leaves = 0, False, None, False
        self.conversations = []
        self.tokens, self.tasks = {}, set()

    async def reach(self, peer, path):
        if self.error is not None:
            raise self.error
        near, far = memory_pair("bank", peer)
        key, protocol = path.split("/")[-2:]
        if protocol == "asking":
            self.conversations.append(far)
        task = asyncio.create_task(self._serve(key, protocol, far))
        self.tasks.add(task)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return near

    async def _serve(self, key, protocol, transport):
        steps = enrolment.STEPS if protocol == "enrolment" else asking.STEPS
        setting = Setting(steps, asking.PASSIVE, key, Trace(time.monotonic), 20.0)
        async with CheckedChannel(transport, setting) as channel:
            if protocol == "enrolment":
                self.enrolments += 1
                options = enrolment.Options("m", "as-is", bytes(32), 1)
                ids = Asked.of(pl.Series("id", TABLE))
                self.tokens[key] = [each.tobytes() for each in await enrolment.passive(channel, ids, options)]
            elif self.leaves:
                await channel.recv(asking.Begin)
                await channel.send(asking.Ready())
                raise PolicyRefused("not-enrolled", "it leaves", remedy="none")
            else:
                await asking.passive(
                    channel, "m", SPLITS, lambda tokens: asyncio.to_thread(self._said, key, tokens)
                )

    def _said(self, key, tokens):
        while self.hangs:
            time.sleep(0.01)
        known = np.array([each.tobytes() in self.tokens[key] for each in tokens])
        return asking.Answer(known, np.ones((int(known.sum()), 2), np.uint8))


@asynccontextmanager
async def kept(passive):
    said = []
    served = Served("m", SPLITS, "as-is", 1)
    log = Log("bank", time.time, said.append)
    made = Partner("operator", served, passive.reach, Trace(time.monotonic), Monitor(), log)
    made.said = said
    running = asyncio.create_task(made.run())
    try:
        await asyncio.wait_for(made.settled(), 60)
        yield made
    finally:
        passive.hangs = False
        for task in (running, *passive.tasks):
            task.cancel()
        await asyncio.gather(running, *passive.tasks, return_exceptions=True)


def ids(*texts):
    return Asked.of(pl.Series("id", texts)), len(texts)


def test_a_party_is_enrolled_and_says_whom_it_has():
    async def work():
        async with kept(Passive()) as made:
            assert (made.peerage().state, made.peerage().rows) == ("ready", 3)
            answer = await made.ask(*ids("a", "x", "c"), 30.0)
            assert answer.known.tolist() == [True, False, True]

    asyncio.run(work())


def test_one_that_hangs_costs_its_deadline_twice_and_then_nothing_until_it_is_back(monkeypatch):
    monkeypatch.setattr(partner, "_PATIENCE", 1.0)

    async def work():
        passive = Passive()
        async with kept(passive) as made:
            passive.hangs = True
            for _ in range(2):
                with pytest.raises(PeerLost) as late:
                    await made.ask(*ids("a"), 0.05)
                assert late.value.code == "peer-late"
            await until(lambda: made.peerage().state != "ready")
            with pytest.raises(PeerLost) as away:
                await made.ask(*ids("a"), 1000.0)
            assert away.value.code == "peer-away"
            assert made.peerage().rows == 0, "what nobody can be asked by is not kept"
            passive.hangs = False
            await until(lambda: made.peerage().state == "ready")
            assert (await made.ask(*ids("a"), 30.0)).known.all()

    asyncio.run(work())


def test_one_that_ends_every_conversation_at_once_is_enrolled_more_and_more_seldom(monkeypatch):
    monkeypatch.setattr(partner, "_PAUSES", (0.0, 0.0, 1000.0))

    async def work():
        passive = Passive()
        passive.leaves = True
        async with kept(passive) as made:
            await until(lambda: passive.enrolments == 2)
            await until(lambda: made.peerage().state == "away")
            await asyncio.sleep(0.2)
            assert passive.enrolments == 2

    asyncio.run(work())


def test_a_conversation_that_breaks_is_begun_anew_without_another_enrolment(monkeypatch):
    monkeypatch.setattr(partner, "_PAUSES", (0.01,))

    async def work():
        passive = Passive()
        async with kept(passive) as made:
            assert (await made.ask(*ids("a"), 30.0)).known.all()
            await passive.conversations[0].close()
            await until(lambda: len(passive.conversations) == 2 and made.peerage().state == "ready")
            assert (await made.ask(*ids("a", "b"), 30.0)).known.all()
            assert passive.enrolments == 1

    asyncio.run(work())


def test_one_that_holds_the_enrolment_no_more_is_enrolled_anew(monkeypatch):
    monkeypatch.setattr(partner, "_PAUSES", (0.01,))

    async def work():
        passive = Passive()
        async with kept(passive) as made:
            passive.leaves = True
            await passive.conversations[0].close()
            await until(lambda: passive.enrolments >= 2)
            passive.leaves = False
            await until(lambda: made.peerage().state == "ready")
            assert (await made.ask(*ids("a"), 30.0)).known.all()

    asyncio.run(work())


def test_whatever_goes_wrong_it_is_tried_again(monkeypatch):
    monkeypatch.setattr(partner, "_PAUSES", (0.01,))

    async def work():
        passive = Passive()
        passive.error = ValueError("nobody foresaw this")
        async with kept(passive) as made:
            assert made.peerage().code == "internal"
            assert made.said
            passive.error = None
            await until(lambda: made.peerage().state == "ready")

    asyncio.run(work())
