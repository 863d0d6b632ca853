"""The running party's side of its own programs that serve predictions.

Paths of connections from them, with our own certificate:

    /attend                            the terms of a model, and its accounts
    /through/PEER/serving/…            a conversation with a peer, on our link
    /way/PEER/serving/…                how the peer is reached without us
"""

import asyncio
import re
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from parley.core.conversation import Channel, Steps
from parley.core.errors import ParleyError, PolicyRefused
from parley.core.trace import Trace
from parley.ledger.contract.models import Model, model_path
from parley.ledger.contract.plans import Plan, plan_path
from parley.net.channel import CheckedChannel, Setting
from parley.net.relay import join
from parley.net.transport import Transport
from parley.party.ledger import PartyLedger, no_consortium
from parley.party.office import Office
from parley.party.upkeep import until_either
from parley.protocols import asking, attending, enrolment, ticketing
from parley.serving.accounts import Accounts
from parley.serving.standing import Standings

LIFELINE: Final = 365 * 86400.0
"""Patience in seconds between a party and its programs: who is gone is noticed at once."""
PATIENCE: Final = 10.0
"""Seconds for somebody to hear why a conversation does not begin."""
PATH: Final = r"/serving/([a-z0-9-]{1,64})/([0-9a-f]{32})/(enrolment|asking|ticketing)"
"""Of a conversation about a model with one program: the model, the program's key, the protocol."""
STEPS: Final = {"enrolment": enrolment.STEPS, "asking": asking.STEPS, "ticketing": ticketing.STEPS}
BEAT: Final = 2.0
"""Seconds after which a program hears the terms again, unchanged: they hold while it hears them."""
PAGES: Final = 64
"""Of one program, that are entered at the same time; further ones are read when there is room."""
_DROPPED: Final = "dropped-"
"""How codes begin of transactions that never reached the contract; the next one may."""
_TO: Final = re.compile(rf"/(?:through|way)/([a-z][a-z0-9-]{{0,31}})({PATH})")


class Desk:
    """Serves the programs.

    Args:
        office: of the party.
        standings: with our peers.
    """

    def __init__(self, office: Office, standings: Standings) -> None:
        self._office = office
        self._standings = standings
        self._accounts = None if office.ledger is None else Accounts(office.ledger)

    async def attend(self, _peer: str, _path: str, transport: Transport) -> None:
        """Tell a program the terms of its model for as long as it runs, and enter its pages."""
        trace = Trace(self._office.clocks.monotonic)
        setting = Setting(attending.STEPS, attending.PARTY, "attending", trace, LIFELINE)
        async with CheckedChannel(transport, setting) as channel:
            ledger, accounts = self._office.ledger, self._accounts
            if ledger is None or accounts is None:
                raise no_consortium(self._office.name)
            model = (await channel.recv(attending.Attend)).model
            async with asyncio.TaskGroup() as tasks:
                terms = partial(terms_of, ledger, model, self._office.name)
                telling = [
                    tasks.create_task(_tell(channel, ledger, terms)),
                    tasks.create_task(_repeat(channel, terms)),
                ]
                try:
                    await _Clerk(channel, accounts, model, terms).work(tasks)
                finally:
                    for each in telling:
                        each.cancel()

    async def through(self, _peer: str, path: str, transport: Transport) -> None:
        """Pass a program's conversation on to a peer; if that cannot be reached, say so in its place."""
        match = _TO.fullmatch(path)
        if match is None:
            self._office.log(f"a program of ours asked for {path[:80]!r}, which is nothing here")
            return
        peer, onward, _, key, protocol = match.groups()
        try:
            stream = await self._office.dial(peer, onward)
        except ParleyError as error:
            await turn_away(transport, STEPS[protocol], key, error)
            return
        try:
            await join(transport, stream)
        finally:
            await stream.close()

    async def way(self, _peer: str, path: str, transport: Transport) -> None:
        """Tell a program how it reaches a peer by itself, if it can, and when that holds no more."""
        match = _TO.fullmatch(path)
        if match is None or match[5] != "ticketing":
            self._office.log(f"a program of ours asked for {path[:80]!r}, which is nothing here")
            return
        peer, onward, _, key, _ = match.groups()
        trace = Trace(self._office.clocks.monotonic)
        setting = Setting(ticketing.WAY_STEPS, ticketing.PARTY, "way", trace, LIFELINE)
        async with CheckedChannel(transport, setting) as channel:
            before = self._standings.of(peer)
            if before.peer is None:
                await self._standings.keep(peer, before)
            known = before.peer
            ticket = await self._ticket(peer, onward, key) if known.address else ""
            await channel.send(ticketing.Way(known.address, known.certificate, ticket))
            await until_either(channel.recv(ticketing.Left), self._standings.keep(peer, before))
            await channel.send(ticketing.Over())

    async def _ticket(self, peer: str, path: str, key: str) -> str:
        stream = await self._office.dial(peer, path)
        trace = Trace(self._office.clocks.monotonic)
        setting = Setting(ticketing.STEPS, ticketing.ACTIVE, key, trace, PATIENCE)
        async with CheckedChannel(stream, setting) as channel:
            ticket: str = (await channel.recv(ticketing.Ticket)).ticket
            return ticket


async def turn_away(transport: Transport, steps: Steps, key: str, error: ParleyError) -> None:
    """Say why a conversation does not begin, in the place of the passive party."""
    setting = Setting(steps, asking.PASSIVE, key, Trace(time.monotonic), PATIENCE)
    with suppress(ParleyError):
        async with CheckedChannel(transport, setting):
            raise error


async def _tell(channel: Channel, ledger: PartyLedger, terms: Callable[[], attending.Terms]) -> None:
    """The terms now, and whenever they change."""
    told = None
    async for _ in ledger.member.changes():
        now = terms()
        if now != told:
            await channel.send(now)
            told = now


async def _repeat(channel: Channel, terms: Callable[[], attending.Terms]) -> None:
    """The terms again and again: a program that does not hear us must not go on by what it heard last."""
    while True:
        await asyncio.sleep(BEAT)
        await channel.send(terms())


class _Clerk:
    """Enters the pages of one program."""

    def __init__(
        self, channel: Channel, accounts: Accounts, model: str, terms: Callable[[], attending.Terms]
    ) -> None:
        self._channel = channel
        self._accounts = accounts
        self._model = model
        self._terms = terms
        self._places = asyncio.Semaphore(PAGES)

    async def work(self, tasks: asyncio.TaskGroup) -> None:
        """Enter the pages that come, until the program leaves."""
        while True:
            await self._places.acquire()
            tasks.create_task(self._enter(await self._channel.recv(attending.Page)))

    async def _enter(self, page: attending.Page) -> None:
        try:
            batch = await self._accounts.enter(self._model, page.root, page.count, page.batches)
        except ParleyError as error:
            final = isinstance(error, PolicyRefused) and not error.code.startswith(_DROPPED)
            said = attending.Refused(page.page, error.code, error.what, error.remedy, final)
            await self._channel.send(said)
        else:  # terms first: the program must not take the page off before it is counted
            await self._channel.send(self._terms())
            await self._channel.send(attending.Entered(page.page, batch))
        finally:
            self._places.release()


def terms_of(ledger: PartyLedger, model: str, party: str) -> attending.Terms:
    """What the ledger says of a model to one of its owners."""
    found = ledger.draft.find(Model, model_path(model)) if ledger.member.log.size else None
    if found is None:
        return attending.Terms("unknown", 0, 0, 0, "", (), "", 0)
    release = found.release
    plan = ledger.draft.known(Plan, plan_path(found.plan))
    return attending.Terms(
        status=found.status,
        quota=0 if release is None else release.quota,
        used=found.used,
        until=0 if release is None else release.until,
        active=found.active,
        peers=tuple(name for name in plan.terms.parties if name != party),
        share=found.shares.get(party, ""),
        batches=found.batches,
    )
