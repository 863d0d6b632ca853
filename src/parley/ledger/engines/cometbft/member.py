"""One member's CometBFT engine: its contract, the node beside it, and what it wants in.

The ledger's socket comes first, then the node; a node that ends is started again after a while. What the
party reads changes only on its event loop: the application's thread hands every committed block over and
waits until it was taken.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from parley.core.errors import ParleyError, PeerLost, PolicyRefused
from parley.ledger.contract import Dropped, Receipt
from parley.ledger.engines.cometbft.contract_application import DROPPED, ContractApplication
from parley.ledger.engines.cometbft.files import NodeSettings
from parley.ledger.engines.cometbft.log import ChainLog
from parley.ledger.engines.cometbft.node import Node, start_node
from parley.ledger.engines.cometbft.rpc import RpcClient
from parley.ledger.engines.cometbft.server import serving
from parley.ledger.transaction import SignedTransaction

OFFER_EVERY: Final = 2.0
"""Seconds after which a transaction that is not in yet is given to the node again."""
STEADY: Final = 5.0
"""Seconds after which a node that ran is started again without delay."""

_REST: Final = (0.1, 0.5, 2.0, 5.0, 10.0, 30.0)
"""Seconds before a node that ended is started again; the last for every further time."""
_REPLAYED: Final = "replayed"


@dataclass(frozen=True)
class NodePlace:
    """Where a member's node lives.

    Args:
        settings: its home and addresses; the home has been written.
        binary: the CometBFT program.

    """

    settings: NodeSettings
    binary: Path


class CometMember:
    """CometBFT at one member; `run` keeps it going.

    Args:
        log: its ledger.
        place: its node.
        report: takes a line for the operator of the party.

    Attributes:
        node: the node's process, once it was started.

    """

    def __init__(self, log: ChainLog, place: NodePlace, report: Callable[[str], None]) -> None:
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
        self._dropped: dict[bytes, Dropped] = {}
        self._notices: set[asyncio.Task[None]] = set()

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
        self._wanted = await asyncio.to_thread(self.log.store.pending)
        try:
            async with (
                serving(self.application, self._place.settings.abci_socket),
                asyncio.TaskGroup() as group,
            ):
                group.create_task(self._keep_node())
                group.create_task(self._offer_again())
        finally:
            await asyncio.shield(asyncio.to_thread(self.log.store.close))

    # ── submitting ────────────────────────────────────────────────────────────────────────────────────

    async def submit(self, signed: SignedTransaction, patience: float = 30.0) -> Receipt:
        """Get a transaction into a block; returns its receipt once this member has committed it.

        The transaction is on disk before it is sent, and sent again after a restart.

        Raises:
            PolicyRefused: it was dropped: malformed, expired, replayed, or of an unknown key.
            PeerLost: it was not committed in ``patience`` seconds; it may yet be.

        """
        digest = signed.digest
        try:
            async with asyncio.timeout(patience):
                await self._want(digest, signed.data)
                async with self._changed:
                    await self._changed.wait_for(
                        lambda: digest in self._dropped or self.log.number(digest) is not None
                    )
        except TimeoutError:
            raise PeerLost(
                "ledger-not-final",
                f"transaction {digest.hex()[:16]} is in no block after {patience:g} s",
                peer="the CometBFT node",
                remedy="it is submitted again by itself; see whether two thirds of the members are running",
            ) from None
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

    async def changes(self) -> AsyncIterator[int]:
        """The size, now and whenever it grows."""
        seen = -1
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self.log.size != seen)  # noqa: B023
                seen = self.log.size
            yield seen

    async def _want(self, digest: bytes, data: bytes) -> None:
        if self.log.number(digest) is not None:
            return
        await self._keep(digest, data)
        self._wanted[digest] = data
        await self._offer(digest, data)

    async def _keep(self, digest: bytes, data: bytes) -> None:
        """Write a transaction to disk, together with those that come while another write is under way."""
        self._unkept[digest] = data
        async with self._keeping:
            if digest in self._unkept:
                together, self._unkept = self._unkept, {}
                await asyncio.shield(asyncio.to_thread(self.log.store.keep_all_pending, together))

    async def _offer(self, digest: bytes, data: bytes) -> None:
        """Give a transaction to the node; what it does not take now is offered again."""
        try:
            answer = await self.rpc.submit(data)
        except ParleyError:
            return
        if answer.code == DROPPED:
            code, _, reason = answer.log.partition(": ")
            if code != _REPLAYED:  # that one is in, and committed here in a moment
                await self._drop(digest, Dropped(code, reason))

    async def _drop(self, digest: bytes, dropped: Dropped) -> None:
        if self.log.number(digest) is not None:
            return
        self._wanted.pop(digest, None)
        self._dropped[digest] = dropped
        await asyncio.to_thread(self.log.store.forget_pending, digest)
        await self._notify()

    async def _offer_again(self) -> None:
        """Whatever is still wanted, now and then: a node that ended has forgotten what waited in it."""
        while True:
            await asyncio.sleep(OFFER_EVERY)
            for digest, data in list(self._wanted.items()):
                if self.log.number(digest) is None:
                    await self._offer(digest, data)

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
            node = self.node = await start_node(self._place.settings, self._place.binary)
            since = loop.time()
            try:
                code = await self._watch(node)
            finally:
                await asyncio.shield(node.stop())
            if self.halted:
                self._report(f"this member takes no part any more: {self.halted}")
                await asyncio.Event().wait()
            attempt = 0 if loop.time() - since >= STEADY else attempt + 1
            rest = _REST[min(attempt, len(_REST) - 1)]
            self._report(f"the CometBFT node ended with code {code}; it is started again in {rest:g} s")
            await asyncio.sleep(rest)

    async def _watch(self, node: Node) -> int:
        """Until the node ends; what is wanted is offered as soon as it answers."""
        answering = asyncio.create_task(self._offer_when_ready(node))
        try:
            return await node.wait()
        finally:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)

    async def _offer_when_ready(self, node: Node) -> None:
        await node.caught_up()
        for digest, data in list(self._wanted.items()):
            await self._offer(digest, data)
