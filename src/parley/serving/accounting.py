"""A program's accounts: what it may still answer, and that all it answered gets onto the ledger."""

import asyncio
import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from parley.core.errors import BudgetExhausted, ParleyError, PeerLost, PolicyRefused
from parley.protocols import attending
from parley.serving.attendance import Attendance
from parley.serving.claims import Claimed, Claims
from parley.serving.pages import MOST, Book, Page, Predictions

PACE: Final = 0.5
"""Seconds between two pages."""
BEHIND: Final = 30.0
"""Seconds for which predictions may be given out that the ledger does not have."""
AHEAD: Final = 1024
"""Most predictions claimed beyond those wanted, so that not every request looks at the others' claims."""
CLOSING: Final = 5.0
"""Seconds that the last pages have to be entered when a program ends; what is left the next one enters."""
_SETTLING: Final = 2.0
"""Seconds for which a request waits that would be within the quota once the last pages are counted."""
_LOOK: Final = 0.05
_AGAIN: Final = 2.0
"""Seconds after which a page is sent again that could not be entered."""
_REFUSED: Final = (15.0, 60.0, 600.0, 3600.0)
"""Seconds after which one is sent again that the contract refused, unless the terms change before."""
_ORPHANS: Final = 30.0
"""Seconds between two looks for pages of programs that were killed."""

Refused = Callable[[ParleyError], None]
"""Told of a page that the contract refuses, or that is damaged: what is on it was given out already."""


@dataclass(frozen=True)
class _Due:
    """A page that the ledger does not have: its predictions, and since when the first was given out."""

    count: int
    since: float


class Accountant:
    """Keeps the accounts of one program.

    Args:
        book: of the model's pages.
        clock: monotonic seconds.
        wall: seconds since 1970.
        threads: for hashing.
    """

    def __init__(
        self,
        book: Book,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        threads: int = 1,
    ) -> None:
        self._book = book
        self._clock = clock
        self._wall = wall
        self._threads = threads
        self._claims = Claims(book.folder)
        self._attendance: Attendance | None = None
        self._attended = asyncio.Event()
        self._page: Page | None = None
        self._due: dict[str, _Due] = {}
        self._reserved = self._claimed = 0
        self._others = Claimed(0, 0, 0)
        self._refusals: dict[str, PolicyRefused] = {}
        self._unwanted: dict[str, tuple[str, int, int] | None] = {}
        self._entering: set[asyncio.Task[None]] = set()
        self._refused: Refused = lambda _error: None

    def attend(self, attendance: Attendance | None) -> None:
        """Account through this attendance from now on; none while our party is away."""
        self._attendance = attendance
        self._attended.set()

    async def attended(self) -> None:
        """Wait until our party has told the terms for the first time."""
        await self._attended.wait()

    @property
    def terms(self) -> attending.Terms:
        """The latest.

        Raises:
            PeerLost: our own party is away.
        """
        return self._attending().terms

    def _attending(self) -> Attendance:
        if self._attendance is None or self._attendance.gone is not None:
            raise PeerLost(
                "own-party-away",
                "our own party does not run, so nobody says whether the model may be used",
                peer="ourselves",
                remedy="start it with `parley up`",
            )
        return self._attendance

    @property
    def used(self) -> int:
        """Predictions counted, with those of all our programs that the ledger does not have yet."""
        return self._counted + self._others.beyond + self._outstanding

    async def reserve(self, count: int) -> None:
        """Set some predictions aside for a request, which are then written down or released.

        Numbered checks:
            1. our party says what the ledger says;
            2. the model is released, and its release not over;
            3. the ledger has heard of what was answered before, as far as it must, and refuses none of it;
            4. the quota has room, with what our other programs have set aside.

        Raises:
            PolicyRefused: the contract would not allow it.
            PeerLost: it cannot be known, or could not be accounted for.
        """
        # 1, 2
        check_released(self.terms, self._wall())
        # 3
        for refusal in self._refusals.values():
            raise refusal.with_traceback(None)
        self._check_behind()
        # 4: what was just entered may be counted twice for a moment
        until = self._clock() + _SETTLING
        while not self._claim(count):
            if self._clock() >= until or (not self._due and not self._others.beyond):
                raise quota_exceeded(count, self.terms.quota - self.used)
            await asyncio.sleep(_LOOK)
        self._reserved += count

    def release(self, count: int) -> None:
        """Nothing came of some predictions that were set aside."""
        self._reserved -= count

    def write(self, predictions: Predictions) -> list[str]:
        """Write predictions down that were set aside, before they are given out; returns their receipts.

        Raises:
            BudgetExhausted: the disk is full; they are still set aside, and may not be given out.
        """
        page = self._page
        if page is None or page.count + len(predictions) > MOST:
            self._turn()
            page = self._page = self._book.begin(self._batches)
        try:
            first = page.append(predictions)
        except BaseException:
            self._turn()  # nothing is written behind what may be torn
            raise
        self._given(page, len(predictions))
        return page.receipts(first, len(predictions))

    def withhold(self, count: int, asked: Predictions) -> None:
        """Of ``count`` predictions that were set aside none is given out; what somebody was asked counts."""
        self.release(count - len(asked))
        try:
            if len(asked):
                self.write(asked)
        except BaseException:
            self.release(len(asked))
            raise

    def hold(self) -> Page:
        """A page for `fill`."""
        return self._book.hold(self._batches)

    def fill(self, page: Page, predictions: Predictions) -> None:
        """The same as `write` on a held page of their own, which the caller has entered."""
        page.append(predictions)
        self._given(page, len(predictions))

    async def enter(self, page: Page) -> int:
        """Have the ledger take a page, however long that takes; returns its batch.

        Raises:
            PolicyRefused: it does not take it now; it still counts.
        """
        self._take_on(page)
        while True:
            try:
                root = await asyncio.to_thread(page.sealed, self._threads)
                batch = await self._attending().enter(page, root)
                await asyncio.to_thread(self._book.entered, page, batch)
            except PolicyRefused as error:
                self._refusals[page.name] = error
                raise
            except (ParleyError, OSError):  # an entered page that could not be noted is found on the ledger
                await asyncio.sleep(_AGAIN)
            else:
                self._settle(page)
                return batch

    async def run(self, refused: Refused) -> None:
        """Turn the page now and then, and have it entered, for ever; and see to what killed programs left.

        Args:
            refused: told of what cannot be accounted for.
        """
        self._refused = refused
        adopting = asyncio.ensure_future(self._adopt_orphans())
        try:
            while not adopting.done():
                await asyncio.sleep(PACE)
                self._trim()
                if not self._entering:  # else the page grows meanwhile
                    self._turn()
        finally:
            adopting.cancel()
            await asyncio.gather(adopting, return_exceptions=True)
        adopting.result()

    async def close(self) -> None:
        """Have the last pages entered, as far as that is possible soon."""
        self._turn()
        if self._entering:
            _, late = await asyncio.wait(self._entering, timeout=CLOSING)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._due:
            self._claims.leave()
        else:
            self._claims.close()

    # Inside

    @property
    def _outstanding(self) -> int:
        return self._reserved + sum(each.count for each in self._due.values())

    @property
    def _counted(self) -> int:
        """What the ledger counts, as far as any of our programs knows."""
        terms = self.terms
        return max(terms.used, self._others.used if self._others.until == terms.until else 0)

    @property
    def _batches(self) -> int:
        """That the ledger surely has; too few only make a page be looked for longer."""
        return 0 if self._attendance is None else self._attendance.terms.batches

    def _check_behind(self) -> None:
        oldest = min((each.since for each in self._due.values()), default=self._clock())
        if self._clock() - oldest > BEHIND:
            raise PeerLost(
                "accounts-behind",
                f"the ledger has not taken our accounts of predictions for {BEHIND:g} s",
                peer="ourselves",
                remedy="see `parley ledger status`; it goes on as soon as the ledger takes them",
            )

    def _claim(self, count: int) -> bool:
        """Whether the quota has room for so many more; then they are claimed, and perhaps some beyond."""
        needed = self._outstanding + count
        if needed <= self._claimed and self._counted + needed <= self.terms.quota:
            return True
        self._look()
        ahead = min(AHEAD, max(0, (self.terms.quota - self.used - count) // 8))
        for wanted in (needed + ahead, needed):
            self._say(wanted)
            self._look()
            if self._counted + self._others.beyond + wanted <= self.terms.quota:
                self._claimed = wanted
                return True
        self._say(self._claimed)
        return False

    def _trim(self) -> None:
        """Claim no more than is outstanding: others may want it."""
        if self._attendance is not None and self._attendance.gone is None:
            self._claimed = self._outstanding
            self._say(self._claimed)
            self._look()

    def _say(self, count: int) -> None:
        terms = self.terms
        self._claims.claim(Claimed(terms.until, terms.used, count))

    def _look(self) -> None:
        self._others = self._claims.others(self.terms.until)

    def _given(self, page: Page, count: int) -> None:
        self._reserved -= count
        before = self._due.get(page.name)
        self._due[page.name] = _Due(page.count, self._clock() if before is None else before.since)

    def _take_on(self, page: Page) -> None:
        """Count a page of an earlier program as ours."""
        if page.name not in self._due:
            self._due[page.name] = _Due(page.count, math.inf)  # for long nobody has given out anything on it
            self._claimed += page.count

    def _settle(self, page: Page) -> None:
        """A page need not be counted any more."""
        self._refusals.pop(page.name, None)
        self._claimed -= self._due.pop(page.name).count

    def _turn(self) -> None:
        """Have the page entered, beside everything else; there is another one when it is needed."""
        full, self._page = self._page, None
        if full is not None and not full.count:
            self._book.drop(full)
        elif full is not None:
            task = asyncio.ensure_future(self._entered(full))
            self._entering.add(task)
            task.add_done_callback(self._entering.discard)

    async def _entered(self, page: Page) -> None:
        """Enter a page, again and again if it is refused: what is refused today may be allowed tomorrow."""
        for attempt in itertools.count():
            try:
                await self.enter(page)
            except PolicyRefused as error:
                if not attempt:
                    self._refused(error)
                await self._other_terms(_REFUSED[min(attempt, len(_REFUSED) - 1)])
            else:
                return

    async def _other_terms(self, patience: float) -> None:
        """Wait until the ledger says something else of the release, or for so many seconds."""
        told, until = self._release(), self._clock() + patience
        while self._clock() < until and self._release() in (told, None):  # noqa: ASYNC110 (seldom)
            await asyncio.sleep(_AGAIN)

    def _release(self) -> tuple[str, int, int] | None:
        if self._attendance is None or self._attendance.gone is not None:
            return None
        terms = self._attendance.terms
        return terms.status, terms.quota, terms.until

    async def _adopt_orphans(self) -> None:
        """Enter pages that programs left which were killed, now and later; a refused one on other terms."""
        while True:
            dead = self._claims.dead()
            for name in await asyncio.to_thread(self._book.waiting):
                if name not in self._due and self._unwanted.get(name, ()) != self._release():
                    await self._adopt(name)
            self._claims.bury(dead)
            await asyncio.sleep(_ORPHANS)

    async def _adopt(self, name: str) -> None:
        try:
            page = await asyncio.to_thread(self._book.take, name)
        except ParleyError as damaged:
            self._unwanted[name] = self._release()
            self._refused(damaged)
            return
        if page is None:
            return
        try:
            await self.enter(page)
        except PolicyRefused as error:
            self._unwanted[name] = self._release()
            self._refused(error)
            self._settle(page)  # it was given out by another program, perhaps long ago: ours goes on
        finally:
            page.close()


def check_released(terms: attending.Terms, now: float) -> None:
    """Refuse what the contract would not allow.

    Raises:
        PolicyRefused: the model is not released, not any more, or not for as long.
    """
    if terms.status == "withdrawn":
        raise PolicyRefused(
            "model-withdrawn",
            "an owner has withdrawn the model",
            remedy="ask the owners why; another training makes another model",
        )
    if terms.status == "unknown":
        raise PolicyRefused(
            "model-not-released",
            "our copy of the ledger knows no such model",
            remedy="see with `parley ledger status` whether that copy is still being fetched",
        )
    if terms.status != "released":
        raise PolicyRefused(
            "model-not-released",
            f"the model is {terms.status}, not released",
            remedy="every owner releases it with `parley model release`",
        )
    if now > terms.until:
        raise PolicyRefused(
            "release-expired",
            "the release of the model is over",
            remedy="every owner releases it anew with `parley model release`",
        )


def quota_exceeded(count: int, left: int) -> BudgetExhausted:
    """The error of a request for more predictions than are left."""
    return BudgetExhausted(
        "predictions-used-up",
        f"{count} predictions were asked for, {max(left, 0)} are left of the release",
        remedy="the owners release more with `parley model release`",
    )
