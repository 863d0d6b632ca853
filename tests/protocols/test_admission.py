"""Who may connect over real TLS, and which layer is named when nobody can."""

import asyncio
import contextlib
import socket
import ssl

import pytest

from parley.core.errors import (
    PeerError,
    PeerLost,
    PeerMisbehaved,
    PolicyRefused,
    UsageError,
)
from parley.net import tls
from parley.net.authority import create_identity
from parley.net.websocket import PeerListener, PeerPin, dial

from tests.channels import identity_of, listening, pin_of

pytestmark = pytest.mark.timeout(60)


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


async def test_a_pin_in_our_own_name_lets_nobody_in():
    other = create_identity("right")
    pins = {"right": PeerPin("right", other.certificate_pem)}
    async with listening(nothing, pins) as listener:
        error = await refusal(listener.address, other, pin_of("right"))
    assert error.code == "certificate-unknown-to-peer"


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


async def test_the_peer_list_may_change_while_the_listener_runs():
    pins = {}
    async with listening(nothing, pins=lambda: pins) as listener:
        arguments = listener.address, identity_of("left"), pin_of("right"), "/x"
        assert (await refusal(*arguments)).code == "certificate-unknown-to-peer"
        pins["left"] = pin_of("left")
        await (await dial(*arguments)).close()
        del pins["left"]
        assert (await refusal(*arguments)).code == "certificate-unknown-to-peer"


async def test_a_peer_list_that_cannot_be_read_turns_newcomers_away_and_says_so():
    refused = []

    def unreadable():
        raise UsageError("peers-unreadable", "peers.toml is damaged", remedy="mend it")

    async with listening(nothing, unreadable, on_refused=lambda *what: refused.append(what)) as listener:
        await refusal(listener.address, identity_of("left"), pin_of("right"))
    assert "peers.toml is damaged" in refused[0][1]


async def test_older_tls_is_refused():
    refused = []
    async with listening(nothing, on_refused=lambda *what: refused.append(what)) as listener:
        context = ssl.create_default_context(cadata=pin_of("right").certificate_pem)
        context.check_hostname = False
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


async def test_a_port_that_never_answers_is_a_connect_timeout():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as callers:
        for _ in range(4):  # the kernel drops callers beyond the backlog
            caller = callers.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(full.getsockname())
        address = f"127.0.0.1:{full.getsockname()[1]}"
        error = await refusal(address, identity_of("left"), pin_of("right"), timeout=0.3)
    assert isinstance(error, PeerLost)
    assert error.code == "connect-timeout"


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


async def test_a_peer_holds_only_so_many_connections(monkeypatch):
    monkeypatch.setattr("parley.net.websocket.CONNECTIONS", 2)
    refused = []
    async with listening(until_closed, on_refused=lambda *what: refused.append(what)) as listener:
        reach = listener.address, identity_of("left"), pin_of("right"), "/x"
        held = [await dial(*reach) for _ in range(2)]
        third = await dial(*reach)
        with pytest.raises(PeerLost):
            await third.recv()
        assert refused == [("left", "it holds 2 connections already")]
        await held[0].close()
        await third.close()
        await asyncio.sleep(0.05)
        held.append(await dial(*reach))
        await asyncio.sleep(0.05)
        assert len(refused) == 1
        for transport in held:
            await transport.close()
