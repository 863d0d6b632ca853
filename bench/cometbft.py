"""What the CometBFT engine costs without a contract: latency and throughput through one and four validators.

All nodes, ledgers and clients share this machine. A write of 4 KiB with fsync, measured in the same
run, is the reference: a validator does a handful per block. Needs the pinned binary (``make cometbft``).
"""

import argparse
import asyncio
import hashlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from parley.core.errors import BudgetExhausted
from parley.ledger.engines.cometbft.application import (
    Application,
    Committed,
    FinalizeResult,
    Genesis,
    Offence,
    QueryAnswer,
    TxResult,
    Verdict,
    proposal_bytes,
)
from parley.ledger.engines.cometbft.binary import SETTING, find_binary
from parley.ledger.engines.cometbft.local import draw_parties, write_network
from parley.ledger.engines.cometbft.node import Node, member

OWN_BINARY = Path(__file__).parents[1] / ".tools" / "bin" / "cometbft"
TX_BYTES = 300
CLIENTS = 16


@dataclass(frozen=True)
class Figures:
    """One network's cost."""

    validators: int
    commit_ms_p50: float
    """From submitting one transaction at a resting network until every ledger has committed it."""
    commit_ms_p99: float
    transactions_per_s: float
    """Submitted by 16 clients spread over the parties, until every ledger has committed the last."""
    block_ms: float
    """Between two blocks under that load."""


class Counter(Application):
    """A ledger in memory that only chains hashes."""

    def __init__(self) -> None:
        self.height = self.count = self._pending = 0
        self._hash = bytes(32)

    def info(self) -> Committed:
        """Nothing is kept between runs."""
        return Committed(0, b"", "bench")

    def init_chain(self, genesis: Genesis) -> bytes:
        """The empty chain."""
        del genesis
        return self._hash

    def check_tx(self, tx: bytes) -> Verdict:
        """Everything is welcome."""
        del tx
        return Verdict()

    def prepare(self, txs: Sequence[bytes], max_bytes: int, height: int, time: int) -> Sequence[bytes]:
        """What fits."""
        del height, time
        chosen = []
        for tx in txs:
            max_bytes -= proposal_bytes(tx)
            if max_bytes < 0:
                break
            chosen.append(tx)
        return chosen

    def process(self, txs: Sequence[bytes], height: int, time: int) -> bool:
        """Every block is good."""
        del txs, height, time
        return True

    def finalize(
        self, txs: Sequence[bytes], height: int, time: int, misbehaviour: Sequence[Offence], proposer: bytes
    ) -> FinalizeResult:
        """Chain the hashes."""
        del time, misbehaviour, proposer
        self.height, self._pending = height, len(txs)
        for tx in txs:
            self._hash = hashlib.sha256(self._hash + tx).digest()
        return FinalizeResult(tuple(TxResult() for _ in txs), self._hash)

    def commit(self) -> int:
        """Count what is committed."""
        self.count += self._pending
        return 0

    def query(self, path: str, data: bytes, height: int) -> QueryAnswer:
        """Every peer may connect."""
        del path, data, height
        return QueryAnswer()


async def until(reached: Callable[[], bool]) -> None:
    """Wait for a condition."""
    while not reached():  # noqa: ASYNC110 (the ledgers' own threads decide it)
        await asyncio.sleep(0.001)


async def measure(validators: int, lone: int, loaded: int, binary: Path) -> Figures:
    """The figures of a network of some validators."""
    with tempfile.TemporaryDirectory(prefix="comet") as root:
        parties = draw_parties([f"party{number}" for number in range(validators)], Path(root))
        write_network(parties, "bench", datetime.now(UTC), {})
        ledgers = [Counter() for _ in parties]
        async with AsyncExitStack() as stack:
            nodes = [
                await stack.enter_async_context(member(party.settings, ledger, binary))
                for party, ledger in zip(parties, ledgers, strict=True)
            ]
            await asyncio.gather(*(node.caught_up() for node in nodes))
            waits = [await commit_alone(nodes[0], ledgers) for _ in range(lone)]
            blocks, start = ledgers[0].height, time.perf_counter()
            await load(nodes, loaded)
            await until(lambda: all(ledger.count == lone + loaded for ledger in ledgers))
            elapsed = time.perf_counter() - start
            blocks = ledgers[0].height - blocks
    return Figures(
        validators,
        1e3 * statistics.median(waits),
        1e3 * statistics.quantiles(waits, n=100)[98],
        loaded / elapsed,
        1e3 * elapsed / blocks,
    )


async def commit_alone(node: Node, ledgers: Sequence[Counter]) -> float:
    """Seconds of one transaction at a resting network."""
    count, start = ledgers[0].count, time.perf_counter()
    await node.rpc.submit(os.urandom(TX_BYTES))
    await until(lambda: all(ledger.count > count for ledger in ledgers))
    elapsed = time.perf_counter() - start
    await asyncio.sleep(0.3)  # the block that confirms the app hash
    return elapsed


async def load(nodes: Sequence[Node], count: int) -> None:
    """Submit transactions by several clients, each to one party."""
    left = iter(range(count))

    async def client(node: Node) -> None:
        for _ in left:
            await patiently(node, os.urandom(TX_BYTES))

    await asyncio.gather(*(client(nodes[number % len(nodes)]) for number in range(CLIENTS)))


async def patiently(node: Node, tx: bytes) -> None:
    """Submit, and wait while the mempool is full."""
    while True:
        try:
            await node.rpc.submit(tx)
        except BudgetExhausted:
            await asyncio.sleep(0.01)
        else:
            return


def write_with_fsync(repeats: int = 50) -> float:
    """Milliseconds of one write of 4 KiB with fsync, the median of some."""
    times = []
    with tempfile.TemporaryFile() as file:
        for _ in range(repeats):
            start = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def show(figures: Sequence[Figures], reference: float) -> None:
    """Print the table."""
    table = Table(title=f"CometBFT without a contract; 4 KiB with fsync: {reference:.2f} ms")
    for heading in ("validators", "commit p50 ms", "commit p99 ms", "transactions/s", "block ms"):
        table.add_column(heading, justify="right")
    for one in figures:
        table.add_row(
            str(one.validators),
            f"{one.commit_ms_p50:.0f}",
            f"{one.commit_ms_p99:.0f}",
            f"{one.transactions_per_s:.0f}",
            f"{one.block_ms:.0f}",
        )
    Console().print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--lone", type=int, default=40, help="transactions submitted one at a time")
    parser.add_argument("--loaded", type=int, default=4000, help="transactions submitted by 16 clients")
    arguments = parser.parse_args()
    own = {SETTING: str(OWN_BINARY)} if OWN_BINARY.exists() else {}
    binary = find_binary({**own, **os.environ})
    reference = write_with_fsync()
    figures = [
        asyncio.run(measure(validators, arguments.lone, arguments.loaded, binary)) for validators in (1, 4)
    ]
    show(figures, reference)
    if arguments.json:
        print(json.dumps({"fsync_ms": reference, "networks": [asdict(one) for one in figures]}))


if __name__ == "__main__":
    main()
