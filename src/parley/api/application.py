"""From a request to its handler and back: the routes as an application of the ASGI kind."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from contextlib import aclosing
from inspect import iscoroutinefunction
from typing import Any, Final

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route as StarletteRoute
from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from parley.api.guard import Guard, Token
from parley.api.handlers import Counter
from parley.api.responses import Stream, Text, json_response
from parley.core.errors import UsageError
from parley.web.openapi import Route

LARGEST_BODY: Final = 4 * 1024 * 1024
_SLOWEST_BODY: Final = 30.0
"""Seconds within which a body has to arrive."""


def application(routes: Sequence[Route], at: Counter, host: str) -> Guard:
    """The API.

    Args:
        routes: all that can be asked.
        at: where it is answered.
        host: name or address that we listen on.
    """
    by_path: defaultdict[str, dict[str, Route]] = defaultdict(dict)
    for route in routes:
        by_path[route.path][route.method] = route
    endpoints = [
        StarletteRoute(path, _Endpoint(methods, at), methods=list(methods))
        for path, methods in by_path.items()
    ]
    public = frozenset(route.path for route in routes if route.who == "anyone")
    office = at.running.office
    router = Router(endpoints, redirect_slashes=False)
    return Guard(router, host, public, Token(office.home), office.log)


class _Endpoint:
    """What can be asked at one path."""

    def __init__(self, methods: dict[str, Route], at: Counter) -> None:
        self._methods = methods
        self._at = at

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        route = self._methods[method]
        request = Request(scope, receive)
        try:
            asked = await _asked(route, request)
        except ClientDisconnect:
            return
        answer = await self._answer(route, asked)
        if isinstance(answer, Stream):
            async with aclosing(answer.events) as events:
                await StreamingResponse(events, media_type="text/event-stream")(scope, receive, send)
            return
        await _response(route, answer)(scope, receive, send)

    async def _answer(self, route: Route, asked: object) -> object:
        if iscoroutinefunction(route.does):
            return await route.does(self._at, asked)
        return await self._at.aside.do(route.does, self._at, asked)


def _response(route: Route, answer: object) -> Response:
    if isinstance(answer, Text):
        return Response(answer.content, route.status, answer.headers, answer.media)
    return json_response(answer, route.status)


# ── reading a request ─────────────────────────────────────────────────────────────────────────────────────


async def _asked(route: Route, request: Request) -> object:
    """The request as its type says.

    Raises:
        UsageError: it is too large, too slow, of another media type, or not of that type.
    """
    strict: dict[str, Any] = {}
    loose: dict[str, Any] = dict(request.query_params)
    if route.method == "POST" and _has_body(route):
        strict = await _body(route, request)
    fields = loose | strict | dict(request.path_params)
    try:
        # the query holds texts alone; what came as JSON has its types, and keeps them
        return msgspec.convert(fields, route.takes, strict=not loose, str_keys=True)
    except msgspec.ValidationError as error:
        raise UsageError(
            "bad-request", f"the request cannot be used: {error}", remedy=f"see {route.path} in /docs"
        ) from None


def _has_body(route: Route) -> bool:
    return any(f"{{{name}}}" not in route.path for name in route.takes.__struct_fields__)


async def _body(route: Route, request: Request) -> dict[str, Any]:
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json" and (route.text is None or media != route.text[1]):
        expected = " or ".join(["application/json", *([route.text[1]] if route.text else [])])
        raise UsageError(
            "body-not-understood",
            f"the body is said to be {media[:80] or 'nothing'!r}, expected {expected}",
            remedy="say so in the header Content-Type",
        )
    data = await _read(request)
    try:
        if route.text is not None and media == route.text[1]:
            return {route.text[0]: data.decode()}
        return msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(
            "bad-request", f"the body cannot be read: {error}", remedy=f"see {route.path} in /docs"
        ) from None


async def _read(request: Request) -> bytes:
    """The body; never more of it than `LARGEST_BODY`."""
    if int(request.headers.get("content-length", "0")) > LARGEST_BODY:  # a number: h11 has seen to that
        raise _too_large()
    data = bytearray()
    try:
        async with asyncio.timeout(_SLOWEST_BODY):
            async for piece in request.stream():
                data += piece
                if len(data) > LARGEST_BODY:
                    raise _too_large()
    except TimeoutError:
        raise UsageError(
            "body-too-slow",
            f"the body did not arrive within {_SLOWEST_BODY:g} s",
            remedy="send it at once",
        ) from None
    return bytes(data)


def _too_large() -> UsageError:
    return UsageError(
        "body-too-large",
        f"the body is larger than {LARGEST_BODY // 1024 // 1024} MiB",
        remedy="send a plan, not data; rows stay where they are",
    )
