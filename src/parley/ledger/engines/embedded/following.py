"""As a follower: fetch, execute and cosign what the sequencer makes, and offer it what is to come in."""

import asyncio
from contextlib import suppress
from typing import Final

from parley.core.conversation import Channel
from parley.core.errors import ParleyError, UsageError
from parley.ledger.checkpoint import Checkpoint
from parley.ledger.engines.embedded import cosigner, replication
from parley.ledger.engines.embedded.cosigner import Rejected
from parley.ledger.engines.embedded.ordering import SIGN_OF_LIFE
from parley.ledger.engines.embedded.store import StoreFailed
from parley.ledger.engines.embedded.watch import objection
from parley.ledger.engines.embedded.workbench import GOSSIP_EVERY, Stopped, Workbench
from parley.ledger.notes import NoteError, SignedNote, parse_note

_RETRY: Final = (0.1, 0.2, 0.5, 1.0, 2.0)
"""Seconds between attempts to reach the sequencer."""
_ASK_AGAIN: Final = 0.2
"""Seconds after which a transaction is offered again that the sequencer would not have and we would."""


class Following:
    """What a member does that does not order; it rests while it does.

    Args:
        bench: shared with the other parts.

    Attributes:
        connected: whether the sequencer is being followed just now.
    """

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._log = bench.log
        self._outbox: asyncio.Queue[bytes] = asyncio.Queue()
        self.connected = False

    @property
    def follows(self) -> str:
        """The sequencer, while it is being followed."""
        return self._bench.leader if self.connected else ""

    def offer(self, data: bytes) -> None:
        """Offer a transaction to the sequencer; while there is none, the watch remembers it."""
        if self.connected:
            self._outbox.put_nowait(data)

    async def run(self) -> None:
        """Follow the sequencer, while that is someone else; come back to it after every loss."""
        bench, attempt = self._bench, 0
        while True:
            await bench.until(lambda: bench.leader not in ("", self._log.name) and not bench.halted)
            leader = bench.leader
            try:
                async with bench.around.open(leader, replication.STEPS, replication.FOLLOWER) as channel:
                    attempt = 0
                    await self._follow(channel)
            except ParleyError as error:
                if isinstance(error, StoreFailed | Stopped):
                    raise
                if attempt == len(_RETRY) - 1:
                    bench.around.log(f"the ledger waits for {leader}: {error.what}")
            finally:
                self.connected = False
            await asyncio.sleep(_RETRY[min(attempt, len(_RETRY) - 1)])
            attempt += 1

    async def _follow(self, channel: Channel) -> None:
        """One conversation, until the sequencer is another one."""
        note = await self._bench.step(self._tip)
        await channel.send(replication.Follow(note))
        self._outbox = asyncio.Queue()
        self.connected = True
        for signed in self._bench.watch.wanted().values():
            self._outbox.put_nowait(signed.data)
        grown = asyncio.Event()
        grown.set()
        beside = [
            asyncio.create_task(self._offer(channel)),
            asyncio.create_task(self._cosign_growth(channel, grown)),
        ]
        taking = asyncio.create_task(self._take(channel, grown))
        beside.append(asyncio.create_task(self._bench.until(lambda: self._bench.leader != channel.peer)))
        try:
            done, _ = await asyncio.wait((taking, *beside), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (taking, *beside):
                task.cancel()
            await asyncio.gather(taking, *beside, return_exceptions=True)

    def _tip(self) -> bytes:
        note = self._log.note(self._log.size)
        return b"" if note is None else note.encoded()

    async def _offer(self, channel: Channel) -> None:
        while True:
            await channel.send(replication.Offer(await self._outbox.get()))

    async def _cosign_growth(self, channel: Channel, grown: asyncio.Event) -> None:
        """Sign whenever the log has grown, and now and then, since something overdue may have come in."""
        silent = 0.0
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(GOSSIP_EVERY):
                    await grown.wait()
            silent = 0.0 if grown.is_set() else silent + GOSSIP_EVERY
            grown.clear()
            if self._log.final_size < self._log.size:
                await self._cosign(channel)
            elif silent >= SIGN_OF_LIFE:
                await channel.send(replication.Cosigned(b""))
                silent = 0.0

    async def _take(self, channel: Channel, grown: asyncio.Event) -> None:
        while self._bench.leader == channel.peer:
            message = await channel.recv(replication.Block, replication.Sealed, replication.Taken)
            match message:
                case replication.Block(first, leaves, note):
                    await self._take_block(channel, first, leaves, note)
                    grown.set()
                case replication.Sealed(note) if note:
                    await self._sealed(channel, note)
                case replication.Taken(digest, code):
                    if code:
                        await self._told(digest)

    async def _take_block(self, channel: Channel, first: int, leaves: tuple[bytes, ...], note: bytes) -> None:
        try:
            await self._bench.carry(self._taken(first, leaves, note))
        except Rejected as rejected:
            self._bench.halt(f"{channel.peer} {rejected}")
            raise channel.fault(rejected.code, str(rejected)) from None

    async def _taken(self, first: int, leaves: tuple[bytes, ...], note: bytes) -> None:
        await self._bench.step(cosigner.take, self._log, first, leaves, note)
        await self._bench.settle()

    async def _cosign(self, channel: Channel) -> None:
        """Sign our log, unless we must not: something is overdue, or we have signed for more than we hold."""
        bench = self._bench
        if bench.halted or self._log.size < bench.around.had:
            return  # being filled up, we may have signed more than we know of
        await bench.settle()
        if bench.watch.overdue():
            bench.around.log(f"{channel.peer} leaves out a transaction that is overdue; nothing is signed")
            return
        try:
            note = await bench.step(self._log.cosign, int(bench.around.wall()))
        except UsageError as error:
            if isinstance(error, StoreFailed | Stopped):
                raise
            if error.code == "ledger-rolled-back" and self._log.is_contradicted():
                bench.halt(
                    f"{error.what}; the sequencer has forked the log, or this member's files were changed"
                )
            elif error.code != "not-a-cosigner":
                bench.around.log(error.what)
            return
        bench.follows_or_succeeds()
        await channel.send(replication.Cosigned(note.encoded()))

    async def _sealed(self, channel: Channel, data: bytes) -> None:
        try:
            note = parse_note(data)
            size = Checkpoint.parse(note.text).size
        except NoteError as error:
            raise channel.fault("seal-bad", f"sent a seal that does not hold: {error}") from None
        if not await self._bench.carry(self._finalised(size, note)):
            raise channel.fault("seal-bad", "sent a seal of another log than its blocks")

    async def _finalised(self, size: int, note: SignedNote) -> bool:
        ours = await self._bench.step(self._finalise, size, note)
        await self._bench.notify()
        return ours

    def _finalise(self, size: int, note: SignedNote) -> bool:
        """As a step: keep what counts of a seal; False if it is not of our log."""
        ours = self._log.note(size)
        if ours is None or ours.text != note.text:
            return False
        self._log.add_signatures(size, note.signatures)
        return True

    async def _told(self, digest: bytes) -> None:
        """The sequencer says that a transaction cannot come in; believed only if we find so too.

        It may have judged by an earlier state than ours; then it is asked again.
        """
        signed = self._bench.watch.get(digest)
        if signed is None:
            return
        why = await self._bench.step(objection, self._log, signed)
        if why is None:
            asyncio.get_running_loop().call_later(_ASK_AGAIN, self.offer, signed.data)
            return
        await self._bench.step(self._bench.drop, digest)
        self._bench.tell(digest, why)
        await self._bench.notify()
