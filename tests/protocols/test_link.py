"""Streams over one link: nothing is lost while connections break, nobody in another's way, no rule broken."""

import asyncio
import random
from contextlib import asynccontextmanager, suppress
from itertools import count

import msgspec
import pytest

from parley.core.errors import PeerAborted, PeerError, PeerLost, PeerMisbehaved, ProtocolBug, UsageError
from parley.net import link as link_module
from parley.net import links as links_module
from parley.net import session, streams, wire
from parley.net.chunks import VERSION, Hello, Kind, greeting_read, total_written, written
from parley.net.links import LINK
from parley.net.transport import MAX_FRAME
from parley.net.websocket import dial

from tests.between import Network
from tests.channels import Linked, identity_of, linked, pin_of, stream_between

pytestmark = pytest.mark.timeout(60)


@asynccontextmanager
async def network_between(left="left", right="right", **options):
    """Two parties with a network between them that the first dials through; the network."""
    async with (
        Linked(right, [left]) as theirs,
        Network(theirs.address) as network,
        Linked(left, [right], listens=False, **options) as ours,
    ):
        ours.addresses[right] = network.address
        yield ours, theirs, network


def the_link(party, peer):
    return party.links._links[peer]


async def until(found):
    while not (result := found()):
        await asyncio.sleep(0.01)
    return result


async def pour(stream, frames):
    for frame in frames:
        await stream.send(frame)


async def drain(stream, number):
    return [await stream.recv() for _ in range(number)]


async def lost(stream):
    """The error by which a stream ends, after whatever still comes."""
    try:
        while True:
            await stream.recv()
    except PeerError as error:
        return error


# Both directions


async def test_either_end_begins_conversations_over_the_one_connection():
    async with linked() as (ours, theirs):
        async with (
            stream_between(ours, theirs, "/runs/7") as (near, far),
            stream_between(theirs, ours) as (a, b),
        ):
            await near.send(b"there")
            await far.send(b"back")
            await a.send(b"other")
            assert (await far.recv(), await near.recv(), await b.recv()) == (b"there", b"back", b"other")
            assert (near.peer, far.peer) == ("right", "left")
        assert len(theirs.links._links) == len(ours.links._links) == 1


async def test_a_closed_stream_delivers_what_was_handed_over_and_leaves_nothing_behind():
    async with linked() as (ours, theirs):
        frames = [bytes([n]) * 400_000 for n in range(10)]
        async with stream_between(ours, theirs) as (near, far):
            await pour(near, frames)
            await near.close()
            assert await drain(far, 10) == frames
            assert (await lost(far)).code == "connection-closed"
        await until(lambda: not the_link(ours, "right").figures().streams)
        await until(lambda: not the_link(theirs, "left").figures().streams)


async def test_a_frame_is_as_large_as_on_a_connection_of_its_own():
    async with linked() as (ours, theirs), stream_between(ours, theirs) as (near, far):
        sending = asyncio.create_task(pour(near, [bytes(MAX_FRAME)] * 3))
        assert [len(each) for each in await drain(far, 3)] == [MAX_FRAME] * 3
        await sending
        await near.send(b"")
        assert await far.recv() == b""
        with pytest.raises(ProtocolBug):
            await near.send(bytes(MAX_FRAME + 1))


async def test_a_cancelled_send_was_not_handed_over():
    async with linked() as (ours, theirs), stream_between(ours, theirs) as (near, far):
        await near.send(bytes(MAX_FRAME))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await near.send(b"never".ljust(2_000_000))
        assert len(await far.recv()) == MAX_FRAME
        await near.send(b"next")
        assert await far.recv() == b"next"


# A connection that breaks


async def test_what_is_under_way_survives_a_cut_connection_once_and_in_order():
    async with network_between() as (ours, theirs, network), stream_between(ours, theirs) as (near, far):
        there = [b"%d" % n + bytes(n * 1000) for n in range(200)]
        back = [b"%d" % n for n in range(3000)]
        work = asyncio.gather(pour(near, there), pour(far, back), drain(far, 200), drain(near, 3000))
        for _ in range(5):
            await asyncio.sleep(0.1)
            network.cut()
        _, _, came_there, came_back = await work
        assert (came_there, came_back) == (there, back)
        assert network.connections > 1


@pytest.mark.parametrize("seed", range(6))
async def test_random_cuts_lose_and_repeat_nothing(seed, monkeypatch):
    monkeypatch.setattr(link_module, "FIRST_PAUSE", 0.01)
    chance = random.Random(seed)
    async with network_between() as (ours, theirs, network):
        sizes = [[chance.choice((1, 500, 70_000, 300_000)) for _ in range(40)] for _ in range(3)]
        wanted = [[b"%03d" % n + bytes(size) for n, size in enumerate(each)] for each in sizes]

        async def converse(frames):
            async with stream_between(ours, theirs) as (near, far):
                return await asyncio.gather(
                    drain(near, len(frames)), drain(far, len(frames)), pour(near, frames), pour(far, frames)
                )

        async def cut_now_and_then():
            while True:
                network.cut_after = network.passed + chance.randrange(1, 2_000_000)
                await asyncio.sleep(chance.random() * 0.2)

        cutting = asyncio.create_task(cut_now_and_then())
        try:
            results = await asyncio.gather(*(converse(frames) for frames in wanted))
        finally:
            cutting.cancel()
        assert network.connections > 1
    heard = sorted((tuple(there), tuple(back)) for there, back, _, _ in results)
    assert heard == sorted((tuple(frames), tuple(frames)) for frames in wanted)


async def test_streams_end_at_both_ends_when_the_connection_does_not_come_back(monkeypatch):
    monkeypatch.setattr(link_module, "GRACE", 0.5)
    monkeypatch.setattr(link_module, "LEAST_GRACE", 0.5)
    async with network_between() as (ours, theirs, network), stream_between(ours, theirs) as (near, far):
        await near.send(b"last")
        await until(lambda: not the_link(ours, "right")._session.owes)
        network.refuse()
        network.cut()
        ends = await asyncio.gather(lost(near), lost(far))
        assert [(type(each), each.code) for each in ends] == [(PeerLost, "connection-lost")] * 2
        network.refuse(refuses=False)
        async with stream_between(ours, theirs) as (again, there):
            await again.send(b"a new session")
            assert await there.recv() == b"a new session"


async def test_an_end_that_gave_up_earlier_ends_the_streams_of_the_other_too():
    async with network_between() as (ours, theirs, network), stream_between(ours, theirs) as (near, far):
        network.refuse()
        network.cut()
        await until(lambda: the_link(theirs, "left").connection is None)
        the_link(theirs, "left")._give_up()
        network.refuse(refuses=False)
        assert {(await lost(near)).code, (await lost(far)).code} == {"connection-lost"}


async def test_a_half_open_connection_is_noticed_and_dialled_again(monkeypatch):
    monkeypatch.setattr(wire, "BEAT", 0.05)
    async with network_between() as (ours, theirs, network), stream_between(ours, theirs) as (near, far):
        network.swallows = True
        await near.send(b"into the void")
        await until(lambda: the_link(ours, "right").connection is None)
        network.swallows = False
        assert await far.recv() == b"into the void"
        assert network.connections > 1


async def test_a_stalled_network_that_goes_on_in_time_breaks_nothing():
    async with network_between() as (ours, theirs, network), stream_between(ours, theirs) as (near, far):
        network.stall()
        await pour(near, [b"one", b"two"])
        await asyncio.sleep(1.5)
        network.go_on()
        assert await drain(far, 2) == [b"one", b"two"]
        assert network.connections == 1


async def test_a_peer_that_was_started_again_ends_the_streams_at_once():
    async with (
        Linked("left", ["right"], listens=False) as ours,
        Linked("right", ["left"]) as theirs,
        Network(theirs.address) as network,
    ):
        ours.addresses["right"] = network.address
        near = await ours.links.open("right", "/test")
        _, far, over = await theirs.arrived.get()
        await near.send(b"x")
        await far.recv()
        network.refuse()
        network.cut()
        async with Linked("right", ["left"]) as again:
            host, port = again.address.split(":")
            network._target = host, int(port)
            network.refuse(refuses=False)
            assert (await lost(near)).code == "peer-restarted"
            fresh = await ours.links.open("right", "/again")
            path, there, done = await again.arrived.get()
            await fresh.send(b"y")
            assert (path, await there.recv()) == ("/again", b"y")
            done.set()
        over.set()


async def test_leaving_tells_the_peer_after_all_that_was_handed_over():
    async with Linked("right", ["left"]) as theirs:
        async with Linked("left", ["right"], listens=False) as ours:
            ours.addresses["right"] = theirs.address
            near = await ours.links.open("right", "/test")
            _, far, over = await theirs.arrived.get()
            await pour(near, [bytes(300_000)] * 5)
        assert [len(each) for each in await drain(far, 5)] == [300_000] * 5
        assert (await lost(far)).code == "connection-closed"
        over.set()


# Who dials


@pytest.mark.parametrize("seed", range(4))
async def test_when_both_dial_at_once_one_link_stays_and_no_stream_is_lost(seed):
    chance = random.Random(seed)
    async with (
        Linked("left", ["right"]) as ours,
        Linked("right", ["left"]) as theirs,
        Network(ours.address) as to_ours,
        Network(theirs.address) as to_theirs,
    ):
        ours.addresses["right"], theirs.addresses["left"] = to_theirs.address, to_ours.address

        async def talk(a, b, path):
            await asyncio.sleep(chance.random() * 0.02)
            stream = await a.links.open(b.name, path)
            for n in range(50):
                await stream.send(b"%d" % n)
            return stream

        opened = await asyncio.gather(
            *(talk(ours, theirs, f"/to-theirs/{n}") for n in range(3)),
            *(talk(theirs, ours, f"/to-ours/{n}") for n in range(3)),
        )
        for party in (ours, theirs):
            for _ in range(3):
                _, stream, over = await party.arrived.get()
                assert await drain(stream, 50) == [b"%d" % n for n in range(50)]
                over.set()
        for stream in opened:
            await stream.close()
        await until(lambda: the_link(ours, "right")._lost == the_link(theirs, "left")._lost)
        assert all(link.connected for link in (the_link(ours, "right"), the_link(theirs, "left")))


async def test_a_peer_without_an_address_is_waited_for_and_then_named(monkeypatch):
    monkeypatch.setattr(link_module, "PATIENCE", 0.3)
    async with Linked("right", ["left"]) as theirs:
        with pytest.raises(PeerLost) as caught:
            await theirs.links.open("left", "/test")
        assert caught.value.code == "peer-not-connected"
        opening = asyncio.create_task(theirs.links.open("left", "/test"))
        async with Linked("left", ["right"], listens=False, kept=lambda: ["right"]) as ours:
            ours.addresses["right"] = theirs.address
            stream = await opening
            await stream.send(b"you dialled us")
            _, near, over = await ours.arrived.get()
            assert await near.recv() == b"you dialled us"
            over.set()


async def test_a_kept_link_comes_back_without_a_stream(monkeypatch):
    monkeypatch.setattr(links_module, "LOOK_AROUND", 0.05)
    async with network_between(kept=lambda: ["right"]) as (ours, theirs, network):
        for number in range(1, 3):
            await until(lambda: network.connections == number and the_link(ours, "right").connected)  # noqa: B023
            network.cut()
        async with stream_between(theirs, ours) as (near, far):
            await near.send(b"still here")
            assert await far.recv() == b"still here"


async def test_whoever_cannot_be_dialled_is_named_as_before():
    async with Linked("right", ["left"]) as theirs:
        address = theirs.address
    async with Linked("left", ["right"], listens=False) as ours:
        ours.addresses["right"] = address
        with pytest.raises(PeerLost) as caught:
            await ours.links.open("right", "/test")
        assert caught.value.code == "peer-unreachable"
        with pytest.raises(UsageError):
            await ours.links.open("stranger", "/test")


async def test_a_peer_that_is_let_go_of_begins_no_conversation_any_more(monkeypatch):
    monkeypatch.setattr(link_module, "GRACE", 0.5)
    monkeypatch.setattr(link_module, "LEAST_GRACE", 0.5)
    async with linked() as (ours, theirs), stream_between(ours, theirs):
        del theirs.addresses["left"]
        with suppress(PeerError):
            stream = await ours.links.open("right", "/test")
            await stream.recv()
        await until(lambda: not the_link(theirs, "left").connected)
        assert theirs.arrived.empty()


# Nobody in another's way


async def test_a_slow_reader_stops_its_own_stream_only():
    async with linked() as (ours, theirs), stream_between(ours, theirs) as (slow, _unread):
        flooding = asyncio.create_task(pour(slow, [bytes(100_000)] * 1000))
        async with stream_between(ours, theirs) as (near, far):
            for n in range(200):
                await near.send(b"%d" % n + bytes(50_000))
                assert (await far.recv()).startswith(b"%d" % n)
        assert not flooding.done()
        assert streams.WINDOW - 200_000 < slow._sent <= streams.WINDOW
        flooding.cancel()


async def test_small_messages_pass_bulk_data_on_a_slow_network():
    """At four mebibytes a second one frame of bulk data takes a second; a small one does not wait for it."""
    async with (
        network_between() as (ours, theirs, network),
        stream_between(ours, theirs) as (bulk, sink),
        stream_between(ours, theirs) as (near, far),
    ):
        network.rate = 4 * 1024 * 1024
        pouring = asyncio.create_task(pour(bulk, [bytes(MAX_FRAME)] * 100))
        reading = asyncio.create_task(drain(sink, 100))
        await until(lambda: the_link(ours, "right")._meter.bytes_out > 1_000_000)
        for _ in range(3):
            before = the_link(ours, "right")._meter.bytes_out
            await near.send(b"small")
            await far.recv()
            assert the_link(ours, "right")._meter.bytes_out - before < MAX_FRAME
        pouring.cancel()
        reading.cancel()


async def test_streams_that_pour_at_once_get_equal_parts():
    async with network_between() as (ours, theirs, network):
        network.rate = 8 * 1024 * 1024
        came = [0] * 4
        all_pour = asyncio.Barrier(4)

        async def one(index):
            async with stream_between(ours, theirs, f"/{index}") as (near, far):

                async def read():
                    await far.recv()
                    await all_pour.wait()
                    while True:
                        came[index] += len(await far.recv())

                with suppress(TimeoutError):
                    async with asyncio.timeout(4):
                        await asyncio.gather(read(), pour(near, [bytes(30_000)] * 10_000))

        await asyncio.gather(*(one(index) for index in range(4)))
        assert min(came) > 0.5 * max(came)


async def test_what_is_kept_for_sending_again_is_bounded():
    async with network_between() as (ours, theirs, network):
        network.rate = 1024 * 1024
        async with stream_between(ours, theirs) as (a, _a), stream_between(ours, theirs) as (b, _b):
            pouring = [asyncio.create_task(pour(each, [bytes(300_000)] * 100)) for each in (a, b)]
            most = 0
            for _ in range(100):
                await asyncio.sleep(0.01)
                most = max(most, the_link(ours, "right")._session._kept_bytes)
            assert most <= session.KEPT + 256 * 1024
            for each in pouring:
                each.cancel()


async def test_a_link_knows_its_figures():
    async with linked() as (ours, theirs), stream_between(ours, theirs) as (near, far):
        await near.send(bytes(1_000_000))
        await far.recv()
        figures = await until(lambda: with_round_trip(ours))
        (theirs_say,) = theirs.links.figures()
        assert figures.peer == "right"
        assert figures.connected
        assert figures.streams == 1
        assert figures.bytes_out > 1_000_000
        assert theirs_say.bytes_in == figures.bytes_out
        assert theirs_say.rate_in > 0


def with_round_trip(party):
    (figures,) = party.links.figures()
    return figures if figures.round_trip is not None else None


# A peer that breaks the rules


@asynccontextmanager
async def raw(theirs, hello=None):
    """A connection of ``left`` that says what it likes."""
    transport = await dial(theirs.address, identity_of("left"), pin_of("right"), LINK)
    try:
        if hello is None:
            await transport.send(msgspec.msgpack.encode(Hello(VERSION, b"p", b"s", b"", b"c", b"", 0, False)))
            greeting_read(await transport.recv())
        yield transport
    finally:
        transport.wire.abort()


def opened(path=b"/test", stream=1, number=1):
    return written(Kind.OPEN, stream, number, 0, path)


BREACHES = {
    "malformed-chunk": [
        b"",
        b"short",
        written(99, 1, 1, 0),
        written(Kind.LAST, 0, 1, 0),
        written(Kind.HEARD, 1, 1, 0),
    ],
    "chunk-too-large": [opened(bytes(300_000))],
    "malformed-path": [opened(b"no-slash"), opened(b"/\xff"), opened(b"/" * 300), opened(b"/\n")],
    "lost-chunk": [opened(number=2)],
    "false-count": [written(Kind.HEARD, 0, 0, 1_000_000)],
    "stream-reused": [opened(stream=2)],
    "unknown-stream": [written(Kind.LAST, 1, 1, 0, b"x")],
}


@pytest.mark.parametrize(
    ("code", "chunk"), [(code, each) for code, all_ in BREACHES.items() for each in all_]
)
async def test_a_breach_of_the_rules_ends_the_link_and_the_peer_is_told(code, chunk):
    async with Linked("right", ["left"]) as theirs, raw(theirs) as transport:
        await transport.send(chunk)
        told = await lost(transport)
        assert (type(told), told.code) == (PeerAborted, "frame-refused")
        await until(lambda: not the_link(theirs, "left").connected)
        assert f"[{code}]" in theirs.log[-1]


async def breach(theirs, *chunks):
    """How the stream ends that the first chunk opens."""
    async with raw(theirs) as transport:
        await transport.send(opened())
        _, stream, over = await theirs.arrived.get()
        for chunk in chunks:
            await transport.send(chunk)
        try:
            while True:
                await stream.recv()
        except PeerMisbehaved as error:
            return error.code
        finally:
            over.set()


async def test_what_a_stream_may_not_do_is_misconduct():
    piece = bytes(200_000)
    numbers = count(2)
    over_window = [written(Kind.LAST, 1, next(numbers), 0, piece) for _ in range(60)]
    too_large = [written(Kind.MORE, 1, n, 0, piece) for n in range(2, 40)]
    async with Linked("right", ["left"]) as theirs:
        assert await breach(theirs, written(Kind.CREDIT, 1, 2, 0, total_written(5))) == "false-report"
        assert await breach(theirs, written(Kind.CREDIT, 1, 2, 0, b"xx")) == "malformed-chunk"
        assert await breach(theirs, written(Kind.MORE, 1, 2, 0, b"tiny")) == "malformed-chunk"
        assert await breach(theirs, *too_large) == "frame-too-large"
        many = [opened(stream=n, number=(n + 1) // 2) for n in range(3, 100, 2)]
        assert await breach(theirs, *many) == "too-many-streams"

    async def holds(_peer, _path, transport):
        await asyncio.sleep(0.3)
        outcome.append((await lost(transport)).code)

    outcome = []
    async with Linked("right", ["left"], holds) as theirs, raw(theirs) as transport:
        await transport.send(opened())
        for chunk in over_window:
            await transport.send(chunk)
        await until(lambda: outcome)
    assert outcome == ["window-exceeded"]


NESTED = b"\x92" + msgspec.msgpack.encode("crossed") + b"\x91" * 100_000 + b"\xc0"


@pytest.mark.parametrize("greeting", [b"", b"\x00", b"hello", msgspec.msgpack.encode(("anew", b"p")), NESTED])
async def test_a_malformed_greeting_is_refused(greeting):
    async with Linked("right", ["left"]) as theirs, raw(theirs, hello=greeting) as transport:
        await transport.send(greeting)
        with pytest.raises(PeerAborted):
            await transport.recv()


async def test_another_version_of_the_rules_is_refused():
    hello = msgspec.msgpack.encode(Hello(VERSION + 1, b"p", b"s", b"", b"c", b"", 0, False))
    async with Linked("right", ["left"]) as theirs, raw(theirs, hello=hello) as transport:
        await transport.send(hello)
        with pytest.raises(PeerAborted) as caught:
            await transport.recv()
        assert "version" in caught.value.what


async def test_more_conversations_than_we_serve_are_closed_politely(monkeypatch):
    monkeypatch.setattr(links_module, "CONVERSATIONS", 2)
    async with linked() as (ours, theirs):
        held = [await ours.links.open("right", "/test") for _ in range(3)]
        assert (await lost(held[2])).code == "connection-closed"
        await held[0].send(b"goes on")
        _, far, over = await theirs.arrived.get()
        assert await far.recv() == b"goes on"
        over.set()


async def test_our_own_program_may_not_open_more_streams_than_agreed():
    async with linked() as (ours, _):
        held = [await ours.links.open("right", "/test") for _ in range(session.STREAMS)]
        with pytest.raises(Exception, match="too-many-streams"):
            await ours.links.open("right", "/test")
        await held[0].close()
        await until(lambda: the_link(ours, "right").figures().streams < session.STREAMS)
        await ours.links.open("right", "/test")


@pytest.mark.parametrize("seed", range(5))
async def test_random_chunks_end_the_link_at_worst_and_harm_nobody_else(seed):
    chance = random.Random(seed)
    async with (
        Linked("right", ["left", "other"]) as theirs,
        Linked("other", ["right"], listens=False) as other,
        raw(theirs) as transport,
    ):
        other.addresses["right"] = theirs.address
        with suppress(PeerError):
            for number in count(1):
                body = chance.randbytes(chance.choice((0, 3, 8, 30_000)))
                numbered = written(chance.choice(list(Kind)[:5]), chance.randrange(4), number, 0, body)
                good = opened(stream=2 * number - 1, number=number)
                await transport.send(chance.choice((good, good, numbered, chance.randbytes(30))))
                if chance.random() < 0.1:
                    await asyncio.sleep(0)
        await until(lambda: not the_link(theirs, "left").connected)
        while not theirs.arrived.empty():
            theirs.arrived.get_nowait()[2].set()
        async with stream_between(other, theirs) as (near, far):
            await near.send(b"well")
            assert await far.recv() == b"well"


# Through a third party


@asynccontextmanager
async def three(relays):
    """``left`` and ``other`` only dial out, both to ``right``."""
    async with (
        Linked("right", ["left", "other"], relays=relays) as middle,
        Linked("left", ["right", "other"], listens=False) as left,
        Linked("other", ["right", "left"], listens=False) as other,
    ):
        left.addresses["right"] = other.addresses["right"] = middle.address
        for party in (left, other):
            async with stream_between(party, middle):
                pass
        yield left, middle, other


async def test_two_parties_that_only_dial_out_reach_one_another_through_a_third_that_reads_nothing():
    async with three(relays=True) as (left, middle, other):
        passed = []
        for each in middle.links._links.values():
            each.took = lambda frame, took=each.took: (passed.append(bytes(frame)), took(frame))
        async with stream_between(left, other) as (near, far), stream_between(other, left) as (back, there):
            secret = b"the secret of left" * 1000
            await near.send(secret)
            assert await far.recv() == secret
            await back.send(bytes(MAX_FRAME))
            assert len(await there.recv()) == MAX_FRAME
            assert (near.peer, far.peer) == ("other", "left")
        assert sum(map(len, passed)) > MAX_FRAME
        assert b"the secret" not in b"".join(passed)
        assert middle.arrived.empty()


async def test_a_relayed_link_comes_back_too():
    async with three(relays=True) as (left, _, other), stream_between(left, other) as (near, far):
        await near.send(b"one")
        assert await far.recv() == b"one"
        the_link(left, "other").drop()
        await near.send(b"two")
        assert await far.recv() == b"two"


async def test_nobody_relays_unless_it_is_told_to(monkeypatch):
    monkeypatch.setattr(link_module, "PATIENCE", 0.3)
    async with three(relays=False) as (left, middle, _):
        with pytest.raises(PeerLost) as caught:
            await left.links.open("other", "/test")
        assert caught.value.code == "peer-not-connected"
        stream = await left.links.open("right", "/relay/other")
        assert (await middle.arrived.get())[0] == "/relay/other"
        await stream.close()


async def test_a_relay_cannot_stand_in_for_the_party_behind_it(monkeypatch):
    """The relay answers itself: its certificate is not the one that was pinned."""
    async with three(relays=True) as (left, middle, _):

        async def answer_itself(peer, _other, stream):
            middle.links._expected[peer] += 1
            over, carrying = await links_module.bridge(stream)
            middle.links._begin(carrying)
            await middle.links._relayed.take_in(over)

        monkeypatch.setattr(middle.links, "_join", answer_itself)
        with pytest.raises(PeerError) as caught:
            await left.links._dial_through(the_link(left, "right"), "other", 5.0)
        assert caught.value.code == "certificate-not-pinned"


async def test_leaving_is_told_through_a_relay_too():
    async with three(relays=True) as (left, _, other):
        stream = await left.links.open("other", "/test")
        _, far, over = await other.arrived.get()
        await stream.send(b"last")
        await left.links.__aexit__(None, None, None)
        assert await far.recv() == b"last"
        assert (await lost(far)).code == "connection-closed"
        over.set()
