"""One member's embedded engine: it orders, or follows who orders, and signs what it has executed."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from parley.core.conversation import Channel, Steps
from parley.core.errors import ParleyError, PeerLost, PolicyRefused, UsageError
from parley.ledger.contract import Dropped, Receipt
from parley.ledger.contract.members import active_members
from parley.ledger.contract.state import Draft
from parley.ledger.encoding import EncodingError
from parley.ledger.engines.embedded import cosigner, electorate, gossip, replication
from parley.ledger.engines.embedded.cosigner import Rejected, Watch
from parley.ledger.engines.embedded.log import MemberLog
from parley.ledger.notes import NoteError, SignedNote, parse_note
from parley.ledger.transaction import SignedTransaction

GATHER: Final = 0.002
"""Seconds the sequencer waits for company before it makes a block."""
BLOCK_TRANSACTIONS: Final = 256
BLOCK_BYTES: Final = 1 << 20
FORCE_AFTER: Final = 10.0
"""Seconds after which a transaction that the sequencer leaves out keeps members from signing."""
GOSSIP_EVERY: Final = 3.0
_RETRY: Final = (0.1, 0.2, 0.5, 1.0, 2.0)
"""Seconds between attempts to reach the sequencer."""

R = TypeVar("R")
Opening = Callable[[str, Steps, str], AbstractAsyncContextManager[Channel]]
"""Opens a conversation: with a member, by a table of steps, in a role."""
Replies = asyncio.Queue[replication.Taken]
"""Answers on their way to one follower."""


@dataclass(frozen=True)
class Surroundings:
    """What a member's engine needs of the world.

    Attributes:
        open: opens conversations.
        wall: seconds since 1970.
        monotonic: seconds.
        log: takes a line for the operator of the party.
        force_after: seconds, see `FORCE_AFTER`.
    """

    open: Opening
    wall: Callable[[], float]
    monotonic: Callable[[], float]
    log: Callable[[str], None]
    force_after: float = FORCE_AFTER


class LedgerMember:
    """The embedded engine at one member; `run` keeps it going.

    Args:
        log: its log.
        around: the world.
        leader: whom to follow while the log is empty.
    """

    def __init__(self, log: MemberLog, around: Surroundings, leader: str = "") -> None:
        self.log = log
        self._leader = leader
        self._around = around
        self._changed = asyncio.Condition()
        self._writing = asyncio.Lock()
        self._queue: dict[bytes, bytes] = {}
        self._outbox: asyncio.Queue[bytes] = asyncio.Queue()
        self._dropped: dict[bytes, Dropped] = {}
        self._offered: dict[bytes, Replies] = {}
        self._watch = Watch(around.monotonic, around.force_after)
        self.halted = ""
        """Why this member signs nothing any more; empty while it does."""

    @property
    def name(self) -> str:
        """Of the member."""
        return self.log.name

    @property
    def orders(self) -> bool:
        """Whether this member is the sequencer."""
        return self.log.size > 0 and electorate.sequencer(self.log.replica.state) == self.name

    @property
    def leader(self) -> str:
        """The sequencer, as far as this member knows; empty if it does not."""
        return electorate.sequencer(self.log.replica.state) if self.log.size else self._leader

    async def run(self) -> None:
        """Order or follow, and gossip, until cancelled; leaves the log closed."""
        try:
            await self._run()
        finally:
            # a step that is under way in a thread ends before the database is closed
            await asyncio.shield(asyncio.to_thread(self.log.store.close))

    async def _run(self) -> None:
        for data in self.log.store.pending().values():
            self._take_up(cosigner.digest_of(data), data)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._order())
            group.create_task(self._follow())
            group.create_task(self._gossip())

    async def submit(self, signed: SignedTransaction, patience: float = 30.0) -> Receipt:
        """Get a transaction into the log; returns its receipt once it is final.

        The transaction is on disk before it is sent, and sent again after a restart.

        Raises:
            PolicyRefused: it was dropped: malformed, expired, replayed, or of an unknown key.
            PeerLost: it did not become final in ``patience`` seconds; it may yet.
        """
        digest = signed.digest
        await self._locked(self.log.store.keep_pending, digest, signed.data)
        self._take_up(digest, signed.data)
        await self._notify()
        try:
            async with asyncio.timeout(patience), self._changed:
                await self._changed.wait_for(
                    lambda: digest in self._dropped or self._final(digest) is not None
                )
        except TimeoutError:
            raise PeerLost(
                "ledger-not-final",
                f"transaction {digest.hex()[:16]} is not final after {patience:g} s",
                peer=electorate.sequencer(self.log.replica.state),
                remedy="it is submitted again by itself; see `parley ledger status` for who is missing",
            ) from None
        if digest in self._dropped:
            dropped = self._dropped.pop(digest)
            raise PolicyRefused(
                f"dropped-{dropped.code}",
                f"the ledger takes no such transaction: {dropped.reason}",
                remedy="correct it and submit a new one",
            )
        number = self._final(digest)
        assert number is not None  # noqa: S101 (waited for)
        return receipt_of(self.log.store.leaves(number, number + 1)[0].receipt)

    async def changes(self) -> AsyncIterator[int]:
        """The final size, now and whenever it grows."""
        seen = -1
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self.log.final_size != seen)  # noqa: B023
                seen = self.log.final_size
            yield seen

    async def settled(self, patience: float = 30.0) -> None:
        """Wait until all that this member has executed is final."""
        async with asyncio.timeout(patience), self._changed:
            await self._changed.wait_for(lambda: self.log.final_size == self.log.size)

    def _final(self, digest: bytes) -> int | None:
        number = self.log.number(digest)
        return number if number is not None and number < self.log.final_size else None

    # ── as the sequencer ──────────────────────────────────────────────────────────────────────────────

    async def _order(self) -> None:
        """Make blocks of what is queued, while this member is the sequencer."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._queue and self.orders and not self.halted)
            await asyncio.sleep(GATHER)
            taken = dict(itertools.islice(self._queue.items(), BLOCK_TRANSACTIONS))
            try:
                async with self._writing:
                    dropped = await asyncio.to_thread(self._make_block, list(_within(taken.values())))
            except UsageError as error:
                self._halt(error.what)
                continue
            for digest, data in taken.items():
                if data in dropped:
                    await self._drop(digest, dropped[data])
                if data in dropped or self.log.number(digest) is not None:
                    self._queue.pop(digest, None)
                    self._offered.pop(digest, None)
            await self._sign()

    async def _drop(self, digest: bytes, dropped: Dropped) -> None:
        """Tell whoever submitted a transaction that it cannot come in any more."""
        self._dropped[digest] = dropped
        await self._locked(self.log.store.forget_pending, digest)
        replies = self._offered.pop(digest, None)
        if replies is not None:
            replies.put_nowait(replication.Taken(digest.hex(), dropped.code, dropped.reason))

    def _make_block(self, transactions: Sequence[bytes]) -> dict[bytes, Dropped]:
        if not self.log.may_sign():
            raise UsageError(
                "ledger-rolled-back",
                f"{self.name} has sealed more than the {self.log.size} leaves it holds",
                remedy="restore the newer database, or let the members hand the sequencer over",
            )
        executed, dropped = self.log.prepare(transactions, int(self._around.wall()))
        if executed.leaves:
            self.log.seal(executed)
        return dropped

    async def serve_follower(self, channel: Channel) -> None:
        """Talk to one member that follows us, for as long as it does."""
        follow = await channel.recv(replication.Follow)
        if not self.orders:
            raise PolicyRefused(
                "not-the-sequencer", f"{self.name} does not order", remedy="follow the member that does"
            )
        if follow.size > self.log.size:
            self._halt(f"{channel.peer} holds {follow.size} leaves of ours, we hold {self.log.size}")
            raise PolicyRefused(
                "sequencer-behind",
                f"{channel.peer} has {follow.size} leaves, we only {self.log.size}",
                remedy="restore the newer database, or let the members hand the sequencer over",
                public="the sequencer has lost part of the log",
            )
        replies: Replies = asyncio.Queue()
        # who reads never waits to write: two full directions would wait for each other
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send_log(channel, follow.size))
            group.create_task(_send_all(channel, replies))
            group.create_task(self._hear(channel, replies))

    async def _send_log(self, channel: Channel, size: int) -> None:
        told = 0
        while True:
            async with self._changed:
                await self._changed.wait_for(
                    lambda: self.log.size > size or min(self.log.final_size, size) > told  # noqa: B023
                )
            block = await self._locked(self.log.store.block_from, size)
            if block is not None:
                leaves = tuple(leaf.data for leaf in block.leaves)
                await channel.send(replication.Block(block.first, leaves, block.note))
                size = block.size
            elif self.log.final_size > told:
                told = self.log.final_size
                note = self.log.note(told)
                if note is not None:
                    await channel.send(replication.Sealed(note.encoded()))

    async def _hear(self, channel: Channel, replies: Replies) -> None:
        while True:
            message = await channel.recv(replication.Cosigned, replication.Offer)
            if isinstance(message, replication.Cosigned):
                await self._cosigned(channel, message.note)
            else:
                code, reason, digest = await self._locked(self._queued, message.transaction)
                if not code:
                    self._offered[bytes.fromhex(digest)] = replies
                replies.put_nowait(replication.Taken(digest, code, reason))
                await self._notify()

    async def _cosigned(self, channel: Channel, data: bytes) -> None:
        try:
            note = parse_note(data)
            size = int(note.text.split("\n")[1])
            lines = [line for line in note.signatures if line.name == channel.peer]
            ours = self.log.note(size)
            if ours is not None and ours.text == note.text:
                note.verified(electorate.cosigner_keys(self.log.replica.state))
                await self._add(size, SignedNote(note.text, tuple(lines)))
        except (NoteError, ValueError, IndexError) as error:
            raise channel.fault(
                "cosignature-bad", f"sent a cosignature that does not hold: {error}"
            ) from None

    def _queued(self, data: bytes) -> tuple[str, str, str]:
        """Queue a transaction; or the code and reason why not. With its digest."""
        try:
            digest = cosigner.digest_of(data)
        except EncodingError as error:
            return "malformed", str(error), ""
        if self.log.number(digest) is None:
            dropped = cosigner.objection(self.log, data)
            if dropped is not None:
                return dropped.code, dropped.reason, digest.hex()
            self._take_up(digest, data)
        return "", "", digest.hex()

    # ── as a follower ─────────────────────────────────────────────────────────────────────────────────

    async def _follow(self) -> None:
        """Follow the sequencer, while that is someone else; come back to it after every loss."""
        attempt = 0
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self.leader not in ("", self.name) and not self.halted)
            leader = self.leader
            try:
                async with self._around.open(leader, replication.STEPS, replication.FOLLOWER) as channel:
                    attempt = 0
                    await self._follow_on(channel)
            except ParleyError as error:
                if attempt == len(_RETRY) - 1:
                    self._around.log(f"the ledger waits for {leader}: {error.what}")
                if isinstance(error, PolicyRefused) and error.code == "sequencer-behind":
                    self._halt(error.what)
            await asyncio.sleep(_RETRY[min(attempt, len(_RETRY) - 1)])
            attempt += 1

    async def _follow_on(self, channel: Channel) -> None:
        await channel.send(replication.Follow(self.log.size))
        self._outbox = asyncio.Queue()
        for data in {**self.log.store.pending(), **self._watch.wanted()}.values():
            self._outbox.put_nowait(data)
        grown = asyncio.Event()
        grown.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._offer(channel))
            group.create_task(self._cosign_growth(channel, grown))
            group.create_task(self._take(channel, grown))

    async def _offer(self, channel: Channel) -> None:
        while True:
            await channel.send(replication.Offer(await self._outbox.get()))

    async def _cosign_growth(self, channel: Channel, grown: asyncio.Event) -> None:
        """Sign whenever the log has grown, and now and then, since something overdue may have come in."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(GOSSIP_EVERY):
                    await grown.wait()
            grown.clear()
            if self.log.final_size < self.log.size:
                await self._cosign(channel)

    async def _take(self, channel: Channel, grown: asyncio.Event) -> None:
        while True:
            message = await channel.recv(replication.Block, replication.Sealed, replication.Taken)
            match message:
                case replication.Block(first, leaves, note):
                    try:
                        await self._locked(cosigner.take, self.log, first, leaves, note)
                    except Rejected as rejected:
                        self._halt(f"{channel.peer} {rejected}")
                        raise channel.fault(rejected.code, str(rejected)) from None
                    grown.set()
                    await self._notify()
                case replication.Sealed(note):
                    await self._sealed(channel, note)
                case replication.Taken(digest, code, reason):
                    await self._told(bytes.fromhex(digest) if digest else b"", code, reason)

    async def _cosign(self, channel: Channel) -> None:
        """Sign our log, unless we must not: something is overdue, or we have signed for more than we hold."""
        self._watch.settle(self.log)
        if self._watch.overdue():
            self._around.log(f"{channel.peer} leaves out a transaction that is overdue; nothing is signed")
            return
        try:
            note = await self._locked(self.log.cosign, int(self._around.wall()))
        except UsageError as error:
            self._around.log(error.what)
            return
        await channel.send(replication.Cosigned(note.encoded()))

    async def _sealed(self, channel: Channel, data: bytes) -> None:
        try:
            note = parse_note(data)
            size = int(note.text.split("\n")[1])
            ours = self.log.note(size)
            if ours is None or ours.text != note.text or not self.log.is_final(note):
                raise channel.fault("seal-bad", "sent a seal without a majority, or of another log")
        except (NoteError, ValueError, IndexError) as error:
            raise channel.fault("seal-bad", f"sent a seal that does not hold: {error}") from None
        await self._add(size, note)

    async def _told(self, digest: bytes, code: str, reason: str) -> None:
        if code:
            self._dropped[digest] = Dropped(code, reason)
            await self._locked(self.log.store.forget_pending, digest)
            await self._notify()

    # ── beside both ───────────────────────────────────────────────────────────────────────────────────

    async def _gossip(self) -> None:
        """Compare with every other member in turn, for ever."""
        while True:
            await asyncio.sleep(GOSSIP_EVERY)
            if not self.log.size:
                continue
            others = [member.name for member in active_members(Draft(self.log.replica.state))]
            for other in others:
                if other == self.name:
                    continue
                try:
                    async with self._around.open(other, gossip.STEPS, gossip.CALLER) as channel:
                        await self.gossip_as_caller(channel)
                except ParleyError:
                    pass  # a member that cannot be dialled dials us

    async def gossip_as_caller(self, channel: Channel) -> None:
        """Our side of a comparison that we began."""
        await channel.send(gossip.Tip(self._tip()))
        await self._compare(channel, (await channel.recv(gossip.Tip)).note)
        await channel.send(gossip.Waiting(tuple(self._watch.waiting(1.0)[:32])))
        await self._pass_on((await channel.recv(gossip.Waiting)).transactions)

    async def gossip_as_called(self, channel: Channel) -> None:
        """Our side of a comparison that another began."""
        theirs = await channel.recv(gossip.Tip)
        await channel.send(gossip.Tip(self._tip()))
        await self._compare(channel, theirs.note)
        await self._pass_on((await channel.recv(gossip.Waiting)).transactions)
        await channel.send(gossip.Waiting(tuple(self._watch.waiting(1.0)[:32])))

    def _tip(self) -> bytes:
        note = self.log.note(self.log.size)
        return b"" if note is None else note.encoded()

    async def _compare(self, channel: Channel, note: bytes) -> None:
        if not note or not self.log.size:
            return
        try:
            differs = await self._locked(cosigner.compare, self.log, note)
        except Rejected as rejected:
            raise channel.fault(rejected.code, str(rejected)) from None
        if differs:
            self._halt(f"the sequencer has forked the log: {channel.peer} and we hold {differs}")

    async def _pass_on(self, transactions: Sequence[bytes]) -> None:
        """Transactions that another member does not see come in: offer them ourselves, and watch."""
        for data in transactions:
            try:
                digest = cosigner.digest_of(data)
            except EncodingError:
                continue
            if self.log.number(digest) is None and cosigner.objection(self.log, data) is None:
                self._take_up(digest, data)
        await self._notify()

    # ── small things ──────────────────────────────────────────────────────────────────────────────────

    def _take_up(self, digest: bytes, data: bytes) -> None:
        self._watch.note(digest, data)
        if self.orders:
            self._queue.setdefault(digest, data)
        else:
            self._outbox.put_nowait(data)

    async def _sign(self) -> None:
        """As the sequencer: add our own cosignature under what was just sealed."""
        async with self._writing:
            note = await asyncio.to_thread(self.log.cosign, int(self._around.wall()))
        await self._add(self.log.size, note)

    async def _add(self, size: int, note: SignedNote) -> None:
        await self._locked(self.log.add_signatures, size, note.signatures)
        await self._notify()

    async def _locked(self, function: Callable[..., R], *arguments: object) -> R:
        async with self._writing:
            return await asyncio.to_thread(function, *arguments)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _halt(self, why: str) -> None:
        if not self.halted:
            self.halted = why
            self._around.log(f"this member signs nothing any more: {why}")


async def _send_all(channel: Channel, replies: Replies) -> None:
    while True:
        await channel.send(await replies.get())


def receipt_of(data: bytes) -> Receipt:
    """A receipt as the log keeps it."""
    return msgspec.json.decode(data, type=Receipt)


def _within(transactions: Iterable[bytes]) -> Iterator[bytes]:
    """As many as fit into a block, at least one."""
    size = 0
    for data in transactions:
        if size and size + len(data) > BLOCK_BYTES:
            return
        size += len(data)
        yield data
