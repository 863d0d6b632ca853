"""A program's hold on its model: the terms as the ledger has them now, and its accounts."""

import asyncio
from types import TracebackType
from typing import Final, Self

from parley.core.conversation import Channel
from parley.core.errors import ParleyError, PeerLost, PolicyRefused
from parley.core.trace import Trace
from parley.net.channel import CheckedChannel, Setting
from parley.net.transport import Transport
from parley.party.failures import known
from parley.protocols import attending
from parley.serving.pages import Page

_SILENT: Final = 6.0
"""Seconds for which it may say nothing; else the terms do not hold any more."""


class Attendance:
    """The conversation of a program with its own party; use it as an asynchronous context.

    Args:
        transport: to our party.
        model: whose terms are wanted.
        trace: where it reports.

    Attributes:
        terms: the latest.
    """

    def __init__(self, transport: Transport, model: str, trace: Trace) -> None:
        setting = Setting(attending.STEPS, attending.PROGRAM, "attending", trace, _SILENT)
        self._checked = CheckedChannel(transport, setting)
        self._model = model
        self._waiting: dict[str, asyncio.Future[int]] = {}
        self._changed = asyncio.Event()
        self._gone: ParleyError | None = None
        self._reading: asyncio.Task[None] | None = None
        self.terms = attending.Terms("unknown", 0, 0, 0, "", (), "", 0)

    async def __aenter__(self) -> Self:
        channel: Channel = await self._checked.__aenter__()
        try:
            await channel.send(attending.Attend(self._model))
            self.terms = await channel.recv(attending.Terms)
        except BaseException as error:
            await self._checked.__aexit__(type(error), error, error.__traceback__)
            raise
        self._reading = asyncio.create_task(self._read(channel))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        await self._checked.__aexit__(None, None, None)

    @property
    def gone(self) -> ParleyError | None:
        """Why our party tells nothing any more; nothing while it does."""
        return self._gone

    async def changed(self) -> None:
        """Wait until the terms change, or our party is gone."""
        await self._changed.wait()

    async def over(self) -> ParleyError:
        """Wait until our party tells nothing any more; returns why."""
        while self._gone is None:
            await self.changed()
        return self._gone

    async def enter(self, page: Page, root: bytes) -> int:
        """Have a page entered on the ledger; returns its batch, which the terms count by then.

        Raises:
            PolicyRefused: the contract refuses it, for good.
            PeerLost: it could not be entered now.
        """
        if self._gone is not None:
            raise self._gone
        entered = self._waiting[page.name] = asyncio.get_running_loop().create_future()
        try:
            await self._checked.send(attending.Page(page.name, root, page.count, page.batches))
            batch: int = await entered
        finally:
            self._waiting.pop(page.name, None)
        return batch

    async def _read(self, channel: Channel) -> None:
        try:
            while True:
                match await channel.recv(attending.Terms, attending.Entered, attending.Refused):
                    case attending.Terms() as terms:
                        self._hear(terms)
                    case attending.Entered(page, batch):
                        self._answer(page, batch)
                    case attending.Refused() as refused:
                        self._answer(refused.page, _refusal(refused, channel.peer))
        except Exception as error:  # noqa: BLE001 (terms that nobody renews must not be relied on)
            self._gone = known(error)
            self._changed.set()
            for page in list(self._waiting):
                self._answer(page, self._gone)

    def _hear(self, terms: attending.Terms) -> None:
        if terms == self.terms:
            return
        self.terms = terms
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _answer(self, page: str, outcome: int | ParleyError) -> None:
        waiting = self._waiting.get(page)
        if waiting is None or waiting.done():
            return
        if isinstance(outcome, int):
            waiting.set_result(outcome)
        else:
            waiting.set_exception(outcome)


def _refusal(refused: attending.Refused, party: str) -> ParleyError:
    if refused.final:
        return PolicyRefused(refused.code, refused.what, remedy=refused.remedy)
    return PeerLost(refused.code, refused.what, peer=party, remedy=refused.remedy)
