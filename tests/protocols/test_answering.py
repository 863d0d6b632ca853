"""What answers for a model at a passive party: to whom, by which tokens, and for how long."""

import asyncio
import socket
import time
from contextlib import asynccontextmanager
from types import SimpleNamespace

import msgspec
import numpy as np
import polars as pl
import pytest

from parley.core.errors import ParleyError, PeerAborted, PolicyRefused
from parley.core.log import Log
from parley.core.trace import Trace
from parley.data.binning import encode_columns
from parley.learn import forest
from parley.net.channel import CheckedChannel, Setting
from parley.net.handover import Reception, hand_over
from parley.net.memory import memory_pair
from parley.net.websocket import dial
from parley.protocols import asking, enrolment
from parley.serving import answerer
from parley.serving.answerer import Answerer
from parley.serving.answering import Direct
from parley.serving.engine import Asked
from parley.serving.features.opening import open_features
from parley.store.catalogue import TableRecord

from tests.channels import identity_of, pin_of
from tests.in_use import Ledger, model, until

pytestmark = pytest.mark.timeout(60)
KEY = "0123456789abcdef0123456789abcdef"
IDS = ["id-1", "nobody", "id-7"]


class Running:
    """An answerer of the operator's share over a real table, and the bank's side of its conversations."""

    def __init__(self, made, share, frame, ledger, door, said):
        self.made, self.share, self.frame, self.ledger, self.door, self.said = (
            made,
            share,
            frame,
            ledger,
            door,
            said,
        )

    def begin(self, protocol, key=KEY, peer="left"):
        """A stream that the operator's party opens for a peer: the peer's end of it."""
        near, far = memory_pair(peer, "right")
        self.made.arrived(f"/{key}/{protocol}/{peer}", far)
        return near

    async def enrolled(self, key=KEY):
        setting = Setting(enrolment.STEPS, enrolment.ACTIVE, key, Trace(time.monotonic), 20.0)
        async with CheckedChannel(self.begin("enrolment", key), setting) as channel:
            return await enrolment.active(channel, enrolment.Options(self.share.model, "as-is", bytes(32), 1))

    async def asked(self, tokens, transport=None, key=KEY):
        transport = self.begin("asking", key) if transport is None else transport
        setting = Setting(asking.STEPS, asking.ACTIVE, key, Trace(time.monotonic), 20.0)
        async with (
            CheckedChannel(transport, setting) as channel,
            asking.Inquiry(channel, self.share.model, len(self.share.rules)) as inquiry,
        ):
            return await inquiry.ask(tokens.of(Asked.of(pl.Series("id", IDS))))

    def expected(self):
        rows = self.frame.filter(pl.col("id").is_in(IDS))
        bins = {column.name: column.bins for column in self.share.columns}
        codes = encode_columns(rows, bins, threads=1).codes
        counts = [column.bins.bin_count for column in self.share.columns]
        return forest.Tests.of(self.share.rules, counts).directions(codes, np.arange(rows.height), 1)


@asynccontextmanager
async def running(folder, quota=1000):
    shares, frame, _ = model()
    share = shares[1]
    frame.write_csv(folder / "t.csv")
    identity_of("right").save(folder / "identity")
    record = TableRecord(name="t", source=str(folder / "t.csv"), id="id")
    home = SimpleNamespace(path=folder, identity_folder=folder / "identity")
    subject = SimpleNamespace(share=share, home=home, rule="as-is", threads=1)
    said = []
    log = Log("right", time.time, lambda record: said.append(record.text))
    features = await open_features(record, share, "as-is", log)
    ledger = Ledger(quota)
    door, behind = socket.socketpair(type=socket.SOCK_DGRAM)
    reception = Reception(behind)
    async with ledger.attended() as attendance:
        made = Answerer(subject, features, attendance, reception, log)
        try:
            yield Running(made, share, frame, ledger, door, said)
        finally:
            for task in list(made._conversations):
                task.cancel()
            await asyncio.gather(*made._conversations, return_exceptions=True)
            reception.close()
            door.close()
            await features.close()


@asynccontextmanager
async def connected(port, peer="left", path=None, number="n"):
    """A connection of a peer that the operator's party hands over: its line, and the peer's end of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    line = port.begin("direct")
    await line.send(msgspec.msgpack.encode(Direct(number, pin_of("left").certificate_pem)))
    hand_over(port.door, number, theirs)
    wanted = path or f"/serving/{port.share.model}/{KEY}/asking"
    ours.setblocking(False)
    transport = await dial("right:1", identity_of(peer), pin_of("right"), wanted, over=ours)
    try:
        yield line, transport
    finally:
        await transport.close()


async def read_to_the_end(transport):
    while True:
        await transport.recv()


async def test_who_has_enrolled_asks_by_tokens_and_hears_the_directions_of_known_rows(tmp_path):
    async with running(tmp_path) as port:
        answer = await port.asked(await port.enrolled())
        assert answer.known.tolist() == [True, False, True]
        assert (answer.left == port.expected()).all()


async def test_tokens_of_an_enrolment_that_is_not_held_mean_nothing(tmp_path):
    async with running(tmp_path) as port:
        tokens = await port.enrolled()
        with pytest.raises(PeerAborted) as refused:
            await port.asked(tokens, key="f" * 32)
        assert refused.value.code == "not-enrolled"


async def test_enrolments_that_were_not_used_for_longest_are_let_go(tmp_path, monkeypatch):
    monkeypatch.setattr(answerer, "ROLLS", 2)
    async with running(tmp_path) as port:
        tokens = [await port.enrolled(str(number) * 32) for number in range(3)]
        await until(lambda: len(port.made._rolls) == 2)
        with pytest.raises(PeerAborted):
            await port.asked(tokens[0], key="0" * 32)
        assert (await port.asked(tokens[2], key="2" * 32)).known.sum() == 2


async def test_what_the_ledger_does_not_allow_is_not_answered(tmp_path):
    async with running(tmp_path, quota=len(IDS)) as port:
        tokens = await port.enrolled()
        await port.asked(tokens)
        with pytest.raises(PolicyRefused) as refused:
            await port.asked(tokens)
        assert refused.value.code == "ledger-quota-exceeded"


async def test_a_connection_that_is_handed_over_is_answered_like_a_stream(tmp_path):
    async with running(tmp_path) as port:
        tokens = await port.enrolled()
        async with connected(port) as (_, transport):
            assert (await port.asked(tokens, transport)).known.sum() == 2


async def test_it_lasts_no_longer_than_the_line_to_our_party(tmp_path):
    async with running(tmp_path) as port:
        await port.enrolled()
        async with connected(port) as (line, transport):
            await line.close()
            with pytest.raises(ParleyError):
                await read_to_the_end(transport)


async def test_another_path_is_not_served_on_it(tmp_path):
    async with running(tmp_path) as port:
        await port.enrolled()
        async with connected(port, path=f"/serving/{port.share.model}/{'f' * 32}/asking") as (_, transport):
            with pytest.raises(ParleyError):
                await transport.recv()
        assert any("with a ticket of left" in each for each in port.said)


async def test_who_is_not_the_peer_is_turned_away(tmp_path):
    async with running(tmp_path) as port:
        await port.enrolled()
        with pytest.raises(ParleyError):
            async with connected(port, peer="third") as (_, transport):
                await transport.recv()
        await until(lambda: any("turned away" in each for each in port.said))


async def test_a_connection_that_does_not_come_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(answerer, "UNWANTED", 0.05)
    async with running(tmp_path) as port:
        line = port.begin("direct")
        await line.send(msgspec.msgpack.encode(Direct("n", pin_of("left").certificate_pem)))
        with pytest.raises(ParleyError):
            await line.recv()
        assert any("was not handed over" in each for each in port.said)
