"""New cosigning keys where every vote counts, real nodes: at rest, under way, and killed in between."""

import asyncio
import os
import secrets
import signal

import pytest

from parley.ledger.contract import consortium_id
from parley.ledger.engines.cometbft.files import validator_key
from parley.ledger.transaction import Transaction, sign

from tests.comet import skip_without_binary, until
from tests.contract import digest, key, spec
from tests.ledger.comet_members import network

pytestmark = pytest.mark.cometbft
COMET = {"engine": "cometbft", "sequencer": None}
TWO = {"bank": "holder", "operator": "holder"}
THREE = TWO | {"retailer": "holder"}


@pytest.fixture(autouse=True)
def _binary():
    skip_without_binary()


class Consortium:
    """Transactions for a running network, of members whose every vote counts."""

    def __init__(self, founded, net):
        self.founded, self.net = founded, net
        self.generations = dict.fromkeys(net.parties, 0)

    def signed(self, sender, kind, body, signer):
        asked = Transaction(
            consortium=consortium_id(self.founded),
            sender=sender,
            key=signer.key_id,
            type=kind,
            body=body,
            expires=9000,
            nonce=secrets.token_hex(16),
        )
        return sign(asked, signer)

    async def register(self, sender):
        body = {"name": secrets.token_hex(8), "schema": digest("s"), "rows": 10, "root": digest("r")}
        signed = self.signed(sender, "table.register", body, key(sender, "signing"))
        assert (await self.net.members[sender].submit(signed)).accepted

    def rotation(self, sender):
        """Its own old key asks for the next one."""
        old = key(sender, "cosigning", self.generations[sender])
        self.generations[sender] += 1
        body = {
            "kind": "cosigning",
            "public": key(sender, "cosigning", self.generations[sender]).public.hex(),
        }
        return self.signed(sender, "key.rotate", body, old)

    async def rotate(self, sender):
        assert (await self.net.members[sender].submit(self.rotation(sender))).accepted

    async def goes_on(self):
        """A transaction of every member comes in, more than the blocks that still go by the old keys."""
        for name in self.net.parties:
            await self.register(name)

    def votes_with(self, name):
        """The public half of the key that a member's node has, its newest if all is well."""
        return validator_key(self.net.parties[name].settings)

    def newest(self, name):
        return key(name, "cosigning", self.generations[name]).public


def in_consortium(members):
    founded = spec(members, **COMET)
    return founded, network(members, founded)


async def test_two_members_go_on_after_each_of_them_has_rotated_its_key_on_a_chain_at_rest():
    founded, made = in_consortium(TWO)
    async with made as net:
        both = Consortium(founded, net)
        await net.start_all()
        for name in TWO:
            await both.rotate(name)
            await until(lambda: both.votes_with(name) == both.newest(name))  # noqa: B023 (asked at once)
        await both.goes_on()
        said = "the CometBFT node is started again with the cosigning key that votes from now on"
        assert [(name, line) for name, line in net.lines if line == said] == [(name, said) for name in TWO]


async def test_a_member_that_is_killed_behind_its_rotation_votes_with_the_old_key_once_more():
    founded, made = in_consortium(TWO)
    async with made as net:
        both = Consortium(founded, net)
        await net.start_all()
        bank = net.members["bank"]
        signed, committed = both.rotation("bank"), bank.application.commit

        def commit_and_die():
            kept = committed()
            if bank.log.store.numbers().get(signed.digest) is not None:
                os.kill(bank.node.pid, signal.SIGKILL)
                bank.application.commit = committed
            return kept

        bank.application.commit = commit_and_die
        assert (await bank.submit(signed)).accepted
        at = bank.log.position.height
        await net.stop("bank")
        started = net.start("bank")
        assert (started.log.position.height, started.log.voting_key) == (at, key("bank", "cosigning").public)
        await both.goes_on()
        assert both.votes_with("bank") == both.newest("bank")


@pytest.mark.soak
@pytest.mark.parametrize("members", [TWO, THREE], ids=["two", "three"])
async def test_keys_rotate_twice_in_a_row_at_rest_and_under_transactions(members):
    founded, made = in_consortium(members)
    async with made as net:
        all_of_them = Consortium(founded, net)
        await net.start_all()
        for _ in range(2):
            await all_of_them.rotate("bank")
        await all_of_them.goes_on()

        enough = asyncio.Event()

        async def submit(name):
            while not enough.is_set():
                await all_of_them.register(name)

        clients = [asyncio.create_task(submit(name)) for name in members]
        for name in ("operator", "bank", "operator"):
            await all_of_them.rotate(name)
        enough.set()
        await asyncio.gather(*clients)
        await all_of_them.goes_on()
        for name in members:
            assert all_of_them.votes_with(name) == all_of_them.newest(name)
        size = max(member.log.size for member in net.members.values())
        assert len(await net.level(size)) == 1


@pytest.mark.soak
async def test_all_three_members_rotate_in_one_block_and_are_killed_at_it():
    founded, made = in_consortium(THREE)
    async with made as net:
        three = Consortium(founded, net)
        await net.start_all()
        await asyncio.gather(*(three.rotate(name) for name in THREE))
        await asyncio.gather(*(member.node.kill() for member in net.members.values()))
        for name in THREE:
            await net.stop(name)
        await net.start_all()
        await three.goes_on()
        await until(lambda: all(three.votes_with(name) == three.newest(name) for name in THREE))
