"""Frames over real TLS on this machine: the same as in memory, and every way in which a line can end."""

import asyncio
import os
import signal
import sys
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from parley.core.conversation import steps
from parley.core.errors import (
    PeerAborted,
    PeerError,
    PeerLost,
    PeerMisbehaved,
    PolicyRefused,
    UsageError,
)
from parley.core.trace import Received, Sent, Trace
from parley.net import tls, wire
from parley.net.channel import CheckedChannel, Setting
from parley.net.transport import MAX_FRAME
from parley.net.websocket import dial

from tests import echo
from tests.channels import CARRIERS, connected, identity_of, listening, pin_of, transports

pytestmark = pytest.mark.timeout(60)


# The same conversation


def recorder(events):
    def sink(event):
        if isinstance(event, Sent | Received):
            events.append((type(event).__name__, event.peer, event.message, event.size))

    return sink


async def talk(carrier):
    heard = [], []
    sinks = tuple((recorder(each),) for each in heard)
    async with connected(carrier, echo.STEPS, "left", "right", sinks=sinks) as (left, right):
        results = await asyncio.gather(echo.ask(left, 20, 100_000), echo.answer(right, 100_000))
    return results, heard


async def test_a_conversation_is_the_same_in_memory_and_over_tls():
    (memory, memory_events), (tls_result, tls_events) = await talk("memory"), await talk("tls")
    assert memory == tls_result
    for ours, theirs in zip(memory_events, tls_events, strict=True):
        assert sorted(ours) == sorted(theirs)


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_another_version_is_refused_on_both_sides(carrier):
    async with transports(carrier) as (near, far):
        left = CheckedChannel(near, Setting(echo.STEPS, "left", "r", Trace(time.monotonic), 5.0))
        newer = steps("echo", 2, *echo.STEPS.parts)
        right = CheckedChannel(far, Setting(newer, "right", "r", Trace(time.monotonic), 5.0))
        ours, theirs = await asyncio.gather(echo.ask(left), echo.answer(right), return_exceptions=True)
    assert {type(ours), type(theirs)} <= {PolicyRefused, PeerAborted}
    assert ours.code == theirs.code == "version-mismatch"


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_the_reason_survives_the_closing_even_for_a_peer_stuck_in_sending(carrier):
    async with connected(carrier, echo.STEPS, "left", "right") as (left, right):

        async def fails():
            async with left:
                await left.send(echo.Ask(echo.MOST))
                await left.recv(echo.Block)
                raise UsageError("table-empty", "private", remedy="fill it")

        _, theirs = await asyncio.gather(fails(), echo.answer(right, 1_000_000), return_exceptions=True)
    assert isinstance(theirs, PeerAborted)
    assert theirs.code == "table-empty"


async def test_closing_delivers_what_was_handed_over():
    async with transports("tls") as (left, right):
        frames = [bytes([n]) * 500_000 for n in range(15)]
        for frame in frames:
            await left.send(frame)
        closing = asyncio.create_task(left.close())
        await asyncio.sleep(0.1)
        assert [await right.recv() for _ in frames] == frames
        with pytest.raises(PeerLost) as caught:
            await right.recv()
        assert caught.value.code == "connection-closed"
        await closing


async def test_both_ends_may_close_at_once_and_again():
    async with transports("tls") as (left, right):
        await asyncio.gather(left.close(), right.close(), left.close())
        for end in (left, right):
            await end.close()
            with pytest.raises(PeerLost):
                await end.send(b"x")
            with pytest.raises(PeerLost):
                await end.recv()


# A peer that misbehaves below our messages


@asynccontextmanager
async def raw_client(*, reads=True):
    """A WebSocket client that is not ours, connected as ``left``; and what the listener's side raised."""
    outcome = asyncio.get_running_loop().create_future()
    reading = asyncio.Event()

    async def take(_peer, _path, transport):
        if not reads:
            await reading.wait()
        try:
            while True:
                await transport.recv()
        except PeerError as error:
            outcome.set_result(error)

    async with (
        listening(take) as listener,
        connect(
            f"wss://{listener.address}/raw",
            ssl=tls.client_context(identity_of("left"), pin_of("right")),
            compression=None,
            max_size=None,
            close_timeout=2,
            proxy=None,
        ) as client,
    ):
        yield client, outcome, reading


async def test_an_oversized_frame_is_misconduct_and_the_sender_is_told():
    async with raw_client() as (client, outcome, _):
        await client.send(bytes(MAX_FRAME + 1))
        with pytest.raises(ConnectionClosed) as caught:
            await client.recv()
        error = await outcome
    assert isinstance(error, PeerMisbehaved)
    assert error.code == "frame-too-large"
    assert caught.value.rcvd.code == 1009


async def test_our_own_oversized_frame_comes_back_as_the_peers_refusal():
    async with transports("tls") as (left, right):
        await left.send(bytes(MAX_FRAME + 1))
        with pytest.raises(PeerMisbehaved):
            await right.recv()
        with pytest.raises(PeerAborted) as caught:
            await left.recv()
        assert caught.value.code == "frame-too-large"


async def test_the_largest_allowed_frame_passes():
    async with transports("tls") as (left, right):
        await left.send(bytes(MAX_FRAME))
        assert len(await right.recv()) == MAX_FRAME


@pytest.mark.parametrize(
    ("message", "code"), [("text", "text-frame"), ([b"two", b"pieces"], "fragmented-frame")]
)
async def test_anything_but_whole_binary_frames_is_misconduct(message, code):
    async with raw_client() as (client, outcome, _):
        await client.send(message)
        error = await outcome
        with pytest.raises(ConnectionClosed) as caught:
            await client.recv()
    assert isinstance(error, PeerMisbehaved)
    assert error.code == code
    assert caught.value.rcvd.code == 1003


async def test_a_frame_cut_short_is_a_lost_peer():
    async with raw_client() as (client, outcome, _):
        client.transport.write(b"\x82\xfe\x10\x00\0\0\0\0short")
        client.transport.write_eof() if client.transport.can_write_eof() else client.transport.abort()
        error = await outcome
    assert isinstance(error, PeerLost)
    assert error.code == "connection-lost"


@pytest.mark.parametrize("behind", [b"\x88\x80\0\0\0\0", b"\x81\x80\0\0\0\0", b"\x8f\x80\0\0\0\0"])
async def test_what_comes_behind_a_request_that_is_refused_turns_the_newcomer_away(behind):
    refused = asyncio.Queue()
    tell = lambda _address, reason: refused.put_nowait(reason)  # noqa: E731
    async with listening(lambda *_: None, on_refused=tell) as listener:
        host, _, port = listener.address.rpartition(":")
        context = tls.client_context(identity_of("left"), pin_of("right"))
        _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=host)
        writer.write(b"GET /link HTTP/1.1\r\nHost: right\r\n\r\n" + behind)
        assert "broke the protocol" in await refused.get()
        writer.close()


@pytest.mark.parametrize(
    "octets", [b"\x82\x05hello", b"\x8f\x80\0\0\0\0", b"\xc2\x80\0\0\0\0", b"\x80\x80\0\0\0\0"]
)
async def test_broken_framing_is_misconduct(octets):
    async with raw_client() as (client, outcome, _):
        client.transport.write(octets)
        error = await outcome
    assert isinstance(error, PeerMisbehaved)
    assert error.code == "malformed-websocket"


async def test_a_sender_that_ignores_the_window_is_stopped():
    async with raw_client(reads=False) as (client, outcome, reading):
        for _ in range(9):
            await client.send(bytes(1_000_000))
        with pytest.raises(ConnectionClosed):
            await client.recv()
        reading.set()
        error = await outcome
    assert isinstance(error, PeerMisbehaved)
    assert error.code == "window-exceeded"


async def test_a_report_of_bytes_never_sent_is_misconduct():
    async with raw_client() as (client, outcome, _):
        await client.ping((1000).to_bytes(8, "big"))
        assert (await outcome).code == "false-report"


async def test_a_peer_that_makes_us_reply_without_reading_is_cut_off(monkeypatch):
    monkeypatch.setattr(wire, "_UNREAD_REPLIES", 100_000)
    async with raw_client() as (client, outcome, _):
        client.transport.pause_reading()
        ping = b"\x89\xfd" + bytes(4) + bytes(125)
        try:
            for _ in range(3000):
                client.transport.write(ping * 100)
                await asyncio.sleep(0)
                if outcome.done():
                    break
        finally:
            error = await outcome
            client.transport.abort()
    assert error.code == "unread-replies"


# Flow


async def test_a_receiver_that_does_not_read_bounds_what_the_sender_may_hand_over():
    frame, handed_over = bytes(100_000), 0
    async with transports("tls") as (left, right):

        async def flood():
            nonlocal handed_over
            while True:
                await left.send(frame)
                handed_over += len(frame)

        flooding = asyncio.create_task(flood())
        await asyncio.sleep(0.5)
        bound = handed_over
        assert wire.WINDOW * 0.8 < bound <= wire.WINDOW
        assert right._wire._received - right._wire._taken <= wire.WINDOW
        # control frames still pass: nobody is taken for dead
        assert left._wire._ending is None
        for _ in range(40):
            await right.recv()
        await asyncio.sleep(0.2)
        assert bound < handed_over <= wire.WINDOW + 40 * len(frame)
        flooding.cancel()


async def test_a_receiver_busy_for_longer_than_the_silence_limit_is_not_lost(monkeypatch):
    monkeypatch.setattr(wire, "BEAT", 0.05)
    async with transports("tls") as (left, right):
        await left.send(b"first")
        for _ in range(9):
            await left.send(bytes(900_000))
        waiting = asyncio.create_task(left.send(bytes(900_000)))
        await asyncio.sleep(0.05 * wire.MISSED_BEATS * 3)
        assert await right.recv() == b"first"
        for _ in range(10):
            assert len(await right.recv()) == 900_000
        await waiting


async def test_ends_at_rest_hear_one_another_and_what_was_taken(monkeypatch):
    """The answer to a ping is a sign of life too; what was taken is reported although nothing more comes."""
    monkeypatch.setattr(wire, "BEAT", 0.02)
    async with transports("tls") as (left, right):
        await left.send(b"few bytes")
        assert await right.recv() == b"few bytes"
        async with asyncio.timeout(30):
            while left._wire._taken_by_peer != left._wire._sent or right._wire.round_trip is None:
                await asyncio.sleep(0.02)
        for _ in range(3):
            await asyncio.sleep(0.02 * wire.MISSED_BEATS * 3)
            assert left._wire._ending is right._wire._ending is None
        await right.send(b"still there")
        assert await left.recv() == b"still there"


async def test_a_cancelled_send_was_not_handed_over():
    async with transports("tls") as (left, right):
        for _ in range(2):
            await left.send(bytes(4_000_000))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await left.send(b"never".ljust(1_000_000))
        await right.recv()
        await right.recv()
        await left.send(b"next")
        assert await right.recv() == b"next"


# A peer that goes away


@asynccontextmanager
async def stubborn(folder, path="/echo"):
    """A peer in a process of its own, and our connection to it."""
    identity_of("right").save(folder / "right")
    (folder / "left.pem").write_text(identity_of("left").certificate_pem)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("stubborn_peer.py")),
        str(folder / "right"),
        "left",
        str(folder / "left.pem"),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        address = (await process.stdout.readline()).decode().strip()
        transport = await dial(address, identity_of("left"), pin_of("right"), path)
        assert await transport.recv() == b"welcome"
        yield process, transport
        await transport.close()
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_a_killed_peer_is_lost_at_once(tmp_path):
    async with stubborn(tmp_path) as (process, transport):
        process.send_signal(signal.SIGKILL)
        began = time.monotonic()
        with pytest.raises(PeerLost) as caught:
            await transport.recv()
        assert time.monotonic() - began < 1
        assert caught.value.code == "connection-lost"


async def send_on(transport):
    while True:
        await transport.send(bytes(700_000))


async def until_lost(folder, path, use):
    """The error and the seconds until a stopped peer is given up."""
    folder.mkdir()
    async with stubborn(folder, path) as (process, transport):
        process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(PeerLost) as caught:
            await use(transport)
        return caught.value.code, time.monotonic() - began


async def test_a_stopped_peer_is_lost_within_eight_seconds(tmp_path):
    ends = await asyncio.gather(
        until_lost(tmp_path / "receiving", "/echo", lambda transport: transport.recv()),
        until_lost(tmp_path / "sending", "/deaf", send_on),
    )
    for code, seconds in ends:
        assert code == "peer-silent"
        assert seconds < 8
