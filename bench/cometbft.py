"""What the CometBFT engine costs, with the contract and without: latency and throughput.

Networks of one and of four validators. With the contract each submission is a signed transaction that its
member keeps on disk, and it counts when the member has its receipt. All nodes, ledgers and clients share
this machine. A write of 4 KiB with fsync, measured in the same run, is the reference: a validator does a
handful per block. Needs the pinned binary (``make cometbft``).
"""

import argparse
import asyncio
import hashlib
import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from parley.core.errors import BudgetExhausted
from parley.crypto.signatures import SigningKey
from parley.ledger import contract as ledger_contract
from parley.ledger.contract import Founder, consortium_id
from parley.ledger.encoding import Value
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
from parley.ledger.engines.cometbft.beginning import Beginning, Founding
from parley.ledger.engines.cometbft.binary import SETTING, find_binary
from parley.ledger.engines.cometbft.keys import KeyPair, node_id
from parley.ledger.engines.cometbft.local import draw_parties, write_network
from parley.ledger.engines.cometbft.log import ChainLog
from parley.ledger.engines.cometbft.member import CometMember, NodePlace
from parley.ledger.engines.cometbft.node import Node, member
from parley.ledger.engines.engine import LedgerEngine
from parley.ledger.transaction import SignedTransaction, Transaction, sign

OWN_BINARY = Path(__file__).parents[1] / ".tools" / "bin" / "cometbft"
TX_BYTES = 300
CLIENTS = 16
CONTRACT_CLIENTS = 256


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


@dataclass(frozen=True)
class ContractFigures:
    """What one network costs with the contract behind it."""

    validators: int
    submit_ms_p50: float
    """From submitting one transaction at a resting network until its receipt is there."""
    submit_ms_p99: float
    transactions_per_s: float
    """Submitted by 256 clients spread over the members, until every one has its receipt."""


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

    def pause(self, txs: Sequence[bytes]) -> float:
        """Nothing waits."""
        del txs
        return 0.0

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


class Consortium:
    """Members on this machine with keys of their own, and the transactions they submit.

    Args:
        count: of members, all of them validators.
        root: directory for everything.
        binary: of CometBFT.

    """

    def __init__(self, count: int, root: Path, binary: Path) -> None:
        seeds = [os.urandom(32) for _ in range(count)]
        drawn = draw_parties([f"party{number}" for number in range(count)], root / "nodes")
        parties = [replace(one, validator_key=KeyPair(seed)) for one, seed in zip(drawn, seeds, strict=True)]
        names = [party.settings.name for party in parties]
        self._signing = {name: SigningKey.from_seed(os.urandom(32)) for name in names}
        founders = tuple(
            Founder(
                name=name,
                role="holder",
                signing=self._signing[name].public.hex(),
                cosigning=SigningKey.from_seed(seed).public.hex(),
                recovery=SigningKey.from_seed(os.urandom(32)).public.hex(),
            )
            for name, seed in zip(names, seeds, strict=True)
        )
        spec = ledger_contract.Genesis(
            name="bench", founders=founders, time=0, nonce="0", engine="cometbft", sequencer=None
        )
        self._consortium = consortium_id(spec)
        nodes = {one.settings.name: node_id(one.node_key.public_key) for one in parties}
        beginning = Beginning(Founding(spec.value()), nodes)
        write_network(parties, "bench", datetime.now(UTC), beginning.app_state())
        self.members = [
            CometMember(
                ChainLog(root / "ledgers" / name, name, SigningKey.from_seed(seed)),
                NodePlace(party.settings, binary),
                print,
            )
            for party, name, seed in zip(parties, names, seeds, strict=True)
        ]
        self._count = itertools.count()

    def transaction(self, member: CometMember) -> SignedTransaction:
        """The registration of another table."""
        key, digest = self._signing[member.name], os.urandom(32).hex()
        body: dict[str, Value] = {
            "name": f"t{next(self._count)}",
            "schema": digest,
            "rows": 10,
            "root": digest,
        }
        asked = Transaction(
            consortium=self._consortium,
            sender=member.name,
            key=key.key_id,
            type="table.register",
            body=body,
            expires=5000,
            nonce=os.urandom(16).hex(),
        )
        return sign(asked, key)


async def measure_contract(validators: int, lone: int, loaded: int, binary: Path) -> ContractFigures:
    """The figures of a consortium of some members."""
    with tempfile.TemporaryDirectory(prefix="comet") as root:
        consortium = Consortium(validators, Path(root), binary)
        running = [asyncio.create_task(member.run()) for member in consortium.members]
        try:
            await asyncio.gather(*(caught_up(member) for member in consortium.members))
            waits = [await submit_alone(consortium) for _ in range(lone)]
            signed = [
                (one, consortium.transaction(one))
                for one in itertools.islice(itertools.cycle(consortium.members), loaded)
            ]
            start = time.perf_counter()
            left = iter(signed)

            async def client() -> None:
                for member, transaction in left:
                    await member.submit(transaction, patience=120.0)

            await asyncio.gather(*(client() for _ in range(CONTRACT_CLIENTS)))
            elapsed = time.perf_counter() - start
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
    return ContractFigures(
        validators,
        1e3 * statistics.median(waits),
        1e3 * statistics.quantiles(waits, n=100)[98],
        loaded / elapsed,
    )


async def caught_up(member: CometMember) -> None:
    """Wait until a member's node takes transactions."""
    while not await member.rpc.answers() or (await member.rpc.status()).catching_up:  # noqa: ASYNC110
        await asyncio.sleep(0.05)


async def submit_alone(consortium: Consortium) -> float:
    """Seconds from a submission at a resting network to its receipt."""
    engine: LedgerEngine = consortium.members[0]
    signed, start = consortium.transaction(consortium.members[0]), time.perf_counter()
    await engine.submit(signed)
    elapsed = time.perf_counter() - start
    await asyncio.sleep(0.3)  # the block that confirms the app hash
    return elapsed


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


def show_contract(figures: Sequence[ContractFigures]) -> None:
    """Print the table with the contract."""
    table = Table(title="CometBFT with the contract")
    for heading in ("validators", "submit p50 ms", "submit p99 ms", "transactions/s"):
        table.add_column(heading, justify="right")
    for one in figures:
        row = (one.submit_ms_p50, one.submit_ms_p99, one.transactions_per_s)
        table.add_row(str(one.validators), *(f"{figure:.0f}" for figure in row))
    Console().print(table)


def show(figures: Sequence[Figures], reference: float) -> None:
    """Print the table without it."""
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
    parser.add_argument("--contract", type=int, default=3000, help="signed ones submitted by 256 clients")
    arguments = parser.parse_args()
    own = {SETTING: str(OWN_BINARY)} if OWN_BINARY.exists() else {}
    binary = find_binary({**own, **os.environ})
    reference = write_with_fsync()
    figures = [
        asyncio.run(measure(validators, arguments.lone, arguments.loaded, binary)) for validators in (1, 4)
    ]
    show(figures, reference)
    contract = [
        asyncio.run(measure_contract(validators, arguments.lone, arguments.contract, binary))
        for validators in (1, 4)
    ]
    show_contract(contract)
    if arguments.json:
        networks = [asdict(one) for one in figures]
        listed = {"networks": networks, "contract": [asdict(one) for one in contract]}
        print(json.dumps({"fsync_ms": reference, **listed}))


if __name__ == "__main__":
    main()
