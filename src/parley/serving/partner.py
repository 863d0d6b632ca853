"""A passive party as the active one has it: enrolled, asked, and left alone for a while when it is away.

States, as in `scores.Peerage`::

    trying ── enrolled ──▶ ready ── no answer in time, or the conversation ended ──▶ away
      ▲                    ▲   │                                                      │
      │                    │   └── the connection broke; its tokens still count ──┐   │
      │                    └──────────────────── trying ◀─────────────────────────┘   │
      └─────────────────────────────── after a pause ─────────────────────────────────┘

Only when it is ready it is asked; else whoever asks hears at once why it is not.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal

from parley.core.conversation import Steps
from parley.core.errors import ParleyError, PeerAborted, PeerError, PeerLost
from parley.core.log import Log
from parley.core.trace import Trace
from parley.net.channel import STOPPED, CheckedChannel, Setting
from parley.net.transport import Transport
from parley.party.failures import known, lines_of
from parley.protocols import asking, enrolment
from parley.protocols.oblivious import IdBuffer
from parley.serving.monitor import Monitor
from parley.serving.scores import Peerage

Reach = Callable[[str, str], Awaitable[Transport]]
"""Opens the way to a peer for a path, through our own running party."""

_PATIENCE: Final = 15.0
"""Seconds for which a passive party may say nothing while it is enrolled."""
_PAUSES: Final = (0.25, 0.5, 1.0, 2.0, 5.0)
"""Seconds between two attempts to enrol a party that is away; the last one again and again."""
_LASTING: Final = 2.0
"""Seconds after which a conversation that breaks is no failure to begin one."""
_ANEW: Final = 3
"""Attempts in a row to begin a conversation again by the tokens that there are."""
_LATE: Final = 2
"""Asks in a row without an answer in time, after which a party is away."""
_AT_ONCE: Final = 512
"""Ids whose tokens are computed without a thread of their own."""


def _may_come_back(error: PeerError) -> bool:
    """Whether only the connection is gone, and what was enrolled may still be there."""
    lost = isinstance(error, PeerLost) and error.code != "peer-late"
    return lost or (isinstance(error, PeerAborted) and error.code == STOPPED)


@dataclass(frozen=True)
class Served:
    """What is asked for at a passive party.

    Attributes:
        model: identifier.
        splits: how many the party has in it.
        rule: by which ids are normalised.
        threads: for computing tokens.
    """

    model: str
    splits: int
    rule: str
    threads: int


class Partner:
    """One passive party.

    Args:
        peer: its name.
        served: what is asked for.
        reach: opens conversations.
        trace: where they report.
        monitor: hears how it does.
        log: of the party.
    """

    def __init__(
        self,
        peer: str,
        served: Served,
        reach: Reach,
        trace: Trace,
        monitor: Monitor,
        log: Log,
    ) -> None:
        self.peer = peer
        self._served = served
        self._reach = reach
        self._trace = trace
        self._monitor = monitor
        self._log = log
        self._state: Literal["ready", "away", "trying"] = "trying"
        self._why: ParleyError | None = None
        self._tokens: enrolment.Tokens | None = None
        self._inquiry: asking.Inquiry | None = None
        self._settled = asyncio.Event()
        self._was_asked = False
        self._late = 0
        self._ready_since: float | None = None
        self._given_up = asyncio.Event()

    def peerage(self) -> Peerage:
        """How it does."""
        rows = 0 if self._tokens is None else self._tokens.rows
        return Peerage(self.peer, self._state, "" if self._why is None else self._why.code, rows)

    async def settled(self) -> None:
        """Wait until the first attempt to enrol it has ended, well or not."""
        await self._settled.wait()

    def check_ready(self) -> tuple[asking.Inquiry, enrolment.Tokens]:
        """What it is asked with.

        Raises:
            PeerLost: it is away.
        """
        if self._inquiry is None or self._tokens is None:
            raise self._away()
        return self._inquiry, self._tokens

    async def run(self) -> None:
        """Enrol it, keep the conversation, and begin anew when that ends; until cancelled."""
        failures = 0
        while True:
            self._state = "trying"
            try:
                await self._attend()
            except Exception as error:  # noqa: BLE001 (whatever it is, the next attempt may go well)
                self._why = known(error)
                self._monitor.failed(self.peer, self._why.code)
                if not isinstance(error, ParleyError):
                    self._log.say("error", f"asking {self.peer} failed: {lines_of(error)}")
            failures = 0 if self._was_asked else failures + 1  # else a peer that ends at once costs much
            self._state, self._tokens = "away", None
            self._settled.set()
            await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])

    async def ask(self, ids: IdBuffer, count: int, deadline: float) -> asking.Answer:
        """Which of some ids it has, and where their rows go at its splits.

        Args:
            ids: normalised.
            count: how many.
            deadline: seconds in which it must answer.

        Raises:
            PeerLost: it is away, or did not answer in time.
            PolicyRefused: it may not answer now.
            PeerError: whatever else is wrong with it.
        """
        inquiry, tokens = self.check_ready()
        asked = tokens.of(ids) if count <= _AT_ONCE else await asyncio.to_thread(tokens.of, ids)
        began = self._trace.clock()
        try:
            async with asyncio.timeout(deadline):
                answer = await inquiry.ask(asked)
        except TimeoutError:
            raise self._is_late(deadline) from None
        self._late, self._was_asked = 0, True
        self._monitor.exchanged(self.peer, count, self._trace.clock() - began)
        return answer

    # Inside

    async def _attend(self) -> None:
        """One enrolment, and the conversations in which it is asked, until one does not come about."""
        self._late, self._was_asked, self._given_up = 0, False, asyncio.Event()
        key = secrets.token_hex(16)
        served = self._served
        options = enrolment.Options(served.model, served.rule, secrets.token_bytes(32), served.threads)
        async with await self._channel(key, enrolment.STEPS, enrolment.ACTIVE) as channel:
            self._tokens = await enrolment.active(channel, options)
        failures = 0
        while True:  # what was enrolled outlives a connection
            try:
                await self._converse(key)
            except PeerError as error:
                failures = 1 if self._lasted() > _LASTING else failures + 1
                if failures > _ANEW or not _may_come_back(error):
                    raise
                self._state, self._why = "trying", error
                self._settled.set()
                self._monitor.failed(self.peer, error.code)
                self._log.about(peer=self.peer)(f"a conversation broke, and is begun anew: {error.what}")
                await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES)) - 1])

    async def _converse(self, key: str) -> None:
        """A conversation in which it is asked by the tokens of an enrolment, until that ends."""
        self._ready_since = None
        async with (
            await self._channel(key, asking.STEPS, asking.ACTIVE) as channel,
            asking.Inquiry(channel, self._served.model, self._served.splits) as inquiry,
        ):
            self._inquiry, self._state, self._ready_since = inquiry, "ready", self._trace.clock()
            self._settled.set()
            try:
                await self._over(inquiry)
            finally:
                self._inquiry = None

    def _lasted(self) -> float:
        """Seconds for which the last conversation could be used."""
        return 0.0 if self._ready_since is None else self._trace.clock() - self._ready_since

    async def _over(self, inquiry: asking.Inquiry) -> None:
        """Wait until the conversation ends, or too much was asked in vain; raises why."""
        over, given_up = asyncio.ensure_future(inquiry.over()), asyncio.ensure_future(self._given_up.wait())
        try:
            await asyncio.wait([over, given_up], return_when=asyncio.FIRST_COMPLETED)
            if not over.done():
                raise self._too_late()
            over.result()
        finally:
            over.cancel()
            given_up.cancel()
            await asyncio.gather(over, given_up, return_exceptions=True)

    async def _channel(self, key: str, steps: Steps, role: str) -> CheckedChannel:
        path = f"/serving/{self._served.model}/{key}/{steps.protocol}"
        transport = await self._reach(self.peer, path)
        return CheckedChannel(transport, Setting(steps, role, key, self._trace, _PATIENCE))

    def _is_late(self, deadline: float) -> PeerLost:
        self._late += 1
        if self._late >= _LATE:
            self._given_up.set()
        return self._too_late(f" within {deadline:g} s")

    def _too_late(self, within: str = " in time") -> PeerLost:
        return PeerLost(
            "peer-late",
            f"{self.peer} did not answer{within}",
            peer=self.peer,
            remedy=f"ask again; if that goes on, ask {self.peer} whether its party is overloaded",
        )

    def _away(self) -> PeerLost:
        why = "is being enrolled" if self._why is None else f"is away: {self._why.what}"
        return PeerLost(
            "peer-away",
            f"{self.peer} {why}",
            peer=self.peer,
            remedy=f"ask again in some seconds; if that goes on, see `parley doctor {self.peer}`",
        )
