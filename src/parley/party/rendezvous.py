"""Where the two ends of a run's conversations meet.

The active party dials for every conversation; a passive one waits until the connection for it has come.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from parley.core.errors import PeerLost
from parley.net.transport import Transport

Dial = Callable[[str, str], Awaitable[Transport]]
"""Connects to a peer, asking for a path."""


def path_of(run: str, protocol: str) -> str:
    """What the active party asks for to open a conversation of a run."""
    return f"/runs/{run}/{protocol}"


@dataclass
class Rendezvous:
    """A passive party's side: connections that have come, by protocol.

    Attributes:
        run: identifier of the run.
        peer: the active party.
        patience: seconds to wait for a connection.
    """

    run: str
    peer: str
    patience: float
    _arrived: dict[str, "asyncio.Future[Transport]"] = field(default_factory=dict)
    _left: dict[str, asyncio.Event] = field(default_factory=dict)

    async def hold(self, protocol: str, transport: Transport) -> None:
        """Hand over a connection for a conversation; returns when the conversation has ended."""
        place = self._place(protocol)
        if place.done():
            return  # one connection for each conversation: a second one is turned away
        place.set_result(transport)
        await self._left[protocol].wait()

    @asynccontextmanager
    async def conversation(self, _peer: str, protocol: str) -> AsyncIterator[Transport]:
        """The connection for a conversation with the active party, once it has come."""
        place = self._place(protocol)
        try:
            async with asyncio.timeout(self.patience):
                yield_to = await asyncio.shield(place)
        except TimeoutError:
            raise PeerLost(
                "conversation-not-opened",
                f"{self.peer} did not open the {protocol} of run {self.run} within {self.patience:g} s",
                peer=self.peer,
                remedy=f"ask {self.peer} what its own log says of the run",
            ) from None
        try:
            yield yield_to
        finally:
            self._left[protocol].set()

    def dismiss(self) -> None:
        """Let go of every connection: the run is over."""
        for left in self._left.values():
            left.set()

    def _place(self, protocol: str) -> "asyncio.Future[Transport]":
        if protocol not in self._arrived:
            self._arrived[protocol] = asyncio.get_running_loop().create_future()
            self._left[protocol] = asyncio.Event()
        return self._arrived[protocol]


@asynccontextmanager
async def dialled(dial: Dial, run: str, peer: str, protocol: str) -> AsyncIterator[Transport]:
    """The connection of the active party for a conversation."""
    transport = await dial(peer, path_of(run, protocol))
    try:
        yield transport
    finally:
        await transport.close()
