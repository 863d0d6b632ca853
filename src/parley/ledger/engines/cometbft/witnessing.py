"""Beside the chain: members sign one another's checkpoints, and help out those whom the chain does not reach.

The conversation is that of `embedded.gossip`, so a member that has not gone over yet takes part. What the
chain has decided needs no further signature, but whoever holds only an export or a receipt has no chain: for
them every checkpoint collects the cosignatures of a majority, as with the embedded engine.

    caller  ── Tip: its last checkpoint ──▶  called     signs it too, if it is there
            ◀── Tip: the same one ───────               else shows its own last one
            ── Waiting ───────▶ ◀── Waiting ──          transactions that do not come in: offered by the other
            ◀── Ask … Piece … ──                        blocks of the embedded engine, for those who lack them
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from parley.core.conversation import Channel
from parley.core.errors import ParleyError, PeerLost
from parley.ledger.checkpoint import Checkpoint
from parley.ledger.contract.members import active_members
from parley.ledger.contract.state import Draft
from parley.ledger.contract.takeover import TAKEOVER, LastTakeover
from parley.ledger.electorate import proving_keys
from parley.ledger.engines.cometbft.log import ChainLog
from parley.ledger.engines.embedded import gossip
from parley.ledger.engines.embedded.store import StoredBlock
from parley.ledger.engines.embedded.workbench import GOSSIP_EVERY, Opening
from parley.ledger.engines.evidence import Disagreement, disagreement, where
from parley.ledger.notes import NoteError, SignedNote, parse_note

LOOK_EVERY: Final = 0.5
"""Seconds between two looks whether a signature is missing."""
SIGN_EVERY: Final = 10.0
"""Seconds between two calls for signatures alone; nobody waits for them as for a transaction."""
KEPT_OF_ONE: Final = 3
"""Other checkpoints of one member that are kept while it is not convicted."""
COSIGNS_NO_MORE: Final = "a majority has signed another ledger than ours: this member cosigns no more"
PATIENCE: Final = 30.0
"""Seconds that one conversation may take."""


@dataclass(frozen=True)
class Transactions:
    """What of a member's transactions this part has to do with.

    Attributes:
        waiting: those that do not come in.
        offer: gives one to the node.
    """

    waiting: Callable[[], tuple[bytes, ...]]
    offer: Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True)
class _Differing:
    """A member that has signed another checkpoint than ours, and what the operator was told."""

    found: Disagreement
    said: str


class Witnessing:
    """A member's side of these conversations.

    Args:
        log: its ledger.
        transactions: its own, and a way for those of others.
        report: takes a line for the operator of the party.
    """

    def __init__(self, log: ChainLog, transactions: Transactions, report: Callable[[str], None]) -> None:
        self._log = log
        self._transactions = transactions
        self._report = report
        self._turn = asyncio.Lock()
        self._differing: dict[str, _Differing] = {}
        self._kept: Counter[str] = Counter()

    @property
    def trouble(self) -> str:
        """Who has signed another ledger than ours; empty if nobody has."""
        said = dict.fromkeys(known.said for known in self._differing.values())
        return "; ".join((*said, *[COSIGNS_NO_MORE] * self._log.withholds))

    async def run(self, opening: Opening) -> None:
        """While a signature or a transaction of ours is missing, call other members now and then."""
        clock = asyncio.get_running_loop().time
        called, looks = -SIGN_EVERY, 0
        while True:
            await asyncio.sleep(LOOK_EVERY)
            waiting = bool(self._transactions.waiting())
            looks = looks + 1 if self._log.size and self._unsigned() else 0
            if waiting and clock() - called >= GOSSIP_EVERY:
                await asyncio.gather(*(self._call(opening, other) for other in self._others()))
                called = clock()
            elif looks and looks > self._place() and clock() - called >= SIGN_EVERY:
                await self._gather_signatures(opening)
                called = clock()

    async def _gather_signatures(self, opening: Opening) -> None:
        """Call one member after the other until a majority has signed what we have now.

        Whoever is first by name begins, and has every signature in the end; those behind wait a look longer
        each (`_place`), and then find a majority with the first one they call.
        """
        size = self._log.size
        for other in self._others():
            if self._log.cosigned_size >= size:
                return
            await self._call(opening, other)

    def _unsigned(self) -> bool:
        return self._log.cosigned_size < self._log.size

    def _place(self) -> int:
        """How many members are before us by name."""
        return sum(1 for other in self._others() if other < self._log.name)

    def _others(self) -> list[str]:
        members = active_members(Draft(self._log.replica.state))
        return [member.name for member in members if member.name != self._log.name]

    async def _call(self, opening: Opening, other: str) -> None:
        try:
            async with (
                asyncio.timeout(PATIENCE),
                opening(other, gossip.STEPS, gossip.CALLER) as channel,
            ):
                await self.as_caller(channel)
        except (TimeoutError, PeerLost):
            pass  # the next round tries again; a member that cannot be dialled dials us
        except ParleyError as error:
            self._report(f"comparing with {other}: {error.what}")

    async def as_caller(self, channel: Channel) -> None:
        """Our side of a conversation that we began."""
        await channel.send(self._tip(self._log.size))
        await self._learn(channel, await channel.recv(gossip.Tip))
        await channel.send(gossip.Waiting(self._waiting()))
        await self._pass_on((await channel.recv(gossip.Waiting)).transactions)
        await channel.send(gossip.Enough())
        await self._answer(channel)

    async def as_called(self, channel: Channel) -> None:
        """Our side of a conversation that another began."""
        size = await self._learn(channel, await channel.recv(gossip.Tip))
        await channel.send(self._tip(self._shown_to(size)))
        await self._pass_on((await channel.recv(gossip.Waiting)).transactions)
        await channel.send(gossip.Waiting(self._waiting()))
        await self._answer(channel)
        await channel.send(gossip.Enough())

    def _shown_to(self, size: int) -> int:
        """The checkpoint for a member whose log has ``size`` leaves: one it can have, too, or can get."""
        moved = self._log.embedded_size
        if size < moved:
            return moved
        return size if self._log.note(size) is not None else self._log.size

    def _tip(self, size: int) -> gossip.Tip:
        note = self._log.note(size)
        epoch, base = (0, 0) if note is None else self._takeover()
        return gossip.Tip(b"" if note is None else note.encoded(), epoch, base, ())

    def _takeover(self) -> tuple[int, int]:
        """Epoch and base of the last takeover of the embedded engine; zeros if there was none."""
        last = Draft(self._log.replica.state).find(LastTakeover, TAKEOVER)
        return (0, 0) if last is None else (last.epoch, last.base)

    async def _learn(self, channel: Channel, tip: gossip.Tip) -> int:
        """Keep the signatures under a checkpoint that we have too; its size.

        What a lost sequencer, or who was cut off with it, has of an earlier epoch may be another log. It
        comes over by what we show it.

        Raises:
            PeerMisbehaved: it is none, or another one than ours of that size.
        """
        if not tip.note or (self._log.size and tip.epoch < self._takeover()[0]):
            return 0
        try:
            note = parse_note(tip.note)
            size = Checkpoint.parse(note.text).size
        except NoteError as error:
            raise channel.fault("checkpoint-bad", f"sent a checkpoint that does not hold: {error}") from None
        async with self._turn:
            ours = await asyncio.to_thread(self._log.note, size)
            if ours is not None and ours.text != note.text:
                raise await self._different(channel, ours, note)
            if ours is not None:
                await asyncio.to_thread(self._log.add_signatures, size, note.signatures)
                await self._look_again(size)
        return size

    # ── another ledger than ours ──────────────────────────────────────────────────────────────────────

    async def _different(self, channel: Channel, ours: SignedNote, theirs: SignedNote) -> ParleyError:
        """What to say of another checkpoint of a size that we have; both are kept if a member has signed it.

        One that nobody has signed proves nothing, except that the caller is at fault.
        """
        found = await self._judged(ours, theirs)
        if found is None:
            return channel.fault("checkpoint-bad", "shows another checkpoint than ours, signed by no member")
        if found.convicted:
            return channel.fault("member-equivocates", f"shows that {found.what}")
        return channel.fault("log-differs", f"shows that {found.what}")

    async def _judged(self, ours: SignedNote, theirs: SignedNote) -> Disagreement | None:
        """Check the signatures under both, and keep them as evidence, once.

        One member, or a minority, keeps us from nothing. If a majority has signed another checkpoint than
        ours, either ours is wrong or theirs, and we can no longer tell those who trust a majority which.
        """
        keys = proving_keys(self._log.replica.state)
        found = await asyncio.to_thread(disagreement, keys, ours, theirs)
        if found is None or all(self._is_known(member, found) for member in found.signers):
            return found
        name = await asyncio.to_thread(self._log.keep_evidence, found)
        said = f"{found.what}; {where(name)}"
        self._kept.update(found.signers)
        self._report(said)
        for member in found.signers:
            if member in found.convicted or not self._is_convicted(member):
                self._differing[member] = _Differing(found, said)
        if not self._log.withholds and self._log.is_majority(found.theirs):
            self._log.withholds = True
            self._report(COSIGNS_NO_MORE)
        return found

    def _is_known(self, member: str, found: Disagreement) -> bool:
        """Whether we have kept enough of a member: a proof, or some of its other checkpoints."""
        if self._is_convicted(member):
            return True
        known = self._differing.get(member)
        same = known is not None and known.found.theirs.text == found.theirs.text
        return member not in found.convicted and (same or self._kept[member] >= KEPT_OF_ONE)

    def _is_convicted(self, member: str) -> bool:
        known = self._differing.get(member)
        return known is not None and member in known.found.convicted

    async def _look_again(self, size: int) -> None:
        """Others have signed our checkpoint of a size: whoever differed has lied, or agrees by now."""
        note = await asyncio.to_thread(self._log.note, size) if self._differing else None
        if note is None:
            return
        signed = {line.name for line in note.signatures}
        for member, known in list(self._differing.items()):
            if self._is_convicted(member) or member not in signed:
                continue
            if known.found.size == size:
                await self._judged(note, known.found.theirs)
            elif known.found.size < size:
                del self._differing[member]

    def _waiting(self) -> tuple[bytes, ...]:
        return self._transactions.waiting()[: gossip.WAITING_LIMIT]

    async def _pass_on(self, transactions: tuple[bytes, ...]) -> None:
        for data in transactions:
            await self._transactions.offer(data)

    async def _answer(self, channel: Channel) -> None:
        """Blocks of the embedded engine; later ones come from the chain."""
        moved = self._log.embedded_size
        while True:
            asked = await channel.recv(gossip.Ask, gossip.Enough)
            if isinstance(asked, gossip.Enough):
                return
            block: StoredBlock | None = None
            if asked.first < moved:
                block = await asyncio.to_thread(self._log.store.block_from, asked.first)
            leaves = () if block is None else tuple(leaf.data for leaf in block.leaves)
            await channel.send(gossip.Piece(leaves, b"" if block is None else block.note))
