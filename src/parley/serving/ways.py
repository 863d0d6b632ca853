"""The ways of a program to the passive parties: through our own party, and one that passes no party."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from parley.core.errors import ParleyError, PeerLost
from parley.core.log import Log
from parley.core.trace import Trace
from parley.net.certificates import Identity
from parley.net.channel import CheckedChannel, Setting
from parley.net.handover import server_name
from parley.net.proxy import Proxies
from parley.net.transport import Transport
from parley.net.websocket import PeerPin, dial
from parley.protocols import ticketing

Own = Callable[[str], Awaitable[Transport]]
"""Reaches our own running party, by path."""

_DIRECT: Final = "/asking"
"""How paths end of conversations in which every message is waited for."""
_PATIENCE: Final = 5.0
"""Seconds for the direct way to be found and gone; the other one is there."""


@dataclass(frozen=True)
class Ways:
    """Opens conversations with passive parties.

    Attributes:
        own: reaches our own party.
        identity: who we are now.
        trace: where conversations report.
        log: of the party.
    """

    own: Own
    identity: Callable[[], Identity]
    trace: Trace
    log: Log

    async def __call__(self, peer: str, path: str) -> Transport:
        """Begin a conversation with a peer."""
        direct = await self._tried(peer, path) if path.endswith(_DIRECT) else None
        return direct or _Through(await self.own(f"/through/{peer}{path}"), peer)

    async def _tried(self, peer: str, path: str) -> Transport | None:
        """The direct way; none, if the peer only dials out or something lies between."""
        try:
            found = await self._directly(peer, path)
        except (ParleyError, TimeoutError) as error:
            why = error.what if isinstance(error, ParleyError) else f"no connection within {_PATIENCE:g} s"
            self.log.about(peer=peer)(f"{peer} is asked through our own party: {why}")
            return None
        if found is not None:
            self.log.about(peer=peer)(f"{peer} is asked directly")
        return found

    async def _directly(self, peer: str, path: str) -> Transport | None:
        async with asyncio.timeout(_PATIENCE):
            way = await self._way(peer, path)
            if not way.address:
                return None
            pin = PeerPin(peer, way.certificate)
            return await dial(
                way.address,
                self.identity(),
                pin,
                path,
                proxies=Proxies.read(os.environ),
                server_name=server_name(way.ticket),
            )

    async def _way(self, peer: str, path: str) -> ticketing.Way:
        transport = await self.own(f"/way/{peer}{path.removesuffix(_DIRECT)}/ticketing")
        setting = Setting(ticketing.WAY_STEPS, ticketing.PROGRAM, "way", self.trace, _PATIENCE)
        async with CheckedChannel(transport, setting) as channel:
            way: ticketing.Way = await channel.recv(ticketing.Way)
            return way


class _Through:
    """A conversation with a peer through our own running party, which ends it in order where the peer has.

    If our own party is gone, what is raised names that one.
    """

    def __init__(self, transport: Transport, peer: str) -> None:
        self.peer = peer
        self.close = transport.close
        self._transport = transport

    async def send(self, frame: bytes) -> None:
        """As `Transport.send`."""
        try:
            await self._transport.send(frame)
        except PeerLost as lost:
            raise self._named(lost) from None

    async def recv(self) -> bytes:
        """As `Transport.recv`."""
        try:
            return await self._transport.recv()
        except PeerLost as lost:
            raise self._named(lost) from None

    def _named(self, lost: PeerLost) -> PeerLost:
        if lost.code != "connection-closed":
            return lost
        return PeerLost(
            lost.code,
            f"{self.peer} is lost, or ended the conversation",
            peer=self.peer,
            remedy=f"see `parley doctor {self.peer}`; it is asked again as soon as it is there",
        )
