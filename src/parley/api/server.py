"""The API of a running party on its socket, served on the party's own event loop."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import uvicorn

from parley.api.application import application
from parley.api.aside import Aside
from parley.api.delay import LoopDelay
from parley.api.guard import loopback
from parley.api.handlers import Counter
from parley.api.routes import ROUTES
from parley.core.errors import UsageError
from parley.party.address import address_of
from parley.party.running import Running
from parley.store.settings import SETTINGS_FILE

_HEADERS: Final = 32 * 1024
"""Bytes of a request's line and headers."""
_CONNECTIONS: Final = 512
"""Connections at the same time; who comes beyond is told to come back."""
_IDLE: Final = 30
"""Seconds for which a connection may ask nothing."""
_FAREWELL: Final = 2
"""Seconds that answers under way have when the party stops."""


@asynccontextmanager
async def serving(running: Running) -> AsyncIterator[None]:
    """Serve the API beside a party, where its settings say.

    Raises:
        UsageError: ``api-not-loopback``, ``bad-address``, or ``api-port-unavailable``.
    """
    office = running.office
    listening, host = bound(office.home.settings.api)
    with listening:
        delay, aside = LoopDelay(), Aside()
        app = application(ROUTES, Counter(running, delay, aside), host)
        server = _Server(_configured(app))
        office.home.api_token()
        address = _shown(host, listening.getsockname()[1])
        measuring = asyncio.create_task(delay.measure())
        serving_it = asyncio.create_task(server.serve(sockets=[listening]))
        office.home.keep_api_address(address)
        office.log(f"its API answers at http://{address}")
        try:
            yield
        finally:
            office.home.keep_api_address("")
            running.board.close()  # who watches a run is let go
            server.should_exit = True
            measuring.cancel()
            await asyncio.gather(measuring, serving_it, return_exceptions=True)
            aside.close()


class _Server(uvicorn.Server):
    """A server that leaves the signals to the party."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def _configured(app: object) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        http="h11",
        ws="none",
        loop="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=_IDLE,
        timeout_graceful_shutdown=_FAREWELL,
        h11_max_incomplete_event_size=_HEADERS,
    )


def bound(where: str) -> tuple[socket.socket, str]:
    """A socket that listens, and the host of its address.

    Raises:
        UsageError: the address is none, not of this machine alone, or taken.
    """
    any_port = where.endswith(":0")
    host, port = address_of(f"{where[:-1]}1" if any_port else where)
    if not loopback(host):
        raise UsageError(
            "api-not-loopback",
            f"api = {where!r}: the API speaks plain HTTP, so it listens on a loopback address only",
            remedy=f'write api = "127.0.0.1:0" into {SETTINGS_FILE}; from elsewhere, forward the port with '
            "`ssh -L`, or put a reverse proxy with TLS before it",
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # said to be TCP: only then asyncio has what it accepts send small answers at once (TCP_NODELAY)
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, 0 if any_port else port))
        listening.listen()
    except OSError as error:
        listening.close()
        raise UsageError(
            "api-port-unavailable",
            f"the API cannot listen on {where}: {error.strerror}",
            remedy=f'stop what listens there, or write api = "127.0.0.1:0" into {SETTINGS_FILE}',
        ) from error
    return listening, host


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
