"""What the parts of one member's engine share: the log, its one thread, and the reasons to stop."""

import asyncio
from collections.abc import Callable, Collection, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from parley.core.conversation import Channel, Steps
from parley.core.errors import ParleyError, UsageError
from parley.ledger import electorate
from parley.ledger.contract import Dropped
from parley.ledger.contract.members import active_members
from parley.ledger.contract.state import Draft
from parley.ledger.engines.embedded.cosigner import Forked
from parley.ledger.engines.embedded.log import MemberLog
from parley.ledger.engines.embedded.store import StoreFailed
from parley.ledger.engines.embedded.watch import Watch
from parley.ledger.engines.evidence import where
from parley.ledger.transaction import SignedTransaction, open_signed

FORCE_AFTER: Final = 10.0
"""Seconds after which a transaction that the sequencer leaves out keeps members from signing."""
GOSSIP_EVERY: Final = 3.0
"""Seconds between two comparisons with the same member."""


class Stopped(UsageError):
    """The engine has ended, and somebody still asks it for something."""

    def __init__(self) -> None:
        super().__init__("ledger-stopped", "the ledger's engine has ended", remedy="start the party again")


R = TypeVar("R")
Opening = Callable[[str, Steps, str], AbstractAsyncContextManager[Channel]]
"""Opens a conversation: with a member, by a table of steps, in a role."""


@dataclass(frozen=True)
class Surroundings:
    """What a member's engine needs of the world.

    Attributes:
        open: opens conversations.
        wall: seconds since 1970.
        monotonic: seconds.
        log: takes a line for the operator of the party.
        force_after: seconds, see `FORCE_AFTER`.
        gossip_every: seconds, see `GOSSIP_EVERY`.
        asked: gives the members that are asked for the ledger while nothing of it is here.
        had: leaves that the log is known to have had, from elsewhere than its own files.
    """

    open: Opening
    wall: Callable[[], float]
    monotonic: Callable[[], float]
    log: Callable[[str], None]
    force_after: float = FORCE_AFTER
    gossip_every: float = GOSSIP_EVERY
    asked: Callable[[], Collection[str]] = tuple
    had: int = 0


class Workbench:
    """One member's log in the hands of its engine.

    Steps on the log run one after the other in a thread of their own. A step that has begun is carried to
    its end even if whoever asked for it has gone; the database is closed behind the last one. After a step
    for which the disk failed there is no other.

    Attributes:
        log: the log; outside a step only its sizes are looked at.
        around: the world.
        watch: transactions wanted in.
        fates: what was dropped, of the transactions that a `submit` waits for.
        leader: whom to follow while the log is empty.
        halted: why this member signs nothing any more; empty while it does.
    """

    def __init__(self, log: MemberLog, around: Surroundings, leader: str) -> None:
        self.log = log
        self.around = around
        self.watch = Watch(around.monotonic, around.force_after)
        self.fates: dict[bytes, Dropped | None] = {}
        self.halted = ""
        self._leader = leader
        self._led_by = self.leader
        self._unsure = not log.signed.size
        self._began_empty = not log.size
        self._heard: set[str] = set()
        self._changed = asyncio.Condition()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._failed = asyncio.Event()
        self._stopped: ParleyError | None = None
        self._carried: set[asyncio.Future[Any]] = set()

    # ── who orders ────────────────────────────────────────────────────────────────────────────────────

    @property
    def leader(self) -> str:
        """The sequencer, as far as this member knows; empty if it does not."""
        if not self.log.size:
            return self._leader
        return electorate.sequencer(self.log.replica.state, self.log.replica.height + 1)

    @property
    def orders(self) -> bool:
        """Whether this member is the sequencer."""
        return self.log.size > 0 and self.leader == self.log.name

    def others(self) -> list[str]:
        """The other active members; while nothing of the ledger is here, whoever may have it."""
        if not self.log.size:
            return sorted({*self.around.asked(), self._leader} - {"", self.log.name})
        members = {member.name for member in active_members(Draft(self.log.replica.state))}
        if not self.is_whole():
            members |= {*self.around.asked()}  # a beginning knows of the first members only
        return sorted(members - {self.log.name})

    def is_whole(self) -> bool:
        """Whether the log is as long as it is known to have been, and some of it is final."""
        return self.log.size >= self.around.had and self.log.final_size > 0

    def sure(self) -> bool:
        """Whether we know what we sealed before: by our own mark, or because every other member has shown us.

        A sequencer that has lost its disk, mark and all, would fork the log if it went on from less. Who has
        followed another, or taken over, has sealed nothing that is not in that log or of an earlier epoch.

        The beginning of a ledger knows of its first members only, so a log that is being filled up says too
        little of who has to show something. Hence it must first be as long as it is known to have been, and
        one that was fetched from nothing must be as long as that of some other member.
        """
        if self._unsure and self.log.size and self.log.size >= self.around.had:
            somebody = bool(self._heard) or not self._began_empty
            self._unsure = not (somebody and self._heard.issuperset(self.others()))
        return not self._unsure

    def trouble(self) -> str:
        """Why nothing can be ordered as long as this lasts, in words; empty if we know no reason."""
        if not self.log.size:
            asked = ", ".join(self.others())
            whom = f"no answer with it yet from {asked}" if asked else "no other member is known to be asked"
            return f"nothing of the ledger is here: {whom}"
        if self.log.size < self.around.had:
            here = f"of {self.around.had} leaves only {self.log.size} are here again"
            return f"nothing is ordered or signed: {here}"
        if not self.orders or self.sure():
            return ""
        missing = ", ".join(sorted({*self.others()} - self._heard)) or "the others"
        return f"nothing is ordered until {missing} have shown that their ledgers are not longer than ours"

    def follows_or_succeeds(self) -> None:
        """We have signed behind another sequencer, or as its successor; who is one was not so all along."""
        if self.log.size >= self.around.had:
            self._unsure = False

    def heard(self, member: str) -> None:
        """A member has shown its log, and it is not longer than ours."""
        self._heard.add(member)

    # ── steps ─────────────────────────────────────────────────────────────────────────────────────────

    async def step(self, function: Callable[..., R], *arguments: object) -> R:
        """Do something with the log.

        Raises:
            UsageError: ``ledger-stopped``; the engine has ended.
            StoreFailed: the disk did not take it, now or before.
        """
        self._check_running()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._guarded, loop, function, arguments)

    async def carry(self, work: Coroutine[object, object, R]) -> R:
        """Do what belongs to a step as well, to the end, even if whoever asked for it has gone meanwhile."""
        task = asyncio.ensure_future(work)
        self._carried.add(task)
        task.add_done_callback(self._carried_out)
        return await asyncio.shield(task)

    def _carried_out(self, task: asyncio.Future[Any]) -> None:
        """Whoever has gone does not hear of an error; the engine's own ends it by `failure`."""
        self._carried.discard(task)
        if not task.cancelled():
            task.exception()

    def _guarded(
        self, loop: asyncio.AbstractEventLoop, function: Callable[..., R], arguments: tuple[object, ...]
    ) -> R:
        self._check_running()
        try:
            return function(*arguments)
        except StoreFailed as failure:
            self._stopped = failure
            loop.call_soon_threadsafe(self._failed.set)
            raise

    def _check_running(self) -> None:
        if self._stopped is not None:
            raise self._stopped

    async def failure(self) -> None:
        """Wait until the disk fails, then raise that."""
        await self._failed.wait()
        self._check_running()

    async def close(self) -> None:
        """Refuse further steps; close the database behind the last one."""
        if self._stopped is None:
            self._stopped = Stopped()
        closing = asyncio.get_running_loop().run_in_executor(self._thread, self.log.store.close)
        self._thread.shutdown(wait=False)
        await asyncio.shield(closing)
        await self.notify()
        await asyncio.gather(*self._carried, return_exceptions=True)

    # ── changes ───────────────────────────────────────────────────────────────────────────────────────

    async def notify(self) -> None:
        """Wake whoever waits for a change."""
        async with self._changed:
            self._changed.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a change after which ``condition`` holds; raises when the engine ends."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._stopped is not None or condition())
        self._check_running()

    def halt(self, why: str) -> None:
        """Sign nothing any more."""
        if not self.halted:
            self.halted = why
            self.around.log(f"this member signs nothing any more: {why}")

    async def keep_evidence(self, fork: Forked) -> str:
        """Write down both notes of a fork; what happened, with the name of the file."""
        name = await self.step(self.log.keep_evidence, fork.what, fork.ours, fork.theirs)
        return f"{fork.what}; {where(name)}"

    # ── transactions ──────────────────────────────────────────────────────────────────────────────────

    async def settle(self) -> None:
        """After the log has grown: what has come in or can never come in is not wanted any more.

        And where another member orders from now on, what was wrong with the last one is past.
        """
        if self.leader != self._led_by:
            self._led_by = self.leader
            await self._succeeded()
        dropped = await self.step(self._settled)
        for digest, why in dropped.items():
            self.tell(digest, why)
        await self.notify()

    async def _succeeded(self) -> None:
        """Another member orders: sign again, and offer it what we want in."""
        if self.leader:
            self.around.log(f"{self.leader} orders from now on")
        if self.halted:
            self.around.log("this member signs again")
        self.halted = ""
        for data in (await self.step(self.log.store.pending)).values():
            self.want(open_signed(data), ours=True)

    def _settled(self) -> dict[bytes, Dropped]:
        dropped = self.watch.settle(self.log)
        if dropped:
            self.log.store.forget_pending(dropped)
        return dropped

    def drop(self, digest: bytes) -> None:
        """As a step: stop wanting a transaction."""
        self.watch.forget(digest)
        self.log.store.forget_pending([digest])

    def tell(self, digest: bytes, why: Dropped) -> None:
        """Tell the `submit` that waits for a transaction, if there is one, that it was dropped."""
        if digest in self.fates:
            self.fates[digest] = why

    def want(self, signed: SignedTransaction, *, ours: bool) -> bool:
        """Watch for a transaction; False if there is no room for it."""
        return self.watch.want(signed, ours=ours)
