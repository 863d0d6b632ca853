"""Frames over real TLS on this machine: the same as in memory, and every way in which a line can end."""

import asyncio
import os
import signal
import socket
import ssl
import sys
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
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
from parley.net.certificates import create_identity
from parley.net.channel import CheckedChannel, Setting
from parley.net.transport import MAX_FRAME
from parley.net.websocket import PeerListener, PeerPin, dial

from tests import echo
from tests.channels import CARRIERS, connected, identity_of, pin_of, transports

pytestmark = pytest.mark.timeout(60)


@asynccontextmanager
async def listening(on_connection, pins=None, **options):
    """The party ``right`` listening, by default for ``left``."""
    pins = {"left": pin_of("left")} if pins is None else pins
    async with PeerListener("127.0.0.1", 0, identity_of("right"), pins, on_connection, **options) as listener:
        yield listener


async def nothing(_peer, _path, _transport):
    pass


async def until_closed(_peer, _path, transport):
    while True:
        await transport.recv()


async def refusal(address, identity, pin, path="/x", **options):
    """The error that dialling raises."""
    with pytest.raises((PeerError, PolicyRefused, UsageError)) as caught:
        await dial(address, identity, pin, path, **options)
    return caught.value


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


# Who may talk


async def test_the_peer_is_known_by_its_certificate_and_asks_for_a_path():
    seen = asyncio.get_running_loop().create_future()

    async def see(peer, path, _transport):
        seen.set_result((peer, path))

    async with listening(see) as listener:
        transport = await dial(
            f"wss://{listener.address}", identity_of("left"), pin_of("right"), "/runs/7?a=b"
        )
        assert transport.peer == "right"
        assert await seen == ("left", "/runs/7?a=b")
        await transport.close()


async def test_our_own_certificate_is_welcome_under_our_own_name():
    seen = asyncio.get_running_loop().create_future()

    async def see(peer, _path, _transport):
        seen.set_result(peer)

    async with listening(see, pins={}) as listener:
        transport = await dial(listener.address, identity_of("right"), pin_of("right"), "/local")
        assert await seen == "right"
        await transport.close()


async def test_a_client_that_is_not_pinned_is_turned_away_and_told():
    refused = []
    async with listening(nothing, on_refused=lambda *what: refused.append(what)) as listener:
        error = await refusal(listener.address, identity_of("stranger"), pin_of("right"))
        await asyncio.sleep(0.05)
    assert isinstance(error, PolicyRefused)
    assert error.code == "certificate-unknown-to-peer"
    [(address, reason)] = refused
    assert address.startswith("127.0.0.1:")
    assert "not in our peer list" in reason


async def test_a_stranger_with_a_known_name_is_still_a_stranger():
    async with listening(nothing) as listener:
        error = await refusal(listener.address, create_identity("left"), pin_of("right"))
    assert error.code == "certificate-unknown-to-peer"


async def test_a_client_without_certificate_is_turned_away():
    refused = []
    async with listening(nothing, on_refused=lambda *what: refused.append(what)) as listener:
        host, port = listener.address.split(":")
        assert await tls.diagnose(host, int(port)) == identity_of("right").fingerprint
        await asyncio.sleep(0.05)
    assert refused[0][1] == "it presented no certificate"


async def test_a_server_with_another_certificate_is_misconduct_with_both_fingerprints():
    expected = PeerPin("right", create_identity("right").certificate_pem)
    async with listening(nothing) as listener:
        error = await refusal(listener.address, identity_of("left"), expected)
    assert isinstance(error, PeerMisbehaved)
    assert error.code == "certificate-not-pinned"
    shown = error.what.replace(" ", "").lower()
    assert expected.fingerprint in shown
    assert identity_of("right").fingerprint in shown


async def test_an_expired_certificate_is_refused():
    old = create_identity("right", now=datetime.now(UTC) - timedelta(days=800))
    async with PeerListener("127.0.0.1", 0, old, {"left": pin_of("left")}, nothing) as listener:
        error = await refusal(listener.address, identity_of("left"), PeerPin("right", old.certificate_pem))
    assert error.code == "certificate-expired"


async def test_the_peer_list_may_change_while_the_listener_runs():
    pins = {}
    async with listening(nothing, pins=lambda: pins) as listener:
        arguments = listener.address, identity_of("left"), pin_of("right"), "/x"
        assert (await refusal(*arguments)).code == "certificate-unknown-to-peer"
        pins["left"] = pin_of("left")
        await (await dial(*arguments)).close()
        del pins["left"]
        assert (await refusal(*arguments)).code == "certificate-unknown-to-peer"


async def test_older_tls_is_refused():
    refused = []
    async with listening(nothing, on_refused=lambda *what: refused.append(what)) as listener:
        context = tls.client_context(identity_of("left"), pin_of("right"))
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
        host, port = listener.address.split(":")
        with pytest.raises(OSError):  # noqa: PT011 (an alert or a reset, depending on timing)
            await asyncio.open_connection(host, int(port), ssl=context, server_hostname="right")
        await asyncio.sleep(0.05)
    assert "TLS 1.3" in refused[0][1]


# Which layer fails


async def test_each_layer_has_its_own_code():
    ours, right = identity_of("left"), pin_of("right")
    assert (await refusal("nowhere.invalid:7443", ours, right)).code == "name-unknown"
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    assert (await refusal(f"127.0.0.1:{port}", ours, right)).code == "peer-unreachable"
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        assert (await refusal(address, ours, right, timeout=0.3)).code == "handshake-timeout"


async def test_a_port_that_speaks_something_else_is_named():
    async def greet(_reader, writer):
        writer.write(b"220 mail.example ESMTP\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        assert (await refusal(f"{host}:{port}", identity_of("left"), pin_of("right"))).code == "tls-failed"


async def test_a_peer_that_speaks_tls_but_not_websocket_is_named():
    async def greet(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    context = tls.server_context(identity_of("right"), [pin_of("left")])
    server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=context)
    async with server:
        host, port = server.sockets[0].getsockname()
        error = await refusal(f"{host}:{port}", identity_of("left"), pin_of("right"))
    assert error.code == "upgrade-refused"
    assert "404" in error.what


@pytest.mark.parametrize(
    "address",
    ["", "host", "host:0", "host:99999", "ws://host:1", "host:1/path", "http://host:1", ":7", "[::1"],
)
async def test_a_malformed_address_is_a_usage_error(address):
    assert (await refusal(address, identity_of("left"), pin_of("right"))).code == "bad-address"


async def test_a_taken_port_is_a_usage_error():
    async with listening(nothing) as listener:
        port = int(listener.address.split(":")[1])
        with pytest.raises(UsageError) as caught:
            async with PeerListener("127.0.0.1", port, identity_of("left"), {}, nothing):
                pass
    assert caught.value.code == "port-unavailable"


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


@pytest.mark.parametrize("sending", [False, True])
async def test_a_stopped_peer_is_lost_within_eight_seconds(tmp_path, sending):
    async with stubborn(tmp_path, "/deaf" if sending else "/echo") as (process, transport):
        process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        using = send_on(transport) if sending else transport.recv()
        with pytest.raises(PeerLost) as caught:
            await using
        assert time.monotonic() - began < 8
        assert caught.value.code == "peer-silent"
        process.send_signal(signal.SIGCONT)


# The listener's own end


async def test_leaving_the_listener_closes_its_connections():
    async with listening(until_closed) as listener:
        transport = await dial(listener.address, identity_of("left"), pin_of("right"), "/x")
    with pytest.raises(PeerLost):
        await transport.recv()
    await transport.close()


async def test_newcomers_who_say_nothing_do_not_block_others(monkeypatch):
    monkeypatch.setattr("parley.net.websocket.HANDSHAKE", 0.3)
    refused = []
    async with listening(nothing, on_refused=lambda *what: refused.append(what)) as listener:
        host, port = listener.address.split(":")
        with socket.create_connection((host, int(port))):
            await (await dial(listener.address, identity_of("left"), pin_of("right"), "/x")).close()
            await asyncio.sleep(0.5)
    assert "handshake within" in refused[0][1]
