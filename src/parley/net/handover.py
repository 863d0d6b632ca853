"""Connections that go on to another process of ours, unread: it does TLS itself, and no frame passes here.

    peer                                  party                              process of ours
      │  asks over the link            ──►  issues a ticket                    │
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
from dataclasses import dataclass
from typing import Final

Take = Callable[[socket.socket], None]
"""Takes a connected socket, which it owns from then on."""

VALID: Final = 20.0
"""Seconds for which a ticket can be used."""
OUTSTANDING: Final = 8
"""Tickets of one peer that are not used yet; its oldest counts no more when there are more."""
UNWANTED: Final = 10.0
"""Seconds after which a connection that was handed over and that nobody asks for is ended."""

_TICKET: Final = re.compile(rb"parley-([0-9a-f]{32})")
_LOOKED_AT: Final = 4096
_RECORD_HEAD: Final = 5
_HANDSHAKE: Final = 22
_AGAIN: Final = 0.01
_NUMBER: Final = 64


def server_name(ticket: str) -> str:
    """The server that is asked for with a ticket."""
    return f"parley-{ticket}"


@dataclass(frozen=True)
class _Issued:
    """A ticket that is not used yet."""

    peer: str
    until: float
    take: Take


class Tickets:
    """The tickets of one port.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._issued: dict[bytes, _Issued] = {}

    @property
    def outstanding(self) -> bool:
        """Whether anybody may come with one."""
        self._forget()
        return bool(self._issued)

    def issue(self, peer: str, take: Take) -> str:
        """A fresh one for a peer, 32 hex digits; ``take`` gets the connection that comes with it."""
        self._forget()
        of_peer = [each for each, issued in self._issued.items() if issued.peer == peer]
        for each in of_peer[: max(0, len(of_peer) + 1 - OUTSTANDING)]:
            del self._issued[each]
        ticket = secrets.token_hex(16)
        self._issued[ticket.encode()] = _Issued(peer, self._clock() + VALID, take)
        return ticket

    def redeem(self, first: bytes) -> Take | None:
        """Who takes a connection that begins with these bytes; nothing if it is one like others."""
        self._forget()
        shown = _TICKET.search(first)
        found = None if shown is None else self._issued.pop(shown[1], None)
        return None if found is None else found.take

    def _forget(self) -> None:
        now = self._clock()
        for ticket, issued in list(self._issued.items()):
            if issued.until >= now:
                break  # they are in the order in which they were issued
            del self._issued[ticket]


async def first_bytes(connected: socket.socket) -> bytes:
    """The first TLS record, left unread, which is a client's hello; less if that is all that comes."""
    loop = asyncio.get_running_loop()
    while True:
        readable = loop.create_future()
        loop.add_reader(connected, _tell, readable)
        try:
            await readable
        finally:
            loop.remove_reader(connected)
        with suppress(BlockingIOError):
            first = connected.recv(_LOOKED_AT, socket.MSG_PEEK)
            whole = _RECORD_HEAD + int.from_bytes(first[3:_RECORD_HEAD], "big")
            if not first or first[0] != _HANDSHAKE or _RECORD_HEAD <= min(whole, _LOOKED_AT) <= len(first):
                return first
        await asyncio.sleep(_AGAIN)  # what came stays readable


def _tell(readable: "asyncio.Future[None]") -> None:
    if not readable.done():
        readable.set_result(None)


def hand_over(over: socket.socket, number: str, connected: socket.socket) -> None:
    """Give a connection to the process at the other end of a socket, under a number that it knows.

    Raises:
        OSError: that process has gone, or takes none any more.
    """
    with connected:
        socket.send_fds(over, [number.encode()], [connected.fileno()])


class Reception:
    """Takes the connections that are handed over to us, by their numbers.

    Args:
        over: where they come.
    """

    def __init__(self, over: socket.socket) -> None:
        self._over = over
        self._coming: dict[str, asyncio.Future[socket.socket]] = {}
        over.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(over, self._take)

    async def take(self, number: str) -> socket.socket:
        """The connection of a number, which may come later."""
        try:
            return await self._coming.setdefault(number, self._loop.create_future())
        finally:
            self._coming.pop(number, None)

    def close(self) -> None:
        """Take no more, and end those that nobody has taken."""
        self._loop.remove_reader(self._over)
        self._over.close()
        for number in list(self._coming):
            self._end(number)

    def _take(self) -> None:
        try:
            name, descriptors, _, _ = socket.recv_fds(self._over, _NUMBER, 1)
        except OSError:
            return
        for each in descriptors:
            number, connected = name.decode(), socket.socket(fileno=each)
            coming = self._coming.setdefault(number, self._loop.create_future())
            if coming.done():  # two of one number
                connected.close()
            else:
                coming.set_result(connected)
                self._loop.call_later(UNWANTED, self._end, number)

    def _end(self, number: str) -> None:
        """End a connection that is still here."""
        coming = self._coming.pop(number, None)
        if coming is not None and coming.done() and not coming.cancelled():
            coming.result().close()
