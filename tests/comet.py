"""Networks of real CometBFT nodes for tests: parties whose node and ledger can be killed alone."""

import asyncio
import dataclasses
import functools
import os
import sys
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from parley.core.errors import UsageError
from parley.ledger.engines.cometbft.binary import SETTING, find_binary
from parley.ledger.engines.cometbft.files import GenesisMember, Pace, Peer, genesis_file, write_home
from parley.ledger.engines.cometbft.keys import node_id
from parley.ledger.engines.cometbft.local import draw_parties, write_network
from parley.ledger.engines.cometbft.node import start_node
from parley.ledger.engines.cometbft.server import serving

from tests.book import Book

ROOT = Path(__file__).parents[1]
PACE = Pace(propose=600, vote=200, step=200, commit=50, rest=3000, gossip=20)


@functools.cache
def binary():
    """The pinned binary: the one named in the environment, the project's own, or an installed one."""
    own = ROOT / ".tools" / "bin" / "cometbft"
    environment = dict(os.environ)
    if own.exists():
        environment.setdefault(SETTING, str(own))
    return find_binary(environment)


def skip_without_binary():
    try:
        binary()
    except UsageError as error:
        pytest.skip(f"needs CometBFT (make cometbft): {error.what}")


async def until(reached, within=30.0):
    """Wait until a condition, plain or awaited, holds; fails by `TimeoutError`."""
    async with asyncio.timeout(within):
        while True:
            found = reached()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.02)


class Party:
    """One party: its ledger in this process (or another), and its node."""

    def __init__(self, local, book=Book):
        self.settings = local.settings
        self.keys = local
        self.path = local.settings.home / "book.json"
        self.make_book = book
        self.book = None
        self.node = None
        self.ledger = None
        self._serving = AsyncExitStack()

    @property
    def rpc(self):
        return self.node.rpc

    async def open_ledger(self):
        self.book = self.make_book(self.path)
        await self._serving.enter_async_context(serving(self.book, self.settings.abci_socket))

    async def open_ledger_process(self, *dies_at):
        """The ledger as a process of its own, which may be told where to die."""
        self.ledger = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.ledger_process", self.settings.abci_socket, self.path, *map(str, dies_at)),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        assert await self.ledger.stdout.readline() == b"serving\n"

    async def start_node(self):
        self.node = await start_node(self.settings, binary())
        await self.node.ready()

    async def close(self):
        if self.node is not None:
            await self.node.kill()
        if self.ledger is not None and self.ledger.returncode is None:
            self.ledger.kill()
            await self.ledger.wait()
        await self._serving.aclose()


@asynccontextmanager
async def network(*books):
    """The parties of a network with one kind of book each; nothing runs yet, everything is ended after it."""
    with tempfile.TemporaryDirectory(prefix="comet") as root:
        drawn = draw_parties([f"party{number}" for number in range(len(books))], Path(root), PACE)
        write_network(drawn, "consortium", datetime.now(UTC), {"peers": None})
        async with ended([Party(one, book) for one, book in zip(drawn, books, strict=True)]) as parties:
            yield parties


@asynccontextmanager
async def host_and_guest():
    """Two parties, of which the genesis names only the first, as validator and as peer."""
    with tempfile.TemporaryDirectory(prefix="comet") as root:
        host, guest = draw_parties(["host", "guest"], Path(root), PACE)
        members = [GenesisMember("host", host.validator_key.public_key)]
        known = {"peers": [node_id(host.node_key.public_key)]}
        genesis = genesis_file("consortium", datetime.now(UTC), members, known)
        for party in (host, guest):
            write_home(party.settings, genesis, party.node_key, party.validator_key)
        async with ended([Party(host), Party(guest)]) as parties:
            yield parties


@asynccontextmanager
async def twin_of(party, others):
    """A second node that signs with a party's validator key, under a node key and a home of its own."""
    with tempfile.TemporaryDirectory(prefix="comet") as root:
        [drawn] = draw_parties(["twin"], Path(root), PACE)
        peers = tuple(
            Peer(node_id(other.keys.node_key.public_key), "127.0.0.1", other.settings.listen_port)
            for other in others
        )
        settings = dataclasses.replace(drawn.settings, peers=peers)
        genesis = (party.settings.home / "config" / "genesis.json").read_text()
        write_home(settings, genesis, drawn.node_key, party.keys.validator_key)
        async with ended([Party(dataclasses.replace(drawn, settings=settings))]) as [twin]:
            await twin.open_ledger()
            await twin.start_node()
            yield twin


@asynccontextmanager
async def ended(parties):
    """The parties, whose processes are ended afterwards."""
    try:
        yield parties
    finally:
        await asyncio.gather(*(party.close() for party in parties))


@asynccontextmanager
async def running(*books):
    """The same with every ledger and node running, and connected."""
    async with network(*books) as parties:
        for party in parties:
            await party.open_ledger()
        await asyncio.gather(*(party.start_node() for party in parties))
        await asyncio.gather(*(party.node.caught_up() for party in parties))
        yield parties


async def commit(party, *txs):
    """Submit through one party, and wait until its node has them in blocks."""
    for tx in txs:
        assert (await party.rpc.submit(tx)).code == 0
    return [await committed(party, tx) for tx in txs]


async def committed(party, tx):
    submission = await party.rpc.submit(tx)
    return await until(lambda: party.rpc.tx(submission.tx_hash))


async def replayed(party):
    """A fresh book to which every block of a node was given again, and the transactions in order."""
    height = (await party.rpc.status()).height
    book = Book(party.settings.home / "replayed.json")
    book._state = {"height": 0, "names": {}, "peers": None}
    txs = []
    for at in range(1, height + 1):
        block = await party.rpc.block(at)
        assert at == 1 or block.app_hash == book.app_hash
        result = book.finalize(block.txs, at, 0, (), block.proposer)
        assert result.app_hash == (await party.rpc.block_outcome(at)).app_hash
        book._state = book._pending
        txs += block.txs
    return book, txs
