"""Connections that nobody can hold for nothing: bounds that the server's own protocol does not have."""

from asyncio import BaseTransport
from typing import ClassVar, Final

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from parley.core.errors import BudgetExhausted, ParleyError, UsageError
from parley.serving.http.limits import Limits
from parley.web.listening import Server
from parley.web.problems import Problem, status_of

_TICKS: Final = 5
"""Tenths of a second between two looks at all connections."""
_PHRASES: Final = {400: b"Bad Request", 408: b"Request Timeout", 431: b"Request Header Fields Too Large"}
_BUSY: Final = b"Service Unavailable"


class Connection(HttpToolsProtocol):
    """A connection whose peer has to get on with it.

    Until a request has arrived whole there is a time by which it has to. An answer that nobody takes is given
    up in the same time. Whatever is no HTTP is answered as other errors are, and hung up on.
    """

    limits: ClassVar[Limits] = Limits()

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin, if there is room."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self._due: float | None = self.loop.time() + self.limits.head_seconds
        self._head = 0
        self._between = True
        if len(self.connections) > self.limits.connections:
            self._hang_up(too_many_connections())

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if self.transport.is_closing():
            return
        if self._between:
            self._head += len(data)
            if self._due is None and self._is_idle():  # an empty line begins nothing, and stops other clocks
                self._due = self.loop.time() + self.limits.head_seconds
        super().data_received(data)
        if self._between and self._head > self.limits.headers:
            self._hang_up(headers_too_large(self.limits))

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._due = self.loop.time() + self.limits.head_seconds

    def on_headers_complete(self) -> None:
        """What follows is the body; the application counts its time too, and answers."""
        super().on_headers_complete()
        self._between, self._head = False, 0
        self._due = self.loop.time() + self.limits.head_seconds + self.limits.body_seconds

    def on_message_complete(self) -> None:
        """The request is whole."""
        super().on_message_complete()
        self._between, self._due = True, None

    def send_400_response(self, _msg: str) -> None:
        """Answer what is no HTTP."""
        self._hang_up(
            UsageError("bad-request", "this is no HTTP request", remedy="see /docs for what can be asked")
        )

    def look(self, now: float) -> None:
        """Hang up if it takes too long."""
        if self._due is None and self.transport.is_closing():
            self._due = now + self.limits.head_seconds  # by then the peer has taken what was said
        elif self._due is not None and now > self._due:
            if self.transport.is_closing():
                self.transport.abort()
            else:
                self._hang_up(_too_slow(self.limits))

    def _is_idle(self) -> bool:
        """Whether no request is being answered; before the first there is no cycle."""
        return self.cycle is None or self.cycle.response_complete  # type: ignore[redundant-expr]

    def _hang_up(self, error: ParleyError) -> None:
        self._due = self.loop.time() + self.limits.head_seconds
        if self._is_idle():  # else it would stand in the midst of another answer
            self.transport.write(_raw(error))
        self.transport.close()


class Waiter(Server):
    """A server that looks at its connections now and then."""

    async def on_tick(self, counter: int) -> bool:
        """A tenth of a second is over."""
        if counter % _TICKS == 0 and self.server_state.connections:
            for each in list(self.server_state.connections):
                if isinstance(each, Connection):
                    each.look(each.loop.time())
        return await super().on_tick(counter)


def connections_within(limits: Limits) -> type[Connection]:
    """Connections with some limits."""
    return type("Connection", (Connection,), {"limits": limits})


def too_many_connections() -> BudgetExhausted:
    """The error of a connection for which there is no room."""
    return BudgetExhausted(
        "busy", "too many connections are open here", remedy="use one connection for many requests; try again"
    )


def headers_too_large(limits: Limits) -> UsageError:
    """The error of a request whose line and headers never end."""
    return UsageError(
        "headers-too-large",
        f"the request has more than {limits.headers // 1024} KiB of headers",
        remedy="send Authorization, Content-Type and Content-Length; no others are needed",
    )


def _too_slow(limits: Limits) -> UsageError:
    return UsageError(
        "request-too-slow",
        f"no whole request arrived within {limits.head_seconds:g} s",
        remedy="connect when there is something to ask, and send it at once",
    )


def _raw(error: ParleyError) -> bytes:
    body = msgspec.json.encode(Problem.of(error))
    status = status_of(error)
    again = b"" if status in _PHRASES else b"retry-after: 1\r\n"
    return (
        b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
        b"%sconnection: close\r\n\r\n%s" % (status, _PHRASES.get(status, _BUSY), len(body), again, body)
    )
