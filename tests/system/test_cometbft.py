"""The CometBFT engine with real nodes: blocks, crashes at every point, lost validators, peers."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
from pathlib import Path

import pytest

from parley.core.errors import PeerLost, UsageError
from parley.ledger.engines.cometbft import keys
from parley.ledger.engines.cometbft.application import ACCEPTED
from parley.ledger.engines.cometbft.node import NICENESS, PID_FILE
from parley.ledger.engines.cometbft.parts import MisbehaviourKind

from tests.book import MALFORMED, POINTS, REFUSED, Book, Forging
from tests.comet import (
    binary,
    commit,
    host_and_guest,
    network,
    replayed,
    running,
    skip_without_binary,
    twin_of,
    until,
)

pytestmark = pytest.mark.cometbft


@pytest.fixture(autouse=True)
def _binary():
    skip_without_binary()


# One node


async def test_a_transaction_is_checked_committed_and_found():
    async with running(Book) as [party]:
        [written] = await commit(party, b"a=1")
        [again] = await commit(party, b"a=2")
        assert (written.result.code, again.result.code) == (ACCEPTED, REFUSED)
        assert written.tx == b"a=1"
        block = await party.rpc.block(written.height)
        assert block.txs == (b"a=1",)
        assert block.proposer == keys.address(party.keys.validator_key.public_key)
        outcome = await party.rpc.block_outcome(written.height)
        assert outcome.results[0].data == written.result.data
        assert (await party.rpc.block(again.height)).app_hash == party.book.app_hash
        assert (await party.rpc.query("/name", b"a")).value == b"1"
        assert (await party.rpc.query("/name", b"z")).code == REFUSED


async def test_a_malformed_transaction_does_not_enter_the_mempool():
    async with running(Book) as [party]:
        refused = await party.rpc.submit(b"malformed")
        assert (refused.code, refused.log) == (MALFORMED, "malformed")
        assert await party.rpc.tx(refused.tx_hash) is None
        [written] = await commit(party, b"a=1")
        assert (await party.rpc.block(written.height)).txs == (b"a=1",)


async def test_the_node_rests_while_there_is_nothing_to_write():
    async with running(Book) as [party]:
        [written] = await commit(party, b"a=1")
        await until(lambda: party.book.height > written.height)
        await asyncio.sleep(1)
        assert party.book.height <= written.height + 2  # one that seals the last hash, one that says it lives


async def test_every_thread_of_a_node_runs_behind_other_work():
    async with running(Book) as [party]:
        assert nicenesses(party.node.pid) == {NICENESS}


def nicenesses(process):
    """Of all its threads."""
    threads = Path(f"/proc/{process}/task").iterdir()
    return {os.getpriority(os.PRIO_PROCESS, int(each.name)) for each in threads}


async def test_a_question_that_the_node_refuses_is_a_usage_error():
    async with running(Book) as [party]:
        with pytest.raises(UsageError, match="must be less than or equal"):
            await party.rpc.block(10**6)


async def test_a_node_that_is_not_there_is_lost():
    async with running(Book) as [party]:
        await party.node.stop()
        with pytest.raises(PeerLost):
            await party.rpc.status()


async def test_a_node_that_cannot_start_says_why():
    async with network(Book) as [party]:
        (party.settings.home / "config" / "genesis.json").write_text("{")
        await party.open_ledger()
        with pytest.raises(PeerLost, match="genesis"):
            await party.start_node()


async def output(*command):
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    printed, _ = await process.communicate()
    return printed.decode()


async def test_the_files_are_read_by_cometbft_as_they_are_meant():
    async with network(Book) as [party]:
        home = party.settings.home
        shown = {
            word: await output(binary(), word, "--home", home) for word in ("show-node-id", "show-validator")
        }
        assert shown["show-node-id"].strip() == keys.node_id(party.keys.node_key.public_key)
        public = party.keys.validator_key.public_key
        assert json.loads(shown["show-validator"]) == keys.public_key_json(public)


async def test_voting_power_changes_two_blocks_later():
    async with running(Book) as [party]:
        other = keys.KeyPair(b"\x01" * 32).public_key
        own = party.keys.validator_key.public_key
        [changed] = await commit(party, b"power:" + other.hex().encode() + b"=1")
        await commit(party, b"a=1")
        await until(lambda: party.book.height >= changed.height + 2)
        powers = [
            {one.public_key: one.power for one in await party.rpc.validators(changed.height + later)}
            for later in (0, 1, 2)
        ]
        assert powers == [{own: 10}, {own: 10}, {own: 10, other: 1}]


# Crashes


async def submit_until_lost(party, names):
    """Submit names one after the other; those that the node took before it was gone."""
    taken = []
    for name in names:
        tx = f"{name}=1".encode()
        with contextlib.suppress(PeerLost):
            await party.rpc.submit(tx)
            taken.append(tx)
        if not party.node.running:
            break
        await asyncio.sleep(0.01)
    return taken


async def assert_whole(party):
    """The ledger, the headers and a replay of the blocks agree, and every transaction is there once."""
    [last] = await commit(party, b"last=1")
    await until(lambda: height_of(party, last.height + 1))
    book, txs = await replayed(party)
    await until(lambda: Book(party.path).height >= book.height)
    stored = Book(party.path)
    assert (stored.height, stored.app_hash) == (book.height, book.app_hash)
    assert len(set(txs)) == len(txs)
    return set(txs)


async def height_of(party, least):
    return (await party.rpc.status()).height >= least


@pytest.mark.parametrize("point", POINTS)
async def test_a_ledger_killed_at_any_point_is_replayed_to_the_same_hash(point):
    async with network(Book) as [party]:
        await party.open_ledger_process(point, 4)
        await party.start_node()
        await submit_until_lost(party, [f"n{number}" for number in range(300)])
        await party.ledger.wait()
        await party.node.stop()
        assert Book(party.path).height == (4 if point == "after commit" else 3)
        await party.open_ledger_process()
        await party.start_node()
        await assert_whole(party)


@pytest.mark.soak
async def test_a_node_killed_again_and_again_is_replayed_to_the_same_hash():
    async with network(Book) as [party]:
        await party.open_ledger_process()
        for life in range(4):
            await party.start_node()
            names = [f"l{life}n{number}" for number in range(300)]
            submitting = asyncio.create_task(submit_until_lost(party, names))
            await asyncio.sleep(0.2 + 0.13 * life)
            await party.node.kill()
            await submitting
        await party.start_node()
        assert len(await assert_whole(party)) > 1


@pytest.mark.soak
async def test_both_killed_at_once_are_replayed_to_the_same_hash():
    async with network(Book) as [party]:
        await party.open_ledger_process()
        await party.start_node()
        submitting = asyncio.create_task(submit_until_lost(party, [f"n{number}" for number in range(300)]))
        await asyncio.sleep(0.5)
        party.ledger.kill()
        await party.node.kill()
        await submitting
        await party.open_ledger_process()
        await party.start_node()
        await assert_whole(party)


async def test_a_node_that_outlived_its_party_is_ended_by_the_next():
    async with running(Book) as [party]:
        left = party.node
        await party.start_node()
        assert await asyncio.wait_for(left.wait(), 10) == -signal.SIGKILL
        [written] = await commit(party, b"a=1")
        assert written.result.code == ACCEPTED


async def test_a_process_that_has_the_number_of_an_earlier_node_is_left_alone():
    async with running(Book) as [party]:
        running_node = party.node
        other = await asyncio.create_subprocess_exec("sleep", "60")
        (party.settings.home / PID_FILE).write_text(str(other.pid))
        with pytest.raises(PeerLost):
            await party.start_node()
        assert other.returncode is None
        other.kill()
        await asyncio.gather(other.wait(), running_node.kill())


async def test_a_ledger_whose_file_was_lost_is_rebuilt_from_the_blocks():
    async with network(Book) as [party]:
        await party.open_ledger_process()
        await party.start_node()
        [written] = await commit(party, b"a=1")
        await until(lambda: height_of(party, written.height + 1))
        party.ledger.kill()
        await party.node.stop()
        party.path.unlink()
        await party.open_ledger_process()
        await party.start_node()
        assert b"a=1" in await assert_whole(party)


# Several


async def everywhere(parties, name):
    await until(lambda: all(name in party.book._state["names"] for party in parties))


async def test_four_parties_agree_go_on_without_one_stop_without_two_and_recover():
    async with running(Book, Book, Book, Book) as parties:
        first, second, third, fourth = parties
        await first.rpc.submit(b"a=1")
        await everywhere(parties, "a")

        await fourth.node.kill()
        await first.rpc.submit(b"b=1")
        await everywhere([first, second, third], "b")
        assert "b" not in fourth.book._state["names"]

        await third.node.kill()
        await first.rpc.submit(b"c=1")
        await asyncio.sleep(2)
        assert "c" not in first.book._state["names"]

        await asyncio.gather(third.start_node(), fourth.start_node())
        await everywhere(parties, "c")
        await until(lambda: len({party.book.height for party in parties}) == 1)
        assert len({party.book.app_hash for party in parties}) == 1


async def test_a_block_with_a_malformed_transaction_is_voted_down():
    async with running(Forging, Book, Book, Book) as parties:
        _, *honest = parties
        for number in range(8):
            await honest[0].rpc.submit(f"n{number}=1".encode())
            await everywhere(honest, f"n{number}")
        assert all(party.book.rejected for party in honest)
        _, txs = await replayed(honest[0])
        assert sorted(txs) == [f"n{number}=1".encode() for number in range(8)]


async def test_a_validator_that_signs_twice_is_reported_to_every_ledger():
    async with running(Book, Book, Book, Book) as parties:
        *honest, double = parties
        offender = keys.address(double.keys.validator_key.public_key)
        async with twin_of(double, honest):
            writing = asyncio.create_task(write_on(honest[0]))
            await until(lambda: all(party.book.offences for party in honest), within=60)
            reported = max(party.book.offences[0].height for party in honest)
            await until(lambda: all(party.book.height > reported for party in honest), within=60)
            writing.cancel()
        for party in honest:
            offence = party.book.offences[0]
            assert (offence.kind, offence.address) == (MisbehaviourKind.DUPLICATE_VOTE, offender)
            assert offence.power == 10
            assert offence.time > 1_700_000_000 * 10**9


async def write_on(party):
    for number in itertools.count():
        await party.rpc.submit(f"n{number}=1".encode())
        await asyncio.sleep(0.05)


async def test_a_node_that_is_no_member_is_not_let_in_until_it_is():
    async with host_and_guest() as [host, guest]:
        for party in (host, guest):
            await party.open_ledger()
            await party.start_node()
        guest_id = keys.node_id(guest.keys.node_key.public_key)
        await until(lambda: any(getattr(one, "node_id", "") == guest_id for one in host.book.asked))
        await asyncio.sleep(0.3)
        assert await host.rpc.peers() == ()
        await host.rpc.submit(b"peer:" + guest_id.encode() + b"=yes")
        await until(lambda: guest_id in host.book._state["peers"])
        await guest.node.kill()  # it would dial again, but only after some seconds
        await guest.start_node()
        await until(host.rpc.peers)
        assert [peer.node_id for peer in await host.rpc.peers()] == [guest_id]
        await host.rpc.submit(b"a=1")
        await everywhere([host, guest], "a")
