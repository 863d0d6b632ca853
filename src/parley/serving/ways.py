"""The ways of a program to the passive parties: through our own party, and one that passes no party."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Final

from parley.core.conversation import Channel
from parley.core.errors import ParleyError, PeerLost, UsageError
from parley.core.log import Log
from parley.core.trace import Trace
from parley.net.certificates import Identity
from parley.net.channel import CheckedChannel, Setting
from parley.net.handover import server_name
from parley.net.proxy import Proxies
from parley.net.transport import Transport
from parley.net.websocket import PeerPin, WebSocketTransport, dial
from parley.protocols import ticketing

Own = Callable[[str], Awaitable[Transport]]
"""Reaches our own running party, by path."""

_WAITED_FOR: Final = "/asking"
"""How paths end of conversations in which every message is waited for."""
_PATIENCE: Final = 5.0
"""Seconds for the direct way to be found and gone; the other one is there."""
_LIFELINE: Final = 365 * 86400.0
_AVOIDED: Final = 60.0
"""Seconds for which a direct way that led nowhere is not tried again."""


class Ways:
    """Opens conversations with passive parties.

    Args:
        own: reaches our own party.
        identity: who we are now.
        trace: where conversations report.
        log: of the party.
    """

    def __init__(self, own: Own, identity: Callable[[], Identity], trace: Trace, log: Log) -> None:
        self._own = own
        self._identity = identity
        self._trace = trace
        self._log = log
        self._avoided: dict[str, float] = {}

    async def __call__(self, peer: str, path: str) -> Transport:
        """Begin a conversation with a peer."""
        if path.endswith(_WAITED_FOR) and self._trace.clock() >= self._avoided.get(peer, 0.0):
            direct = await self._tried(peer, path)
            if direct is not None:
                return direct
        return _Through(await self._own(f"/through/{peer}{path}"), peer, self._own)

    async def _tried(self, peer: str, path: str) -> Transport | None:
        """The direct way; none, if the peer only dials out or something lies between."""
        log = self._log.about(peer=peer)
        try:
            async with asyncio.timeout(_PATIENCE), AsyncExitStack() as stack:
                found = await self._directly(peer, path, stack)
        except (ParleyError, TimeoutError) as error:
            why = error.what if isinstance(error, ParleyError) else f"no connection within {_PATIENCE:g} s"
            log(f"{peer} cannot be asked directly: {why}")
            return None
        if found is not None:
            log(f"{peer} is asked directly")
        return found

    async def _directly(self, peer: str, path: str, stack: AsyncExitStack) -> Transport | None:
        channel = await stack.enter_async_context(self._way(peer, path))
        way = await channel.recv(ticketing.Way)
        if not way.address:
            return None
        try:
            line = await dial(
                way.address,
                self._identity(),
                PeerPin(peer, way.certificate),
                path,
                proxies=Proxies.read(os.environ),
                server_name=server_name(way.ticket),
            )
        except BaseException:
            self._avoid(peer)
            raise
        return _Direct(line, channel, stack.pop_all(), lambda: self._avoid(peer))

    @asynccontextmanager
    async def _way(self, peer: str, path: str) -> AsyncIterator[Channel]:
        """The conversation with our own party about the way, which lasts as long as that holds."""
        transport = await self._own(f"/way/{peer}{path.removesuffix(_WAITED_FOR)}/ticketing")
        setting = Setting(ticketing.WAY_STEPS, ticketing.PROGRAM, "way", self._trace, _LIFELINE)
        async with CheckedChannel(transport, setting) as channel:
            yield channel
            await channel.send(ticketing.Left())
            await channel.recv(ticketing.Over)

    def _avoid(self, peer: str) -> None:
        self._avoided[peer] = self._trace.clock() + _AVOIDED


class _Direct:
    """A connection to a peer that ends when our party says that the way holds no more, or a certificate ends.

    Args:
        line: the connection.
        channel: with our own party, about the way.
        stack: closes that.
        in_vain: called if nothing came over it before it ended.
    """

    def __init__(
        self,
        line: WebSocketTransport,
        channel: Channel,
        stack: AsyncExitStack,
        in_vain: Callable[[], None],
    ) -> None:
        self.peer = line.peer
        self.send = line.send
        self._line = line
        self._stack = stack
        self._in_vain = in_vain
        self._heard = False
        self._holding = asyncio.create_task(self._hold(channel))

    async def recv(self) -> bytes:
        """The next frame."""
        frame = await self._line.recv()
        self._heard = True
        return frame

    async def close(self) -> None:
        """Close the connection when the other end has everything that was handed over."""
        self._holding.cancel()
        await asyncio.gather(self._holding, return_exceptions=True)
        await self._line.close()
        if not self._heard:
            self._in_vain()

    async def _hold(self, channel: Channel) -> None:
        left = self._line.proof.until - datetime.now(UTC)
        try:
            async with self._stack, asyncio.timeout(left.total_seconds()):
                await channel.recv(ticketing.Over)  # comes only if we leave: else it ends by an error
        except (ParleyError, TimeoutError):
            await self._line.close()


class _Through:
    """A conversation with a peer through our own running party, which ends it in order where the peer has.

    If our own party is gone, what is raised names that one.
    """

    def __init__(self, transport: Transport, peer: str, own: Own) -> None:
        self.peer = peer
        self.close = transport.close
        self._transport = transport
        self._own = own

    async def send(self, frame: bytes) -> None:
        """As `Transport.send`."""
        try:
            await self._transport.send(frame)
        except PeerLost as lost:
            raise await self._named(lost) from None

    async def recv(self) -> bytes:
        """As `Transport.recv`."""
        try:
            return await self._transport.recv()
        except PeerLost as lost:
            raise await self._named(lost) from None

    async def _named(self, lost: PeerLost) -> PeerLost:
        if lost.code != "connection-closed" or not await self._runs():
            return lost
        return PeerLost(
            "connection-closed",
            f"{self.peer} is lost, or ended the conversation",
            peer=self.peer,
            remedy=f"see `parley doctor {self.peer}`; it is asked again as soon as it is there",
        )

    async def _runs(self) -> bool:
        """Whether our own party does: one that is stopped ends all conversations in order, too."""
        try:
            await (await self._own("/attend")).close()
        except UsageError:
            return False
        return True
