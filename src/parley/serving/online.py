"""Single requests: what comes at the same time goes to the passive parties in one exchange."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from parley.core.errors import BudgetExhausted, ParleyError, UsageError
from parley.core.log import Log
from parley.party.failures import known, lines_of
from parley.serving.accounting import Accountant
from parley.serving.engine import Engine, predictions_of, scores_of
from parley.serving.monitor import Monitor
from parley.serving.scores import Score, Service

IN_FLIGHT: Final = 2
"""Exchanges under way at the same time; while they are, further requests gather."""
TOGETHER: Final = 4096
"""Ids in one exchange, as long as one request does not have more."""
WAITING: Final = 1 << 16
"""Ids that may wait."""


@dataclass(eq=False)
class _Request:
    """One request that waits: its ids, and where its scores go."""

    ids: Sequence[str]
    scores: "asyncio.Future[list[Score]]"


class OnlineScorer:
    """A `scores.Scorer`.

    Args:
        engine: scores.
        accountant: keeps the accounts.
        monitor: hears how it goes.
        log: of the party.
        delay: seconds for which a request may wait for others, while exchanges are under way.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        engine: Engine,
        accountant: Accountant,
        monitor: Monitor,
        log: Log,
        *,
        delay: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._accountant = accountant
        self._monitor = monitor
        self._log = log
        self._delay = delay
        self._clock = clock
        self._waiting: list[_Request] = []
        self._count = 0
        self._wake = asyncio.Event()
        self._free = asyncio.Semaphore(IN_FLIGHT)
        self._exchanges: set[asyncio.Task[None]] = set()

    def service(self) -> Service:
        """How it does now."""
        terms, share = self._accountant.terms, self._engine.share
        return Service(
            model=share.model,
            objective=share.parameters.objective,
            classes=share.classes,
            fallback=self._engine.fallback,
            quota=terms.quota,
            used=self._accountant.used,
            until=terms.until,
            peers=tuple(each.peerage() for each in self._engine.partners.values()),
        )

    async def score(self, ids: Sequence[str]) -> Sequence[Score]:
        """The score of each id; raises as `scores.Scorer`, and `ProtocolBug` for what nobody foresaw."""
        if self._count + len(ids) > WAITING:
            raise BudgetExhausted(
                "too-many-waiting",
                f"{self._count} ids wait for their scores already",
                remedy="ask again in a second, or ask less at the same time",
            )
        await self._accountant.reserve(len(ids))
        request = _Request(ids, asyncio.get_running_loop().create_future())
        self._waiting.append(request)
        self._count += len(ids)
        self._wake.set()
        return await request.scores

    async def run(self) -> None:
        """Hold the exchanges, until cancelled."""
        try:
            while True:
                await self._wake.wait()
                if self._exchanges and self._delay:  # alone, a request has nobody to wait for
                    await asyncio.sleep(self._delay)
                await self._free.acquire()
                exchange = asyncio.create_task(self._exchange(self._taken()))
                self._exchanges.add(exchange)
                exchange.add_done_callback(self._exchanges.discard)
        finally:
            for each in self._exchanges:
                each.cancel()
            for waiting in self._waiting:
                waiting.scores.cancel()
            await asyncio.gather(*self._exchanges, return_exceptions=True)

    def _taken(self) -> list[_Request]:
        """The requests of the next exchange."""
        taken: list[_Request] = []
        count = 0
        while self._waiting and (not taken or count + len(self._waiting[0].ids) <= TOGETHER):
            taken.append(self._waiting.pop(0))
            count += len(taken[-1].ids)
        self._count -= count
        if not self._waiting:
            self._wake.clear()
        return taken

    async def _exchange(self, requests: list[_Request]) -> None:
        try:
            await self._answer([each for each in requests if not self._left(each)])
        except Exception as error:  # noqa: BLE001 (later requests must not suffer)
            self._log.say("error", f"scoring failed: {lines_of(error)}")
            for each in requests:
                _settle(each, known(error))
        finally:
            self._free.release()
            for each in requests:
                each.scores.cancel()  # only where there is no answer

    async def _answer(self, requests: list[_Request]) -> None:
        """Score requests together; if one of them cannot be answered, each by itself."""
        if not requests:
            return
        try:
            scores = await self._scores([each for request in requests for each in request.ids])
        except ParleyError as error:
            if len(requests) == 1 or error.family != UsageError.family:
                for each in requests:
                    _settle(each, error)
                    self._accountant.release(len(each.ids))
                return
            for each in requests:
                await self._answer([each])
            return
        at = 0
        for each in requests:
            _settle(each, scores[at : at + len(each.ids)])
            at += len(each.ids)

    async def _scores(self, ids: Sequence[str]) -> list[Score]:
        began = self._clock()
        outcome = await self._engine.outcome(ids)
        receipts = self._accountant.write(predictions_of(ids, outcome))
        scores = scores_of(ids, outcome, self._engine.objective, receipts)
        self._monitor.answered(scores, self._clock() - began)
        return scores

    def _left(self, request: _Request) -> bool:
        """Whether nobody waits for a request any more; then nothing is asked for it."""
        if request.scores.done():
            self._accountant.release(len(request.ids))
            return True
        return False


def _settle(request: _Request, outcome: list[Score] | ParleyError) -> None:
    if request.scores.done():
        return
    if isinstance(outcome, ParleyError):
        request.scores.set_exception(outcome)
    else:
        request.scores.set_result(outcome)
