"""Single requests: what comes at the same time goes to the passive parties in one exchange."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from parley.core.errors import BudgetExhausted, ParleyError, UsageError
from parley.core.log import Log
from parley.party.failures import lines_of
from parley.serving.accounting import Accountant
from parley.serving.engine import Engine, Outcome, asked_of, predictions_of, scores_of
from parley.serving.monitor import Monitor
from parley.serving.scores import Score, Service
from parley.web.problems import unforeseen

IN_FLIGHT: Final = 2
"""Exchanges under way at the same time; while they are, further requests gather."""
TOGETHER: Final = 4096
"""Ids in one exchange, as long as one request does not have more."""
WAITING: Final = 1 << 16
"""Ids that may wait."""


_OF_AN_ID: Final = ("column-type", "serving-rows", "serving-function-failed", "serving-function-answer")
"""What our source may say because of one id among others, which are then asked for without it. Anything else
it would say to each of them, each after its deadline."""


@dataclass(eq=False)
class _Request:
    """One request that waits: its ids, where its scores go, and whether predictions are still set aside."""

    ids: Sequence[str]
    scores: "asyncio.Future[list[Score]]"
    reserved: bool = True


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
        self._waiting: deque[_Request] = deque()
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
            taken.append(self._waiting.popleft())
            count += len(taken[-1].ids)
        self._count -= count
        if not self._waiting:
            self._wake.clear()
        return taken

    async def _exchange(self, requests: list[_Request]) -> None:
        try:
            await self._answer(requests)
        except Exception as error:  # noqa: BLE001 (later requests must not suffer)
            self._log.say("error", f"scoring failed: {lines_of(error)}")
            self._refuse(requests, unforeseen())
        finally:
            self._free.release()
            for each in requests:  # only where there is no answer
                each.scores.cancel()
                self._release(each)

    async def _answer(self, requests: list[_Request]) -> None:
        """Score requests together; if our source cannot answer for one of them, the others without it."""
        requests = [each for each in requests if not each.scores.done()]  # of others nothing is asked
        if not requests:
            return
        ids = [each for request in requests for each in request.ids]
        began = self._clock()
        try:
            outcome = await self._engine.outcome(ids)
            self._give_out(requests, ids, outcome, began)
        except ParleyError as error:
            if len(requests) == 1 or not (isinstance(error, UsageError) and error.code in _OF_AN_ID):
                self._refuse(requests, error)
                return
            half = len(requests) // 2
            await self._answer(requests[:half])
            await self._answer(requests[half:])

    def _give_out(self, requests: list[_Request], ids: Sequence[str], outcome: Outcome, began: float) -> None:
        """Write down what may be given out, then give it out."""
        asked: list[tuple[_Request, slice]] = []
        at = 0
        for each in requests:
            span = slice(at, at + len(each.ids))
            at = span.stop
            try:
                self._engine.check(each.ids, outcome.of(span))
            except UsageError as error:
                each.reserved = False
                self._accountant.withhold(len(each.ids), asked_of(each.ids, outcome.of(span)))
                self._refuse([each], error)
            else:
                asked.append((each, span))
        if not asked:
            return
        if len(asked) < len(requests):
            outcome = outcome.of(np.concatenate([np.arange(span.start, span.stop) for _, span in asked]))
            ids = [each for request, _ in asked for each in request.ids]
        self._settle([each for each, _ in asked], ids, outcome, began)

    def _settle(self, requests: list[_Request], ids: Sequence[str], outcome: Outcome, began: float) -> None:
        receipts = self._accountant.write(predictions_of(ids, outcome))
        scores = scores_of(ids, outcome, self._engine.objective, receipts)
        self._monitor.answered(scores, self._clock() - began)
        at = 0
        for each in requests:
            each.reserved = False  # they are written down
            if not each.scores.done():
                each.scores.set_result(scores[at : at + len(each.ids)])
            at += len(each.ids)

    def _refuse(self, requests: list[_Request], error: ParleyError) -> None:
        for each in requests:
            if not each.scores.done():
                each.scores.set_exception(error)
            self._release(each)

    def _release(self, request: _Request) -> None:
        """What was set aside for a request that got no answer."""
        if request.reserved:
            request.reserved = False
            self._accountant.release(len(request.ids))
