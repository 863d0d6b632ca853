"""The contract through real CometBFT nodes: submitting, crashes, equal state everywhere, moving there."""

import asyncio
import contextlib
import secrets
import shutil
import signal
import sys
from contextlib import asynccontextmanager
from datetime import datetime

import pytest

from parley.core.errors import PeerLost, PolicyRefused, UsageError
from parley.ledger.block import Leaf
from parley.ledger.contract import consortium_id
from parley.ledger.engines.cometbft.log import app_hash
from parley.ledger.engines.cometbft.migration import carried
from parley.ledger.engines.cometbft.node import start_node
from parley.ledger.merkle import Frontier
from parley.ledger.replica import Replica
from parley.ledger.transaction import Transaction, sign

from tests.comet import ROOT, binary, skip_without_binary, until
from tests.contract import digest, key, spec
from tests.contract_moves import MEMBERS
from tests.ledger.chain_process import POINTS
from tests.ledger.comet_members import caught_up, network, roots
from tests.ledger.histories import History
from tests.ledger.moving import Author, end_embedded

pytestmark = pytest.mark.cometbft
ALONE = {"bank": "holder"}
COMET = {"engine": "cometbft", "sequencer": None}


@pytest.fixture(autouse=True)
def _binary():
    skip_without_binary()


def register(founded, sender, name, *, expires=1000):
    body = {"name": name, "schema": digest("s"), "rows": 10, "root": digest("r")}
    signing = key(sender, "signing")
    asked = Transaction(
        consortium=consortium_id(founded),
        sender=sender,
        key=signing.key_id,
        type="table.register",
        body=body,
        expires=expires,
        nonce=secrets.token_hex(16),
    )
    return sign(asked, signing)


async def test_what_a_member_submits_gets_its_receipt():
    founded = spec(ALONE, **COMET)
    async with network(ALONE, founded) as net:
        await net.start_all()
        bank = net.members["bank"]
        first = register(founded, "bank", "people")
        receipt = await bank.submit(first)
        assert (receipt.accepted, receipt.number) == (True, 1)
        assert await bank.submit(first) == receipt
        again = await bank.submit(register(founded, "bank", "people"))
        assert (again.code, again.number) == ("table-known", 2)
        with pytest.raises(PolicyRefused) as raised:
            await bank.submit(register(founded, "bank", "late", expires=0))
        assert raised.value.code == "dropped-expired"
        assert bank.log.store.pending() == {}
        async for size in bank.changes():
            assert size == 3
            break


async def test_a_node_that_is_killed_and_a_party_that_restarts_lose_nothing():
    founded = spec(ALONE, **COMET)
    async with network(ALONE, founded) as net:
        await net.start_all()
        bank = net.members["bank"]
        submitting = []
        for number in range(40):
            one = register(founded, "bank", f"t{number}")
            submitting.append(asyncio.create_task(bank.submit(one)))
            if number == 20:
                await until(lambda: bank.log.size > 1)
                await bank.node.kill()
        receipts = await asyncio.gather(*submitting)
        assert sorted(receipt.number for receipt in receipts) == list(range(1, 41))
        assert any("started again" in line for _, line in net.lines)
        before = roots(bank.log)
        await net.stop("bank")
        assert roots(net.start("bank").log) == before


async def test_a_member_that_has_ended_says_so_to_those_who_wait_and_to_those_who_come():
    both = {"bank": "holder", "operator": "holder"}
    founded = spec(both, **COMET)
    async with network(both, founded) as net:
        bank = net.start("bank")  # alone it gets nothing into a block
        waiting = asyncio.create_task(bank.submit(register(founded, "bank", "early")))
        sizes = asyncio.create_task(_all_of(bank.changes()))
        await until(bank.log.store.pending)
        await net.stop("bank")
        for submitting in (waiting, bank.submit(register(founded, "bank", "late"))):
            with pytest.raises(UsageError) as raised:
                await submitting
            assert raised.value.code == "ledger-stopped"
        assert await sizes == [0]
        assert len(net.start("bank").log.store.pending()) == 1


async def _all_of(numbers):
    return [number async for number in numbers]


@pytest.mark.soak
async def test_a_node_that_makes_no_blocks_is_reported_with_whom_it_misses():
    both = {"bank": "holder", "operator": "holder"}
    async with network(both, spec(both, **COMET)) as net:
        await net.start_all()
        bank = net.members["bank"]
        await until(lambda: bank.log.position.height > 1)
        now = await bank.condition()
        assert (now.engine, now.voters, now.connected) == ("cometbft", ("bank", "operator"), ("operator",))
        assert (now.height >= 2, now.last_block > 1e9, now.trouble) == (True, True, "")
        await net.stop("operator")
        said = "no block for more than 6 s: not connected to operator"
        await until(lambda: ("bank", said) in net.lines)
        now = await bank.condition()
        assert (now.trouble, now.connected) == (said, ())
        net.start("operator")
        await until(lambda: ("bank", "the CometBFT node makes blocks again") in net.lines)
        assert (await bank.condition()).trouble == ""


@asynccontextmanager
async def served(socket, folder, *dies_at):
    """The contract in a process of its own, until the block is left."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.ledger.chain_process", socket, folder, *map(str, dies_at)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert await process.stdout.readline() == b"serving\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.parametrize("point", POINTS)
async def test_a_contract_killed_at_any_point_of_a_block_has_each_transaction_once(point):
    founded = spec(ALONE, **COMET)
    async with network(ALONE, founded) as net:
        settings, folder = net.parties["bank"].settings, net.folder("bank")
        taken = []
        async with served(settings.abci_socket, folder, point, 4) as contract:
            node = await start_node(settings, binary())
            await node.ready()
            with contextlib.suppress(PeerLost):
                for number in range(300):
                    taken.append(register(founded, "bank", f"t{number}").data)
                    await node.rpc.submit(taken[-1])
            assert await asyncio.wait_for(contract.wait(), 20) == -signal.SIGKILL
            await node.stop()
        bank = net.start("bank")
        last = register(founded, "bank", "last")
        assert (await bank.submit(last)).accepted
        assert roots(bank.log) == fed(founded, await blocks_of(bank))
        leaves = [Leaf.decoded(leaf.data).signed for leaf in bank.log.store.leaves(1, bank.log.size)]
        assert len({*leaves}) == len(leaves) > 1
        assert {*leaves} <= {*taken, last.data}


async def test_a_transaction_waits_on_disk_for_a_node_that_is_away():
    founded = spec(ALONE, **COMET)
    async with network(ALONE, founded) as net:
        await net.start_all()
        settings = net.parties["bank"].settings
        config = settings.home / "config" / "config.toml"
        content = config.read_text()
        await net.stop("bank")
        config.write_text("[")  # its node cannot start
        bank = net.start("bank")
        with pytest.raises(PeerLost, match="in no block"):
            await bank.submit(register(founded, "bank", "people"), patience=0.5)
        await net.stop("bank")
        config.write_text(content)
        bank = net.start("bank")
        await until(lambda: bank.log.size == 2)


async def blocks_of(member):
    """The transactions of every block that the node has decided, with its time in seconds."""
    blocks = []
    for height in range(1, member.application.info().height + 1):
        block = await member.rpc.block(height)
        blocks.append((block.txs, int(datetime.fromisoformat(block.time[:19] + "Z").timestamp())))
    return blocks


def fed(founded, blocks):
    """A replica as the embedded engine has it, given the blocks that a chain has decided."""
    replica = Replica({}, Frontier())
    replica.adopt(replica.begin(founded.value()))
    for txs, seconds in blocks:
        executed, dropped = replica.prepare(txs, seconds)
        assert not dropped
        if executed.leaves:
            replica.adopt(executed)
    return replica.frontier.root().hex(), replica.state.root.hex()


async def test_a_long_history_ends_alike_in_both_engines_and_after_a_replay():
    history = History(11, 120, **COMET)
    async with network(MEMBERS, history.spec) as net:
        for name in ("bank", "operator", "regulator"):
            net.start(name)
        bank = net.members["bank"]
        assert (await bank.submit(register(history.spec, "bank", "without-the-retailer"))).accepted
        away = net.start("retailer")
        await until(lambda: roots(away.log) == roots(bank.log))
        await caught_up(away)

        for data in history.signed:
            await bank.rpc.submit(data)
        await bank.submit(register(history.spec, "bank", "last"))
        assert bank.log.size > 100
        [ended] = await net.level(bank.log.size)
        assert ended == fed(history.spec, await blocks_of(bank))

        await net.stop("bank")
        net.lose_ledger("bank")
        rebuilt = net.start("bank")
        await until(lambda: roots(rebuilt.log) == ended)


@pytest.mark.soak
async def test_thousands_of_transactions_end_alike_through_a_node_that_is_killed_again_and_again():
    history = History(31, 3000, **COMET)
    async with network(MEMBERS, history.spec) as net:
        await net.start_all()
        bank = net.members["bank"]
        for number, data in enumerate(history.signed):
            if number % 1000 == 500:
                await bank.node.kill()
                await caught_up(bank)
            await bank.rpc.submit(data)
        await bank.submit(register(history.spec, "bank", "last"), patience=120)
        [ended] = await net.level(bank.log.size)
        assert ended == fed(history.spec, await blocks_of(bank))


async def test_the_header_of_the_next_block_has_the_checkpoint():
    founded = spec(ALONE, **COMET)
    async with network(ALONE, founded) as net:
        await net.start_all()
        bank = net.members["bank"]
        await bank.submit(register(founded, "bank", "people"))
        at = bank.application.info().height
        sealed = app_hash(bank.log.checkpoint())
        await until(lambda: bank.application.info().height > at)
        assert (await bank.rpc.block(at + 1)).app_hash == sealed


async def test_a_consortium_moves_from_the_embedded_engine_with_its_history(tmp_path):
    ended = end_embedded(tmp_path / "embedded")
    async with network(MEMBERS, lambda nodes: carried(ended.replica, ended.final, nodes)) as net:
        for name in MEMBERS:
            shutil.copytree(tmp_path / "embedded", net.folder(name))
        await net.start_all()
        size = len(ended.leaves)
        one, other = Author(ended.consortium), net.members["regulator"]
        table = {"name": "after-the-move", "schema": digest("s"), "rows": 1, "root": digest("r")}
        receipt = await other.submit(one.signed("retailer", "table.register", table))
        assert receipt.accepted
        assert len(await net.level(size + 1)) == 1
        log = net.members["bank"].log
        assert log.root_at(size) == ended.replica.frontier.root()
        assert log.replica.height == ended.replica.height + 1
