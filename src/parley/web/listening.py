"""Sockets that answer over HTTP, and the server behind them."""

import ipaddress
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Final

import uvicorn

from parley.party.address import address_of

SETTINGS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "ws": "none",
        "loop": "none",
        "lifespan": "off",
        "interface": "asgi3",
        "log_config": None,
        "log_level": "critical",
        "access_log": False,
        "proxy_headers": False,
        "server_header": False,
        "limit_concurrency": 512,
        "timeout_keep_alive": 30,
        "timeout_graceful_shutdown": 2,
    }
)
"""Of every server of ours. Connections at the same time, whoever comes beyond is told to come back; seconds
for which a connection may ask nothing; seconds that answers under way have when the server stops."""
SAFE: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""Headers of every answer."""


class Server(uvicorn.Server):
    """A server that leaves the signals to the process it runs in."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def place_of(where: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT``; port 0 is any that is free.

    Raises:
        UsageError: ``bad-address``.
    """
    any_port = where.endswith(":0")
    host, port = address_of(f"{where[:-1]}1" if any_port else where)
    return host, 0 if any_port else port


def socket_at(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        OSError: it cannot.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # said to be TCP: only then asyncio has what it accepts send small answers at once (TCP_NODELAY)
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen()
    except OSError:
        listening.close()
        raise
    return listening


def address(host: str, listening: socket.socket) -> str:
    """``host:port`` as it stands in an URL."""
    port = listening.getsockname()[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
