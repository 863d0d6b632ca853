"""The API of a running party on its socket, served on the party's own event loop."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import uvicorn

from parley.api.application import application
from parley.api.aside import Aside
from parley.api.handlers import Counter
from parley.api.routes import ROUTES
from parley.core.errors import UsageError
from parley.party.running import Running
from parley.store.settings import SETTINGS_FILE
from parley.web.delay import LoopDelay
from parley.web.listening import SETTINGS, Server, address, loopback, place_of, socket_at

_HEADERS: Final = 32 * 1024
"""Bytes of a request's line and headers."""


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
        server = Server(uvicorn.Config(app, http="h11", h11_max_incomplete_event_size=_HEADERS, **SETTINGS))
        office.home.api_token()
        shown = address(host, listening)
        measuring = asyncio.create_task(delay.measure())
        serving_it = asyncio.create_task(server.serve(sockets=[listening]))
        office.home.keep_api_address(shown)
        office.log(f"its API answers at http://{shown}")
        try:
            yield
        finally:
            office.home.keep_api_address("")
            running.board.close()  # who watches a run is let go
            server.should_exit = True
            measuring.cancel()
            await asyncio.gather(measuring, serving_it, return_exceptions=True)
            aside.close()


def bound(where: str) -> tuple[socket.socket, str]:
    """A socket that listens, and the host of its address.

    Raises:
        UsageError: the address is none, not of this machine alone, or taken.
    """
    host, port = place_of(where)
    if not loopback(host):
        raise UsageError(
            "api-not-loopback",
            f"api = {where!r}: the API speaks plain HTTP, so it listens on a loopback address only",
            remedy=f'write api = "127.0.0.1:0" into {SETTINGS_FILE}; from elsewhere, forward the port with '
            "`ssh -L`, or put a reverse proxy with TLS before it",
        )
    try:
        return socket_at(host, port), host
    except OSError as error:
        raise UsageError(
            "api-port-unavailable",
            f"the API cannot listen on {where}: {error.strerror}",
            remedy=f'stop what listens there, or write api = "127.0.0.1:0" into {SETTINGS_FILE}',
        ) from error
