"""Connections that go on to another process of ours, unread: it does TLS itself, and no frame passes here.

    peer                                  party                              process of ours
      │  asks over the link            ──►  issues a ticket  ──────────────►   │
      │  ◄── ticket                                                            │
      │  connects to the same port, and asks TLS for the server `parley-TICKET`│
      │                                     hands the socket over  ─────────►  │
      │  ◄──────────────────────── TLS, both certificates checked ──────────►  │

A ticket is a random number that counts once and for a short time. It only says where a connection goes:
whoever has it must still prove to be the peer, to the process that takes the connection.
"""

import asyncio
import re
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

Take = Callable[[socket.socket], None]
"""Takes a connected socket, which it owns from then on."""

VALID: Final = 20.0
"""Seconds for which a ticket can be used."""
OUTSTANDING: Final = 256
"""Tickets that are not used yet; the oldest counts no more when there are more."""

_TICKET: Final = re.compile(rb"parley-([0-9a-f]{32})")
_LOOKED_AT: Final = 4096
_NAME: Final = 64


def server_name(ticket: str) -> str:
    """The server that is asked for with a ticket."""
    return f"parley-{ticket}"


class Tickets:
    """The tickets of one port.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._issued: dict[bytes, tuple[float, Take]] = {}

    @property
    def outstanding(self) -> bool:
        """Whether anybody may come with one."""
        self._forget()
        return bool(self._issued)

    def issue(self, take: Take) -> str:
        """A fresh one, 32 hex digits; ``take`` gets the connection that comes with it."""
        self._forget()
        ticket = secrets.token_hex(16)
        self._issued[ticket.encode()] = self._clock() + VALID, take
        return ticket

    def redeem(self, first: bytes) -> Take | None:
        """Who takes a connection that begins with these bytes; nothing if it is one like others."""
        self._forget()
        shown = _TICKET.search(first)
        found = None if shown is None else self._issued.pop(shown[1], None)
        return None if found is None else found[1]

    def _forget(self) -> None:
        now = self._clock()
        for ticket, (until, _) in list(self._issued.items()):
            if until >= now and len(self._issued) <= OUTSTANDING:
                break  # they are in the order in which they were issued
            del self._issued[ticket]


async def first_bytes(connected: socket.socket) -> bytes:
    """What has come first, left unread: of a TLS client the beginning of its hello; empty if it has gone."""
    loop = asyncio.get_running_loop()
    while True:
        readable = loop.create_future()
        loop.add_reader(connected, _tell, readable)
        try:
            await readable
        finally:
            loop.remove_reader(connected)
        with suppress(BlockingIOError):
            return connected.recv(_LOOKED_AT, socket.MSG_PEEK)


def _tell(readable: "asyncio.Future[None]") -> None:
    if not readable.done():
        readable.set_result(None)


def hand_over(over: socket.socket, ticket: str, connected: socket.socket) -> None:
    """Give a connection to the process at the other end of a socket; raises OSError if that has gone."""
    with connected:
        socket.send_fds(over, [ticket.encode()], [connected.fileno()])


class Reception:
    """Takes the connections that are handed over to us, by their tickets.

    Args:
        over: where they come.
    """

    def __init__(self, over: socket.socket) -> None:
        self._over = over
        self._waiting: dict[str, asyncio.Future[socket.socket]] = {}
        over.setblocking(False)
        asyncio.get_running_loop().add_reader(over, self._take)

    async def take(self, ticket: str) -> socket.socket:
        """The connection of a ticket, which may come later."""
        coming = self._coming(ticket)
        try:
            return await coming
        finally:
            self._waiting.pop(ticket, None)

    def close(self) -> None:
        """Take no more, and end those that nobody has taken."""
        asyncio.get_running_loop().remove_reader(self._over)
        self._over.close()
        for coming in self._waiting.values():
            if coming.done() and not coming.cancelled():
                coming.result().close()

    def _coming(self, ticket: str) -> "asyncio.Future[socket.socket]":
        return self._waiting.setdefault(ticket, asyncio.get_running_loop().create_future())

    def _take(self) -> None:
        try:
            ticket, numbers, _, _ = socket.recv_fds(self._over, _NAME, 1)
        except BlockingIOError:
            return
        except OSError:
            ticket, numbers = b"", []
        if not ticket:  # our party has gone
            asyncio.get_running_loop().remove_reader(self._over)
        for number in numbers:
            connected, coming = socket.socket(fileno=number), self._coming(ticket.decode())
            if coming.done():  # whoever waited for it has given up
                connected.close()
            else:
                coming.set_result(connected)
