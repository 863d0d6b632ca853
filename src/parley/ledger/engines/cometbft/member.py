"""One member's CometBFT engine: its contract, the node beside it, and what it wants in.

The ledger's socket comes first, then the node; a node that ends is started again after a while. What the
party reads changes only on its event loop: the application's thread hands every committed block over and
waits until it was taken.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from parley.core.conversation import Channel
from parley.core.errors import ParleyError, PeerLost, PolicyRefused, UsageError
from parley.crypto.signatures import SigningKey
from parley.ledger.contract import Dropped, Receipt
from parley.ledger.engines.cometbft.contract_application import DROPPED, ContractApplication
from parley.ledger.engines.cometbft.files import NodeSettings, validator_key
from parley.ledger.engines.cometbft.log import ChainLog
from parley.ledger.engines.cometbft.node import Node, start_node
from parley.ledger.engines.cometbft.rpc import RpcClient
from parley.ledger.engines.cometbft.rpc_answers import Submission
from parley.ledger.engines.cometbft.server import serving
from parley.ledger.engines.cometbft.validators import node_holders, validators
from parley.ledger.engines.cometbft.witnessing import Transactions, Witnessing
from parley.ledger.engines.embedded.workbench import Opening, Stopped
from parley.ledger.engines.engine import Condition
from parley.ledger.transaction import SignedTransaction

OFFER_EVERY: Final = 2.0
"""Seconds after which a transaction that is not in yet is given to the node again."""
STEADY: Final = 5.0
"""Seconds after which a node that ran is started again without delay."""
SILENT_RESTS: Final = 2
"""Of its rests (`files.Pace`): so long may a node be without a block before the operator is told."""
PASS_ON_AFTER: Final = 5.0
"""Seconds after which the other members hear of a transaction that has not come in."""

_REST: Final = (0.1, 0.5, 2.0, 5.0, 10.0, 30.0)
"""Seconds before a node that ended is started again; the last for every further time."""
_REPLAYED: Final = "replayed"


@dataclass(frozen=True)
class NodePlace:
    """Where a member's node lives.

    Args:
        settings: its home and addresses; the home has been written.
        binary: the CometBFT program.
        refresh: brings the files of the home up to date with the ledger; called before the node starts, with
            the public half of the key it is to vote with (`ChainLog.voting_key`), if the party holds that.

    """

    settings: NodeSettings
    binary: Path
    refresh: Callable[[bytes], None] = lambda _voting: None


class CometMember:
    """CometBFT at one member; `run` keeps it going.

    Args:
        log: its ledger.
        place: its node.
        report: takes a line for the operator of the party.
        opening: opens conversations with other members, beside the chain; without it there are none.

    Attributes:
        node: the node's process, once it was started.

    """

    def __init__(
        self,
        log: ChainLog,
        place: NodePlace,
        report: Callable[[str], None],
        opening: Opening | None = None,
    ) -> None:
        self.log = log
        self.application = ContractApplication(log, self._adopting)
        self.node: Node | None = None
        self.rpc = RpcClient(place.settings.rpc_socket)
        self._place = place
        self._report = report
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Condition()
        self._wanted: dict[bytes, bytes] = {}
        self._unkept: dict[bytes, bytes] = {}
        self._keeping = asyncio.Lock()
        self._offering = asyncio.Lock()
        self._offered: set[bytes] = set()
        self._dropped: dict[bytes, Dropped] = {}
        self._notices: set[asyncio.Task[None]] = set()
        self._since: dict[bytes, float] = {}
        self._opening = opening
        self._witnessing = Witnessing(log, Transactions(self._waiting, self._relay), report)
        self._silent = ""
        self._ended = False

    @property
    def name(self) -> str:
        """Of the member."""
        return self.log.name

    @property
    def leader(self) -> str:
        """Nobody orders alone."""
        return ""

    @property
    def halted(self) -> str:
        """Why the application stopped the node; empty while it runs."""
        return self.application.halted

    async def run(self) -> None:
        """Serve the contract and keep the node running until cancelled; leaves the log closed."""
        self._loop = asyncio.get_running_loop()
        try:
            self._wanted = await asyncio.to_thread(self.log.store.pending)
            async with (
                serving(self.application, self._place.settings.abci_socket),
                asyncio.TaskGroup() as group,
            ):
                group.create_task(self._keep_node())
                group.create_task(self._offer_again())
                group.create_task(self._watch_blocks())
                if self._opening is not None:
                    group.create_task(self._witnessing.run(self._opening))
        finally:
            await asyncio.shield(self._close())

    async def _close(self) -> None:
        """Refuse what is asked for from now on; close the database behind the last write."""
        self._ended = True
        try:
            async with self._keeping:
                await asyncio.to_thread(self.log.store.close)
        finally:
            await self._notify()

    def _check_running(self) -> None:
        if self._ended:
            raise Stopped

    # ── submitting ────────────────────────────────────────────────────────────────────────────────────

    async def submit(self, signed: SignedTransaction, patience: float = 30.0) -> Receipt:
        """Get a transaction into a block; returns its receipt once this member has committed it.

        The transaction is on disk before it is sent, and sent again after a restart.

        Raises:
            PolicyRefused: it was dropped: malformed, expired, replayed, or of an unknown key.
            PeerLost: it was not committed in ``patience`` seconds; it may yet be.
            UsageError: ``ledger-stopped``; the engine has ended.

        """
        digest = signed.digest
        try:
            async with asyncio.timeout(patience):
                await self._want(digest, signed.data)
                async with self._changed:
                    await self._changed.wait_for(
                        lambda: self._ended or digest in self._dropped or self.log.number(digest) is not None
                    )
        except TimeoutError:
            raise PeerLost(
                "ledger-not-final",
                f"transaction {digest.hex()[:16]} is in no block after {patience:g} s",
                peer="the CometBFT node",
                remedy="it is submitted again by itself; see whether two thirds of the members are running",
            ) from None
        self._check_running()
        number = self.log.number(digest)
        if number is None:
            dropped = self._dropped.pop(digest)
            raise PolicyRefused(
                f"dropped-{dropped.code}",
                f"the ledger takes no such transaction: {dropped.reason}",
                remedy="correct it and submit a new one",
            )
        return msgspec.json.decode(self.log.store.leaves(number, number + 1)[0].receipt, type=Receipt)

    async def place(self, signed: SignedTransaction, patience: float = 30.0) -> Receipt:
        """The same as `submit`: what is in our log is final."""
        return await self.submit(signed, patience)

    # ── how it stands ─────────────────────────────────────────────────────────────────────────────────

    async def condition(self) -> Condition:
        """How it does just now."""
        log = self.log
        connected, made = set[str](), float(log.replica.time)
        with suppress(ParleyError):
            made = (await self.rpc.status()).block_time.timestamp()
            connected = await self._connected()
        voters = validators(log.replica.state, log.position.nodes).values() if log.size else ()
        return Condition(
            engine="cometbft",
            height=log.position.height,
            last_block=made,
            voters=tuple(voters),
            connected=tuple(sorted(connected)),
            trouble="; ".join(filter(None, (self._silent, self._witnessing.trouble))),
        )

    async def _connected(self) -> set[str]:
        """The members whose nodes are connected to ours."""
        holders = node_holders(self.log.replica.state, self.log.position.nodes)
        return {holders[peer.node_id] for peer in await self.rpc.peers() if peer.node_id in holders}

    async def _watch_blocks(self) -> None:
        """Tell the operator when no block comes for long, and when they come again.

        A node that misses nobody and makes none takes no part any more without having ended, as one does that
        could not write its journal: it is started again.
        """
        loop = asyncio.get_running_loop()
        rest = self._place.settings.pace.rest / 1000
        height, since = self.log.position.height, loop.time()
        while True:
            await asyncio.sleep(min(1.0, rest))
            if self.log.position.height != height:
                if self._silent:
                    self._report("the CometBFT node makes blocks again")
                height, since, self._silent = self.log.position.height, loop.time(), ""
            elif loop.time() - since > SILENT_RESTS * rest:
                since = loop.time()
                await self._note_silence()

    async def _note_silence(self) -> None:
        """Say why no block comes, unless that was said, and start a node again that is stuck."""
        seconds = SILENT_RESTS * self._place.settings.pace.rest / 1000
        why = await self._why_silent()
        said = f"no block for more than {seconds:g} s{why or ', though all nodes are connected'}"
        if said != self._silent:
            self._silent = said
            self._report(said)
        if not why and not self.halted and self.node is not None:
            await self.node.stop()

    async def _why_silent(self) -> str:
        """Whom our node misses, or why it does not say; empty if it has all it needs."""
        try:
            connected = await self._connected()
        except ParleyError as error:
            return f": {error.what}"
        voters = {*validators(self.log.replica.state, self.log.position.nodes).values()} - {self.name}
        missing = ", ".join(sorted(voters - connected))
        return f": not connected to {missing}" if missing else ""

    # ── keys ──────────────────────────────────────────────────────────────────────────────────────────

    def hold(self, key: SigningKey) -> None:
        """Hold another cosigning key too, which is signed with once the ledger says so."""
        self.log.hold(key)

    # ── conversations with other members ──────────────────────────────────────────────────────────────

    async def promise(self, successor: str) -> int:
        """Nobody orders, so nobody can be lost."""
        raise UsageError(
            "no-sequencer",
            f"{successor} cannot order: CometBFT does, on the machines of all members",
            remedy="see `parley ledger status` for whose nodes are missing",
        )

    async def serve_follower(self, channel: Channel) -> None:
        """A member that has not gone over yet asks for the embedded engine; it gets the rest by comparing."""
        raise PolicyRefused(
            "not-the-sequencer",
            f"{channel.peer} wants to follow, but CometBFT orders",
            remedy="wait: it goes over by itself when it has the last block of the embedded engine",
            public="this member does not order",
        )

    async def gossip_as_called(self, channel: Channel) -> None:
        """Our side of a comparison that another member began."""
        self._check_running()
        await self._witnessing.as_called(channel)

    def _waiting(self) -> tuple[bytes, ...]:
        """Our transactions that do not come in."""
        now = asyncio.get_running_loop().time()
        self._since = {digest: self._since.get(digest, now) for digest in self._wanted}
        overdue = [digest for digest, since in self._since.items() if now - since >= PASS_ON_AFTER]
        return tuple(self._wanted[digest] for digest in overdue)

    async def _relay(self, data: bytes) -> None:
        """Give another member's transaction to our node, which checks it."""
        with suppress(ParleyError):
            await self.rpc.submit(data)

    # ── progress ──────────────────────────────────────────────────────────────────────────────────────

    async def changes(self) -> AsyncIterator[int]:
        """The size, now and whenever it grows; until the engine ends."""
        seen = -1
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._ended or self.log.size != seen)  # noqa: B023
            if self._ended:
                return
            seen = self.log.size
            yield seen

    async def _want(self, digest: bytes, data: bytes) -> None:
        if self.log.number(digest) is not None:
            return
        await self._keep(digest, data)
        self._check_running()
        self._wanted[digest] = data
        await self._offer_in_order()

    async def _keep(self, digest: bytes, data: bytes) -> None:
        """Write a transaction to disk, together with those that come while another write is under way."""
        self._unkept[digest] = data
        await asyncio.shield(asyncio.ensure_future(self._keep_all(digest)))

    async def _keep_all(self, digest: bytes) -> None:
        """As `_keep`; whoever asked may be gone before it is done."""
        async with self._keeping:
            if digest in self._unkept and not self._ended:
                together, self._unkept = self._unkept, {}
                await asyncio.to_thread(self.log.store.keep_pending, together)

    async def _offer_in_order(self) -> None:
        """Give the node what it has not been given, oldest first, one after the other.

        Commitments to rounds are submitted together and must come in in their order. What the node does not
        take now is offered again, and so is all that is behind it.
        """
        async with self._offering:
            while waiting := [
                (digest, data)
                for digest, data in self._wanted.items()
                if digest not in self._offered and self.log.number(digest) is None
            ]:
                answers = await self.rpc.submit_in_order([data for _, data in waiting])
                for (digest, _), answer in zip(waiting, answers, strict=False):
                    if isinstance(answer, ParleyError):
                        return
                    self._offered.add(digest)
                    await self._answered(digest, answer)

    async def _answered(self, digest: bytes, answer: Submission) -> None:
        """The node knows a transaction now, or never will."""
        if answer.code == DROPPED:
            code, _, reason = answer.log.partition(": ")
            if code != _REPLAYED:  # that one is in, and committed here in a moment
                await self._drop(digest, Dropped(code, reason))

    async def _drop(self, digest: bytes, dropped: Dropped) -> None:
        if self.log.number(digest) is not None:
            return
        self._wanted.pop(digest, None)
        self._dropped[digest] = dropped
        async with self._keeping:
            if not self._ended:
                await asyncio.to_thread(self.log.store.forget_pending, [digest])
        await self._notify()

    async def _offer_again(self) -> None:
        """Whatever is still wanted, now and then: a node that ended has forgotten what waited in it."""
        while True:
            await asyncio.sleep(OFFER_EVERY)
            self._offered.clear()
            await self._offer_in_order()

    # ── what was committed ────────────────────────────────────────────────────────────────────────────

    def _adopting(self, adopt: Callable[[], None]) -> None:
        """On the application's thread: have a committed block adopted on the event loop."""
        loop, done = self._loop, Future[None]()
        if loop is None:
            raise RuntimeError("the engine does not run")

        def on_the_loop() -> None:
            try:
                adopt()
            except BaseException as error:  # noqa: BLE001 (the application's thread raises it)
                done.set_exception(error)
                return
            for digest in [digest for digest in self._wanted if self.log.number(digest) is not None]:
                del self._wanted[digest]
                self._offered.discard(digest)
            notice = asyncio.ensure_future(self._notify())
            self._notices.add(notice)
            notice.add_done_callback(self._notices.discard)
            done.set_result(None)

        loop.call_soon_threadsafe(on_the_loop)
        done.result()

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    # ── the node ──────────────────────────────────────────────────────────────────────────────────────

    async def _keep_node(self) -> None:
        """Start the node, and again whenever it has ended, unless it was the ledger that stopped it."""
        attempt = 0
        loop = asyncio.get_running_loop()
        while True:
            keys = _Keys(self.log)
            await asyncio.to_thread(self._place.refresh, keys.due)
            keys.held = await asyncio.to_thread(validator_key, self._place.settings)
            node = self.node = await start_node(self._place.settings, self._place.binary)
            since = loop.time()
            try:
                code = await self._watch(node, keys)
            finally:
                await asyncio.shield(node.stop())
            if self.halted:
                self._report(f"this member takes no part any more: {self.halted}")
                await asyncio.Event().wait()
            if keys.changed():
                self._report(
                    "the CometBFT node is started again with the cosigning key that votes from now on"
                )
                continue
            attempt = 0 if loop.time() - since >= STEADY else attempt + 1
            rest = _REST[min(attempt, len(_REST) - 1)]
            self._report(f"the CometBFT node ended with code {code}; it is started again in {rest:g} s")
            await asyncio.sleep(rest)

    async def _watch(self, node: Node, keys: "_Keys") -> int:
        """Until the node ends; what is wanted is offered as soon as it answers."""
        beside = (
            asyncio.create_task(self._offer_when_ready(node)),
            asyncio.create_task(self._end_when_changed(node, keys)),
        )
        try:
            return await node.wait()
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)

    async def _end_when_changed(self, node: Node, keys: "_Keys") -> None:
        async with self._changed:
            await self._changed.wait_for(keys.changed)
        await node.stop()

    async def _offer_when_ready(self, node: Node) -> None:
        await node.caught_up()
        self._offered.clear()
        await self._offer_in_order()


class _Keys:
    """Which key a node that is being started votes with, and which it should.

    Attributes:
        due: public half of the key that votes on the next block, as the node starts.
        held: of the one that the node has; another than ``due`` where the party does not have that.
    """

    def __init__(self, log: ChainLog) -> None:
        self._log = log
        self.due = log.voting_key
        self.held = b""

    def changed(self) -> bool:
        """Whether blocks since the start have made another key due than the node has."""
        return self._log.voting_key not in (b"", self.due, self.held)
