"""One member's engine through the move from the embedded engine to CometBFT.

A member begins with the embedded engine. When the members have decided to leave it, and its last block is
there and signed by a majority, it ends, and CometBFT goes on in the same folder. What was submitted and has
not come in stays on disk in between, and is submitted again.
"""

import asyncio
from collections.abc import AsyncIterator, Callable

from parley.core.conversation import Channel
from parley.core.errors import ParleyError
from parley.crypto.signatures import SigningKey
from parley.ledger.contract import Receipt
from parley.ledger.engines.cometbft.member import CometMember
from parley.ledger.engines.embedded.member import LedgerMember
from parley.ledger.engines.embedded.workbench import Stopped
from parley.ledger.engines.engine import Condition, LedgerEngine, Log
from parley.ledger.transaction import SignedTransaction


class MovingMember:
    """The embedded engine until the members have left it, then CometBFT; `run` keeps either going.

    Args:
        embedded: the engine to begin with.
        go_over: opens the other one, when the embedded one has ended.
        report: takes a line for the operator of the party.
    """

    def __init__(
        self,
        embedded: LedgerMember,
        go_over: Callable[[], CometMember],
        report: Callable[[str], None],
    ) -> None:
        self._engine: LedgerEngine = embedded
        self._embedded = embedded
        self._go_over = go_over
        self._report = report
        self._moved = asyncio.Event()
        self._failed: BaseException | None = None

    @property
    def name(self) -> str:
        """Of the member."""
        return self._engine.name

    @property
    def log(self) -> Log:
        """The member's copy of the ledger."""
        return self._engine.log

    @property
    def leader(self) -> str:
        """The member whose machine orders the transactions; empty where no single one does."""
        return self._engine.leader

    @property
    def halted(self) -> str:
        """Why this member takes no part any more; empty while it does."""
        return self._engine.halted

    async def run(self) -> None:
        """Keep the engine going until cancelled; leaves the log closed.

        Raises:
            UsageError: the members have left the embedded engine, and CometBFT cannot be started here.
        """
        try:
            await self._until_it_ends()
            self._report("the members have left the embedded engine, and its last block is signed")
            self._engine = await asyncio.to_thread(self._go_over)
        except BaseException as error:
            self._failed = error
            raise
        finally:
            self._moved.set()
        self._report("CometBFT orders from now on")
        await self._engine.run()

    async def _until_it_ends(self) -> None:
        running = asyncio.create_task(self._embedded.run())
        closed = asyncio.create_task(self._embedded.closed())
        try:
            done, _ = await asyncio.wait((running, closed), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (closed, running):
                task.cancel()
            await asyncio.gather(running, closed, return_exceptions=True)

    async def submit(self, signed: SignedTransaction, patience: float = 30.0) -> Receipt:
        """Get a transaction into the log; returns its receipt once it is final; raises as the engines do."""
        engine = self._engine
        try:
            return await engine.submit(signed, patience)
        except ParleyError as error:
            await self._check_moved(engine, error)
        return await self._engine.submit(signed, patience)

    async def place(self, signed: SignedTransaction, patience: float = 30.0) -> Receipt:
        """Get a transaction into our own log, final or not; returns its receipt."""
        engine = self._engine
        try:
            return await engine.place(signed, patience)
        except ParleyError as error:
            await self._check_moved(engine, error)
        return await self._engine.place(signed, patience)

    async def _check_moved(self, engine: LedgerEngine, error: ParleyError) -> None:
        """Wait for the other engine if the error says that the first has ended; else raise it."""
        if engine is not self._embedded or not isinstance(error, Stopped):
            raise error
        await self._moved.wait()
        if self._failed is not None:
            raise error

    async def changes(self) -> AsyncIterator[int]:
        """The final size, now and whenever it grows."""
        engine = self._engine
        async for size in engine.changes():
            yield size
        if engine is self._embedded:
            await self._moved.wait()
            if self._failed is None:
                async for size in self._engine.changes():
                    yield size

    async def condition(self) -> Condition:
        """How it does just now."""
        return await self._engine.condition()

    def hold(self, key: SigningKey) -> None:
        """Hold another cosigning key too, which is signed with once the ledger says so."""
        self._engine.hold(key)

    async def promise(self, successor: str) -> int:
        """Promise that another member orders from now on; raises as the engines do."""
        return await self._engine.promise(successor)

    async def serve_follower(self, channel: Channel) -> None:
        """Talk to a member that follows us as the sequencer."""
        await self._engine.serve_follower(channel)

    async def gossip_as_called(self, channel: Channel) -> None:
        """Our side of a comparison that another member began."""
        await self._engine.gossip_as_called(channel)
