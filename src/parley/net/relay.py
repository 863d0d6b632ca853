"""A third member between two parties that only dial out: it joins two streams and reads nothing of either.

    party                        relay                         other party
      /relay/OTHER   ─────────────▶   /relayed/PARTY   ──────────▶
      bytes          ◀────────────▶   the same bytes   ◀─────────▶

The bytes are TLS 1.3 between the two outer parties, with the certificates that they pinned, and inside it
their link as on any other connection. The relay learns who talks with whom, when, and how much.
"""

import asyncio
import re
import socket
from collections.abc import Coroutine
from contextlib import suppress
from typing import Final

from parley.core.errors import PeerError
from parley.net.transport import Transport

RELAY: Final = re.compile(r"/relay/([a-z][a-z0-9-]{0,31})")
RELAYED: Final = re.compile(r"/relayed/([a-z][a-z0-9-]{0,31})")

_PIECE: Final = 64 * 1024


async def join(one: Transport, other: Transport) -> None:
    """Pass on every frame of each to the other, until one of them ends."""
    await _first(_passed(one, other), _passed(other, one))


async def bridge(stream: Transport) -> tuple[socket.socket, Coroutine[None, None, None]]:
    """A socket for whose bytes a stream stands, and the work that carries them until either ends."""
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours, limit=_PIECE)
    return theirs, _carried(stream, reader, writer)


async def _carried(stream: Transport, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await _first(_read_out(stream, reader), _written_in(stream, writer))
    finally:
        writer.transport.abort()
        await stream.close()


async def _passed(source: Transport, sink: Transport) -> None:
    with suppress(PeerError):
        while True:
            await sink.send(await source.recv())


async def _read_out(stream: Transport, reader: asyncio.StreamReader) -> None:
    with suppress(PeerError, OSError):
        while data := await reader.read(_PIECE):
            await stream.send(data)


async def _written_in(stream: Transport, writer: asyncio.StreamWriter) -> None:
    with suppress(PeerError, OSError):
        while True:
            writer.write(await stream.recv())
            await writer.drain()


async def _first(*work: Coroutine[None, None, None]) -> None:
    """Run both until the first is done."""
    tasks = [asyncio.get_running_loop().create_task(each) for each in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
