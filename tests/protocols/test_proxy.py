"""Dialling through an HTTP proxy, over real sockets: it passes TLS on unread, or its refusal is named."""

import asyncio
import base64
from contextlib import asynccontextmanager, suppress

import pytest

from parley.core.errors import ParleyError, PeerLost, PolicyRefused, UsageError
from parley.net.certificates import fingerprint_of
from parley.net.knock import shown_certificate
from parley.net.proxy import Proxies

from tests.channels import Linked, identity_of, linked, stream_between

pytestmark = pytest.mark.timeout(60)


class Proxy:
    """A small HTTP proxy; ``answer`` is what it says instead of connecting, if anything."""

    def __init__(self, answer=None, credentials=None):
        self.answer = answer
        self.credentials = credentials
        self.asked = []

    async def serve(self, reader, writer):
        with suppress(asyncio.IncompleteReadError, OSError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            self.asked.append(head[0].split()[1])
            given = [line for line in head if line.lower().startswith("proxy-authorization")]
            if self.answer is not None:
                writer.write(self.answer)
            elif self.credentials and given != [f"Proxy-Authorization: Basic {self.credentials}"]:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            else:
                port = self.asked[-1].removeprefix("right.test:")
                onward, back = await asyncio.open_connection("127.0.0.1", int(port))
                writer.write(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
                await asyncio.gather(copied(reader, back), copied(onward, writer))
        writer.close()


async def copied(source, sink):
    with suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    sink.close()


def named(address):
    """The address by a name that only the proxy knows."""
    return address.replace("127.0.0.1", "right.test")


@asynccontextmanager
async def through(proxy, user=""):
    """What is read from the environment when the proxy is named there."""
    async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0) as server:
        yield Proxies.read({"HTTPS_PROXY": f"http://{user}127.0.0.1:{server.sockets[0].getsockname()[1]}"})


async def test_a_link_goes_through_a_proxy():
    proxy = Proxy()
    async with through(proxy) as proxies, linked(reached=named, proxies=proxies) as (ours, theirs):
        async with stream_between(ours, theirs) as (near, far):
            await near.send(bytes(2_000_000))
            assert len(await far.recv()) == 2_000_000
        assert proxy.asked == [named(theirs.address)]


async def test_a_proxy_gets_the_user_and_password_of_its_address():
    proxy = Proxy(credentials=base64.b64encode(b"bank:p@ss").decode())
    async with (
        through(proxy, "bank:p%40ss@") as proxies,
        linked(reached=named, proxies=proxies) as (ours, theirs),
    ):
        async with stream_between(ours, theirs) as (near, far):
            await near.send(b"x")
            assert await far.recv() == b"x"
        assert "p@ss" not in repr(proxies)


async def refusal(proxies):
    async with linked(reached=named, proxies=proxies) as (ours, _):
        with pytest.raises(ParleyError) as caught:
            await ours.links.open("right", "/test")
    return caught.value


@pytest.mark.parametrize(
    ("answer", "family", "code", "said"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", PolicyRefused, "proxy-auth", "407"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", PeerLost, "proxy-refused", "403"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\nsorry", PeerLost, "proxy-refused", "502"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", PeerLost, "proxy-refused", "no answer"),
        (b"HTTP/1.1 200 OK\r\n\r\nand more", PeerLost, "proxy-refused", "200"),
        (b"HTTP/1.1 " + b"9" * 5000 + b" ?\r\n\r\n", PeerLost, "proxy-refused", "no answer"),
        (b"x" * 100_000, PeerLost, "proxy-refused", "no answer"),
        (b"", PeerLost, "proxy-refused", "no answer"),
    ],
)
async def test_what_the_proxy_refuses_is_named(answer, family, code, said):
    async with through(Proxy(answer)) as proxies:
        error = await refusal(proxies)
    assert (type(error), error.code) == (family, code)
    assert said in error.what


async def test_a_proxy_that_is_not_there_is_named():
    async with through(Proxy()) as proxies:
        pass
    assert (await refusal(proxies)).code == "proxy-unreachable"


async def test_a_newcomer_looks_at_the_certificate_through_the_proxy():
    proxy = Proxy()
    async with through(proxy) as proxies, Linked("right", ["left"]) as theirs:
        pem = identity_of("right").certificate_pem
        assert await shown_certificate(named(theirs.address), "right", fingerprint_of(pem), proxies) == pem
        assert proxy.asked == [named(theirs.address)]


def test_some_names_are_dialled_directly():
    def serves(besides, host, port=443):
        return Proxies.read({"https_proxy": "proxy:3128", "NO_PROXY": besides}).serves(host, port)

    assert serves("", "bank.example")
    assert not serves("bank.example", "bank.example")
    assert not serves("other, .example", "Bank.Example")
    assert serves("ank.example", "bank.example")
    assert not serves("*", "bank.example")
    assert not serves("bank.example:7443", "bank.example", 7443)
    assert serves("bank.example:7443", "bank.example", 443)
    assert not any(serves("", host) for host in ("127.0.0.1", "::1", "localhost"))
    assert not Proxies.read({"NO_PROXY": "x"}).serves("bank.example", 443)


@pytest.mark.parametrize("text", ["https://proxy:1", "socks5://proxy:1", "http://:3128", "http://proxy:port"])
def test_what_is_no_proxy_is_refused_without_showing_it(text):
    with pytest.raises(UsageError) as caught:
        Proxies.read({"HTTPS_PROXY": text})
    assert caught.value.code == "bad-proxy"
    assert text not in caught.value.what
