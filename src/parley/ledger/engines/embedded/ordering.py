"""As the sequencer: make blocks of what is queued, hand them out, collect signatures."""

import asyncio
import itertools
from collections.abc import Iterable, Iterator
from typing import Final

from parley.core.conversation import Channel
from parley.core.errors import PolicyRefused, UsageError
from parley.ledger.contract import Dropped
from parley.ledger.encoding import EncodingError
from parley.ledger.engines.embedded import cosigner, replication
from parley.ledger.engines.embedded.cosigner import Forked, Rejected
from parley.ledger.engines.embedded.store import StoreFailed
from parley.ledger.engines.embedded.workbench import Stopped, Workbench
from parley.ledger.notes import parse_note
from parley.ledger.transaction import SignedTransaction, open_signed

GATHER: Final = 0.002
"""Seconds the sequencer waits for company before it makes a block."""
BLOCK_TRANSACTIONS: Final = 256
BLOCK_BYTES: Final = 1 << 20
QUEUED_OF_ONE: Final = 1024
"""Transactions of one follower that may wait; a follower with more of them waits itself."""
UNREAD_REPLIES: Final = 2 * QUEUED_OF_ONE
SIGN_OF_LIFE: Final = 10.0
"""Seconds of silence after which either side of `replication` says that it is there."""


class Replies:
    """Answers on their way to one follower, and how many of its transactions are queued."""

    def __init__(self) -> None:
        self.waiting: asyncio.Queue[replication.Taken] = asyncio.Queue(UNREAD_REPLIES)
        self.queued = 0


class Ordering:
    """What the sequencer does; it rests while another member is the sequencer.

    Args:
        bench: shared with the other parts.

    Attributes:
        followers: who follows just now.
    """

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._log = bench.log
        self.followers: set[str] = set()
        # by envelope, not by digest: a copy with a false signature must not take the place of the true one
        self._queue: dict[bytes, bytes] = {}
        self._offered: dict[bytes, Replies] = {}

    def queue(self, signed: SignedTransaction) -> None:
        """Put a transaction behind the others."""
        self._queue.setdefault(signed.data, signed.digest)

    def _may_order(self) -> bool:
        return self._bench.orders and not self._bench.halted and self._bench.sure()

    # ── blocks ────────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Make blocks for ever."""
        bench = self._bench
        while True:
            await bench.until(self._may_order)
            for signed in bench.watch.wanted().values():
                self.queue(signed)
            try:
                await self._sign()
                while self._may_order():
                    await bench.until(lambda: bool(self._queue) or not self._may_order())
                    await asyncio.sleep(GATHER)
                    if self._queue and self._may_order():
                        await self._next_block()
            except UsageError as error:
                await self._cannot_order(error)
            if not bench.orders:
                self._queue.clear()
                self._offered.clear()

    async def _cannot_order(self, error: UsageError) -> None:
        """Behind what was sealed: wait until the others have brought us forward. Otherwise sign no more."""
        if isinstance(error, StoreFailed | Stopped):
            raise error
        if error.code != "ledger-rolled-back" or self._log.is_contradicted():
            self._bench.halt(error.what)
            return
        self._bench.around.log(f"{error.what}; nothing is ordered until the other members have filled it up")
        size = self._log.size
        await self._bench.until(lambda: self._log.size > size)

    async def _next_block(self) -> None:
        taken = list(_within(itertools.islice(self._queue, BLOCK_TRANSACTIONS)))
        dropped = await self._bench.step(self._make_block, taken)
        for data in taken:
            digest = self._queue.pop(data)
            replies = self._offered.pop(data, None)
            if replies is not None:
                replies.queued -= 1
            if data in dropped:
                await self._drop(digest, data, dropped[data], replies)
        await self._bench.settle()

    async def _drop(self, digest: bytes, data: bytes, dropped: Dropped, replies: Replies | None) -> None:
        """Tell whoever submitted a transaction that it cannot come in any more."""
        ours = self._bench.watch.get(digest)
        if ours is not None and ours.data == data:
            await self._bench.step(self._bench.drop, digest)
            self._bench.tell(digest, dropped)
        if replies is not None and not replies.waiting.full():
            replies.waiting.put_nowait(_taken(digest, dropped))

    def _make_block(self, transactions: list[bytes]) -> dict[bytes, Dropped]:
        now = int(self._bench.around.wall())
        executed, dropped = self._log.prepare(transactions, now)
        if executed.leaves:
            self._log.seal(executed, now)
        return {
            data: why for data, why in dropped.items() if self._log.number(open_signed(data).digest) is None
        }

    async def _sign(self) -> None:
        """Cosign the last block, in case we stopped between writing and signing it."""
        await self._bench.step(self._cosign_tip)
        await self._bench.notify()

    def _cosign_tip(self) -> None:
        log = self._log
        if log.final_size < log.size and log.is_cosigner():
            log.add_signatures(log.size, log.cosign(int(self._bench.around.wall())).signatures)

    # ── followers ─────────────────────────────────────────────────────────────────────────────────────

    async def serve(self, channel: Channel) -> None:
        """Talk to one member that follows us, for as long as it does."""
        follow = await channel.recv(replication.Follow)
        size = await self._begins_at(channel, follow.note)
        replies = Replies()
        self.followers.add(channel.peer)
        try:
            # who reads never waits to write: two full directions would wait for each other
            async with asyncio.TaskGroup() as group:
                group.create_task(self._send_log(channel, size))
                group.create_task(_send_all(channel, replies))
                group.create_task(self._hear(channel, replies))
        finally:
            self.followers.discard(channel.peer)

    async def _begins_at(self, channel: Channel, note: bytes) -> int:
        """Where the follower's log ends.

        Raises:
            PolicyRefused: we do not order, or have lost blocks that the follower has.
            PeerMisbehaved: its checkpoint is not of our log.
        """
        self._check_orders()
        if not note:
            return 0
        try:
            longer = await self._bench.step(cosigner.compare, self._log, note)
        except Rejected as rejected:
            raise channel.fault(rejected.code, str(rejected)) from None
        except Forked as fork:
            self._bench.halt(await self._bench.keep_evidence(fork))
            raise channel.fault("log-forked", fork.what) from None
        if longer is not None:
            if not await self._bench.step(self._log.admit_signed, parse_note(note)):
                raise channel.fault("checkpoint-bad", "follows a log that we have not sealed")
            raise PolicyRefused(
                "sequencer-behind",
                f"{channel.peer} has {longer.size} leaves that we sealed, we only {self._log.size}",
                remedy="leave the party running: the other members fill the log up",
                public="the sequencer has lost part of the log and is being filled up",
            )
        return int(note.split(b"\n")[1])

    def _check_orders(self) -> None:
        if not self._bench.orders:
            raise PolicyRefused(
                "not-the-sequencer",
                f"{self._log.name} does not order",
                remedy="follow the member that does",
                public="this member does not order",
            )

    async def _send_log(self, channel: Channel, size: int) -> None:
        log, told = self._log, 0
        while True:
            try:
                async with asyncio.timeout(SIGN_OF_LIFE):
                    await self._bench.until(
                        lambda: log.size > size or log.final_size > told or not self._bench.orders  # noqa: B023
                    )
            except TimeoutError:
                await channel.send(replication.Sealed(b""))
                continue
            if told < log.final_size <= size:
                told = log.final_size
                note = await self._bench.step(log.note, told)
                if note is not None:
                    await channel.send(replication.Sealed(note.encoded()))
            block = await self._bench.step(log.store.block_from, size)
            if block is not None:
                leaves = tuple(leaf.data for leaf in block.leaves)
                await channel.send(replication.Block(block.first, leaves, block.note))
                size = block.size
            else:
                self._check_orders()

    async def _hear(self, channel: Channel, replies: Replies) -> None:
        while True:
            message = await channel.recv(replication.Cosigned, replication.Offer)
            if isinstance(message, replication.Offer):
                await self._offer(channel, message.transaction, replies)
            elif message.note:
                await self._cosigned(channel, message.note)

    async def _offer(self, channel: Channel, data: bytes, replies: Replies) -> None:
        """Queue a transaction, or say why not; a follower with too many waits until they are in."""
        await self._bench.until(lambda: replies.queued < QUEUED_OF_ONE)
        try:
            signed = open_signed(data)
        except EncodingError as error:
            raise channel.fault("malformed-transaction", f"offered what is no envelope: {error}") from None
        if replies.waiting.full():
            raise channel.fault("unread-replies", "offers transactions and does not read the replies")
        replies.waiting.put_nowait(_taken(signed.digest, None))
        if data not in self._queue and self._log.number(signed.digest) is None:
            self.queue(signed)
            self._offered[data] = replies
            replies.queued += 1
            await self._bench.notify()

    async def _cosigned(self, channel: Channel, note: bytes) -> None:
        try:
            found = await self._bench.step(cosigner.cosignature, self._log, channel.peer, note)
        except Rejected as rejected:
            raise channel.fault(rejected.code, str(rejected)) from None
        except Forked as fork:
            self._bench.around.log(await self._bench.keep_evidence(fork))
            raise channel.fault("member-equivocates", fork.what) from None
        if found is not None:
            await self._bench.carry(self._counted(found))

    async def _counted(self, found: cosigner.Cosignature) -> None:
        await self._bench.step(self._log.add_signatures, found.size, found.note.signatures)
        await self._bench.notify()


async def _send_all(channel: Channel, replies: Replies) -> None:
    while True:
        await channel.send(await replies.waiting.get())


def _taken(digest: bytes, dropped: Dropped | None) -> replication.Taken:
    if dropped is None:
        return replication.Taken(digest, "", "")
    return replication.Taken(digest, dropped.code[:64], dropped.reason[:1000])


def _within(transactions: Iterable[bytes]) -> Iterator[bytes]:
    """As many as fit into a block, at least one."""
    size = 0
    for data in transactions:
        if size and size + len(data) > BLOCK_BYTES:
            return
        size += len(data)
        yield data
