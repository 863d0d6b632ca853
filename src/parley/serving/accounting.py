"""A program's accounts: what it may still answer, and that all it answered gets onto the ledger."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from parley.core.errors import BudgetExhausted, ParleyError, PeerLost, PolicyRefused
from parley.protocols import attending
from parley.serving.attendance import Attendance
from parley.serving.pages import MOST, Book, Page, Predictions

PACE: Final = 0.5
"""Seconds between two pages."""
BEHIND: Final = 30.0
"""Seconds for which predictions may be given out that the ledger does not have."""
_SETTLING: Final = 2.0
"""Seconds for which a request waits that would be within the quota once the last pages are counted."""
_AGAIN: Final = 2.0
"""Seconds after which a page is sent again that could not be entered."""


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
        self._attendance: Attendance | None = None
        self._attended = asyncio.Event()
        self._page: Page | None = None
        self._due: dict[str, int] = {}
        self._reserved = 0
        self._since: float | None = None
        self._settled = asyncio.Condition()

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
        """Predictions counted, with those that the ledger does not have yet."""
        return self.terms.used + self._outstanding

    async def reserve(self, count: int) -> None:
        """Set some predictions aside for a request, which are then written down or released.

        Numbered checks:
            1. our party says what the ledger says;
            2. the model is released, and its release not over;
            3. the ledger has heard of what was answered before, as far as it must;
            4. the quota has room.

        Raises:
            PolicyRefused: the contract would not allow it.
            PeerLost: it cannot be known, or could not be accounted for.
        """
        # 1, 2
        check_released(self.terms, self._wall())
        # 3
        if self._since is not None and self._clock() - self._since > BEHIND:
            raise PeerLost(
                "accounts-behind",
                f"the ledger has not taken our accounts of predictions for {BEHIND:g} s",
                peer="ourselves",
                remedy="see `parley ledger status`; it goes on as soon as the ledger takes them",
            )
        # 4: what was just entered may be counted twice for a moment
        if self.used + count > self.terms.quota:
            with_room = lambda: self.used + count <= self.terms.quota or not self._due  # noqa: E731
            try:
                async with asyncio.timeout(_SETTLING), self._settled:
                    await self._settled.wait_for(with_room)
            except TimeoutError:
                pass
            if self.used + count > self.terms.quota:
                raise quota_exceeded(count, self.terms.quota - self.used)
        self._reserved += count

    def release(self, count: int) -> None:
        """Nothing came of some predictions that were set aside."""
        self._reserved -= count

    def write(self, predictions: Predictions) -> list[str]:
        """Write predictions down that were set aside, before they are given out; returns their receipts."""
        page = self._page
        if page is None or page.count + len(predictions) > MOST:
            page = self._page = self._turn()
        first = page.append(predictions, self._threads)
        self._reserved -= len(predictions)
        self._due[page.name] = page.count
        if self._since is None:
            self._since = self._clock()
        return page.receipts(first, len(predictions))

    def fill(self, page: Page, predictions: Predictions) -> list[str]:
        """The same on an empty page of their own, which the caller has entered."""
        page.append(predictions, self._threads)
        self._reserved -= len(predictions)
        self._due[page.name] = page.count
        return page.receipts(0, page.count)

    async def enter(self, page: Page) -> int:
        """Have the ledger take a page, however long that takes; returns its batch.

        Raises:
            PolicyRefused: it never will.
        """
        self._due[page.name] = page.count
        root = await asyncio.to_thread(page.root, self._threads)
        while True:
            try:
                batch = await self._attending().enter(page.name, root, page.count)
            except PolicyRefused:
                await self._settle(page)
                raise
            except ParleyError:
                await asyncio.sleep(_AGAIN)
            else:
                self._book.entered(page, batch)
                await self._settle(page)
                return batch

    async def run(self, refused: Callable[[ParleyError], None]) -> None:
        """Turn the page now and then, and have it entered, for ever; first what an earlier program left.

        Args:
            refused: told of a page that the contract refused: what is on it was given out already.
        """
        for page in await asyncio.to_thread(self._book.waiting):
            await self._entered(page, refused)
        while True:
            await asyncio.sleep(PACE)
            if self._page is not None:
                full, self._page = self._page, None
                await self._entered(full, refused)

    async def close(self) -> None:
        """Have the last page entered."""
        page, self._page = self._page, None
        if page is not None:
            await self.enter(page)

    @property
    def _outstanding(self) -> int:
        return self._reserved + sum(self._due.values())

    def _turn(self) -> Page:
        """Begin another page; the full one is entered beside it."""
        full = self._page
        if full is not None:
            task = asyncio.ensure_future(self.enter(full))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return self._book.begin()

    async def _entered(self, page: Page, refused: Callable[[ParleyError], None]) -> None:
        try:
            await self.enter(page)
        except PolicyRefused as error:
            refused(error)

    async def _settle(self, page: Page) -> None:
        async with self._settled:
            self._due.pop(page.name, None)
            if not self._due:
                self._since = None
            self._settled.notify_all()


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
