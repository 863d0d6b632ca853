"""A scorer on a socket, served on the event loop that asks for it."""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import uvicorn

from parley.core.errors import UsageError
from parley.serving.http.application import Front, Pages
from parley.serving.http.callers import Pace
from parley.serving.http.connections import Waiter, connections_within
from parley.serving.http.door import Door
from parley.serving.http.keys import KeyFile, KeyRing
from parley.serving.http.limits import Limits
from parley.serving.http.metrics import Scene, exposition
from parley.serving.http.oidc import Issuer, Tokens
from parley.serving.http.renewal import Renewal
from parley.serving.http.routes import docs_page, openapi_page
from parley.serving.monitor import Monitor
from parley.serving.scores import Scorer
from parley.web.delay import LoopDelay
from parley.web.listening import SETTINGS, address, loopback, place_of, socket_at
from parley.web.metrics import CONTENT_TYPE

BACKLOG: Final = 512
"""Connections that wait to be accepted."""


@dataclass(frozen=True)
class Place:
    """Where a model is served, and to whom.

    Attributes:
        where: ``HOST:PORT``; port 0 is any that is free.
        home: folder of the party, in which the API keys lie.
        certificate: PEM file for TLS, taken up anew when it changes; none: plain HTTP, on a loopback
            address only.
        key: PEM file of its private key; none: that is in the same file.
        issuer: whose tokens count beside the keys.
        limits: that nobody may exceed.
    """

    where: str
    home: Path
    certificate: Path | None = None
    key: Path | None = None
    issuer: Issuer | None = None
    limits: Limits = field(default_factory=Limits)


@asynccontextmanager
async def listening(
    scorer: Scorer, place: Place, monitor: Monitor, log: Callable[[str], None]
) -> AsyncIterator[str]:
    """Serve a model while entered; gives the URL.

    Raises:
        UsageError: ``bad-address``, ``serve-not-loopback``, ``serve-certificate``,
            ``serve-port-unavailable``, ``oidc-missing`` or ``oidc-issuer``.
    """
    host, port = place_of(place.where)
    _check_secure(place, host)
    ring = KeyRing(KeyFile(place.home), time.monotonic, time.time)
    tokens = Tokens(place.issuer, log, time.monotonic, time.time) if place.issuer else None
    delay = LoopDelay()
    pages = Pages(
        lambda service: (
            exposition(Scene.taken(service, monitor, delay)).encode(),
            CONTENT_TYPE.encode(),
            (),
        ),
        {"/openapi.json": openapi_page, "/docs": docs_page},
    )
    door = Door(ring, tokens, Pace(time.monotonic))
    front = Front(scorer, door, place.limits, monitor, pages, time.perf_counter, time.time, log)
    config = _configured(front, place)
    server = Waiter(config)
    with _bound(place.where, host, port) as open_socket:
        url = f"{'https' if place.certificate else 'http'}://{address(host, open_socket)}"
        beside = [asyncio.create_task(delay.measure())]
        if tokens is not None:
            beside.append(asyncio.create_task(tokens.keep()))
        if config.ssl is not None and place.certificate is not None:
            renewal = Renewal(config.ssl, place.certificate, place.key, log)
            renewal.look()
            beside.append(asyncio.create_task(renewal.keep()))
        serving_it = asyncio.create_task(server.serve(sockets=[open_socket]))
        log(f"model {scorer.service().model} is served at {url}")
        try:
            yield url
        finally:
            server.should_exit = True
            for each in beside:
                each.cancel()
            await asyncio.gather(serving_it, *beside, return_exceptions=True)


def _check_secure(place: Place, host: str) -> None:
    if place.certificate is None and not loopback(host):
        raise UsageError(
            "serve-not-loopback",
            f"{place.where} can be reached from other machines, and keys would travel there in the clear",
            remedy="give a certificate with --certificate FILE and --key FILE, or serve on 127.0.0.1 behind "
            "a reverse proxy with TLS",
        )


def _configured(front: Front, place: Place) -> uvicorn.Config:
    config = uvicorn.Config(
        front,
        http=connections_within(place.limits),
        backlog=BACKLOG,
        ssl_certfile=place.certificate,
        ssl_keyfile=place.key,
        **{**SETTINGS, "limit_concurrency": None},  # connections count themselves
    )
    try:
        config.load()
    except (OSError, ssl.SSLError, ValueError) as error:
        raise UsageError(
            "serve-certificate",
            f"{place.certificate} and {place.key} are of no use for TLS: {error}",
            remedy="give a certificate with its chain and its private key, as PEM, without a password",
        ) from None
    return config


def _bound(where: str, host: str, port: int) -> socket.socket:
    try:
        return socket_at(host, port)
    except OSError as error:
        raise UsageError(
            "serve-port-unavailable",
            f"nothing can be served on {where}: {error.strerror}",
            remedy="stop what listens there, or choose another port with --listen",
        ) from error
