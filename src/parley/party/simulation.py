"""Several parties in one process: for notebooks, tests and trying things out.

The protocols are the ones that run between machines, over channels in memory. What a notebook can see
of all sides, real parties cannot: simulation protects nothing.
"""

import asyncio
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from parley.core.conversation import Channel, Steps
from parley.core.errors import UsageError
from parley.core.trace import Sink, Trace
from parley.data.cells import kind_of, numbers, require_column, text
from parley.data.frames import frame_of
from parley.data.ids import normalise
from parley.data.table import Table
from parley.net.certificates import check_party
from parley.net.channel import CheckedChannel, Setting
from parley.net.memory import memory_pair
from parley.party.stages import split_rows
from parley.protocols import alignment
from parley.protocols.together import all_of

R = TypeVar("R")
Positions = NDArray[np.int64]


def simulate(*, threads: int = 2, sinks: tuple[Sink, ...] = (), **frames: object) -> "Consortium":
    """Make a consortium of parties in this process; use it as a context.

    Args:
        threads: how many each party's computations may use.
        sinks: told the trace events of all parties.
        frames: each party's table by the party's name: pandas, Polars, Arrow, or a dictionary of arrays.

    Raises:
        UsageError: a table is empty or cannot be read, or there are fewer than two parties.
    """
    if len(frames) < 2:  # noqa: PLR2004
        raise UsageError(
            "too-few-parties",
            f"a consortium needs at least two parties, {len(frames)} given",
            remedy="call simulate(bank=…, operator=…)",
        )
    for party in frames:
        check_party(party)
    tables = {party: Table.of(frame_of(frame)) for party, frame in frames.items()}
    return Consortium(tables, threads, Trace(time.perf_counter, *sinks))


class Consortium:
    """Parties in one process; made by `simulate`.

    Attributes:
        tables: by party.
        threads: per party.
        trace: of all parties.
    """

    def __init__(self, tables: Mapping[str, Table], threads: int, trace: Trace) -> None:
        self.tables = dict(tables)
        self.threads = threads
        self.trace = trace
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def parties(self) -> tuple[str, ...]:
        """Their names, in the order given."""
        return tuple(self.tables)

    def align(self, on: str | Mapping[str, str], rule: str = "as-is") -> "AlignedRows":
        """Find the rows that all parties have.

        Args:
            on: the id column, one name for all or one by party.
            rule: how ids are normalised before they are compared.

        Raises:
            UsageError: an id column is missing, holds no or repeated ids, or nothing is in common.
        """
        columns = {party: on if isinstance(on, str) else on.get(party, "") for party in self.parties}
        for party, column in columns.items():
            require_column(column, self.tables[party].frame.columns, f"table of {party}")
        ids = {party: normalise(self.tables[party].frame[columns[party]], rule) for party in self.parties}
        run = secrets.token_hex(8)

        def options() -> alignment.Options:
            seed = secrets.token_bytes(32)
            return alignment.Options(run=run, rule=rule, seed=seed, threads=self.threads)

        async def lead(channels: list[Channel]) -> Positions:
            aligned = await alignment.active(channels, ids[self.parties[0]], options())
            return ids[self.parties[0]].rows[aligned.rows]

        async def follow(party: str, channel: Channel) -> Positions:
            aligned = await alignment.passive(channel, ids[party], options())
            return ids[party].rows[aligned.rows]

        rows = self.converse(alignment.STEPS, self.parties[0], lead, follow)
        return AlignedRows(self, columns, rows)

    def converse(
        self,
        table: Steps,
        active: str,
        lead: Callable[[list[Channel]], Coroutine[Any, Any, R]],
        follow: Callable[[str, Channel], Coroutine[Any, Any, R]],
    ) -> dict[str, R]:
        """Let one party lead a conversation with all others; what each ends with, by party."""
        passive = [party for party in self.parties if party != active]

        async def everyone() -> dict[str, R]:
            pairs = {party: memory_pair(active, party) for party in passive}
            roles = table.roles()

            def end(party: str, side: int) -> CheckedChannel:
                return CheckedChannel(
                    pairs[party][side], Setting(table, roles[side], "simulation", self.trace)
                )

            async def leading() -> R:
                async with opened([end(party, 0) for party in passive]) as channels:
                    return await lead(channels)

            async def following(party: str) -> R:
                async with end(party, 1) as channel:
                    return await follow(party, channel)

            ends = await all_of([leading(), *(following(party) for party in passive)])
            return dict(zip([active, *passive], ends, strict=True))

        return self._run(everyone())

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        # a thread of its own, since a notebook's thread already runs a loop
        self._thread = threading.Thread(target=self._loop.run_forever, name="parley-simulation", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._loop is None or self._thread is None:
            return
        asyncio.run_coroutine_threadsafe(self._loop.shutdown_default_executor(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._loop = self._thread = None

    def _run(self, work: Coroutine[Any, Any, R]) -> R:
        if self._loop is None:
            work.close()
            raise UsageError(
                "consortium-closed",
                "the simulated consortium is not open",
                remedy="use it inside `with parley.simulate(…) as consortium:`",
            )
        running = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return running.result()
        except BaseException:
            running.cancel()
            raise


@dataclass(frozen=True)
class AlignedRows:
    """Rows that all parties of a consortium have, in one order.

    Attributes:
        consortium: the parties.
        ids: id column by party.
        positions: by party ``int64[rows]``: where each row stands in the party's table.
    """

    consortium: Consortium
    ids: Mapping[str, str]
    positions: Mapping[str, Positions]

    def __len__(self) -> int:
        """How many."""
        return len(next(iter(self.positions.values())))

    def split(self, test_size: float, seed: int = 0) -> tuple["AlignedRows", "AlignedRows"]:
        """Draw a share of the rows; returns the rest and the drawn."""
        parts = split_rows(len(self), test_size, 0.0, seed)
        return self.take(parts.training), self.take(parts.test)

    def take(self, rows: Positions) -> "AlignedRows":
        """Some of the rows, in the order given."""
        return AlignedRows(
            self.consortium, self.ids, {party: place[rows] for party, place in self.positions.items()}
        )

    def column(self, name: str) -> NDArray[Any]:
        """A column as its owner sees it: ``float64[rows]``, or text.

        Args:
            name: ``party.column``.
        """
        party, column = self.owner_of(name)
        series = self.consortium.tables[party].frame[column][self.positions[party]]
        return numbers(series) if kind_of(series.dtype) == "numeric" else text(series).to_numpy()

    def owner_of(self, name: str) -> tuple[str, str]:
        """Party and column of ``party.column``.

        Raises:
            UsageError: there is no such party or column.
        """
        party, _, column = name.partition(".")
        if party not in self.positions:
            raise UsageError(
                "unknown-party",
                f"{name!r} names no column of a party here; parties are {', '.join(self.positions)}",
                remedy="write it as party.column, such as bank.y",
            )
        require_column(column, self.consortium.tables[party].frame.columns, f"table of {party}")
        return party, column


@asynccontextmanager
async def opened(channels: list[CheckedChannel]) -> AsyncIterator[list[Channel]]:
    """Enter channels one by one and leave them together."""
    async with AsyncExitStack() as stack:
        entered: list[AbstractAsyncContextManager[Channel]] = list(channels)
        yield [await stack.enter_async_context(channel) for channel in entered]
