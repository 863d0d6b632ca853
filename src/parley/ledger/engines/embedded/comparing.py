"""Beside ordering and following: compare with every other member, pass on, fill one another up."""

import asyncio
from dataclasses import dataclass
from typing import Final

from parley.core.conversation import Channel
from parley.core.errors import ParleyError, PeerLost
from parley.ledger.contract.takeover import Promise
from parley.ledger.electorate import ends
from parley.ledger.encoding import EncodingError
from parley.ledger.engines.embedded import cosigner, gossip, handover
from parley.ledger.engines.embedded.cosigner import Forked, Rejected
from parley.ledger.engines.embedded.following import Following
from parley.ledger.engines.embedded.handover import Handover
from parley.ledger.engines.embedded.promises import Succession
from parley.ledger.engines.embedded.store import StoredBlock, StoreFailed
from parley.ledger.engines.embedded.watch import objection
from parley.ledger.engines.embedded.workbench import Workbench
from parley.ledger.notes import parse_note
from parley.ledger.transaction import SignedTransaction, open_signed

PATIENCE: Final = 30.0
"""Seconds that one comparison may take."""
PASS_ON_AFTER: Final = 1.0
"""Seconds after which the other members hear of a transaction that has not come in."""
AT_EASE: Final = 5
"""Intervals from one comparison to the next while nothing presses."""
_ROUNDING: Final = 0.9
"""Part of an interval after which it counts as over: sleeping is not exact."""
PIECES: Final = 256
"""Blocks that one comparison brings at most."""
TELL_AFTER: Final = 10.0
"""Seconds after which the operator hears that this member can do nothing without the others."""


@dataclass(frozen=True)
class _Lacking:
    """What another member has and we lack: from leaf ``first`` on; by a takeover in ``epoch``, unless 0."""

    first: int
    epoch: int = 0


class Comparing:
    """A member's side of gossip.

    Args:
        bench: shared with the other parts.
        following: says whether the sequencer is being followed, and offers it what others pass on.
        handover: hears of promises.
    """

    def __init__(self, bench: Workbench, following: Following, handover: Handover) -> None:
        self._bench = bench
        self._log = bench.log
        self._following = following
        self._handover = handover
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._compared: dict[str, float] = {}
        self._trouble = ""
        self._since = 0.0
        self._told = ""

    async def run(self) -> None:
        """Compare with every other member, for ever; a slow one keeps nobody else waiting."""
        try:
            while True:
                await asyncio.sleep(self._bench.around.gossip_every)
                await self._bench.step(self._sign_the_end)
                self._tell(await self._bench.step(self._bench.trouble))
                for other in await self._bench.step(self._bench.others):
                    known = self._busy.get(other)
                    if self._due(other) and (known is None or known.done()):
                        self._busy[other] = asyncio.create_task(self._call(other))
        finally:
            for task in self._busy.values():
                task.cancel()
            await asyncio.gather(*self._busy.values(), return_exceptions=True)

    def _tell(self, trouble: str) -> None:
        """Tell the operator of a trouble that lasts, once."""
        now = self._bench.around.monotonic()
        if trouble != self._trouble:
            self._trouble, self._since = trouble, now
        if not trouble:
            self._told = ""
        elif trouble != self._told and now - self._since >= TELL_AFTER:
            self._told = trouble
            self._bench.around.log(trouble)

    def _due(self, other: str) -> bool:
        """Whether to compare with another member now; a comparison that it began serves us as well."""
        around = self._bench.around
        every = around.gossip_every * (1 if self._presses() else AT_EASE)
        return around.monotonic() - self._compared.get(other, -every) >= every * _ROUNDING

    def _presses(self) -> bool:
        """Whether comparing may bring something on: a comparison costs a connection."""
        bench = self._bench
        led = bench.orders or self._following.connected
        settled = self._log.final_size == self._log.size and bench.sure()
        return not (led and settled) or bool(self._waiting()) or bool(self._handover.shown())

    def _sign_the_end(self) -> None:
        """As a step: sign the last block of this engine; there is no sequencer any more that asks for it."""
        log = self._log
        if log.size < self._bench.around.had:
            return
        if log.size > log.final_size and ends(log.replica) and log.is_cosigner() and log.may_sign():
            log.add_signatures(log.size, log.cosign(int(self._bench.around.wall())).signatures)

    async def _call(self, other: str) -> None:
        try:
            async with (
                asyncio.timeout(PATIENCE),
                self._bench.around.open(other, gossip.STEPS, gossip.CALLER) as channel,
            ):
                await self.as_caller(channel)
        except TimeoutError:
            pass  # the next round tries again
        except PeerLost:
            pass  # a member that cannot be dialled dials us
        except StoreFailed:
            pass  # the engine stops by itself
        except ParleyError as error:
            self._bench.around.log(f"comparing with {other}: {error.what}")

    async def as_caller(self, channel: Channel) -> None:
        """Our side of a comparison that we began."""
        await channel.send(await self._bench.step(self._tip))
        lacking = await self._compare(channel, await channel.recv(gossip.Tip))
        await channel.send(gossip.Waiting(self._waiting()))
        await self._pass_on((await channel.recv(gossip.Waiting)).transactions)
        await self._fetch(channel, lacking)
        await self._answer(channel)
        await self._handover.take_over()
        self._compared[channel.peer] = self._bench.around.monotonic()

    async def as_called(self, channel: Channel) -> None:
        """Our side of a comparison that another began."""
        theirs = await channel.recv(gossip.Tip)
        await channel.send(await self._bench.step(self._tip))
        lacking = await self._compare(channel, theirs)
        await self._pass_on((await channel.recv(gossip.Waiting)).transactions)
        await channel.send(gossip.Waiting(self._waiting()))
        await self._answer(channel)
        await self._fetch(channel, lacking)
        await self._handover.take_over()
        self._compared[channel.peer] = self._bench.around.monotonic()

    def _tip(self) -> gossip.Tip:
        note = self._log.note(self._log.size)
        last = self._log.last_takeover()
        promises = tuple(_shown(one) for one in self._handover.shown()[: gossip.PROMISES])
        epoch, base = (0, 0) if last is None else (last.epoch, last.base)
        return gossip.Tip(b"" if note is None else note.encoded(), epoch, base, promises)

    def _waiting(self) -> tuple[bytes, ...]:
        return tuple(self._bench.watch.waiting(PASS_ON_AFTER)[: gossip.WAITING_LIMIT])

    async def _compare(self, channel: Channel, tip: gossip.Tip) -> _Lacking | None:
        """What to ask the other for, if it has more than we; halts when two logs are signed."""
        if not tip.note:
            return None
        if not self._log.size:
            return None if self._following.connected else _Lacking(0)
        await self._handover.learn(tuple(_read(one) for one in tip.promises))
        if tip.epoch > self._log.era:
            return _Lacking(min(tip.base, self._log.size), tip.epoch)
        if tip.epoch < self._log.era:
            return None  # it comes over to the successor's log when it hears of it from us
        try:
            behind = await self._bench.step(cosigner.compare, self._log, tip.note) is not None
        except Rejected as rejected:
            raise channel.fault(rejected.code, str(rejected)) from None
        except Forked as fork:
            if not self._bench.halted:
                kept = await self._bench.keep_evidence(fork)
                self._bench.halt(f"the sequencer has forked the log: {channel.peer} shows that {kept}")
            raise channel.fault("log-forked", fork.what) from None
        if not behind:
            self._bench.heard(channel.peer)
            await self._bench.step(self._join_signatures, tip.note)
            await self._bench.notify()
        # a sequencer that is being followed sends its blocks anyway
        return _Lacking(self._log.size) if behind and not self._following.connected else None

    def _join_signatures(self, data: bytes) -> None:
        """As a step: keep the signatures under the checkpoint of our whole log that the other has too."""
        theirs, ours = parse_note(data), self._log.note(self._log.size)
        if ours is not None and ours.text == theirs.text and self._log.final_size < self._log.size:
            self._log.add_signatures(self._log.size, theirs.signatures)

    async def _pass_on(self, transactions: tuple[bytes, ...]) -> None:
        """Transactions that another member does not see come in: offer them ourselves, and watch."""
        for data in transactions:
            try:
                signed = open_signed(data)
            except EncodingError:
                continue
            if await self._bench.step(self._welcome, signed):
                self._following.offer(data)
        await self._bench.notify()

    def _welcome(self, signed: SignedTransaction) -> bool:
        """As a step: whether the transaction could come in, and there is room to watch it."""
        if not self._log.size or self._log.number(signed.digest) is not None:
            return False
        known = self._bench.watch.get(signed.digest)
        return known is None and objection(self._log, signed) is None and self._bench.want(signed, ours=False)

    # ── filling one another up ────────────────────────────────────────────────────────────────────────

    async def _fetch(self, channel: Channel, lacking: _Lacking | None) -> None:
        """Take block after block of a member that has more; several may bring the same ones."""
        first, epoch = (0, 0) if lacking is None else (lacking.first, lacking.epoch)
        for _ in range(0 if lacking is None else PIECES):
            await channel.send(gossip.Ask(first))
            piece = await channel.recv(gossip.Piece)
            if not piece.leaves:
                break
            try:
                await self._bench.carry(self._take(first, epoch, piece))
            except Rejected as rejected:
                raise channel.fault(rejected.code, str(rejected)) from None
            first = self._log.size
        await channel.send(gossip.Enough())

    async def _take(self, first: int, epoch: int, piece: gossip.Piece) -> None:
        """Go on from leaf ``first`` with what another member has; raises `Rejected`."""
        await self._bench.step(self._taken, first, epoch, piece)
        await self._bench.settle()

    def _taken(self, first: int, epoch: int, piece: gossip.Piece) -> None:
        """As a step: leave our log for a successor's if that is of a later epoch; else write what is new."""
        leaves_ours = first < self._log.size and epoch > self._log.era
        take = handover.switch if leaves_ours else cosigner.take
        take(self._log, first, piece.leaves, piece.note)

    async def _answer(self, channel: Channel) -> None:
        while True:
            asked = await channel.recv(gossip.Ask, gossip.Enough)
            if isinstance(asked, gossip.Enough):
                return
            block: StoredBlock | None = await self._bench.step(self._log.store.block_from, asked.first)
            if block is None:
                await channel.send(gossip.Piece((), b""))
            else:
                leaves = tuple(leaf.data for leaf in block.leaves)
                await channel.send(gossip.Piece(leaves, block.note))


def _shown(one: Succession) -> gossip.Promised:
    promise = one.promise
    return gossip.Promised(
        one.epoch,
        one.successor,
        promise.member,
        promise.era,
        promise.size,
        bytes.fromhex(promise.root),
        bytes.fromhex(promise.signature),
    )


def _read(one: gossip.Promised) -> Succession:
    promise = Promise(
        member=one.member, era=one.era, size=one.size, root=one.root.hex(), signature=one.signature.hex()
    )
    return Succession(one.epoch, one.successor, promise)
