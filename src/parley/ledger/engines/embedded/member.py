"""One member's embedded engine: it orders, or follows who orders, and signs what it has executed."""

import asyncio
from collections.abc import AsyncIterator, Callable

import msgspec

from parley.core.conversation import Channel
from parley.core.errors import PeerLost, PolicyRefused, UsageError
from parley.crypto.signatures import SigningKey
from parley.ledger import electorate
from parley.ledger.contract import Dropped, Receipt
from parley.ledger.engines.embedded.comparing import Comparing
from parley.ledger.engines.embedded.following import Following
from parley.ledger.engines.embedded.handover import Handover
from parley.ledger.engines.embedded.log import MemberLog
from parley.ledger.engines.embedded.ordering import Ordering
from parley.ledger.engines.embedded.workbench import FORCE_AFTER, Opening, Surroundings, Workbench
from parley.ledger.engines.engine import Condition
from parley.ledger.transaction import SignedTransaction, open_signed

__all__ = ["FORCE_AFTER", "LedgerMember", "Opening", "Surroundings", "receipt_of"]


class LedgerMember:
    """The embedded engine at one member; `run` keeps it going.

    Args:
        log: its log.
        around: the world.
        leader: whom to follow while the log is empty.
    """

    def __init__(self, log: MemberLog, around: Surroundings, leader: str = "") -> None:
        self.log = log
        self._bench = Workbench(log, around, leader)
        self._ordering = Ordering(self._bench)
        self._following = Following(self._bench)
        self._handover = Handover(self._bench)
        self._comparing = Comparing(self._bench, self._following, self._handover)
        self._waiters: dict[bytes, int] = {}
        self._arrived: list[SignedTransaction] = []
        self._keeping: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """Of the member."""
        return self.log.name

    @property
    def halted(self) -> str:
        """Why this member signs nothing any more; empty while it does."""
        return self._bench.halted

    @property
    def orders(self) -> bool:
        """Whether this member is the sequencer."""
        return self._bench.orders

    @property
    def leader(self) -> str:
        """The sequencer, as far as this member knows; empty if it does not."""
        return self._bench.leader

    async def run(self) -> None:
        """Order or follow, and gossip, until cancelled; leaves the log closed.

        Raises:
            StoreFailed: the disk did not take a block or a signature; the files are whole.
        """
        try:
            await self._run()
        finally:
            await self._bench.close()

    async def _run(self) -> None:
        for data in (await self._bench.step(self.log.store.pending)).values():
            self._take_up(open_signed(data))
        tasks = [
            asyncio.create_task(work)
            for work in (
                self._ordering.run(),
                self._following.run(),
                self._comparing.run(),
                self._bench.failure(),
            )
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # ── transactions ──────────────────────────────────────────────────────────────────────────────────

    async def submit(self, signed: SignedTransaction, patience: float = 30.0) -> Receipt:
        """Get a transaction into the log; returns its receipt once it is final.

        The transaction is written down before it is sent, and sent again when the process ended before
        it came in; after a loss of power only if a block was flushed since.

        Raises:
            PolicyRefused: it was dropped: malformed, expired, replayed, or of an unknown key.
            PeerLost: it did not become final in ``patience`` seconds; it may yet.
            UsageError: ``ledger-stopped``, ``ledger-not-written``; the engine has ended.
        """
        try:
            return await self._submitted(signed, patience, self._final)
        except TimeoutError:
            raise PeerLost(
                "ledger-not-final",
                f"transaction {signed.digest.hex()[:16]} is not final after {patience:g} s{self._why_not()}",
                peer=self.leader,
                remedy="it is submitted again by itself; see `parley ledger status` for who is missing",
            ) from None

    async def place(self, signed: SignedTransaction, patience: float = 30.0) -> Receipt:
        """Get a transaction into our own log, final or not; returns its receipt.

        For what changes who must sign: the joining of a member becomes final with its own signature.

        Raises:
            PolicyRefused: it was dropped.
            PeerLost: it did not come in in ``patience`` seconds.
        """
        try:
            return await self._submitted(signed, patience, lambda digest: self.log.number(digest) is not None)
        except TimeoutError:
            raise PeerLost(
                "ledger-not-reached",
                f"transaction {signed.digest.hex()[:16]} is not in the log after {patience:g} s"
                + self._why_not(),
                peer=self.leader,
                remedy="see whether the sequencer's party is running",
            ) from None

    async def _submitted(
        self, signed: SignedTransaction, patience: float, reached: Callable[[bytes], bool]
    ) -> Receipt:
        digest = signed.digest
        self._waiters[digest] = self._waiters.get(digest, 0) + 1
        self._bench.fates.setdefault(digest, None)
        try:
            async with asyncio.timeout(patience):
                await self._keep(signed)
                await self._bench.until(lambda: self._bench.fates[digest] is not None or reached(digest))
            return await self._fate(digest)
        finally:
            self._waiters[digest] -= 1
            if not self._waiters[digest]:
                del self._waiters[digest], self._bench.fates[digest]

    async def _keep(self, signed: SignedTransaction) -> None:
        """Remember a transaction on disk, together with whatever else came meanwhile, and take it up."""
        self._arrived.append(signed)
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.create_task(self._keep_arrived())
        await asyncio.shield(self._keeping)

    async def _keep_arrived(self) -> None:
        while self._arrived:
            arrived, self._arrived = self._arrived, []
            for one in await self._bench.step(self._kept, arrived):
                self._take_up(one)
            await self._bench.notify()

    def _kept(self, arrived: list[SignedTransaction]) -> list[SignedTransaction]:
        """As a step: remember transactions on disk; those that are not in the log already."""
        new = [one for one in arrived if self.log.number(one.digest) is None]
        if new:
            self.log.store.keep_pending({one.digest: one.data for one in new})
        return new

    def _take_up(self, signed: SignedTransaction) -> None:
        self._bench.want(signed, ours=True)
        if self.orders:
            self._ordering.queue(signed)
        else:
            self._following.offer(signed.data)

    async def _fate(self, digest: bytes) -> Receipt:
        dropped: Dropped | None = self._bench.fates[digest]
        if dropped is not None:
            raise PolicyRefused(
                f"dropped-{dropped.code}",
                f"the ledger takes no such transaction: {dropped.reason}",
                remedy="correct it and submit a new one",
            )
        return await self._bench.step(self._receipt, digest)

    def _receipt(self, digest: bytes) -> Receipt:
        number = self.log.number(digest)
        assert number is not None  # noqa: S101 (waited for)
        return receipt_of(self.log.store.leaves(number, number + 1)[0].receipt)

    def _why_not(self) -> str:
        if self.halted:
            return f"; this member has halted: {self.halted}"
        trouble = self._bench.trouble()
        return f"; {trouble}" if trouble else ""

    def _final(self, digest: bytes) -> bool:
        number = self.log.number(digest)
        return number is not None and number < self.log.final_size

    # ── how it stands ─────────────────────────────────────────────────────────────────────────────────

    async def condition(self) -> Condition:
        """How it does just now."""
        replica, leader = self.log.replica, self.leader
        connected = self._ordering.followers if self.orders else {leader} & {self._following.follows}
        return Condition(
            "embedded",
            max(replica.height, 0),
            replica.time,
            (leader,) if leader else (),
            tuple(sorted(connected)),
            await self._bench.step(self._bench.trouble),
        )

    def hold(self, key: SigningKey) -> None:
        """Hold another cosigning key too, which is signed with once the ledger says so."""
        self.log.hold(key)

    async def closed(self) -> None:
        """Wait until the members have left this engine, and a majority has signed its last block."""
        await self._bench.until(
            lambda: electorate.ends(self.log.replica) and self.log.final_size == self.log.size
        )

    # ── a lost sequencer ──────────────────────────────────────────────────────────────────────────────

    async def promise(self, successor: str) -> int:
        """Promise that ``successor`` orders from now on, because the sequencer is lost; returns the epoch.

        It does so as soon as a majority of the members has promised it. Until then this member signs nothing.

        Raises:
            UsageError: ``not-a-successor``; ``no-sequencer``: the last block of this engine is here;
                ``move-decided``: the contract takes no takeover any more.
        """
        return (await self._handover.promise(successor)).epoch

    # ── progress ──────────────────────────────────────────────────────────────────────────────────────

    async def changes(self) -> AsyncIterator[int]:
        """The final size, now and whenever it grows; ends when the engine does."""
        seen = -1
        while True:
            try:
                await self._bench.until(lambda: self.log.final_size != seen)  # noqa: B023
            except UsageError:
                return
            seen = self.log.final_size
            yield seen

    async def settled(self, patience: float = 30.0) -> None:
        """Wait until all that this member has executed is final; `TimeoutError` if that takes too long."""
        async with asyncio.timeout(patience):
            await self._bench.until(lambda: self.log.final_size == self.log.size)

    # ── conversations that others begin ───────────────────────────────────────────────────────────────

    async def serve_follower(self, channel: Channel) -> None:
        """Talk to one member that follows us, for as long as it does."""
        await self._ordering.serve(channel)

    async def gossip_as_called(self, channel: Channel) -> None:
        """Our side of a comparison that another began."""
        await self._comparing.as_called(channel)


def receipt_of(data: bytes) -> Receipt:
    """A receipt as the log keeps it."""
    return msgspec.json.decode(data, type=Receipt)
