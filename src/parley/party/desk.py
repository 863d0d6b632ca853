"""The ledger's desk at a party: members that follow us, compare with us, or come in with an invitation."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

from parley.core.conversation import Channel, Steps
from parley.core.errors import PolicyRefused
from parley.core.trace import Trace
from parley.ledger.contract.members import Member, member_path
from parley.ledger.encoding import EncodingError
from parley.ledger.engines.embedded import gossip, replication
from parley.ledger.transaction import SignedTransaction, open_signed
from parley.net.channel import CheckedChannel, Setting
from parley.net.transport import Transport
from parley.party.ledger import PartyLedger, consortium_of, neighbours
from parley.party.rendezvous import Dial
from parley.protocols import joining
from parley.store.home import Home

PATIENCE = 365 * 86400.0
"""Seconds: who follows us is silent while nothing happens; a dead peer breaks the line."""
_PROMPT = 60.0
"""Seconds to wait for a message of a conversation that has none to wait for."""
_BEHIND = 5.0
"""Seconds that our copy of the ledger may be behind that of a newcomer's sponsors."""
LEDGER = "ledger"
"""Stands for a run where a conversation belongs to none."""


def reaching(
    dial: Dial, clock: Callable[[], float]
) -> Callable[[str, Steps, str], AbstractAsyncContextManager[Channel]]:
    """How a member's engine opens a conversation with another member."""

    @asynccontextmanager
    async def opened(peer: str, table: Steps, role: str) -> AsyncIterator[Channel]:
        transport = await dial(peer, f"/ledger/{table.protocol}")
        async with CheckedChannel(transport, Setting(table, role, LEDGER, Trace(clock), PATIENCE)) as channel:
            yield channel

    return opened


class Desk:
    """Serves the ledger's connections.

    Args:
        home: of the party.
        ledger: of the party.
        clock: monotonic seconds.
        log: takes a line for the operator of the party.
    """

    def __init__(
        self, home: Home, ledger: PartyLedger, clock: Callable[[], float], log: Callable[[str], None]
    ) -> None:
        self._home = home
        self._ledger = ledger
        self._clock = clock
        self._log = log

    async def serve(self, what: str, peer: str, transport: Transport) -> None:
        """Serve one connection until it is done."""
        engine = self._ledger.member
        if what == "join":
            await self._welcome(peer, transport)
        elif not self._is_member(peer):
            self._log(f"{peer} asked for the ledger, but is no member")
        elif what == "ledger/replication":
            line = self._channel(transport, replication.STEPS, replication.SEQUENCER, PATIENCE)
            async with line as channel:
                await engine.serve_follower(channel)
        else:
            async with self._channel(transport, gossip.STEPS, gossip.CALLED) as channel:
                await engine.gossip_as_called(channel)

    def _is_member(self, peer: str) -> bool:
        """Whether the ledger is a peer's too; while some of it is missing here, whether it was when noted."""
        log, membership = self._ledger.member.log, self._home.membership
        if log.size:
            member = self._ledger.draft.find(Member, member_path(peer))
            if member is not None and member.standing in ("active", "suspended"):
                return True
        noted = () if membership is None else membership.members
        had = 1 if membership is None else max(membership.size, 1)
        return log.final_size < had and (peer in noted or not (log.size or noted))

    def _channel(
        self, transport: Transport, table: Steps, role: str, patience: float = _PROMPT
    ) -> CheckedChannel:
        return CheckedChannel(transport, Setting(table, role, LEDGER, Trace(self._clock), patience))

    async def _welcome(self, peer: str, transport: Transport) -> None:
        """Let a newcomer in that knocks with the certificate of its invitation."""
        async with self._channel(transport, joining.STEPS, joining.INVITER) as channel:
            arrival = await channel.recv(joining.Arrival)
            if arrival.name != peer or not await self._is_invited(peer):
                raise PolicyRefused(
                    "not-invited",
                    f"{arrival.name[:64]} wants to join, but the ledger has no invitation of it",
                    remedy="invite it with `parley invite`, and have the vote accepted",
                    public="the ledger has no open invitation of that name",
                )
            view = self._ledger.view
            around = tuple(
                joining.Neighbour(each.name, each.address, each.certificate) for each in neighbours(view)
            )
            log = self._ledger.member.log
            await channel.send(
                joining.Welcome(consortium_of(view), log.replica.height, self._ledger.member.leader, around)
            )
            entry = await channel.recv(joining.Entry)
            for data in (entry.join, entry.announce, *([entry.node] if entry.node else [])):
                await self._enter(channel, peer, data)
            await channel.send(joining.Entered())
        self._home.catalogue.drop_invitation(peer)
        self._log(f"{peer} has joined the consortium")

    async def _is_invited(self, peer: str) -> bool:
        """Whether the members have let it in; our copy of the ledger may hear of it after the newcomer."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_BEHIND):
                async for _ in self._ledger.member.changes():
                    if not self._ledger.member.log.size:
                        continue
                    member = self._ledger.draft.find(Member, member_path(peer))
                    if member is not None:
                        return member.standing == "invited"
        return False

    async def _enter(self, channel: Channel, peer: str, data: bytes) -> None:
        signed = _opened(channel, data)
        if signed.transaction.sender != peer:
            raise channel.fault("other-sender", f"handed in a transaction of {signed.transaction.sender}")
        receipt = await self._ledger.member.place(signed)
        if not receipt.accepted:
            raise PolicyRefused(
                f"ledger-{receipt.code}",
                f"the ledger refused {signed.transaction.type} of {peer}: {receipt.code}, {receipt.reason}",
                remedy="ask for a new invitation",
                public=f"the ledger refused {signed.transaction.type}: {receipt.code}",
            )


def _opened(channel: Channel, data: bytes) -> SignedTransaction:
    try:
        return open_signed(data)
    except EncodingError as error:
        raise channel.fault("malformed-transaction", f"sent no transaction: {error}") from None
