"""Dialling through an HTTP proxy: ``CONNECT host:port``, after which the proxy passes bytes on unread."""

import asyncio
import base64
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import unquote, urlsplit

from parley.core.errors import PeerLost, PolicyRefused, UsageError

_MOST: Final = 16 * 1024
_PORT: Final = 8080
_OK: Final = range(200, 300)
_AUTHENTICATE: Final = 407
_STATUS: Final = re.compile(rb"[1-9][0-9]{2}")


@dataclass(frozen=True)
class Proxies:
    """Whether an address is dialled through a proxy.

    Attributes:
        host, port: of the proxy; an empty host for none.
        credentials: ``user:password``, empty for none.
        direct: names that are dialled without it, as in ``NO_PROXY``: a host and all below it, ``*`` for all.
    """

    host: str = ""
    port: int = 0
    credentials: str = field(default="", repr=False)
    direct: tuple[str, ...] = ()

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """What ``HTTPS_PROXY`` and ``NO_PROXY`` (or lower case) say.

        Raises:
            UsageError: ``bad-proxy``.
        """
        text = environment.get("HTTPS_PROXY") or environment.get("https_proxy") or ""
        besides = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
        if not text:
            return cls()
        try:
            parts = urlsplit(text if "://" in text else f"http://{text}")
            host, port = parts.hostname, parts.port or _PORT
            well_formed = parts.scheme == "http" and bool(host)
        except ValueError:
            host, port, well_formed = None, 0, False
        if not well_formed or host is None:
            raise UsageError(
                "bad-proxy",
                "HTTPS_PROXY names no proxy: expected http://HOST:PORT or http://USER:PASSWORD@HOST:PORT",
                remedy="correct it, or unset it to dial directly",
            )
        user = "" if parts.username is None else f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        direct = tuple(name.strip().lower() for name in besides.split(",") if name.strip())
        return cls(host, port, user, direct)

    def serves(self, host: str, port: int) -> bool:
        """Whether ``host`` is dialled through the proxy; this machine itself never is."""
        if not self.host or _is_ourselves(host):
            return False
        return not any(_covers(name, host.lower(), port) for name in self.direct)


NO_PROXY: Final = Proxies()
"""Everything is dialled directly."""


async def connect_through(proxies: Proxies, host: str, port: int, peer: str) -> asyncio.Transport:
    """A connection to ``host`` and ``port`` through the proxy, not read from yet.

    Raises:
        PeerLost: ``proxy-unreachable``, ``proxy-refused``.
        PolicyRefused: ``proxy-auth``.
    """
    loop = asyncio.get_running_loop()
    try:
        stream, _ = await loop.create_connection(asyncio.Protocol, proxies.host, proxies.port)
    except OSError as error:
        raise _unreachable(proxies, peer, error.strerror or str(error)) from error
    answer: asyncio.Future[bytes] = loop.create_future()
    try:
        stream.set_protocol(_Answer(answer))
        stream.write(_request(proxies, host, port))
        _check(await answer, proxies, host, port, peer)
    except BaseException:
        stream.abort()
        raise
    stream.set_protocol(asyncio.Protocol())
    return stream


class _Answer(asyncio.Protocol):
    """Reads the proxy's answer up to the empty line, and stops reading there."""

    def __init__(self, answer: "asyncio.Future[bytes]") -> None:
        self._answer = answer
        self._came = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Not called: the connection is there already."""

    def data_received(self, data: bytes) -> None:
        """A part of the answer; what listens behind speaks only after us, so nothing follows it."""
        self._came += data
        if (b"\r\n\r\n" in self._came or len(self._came) > _MOST) and not self._answer.done():
            self._answer.set_result(self._came)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's)
        """The proxy hung up."""
        if not self._answer.done():
            self._answer.set_result(self._came)


def _request(proxies: Proxies, host: str, port: int) -> bytes:
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxies.credentials:
        secret = base64.b64encode(proxies.credentials.encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {secret}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii", "replace")


def _check(answer: bytes, proxies: Proxies, host: str, port: int, peer: str) -> None:
    words = answer.split(b"\r\n", 1)[0].split(None, 2)
    speaks = len(words) > 1 and words[0].startswith(b"HTTP/1.") and _STATUS.fullmatch(words[1])
    status = int(words[1]) if speaks else 0
    if status in _OK and answer.endswith(b"\r\n\r\n"):
        return
    if status == _AUTHENTICATE:
        raise PolicyRefused(
            "proxy-auth",
            f"the proxy {proxies.host}:{proxies.port} wants a user name and password (status 407)",
            remedy="write them into HTTPS_PROXY: http://USER:PASSWORD@HOST:PORT",
        )
    said = f"answered with status {status}" if status else "gave no answer of an HTTP proxy"
    raise PeerLost(
        "proxy-refused",
        f"the proxy {proxies.host}:{proxies.port} {said} when asked for {host}:{port}",
        peer=peer,
        remedy="have the proxy let CONNECT to this address through, or name the host in NO_PROXY",
    )


def _unreachable(proxies: Proxies, peer: str, why: str) -> PeerLost:
    return PeerLost(
        "proxy-unreachable",
        f"the proxy {proxies.host}:{proxies.port} does not answer: {why}",
        peer=peer,
        remedy="check HTTPS_PROXY, or name the host in NO_PROXY",
    )


def _is_ourselves(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _covers(name: str, host: str, port: int) -> bool:
    """Whether an entry of NO_PROXY speaks of the host."""
    if name == "*":
        return True
    entry, _, only = name.rpartition(":") if name.count(":") == 1 else (name, "", "")
    entry = entry.lstrip(".")
    return (not only or only == str(port)) and (host == entry or host.endswith(f".{entry}"))
