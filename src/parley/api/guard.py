"""Who may ask, and how much: stands before every handler."""

import hmac
import os
from collections.abc import Callable, Mapping

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from parley.api.responses import json_response
from parley.core.errors import ParleyError, PolicyRefused, UsageError
from parley.party.failures import lines_of
from parley.store.home import Home
from parley.web.listening import SAFE
from parley.web.problems import Problem, status_of, unforeseen


class Token:
    """The token in a home; read again when the file changes, so that a renewed one holds at once."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._seen: tuple[int, int] | None = None
        self._token = b""

    def matches(self, shown: str) -> bool:
        """Whether it is this one; takes equally long whatever was shown."""
        try:
            status = os.stat(self._home.api_token_file)  # noqa: PTH116 (once for every request)
            if (status.st_mtime_ns, status.st_ino) != self._seen:
                self._token = self._home.api_token().encode()
                self._seen = status.st_mtime_ns, status.st_ino
        except OSError:
            return False
        return bool(self._token) and hmac.compare_digest(shown.encode(), self._token)


class Guard:
    """The checks of every request, and what every answer and every failure has in common.

    Numbered checks:
        1. the host that was asked for is this machine by a loopback name: another name that leads here
           belongs to somebody's web page (DNS rebinding);
        2. no page of another origin asks: there is no CORS;
        3. the token is shown, unless the path is for anyone.

    Args:
        app: answers what passes.
        host: name or address that we listen on.
        public: paths for anyone.
        token: that has to be shown.
        log: takes what nobody foresaw.
    """

    def __init__(
        self, app: ASGIApp, host: str, public: frozenset[str], token: Token, log: Callable[[str], None]
    ) -> None:
        self._app = app
        ours = f"[{host}]" if ":" in host else host
        self._hosts = frozenset({ours.lower(), "localhost"})
        self._public = public
        self._token = token
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        answering = _Answering(send)
        try:
            self._check(scope)
            scope["app"] = self  # what the router cannot answer it raises then
            await self._app(scope, receive, answering)
        except HTTPException as refused:
            await self._fail(scope, receive, answering, _routed(scope, refused), refused.headers)
        except ParleyError as error:
            await self._fail(scope, receive, answering, error)
        except Exception as error:  # noqa: BLE001 (one request must not harm the party)
            self._log(f"answering {scope['method']} {scope['path'][:80]!r} failed: {lines_of(error)}")
            await self._fail(scope, receive, answering, unforeseen())

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        # 1
        host = headers.get("host", "")
        if name_of(host) not in self._hosts:
            raise PolicyRefused(
                "host-not-ours",
                f"the request is for host {host[:80]!r}, expected {' or '.join(sorted(self._hosts))}",
                remedy="ask for the address that `parley api` shows",
            )
        # 2
        origin = headers.get("origin")
        if origin is not None and origin != f"http://{host}":
            raise PolicyRefused(
                "origin-not-ours",
                f"a page of {origin[:80]!r} asks; pages of other origins may not",
                remedy="ask from a program, or from a page of this API",
            )
        # 3
        if scope["path"] not in self._public and not self._shown(headers):
            raise PolicyRefused(
                "api-token",
                "the request shows no token, or not ours",
                remedy="send the header `Authorization: Bearer TOKEN` with what `parley api token` prints",
            )

    def _shown(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self._token.matches(token.strip())

    async def _fail(
        self,
        scope: Scope,
        receive: Receive,
        answering: "_Answering",
        error: ParleyError,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        if answering.began:
            raise error  # half an answer is no answer: the connection ends
        status = status_of(error)
        more = dict(headers or {}) | ({"www-authenticate": "Bearer"} if status == 401 else {})  # noqa: PLR2004
        await json_response(Problem.of(error), status, more)(scope, receive, answering)


class _Answering:
    """Passes an answer on with the headers that all have."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.began = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.began = True
            message["headers"] = [*message.get("headers", ()), *SAFE]
        await self._send(message)


def name_of(host: str) -> str:
    """The name or address in a ``Host`` header, without the port; empty if it makes no sense."""
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):
        name, port = host, "0"
    return name.lower() if port.isdecimal() else ""


def _routed(scope: Scope, refused: HTTPException) -> ParleyError:
    """What the router found."""
    path = scope["path"][:80]
    if refused.status_code == 405:  # noqa: PLR2004
        allowed = (refused.headers or {}).get("Allow", "another method")
        return UsageError(
            "method-not-allowed", f"{path} does not take {scope['method']}", remedy=f"use {allowed}"
        )
    return UsageError("no-such-path", f"there is no {path!r}", remedy="see /docs for what there is")
