"""Members of a consortium on CometBFT: real nodes, the real engine, all on this machine."""

import asyncio
import dataclasses
import hashlib
import tempfile
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from parley.ledger.engines.cometbft.beginning import Beginning, Founding
from parley.ledger.engines.cometbft.files import rewrite_validator_key
from parley.ledger.engines.cometbft.keys import KeyPair, node_id
from parley.ledger.engines.cometbft.local import draw_parties, write_network
from parley.ledger.engines.cometbft.log import DATABASE, ChainLog
from parley.ledger.engines.cometbft.member import CometMember, NodePlace

from tests.comet import PACE, binary, until
from tests.contract import key

GENERATIONS = 4
"""Cosigning keys that each member has, to be used one after the other."""


class Network:
    """The members of a consortium, each with its node; any of them can be stopped and started again."""

    def __init__(self, root, parties):
        self.root = root
        self.parties = {party.settings.name: party for party in parties}
        self.members, self.tasks, self.lines = {}, {}, []

    def folder(self, name):
        return self.root / "ledgers" / name

    def start(self, name):
        log = ChainLog(self.folder(name), name, key(name, "cosigning"))
        for generation in range(1, GENERATIONS):
            log.hold(key(name, "cosigning", generation))
        place = NodePlace(self.parties[name].settings, binary(), lambda due: self.give_key(name, due))
        member = CometMember(log, place, lambda line: self.lines.append((name, line)))
        self.members[name] = member
        self.tasks[name] = asyncio.create_task(member.run())
        return member

    def give_key(self, name, public):
        """Give a member's node the key that it is to vote with, of which the member holds a few."""
        for generation in range(GENERATIONS):
            if key(name, "cosigning", generation).public == public:
                rewrite_validator_key(self.parties[name].settings, seeded(name, generation))

    async def stop(self, name):
        task = self.tasks.pop(name)
        self.members.pop(name)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def start_all(self):
        for name in self.parties:
            self.start(name)
        await asyncio.gather(*(caught_up(member) for member in self.members.values()))

    def lose_ledger(self, name):
        """As if a member's disk had lost the ledger, but not the node's."""
        for path in self.folder(name).glob(f"{DATABASE}*"):
            path.unlink()

    async def level(self, size):
        """Wait until every running member has so many leaves; their only roots."""
        await until(lambda: all(member.log.size >= size for member in self.members.values()))
        return {roots(member.log) for member in self.members.values()}


def roots(log):
    return log.replica.frontier.root().hex(), log.replica.state.root.hex()


async def caught_up(member):
    async def level():
        return await member.rpc.answers() and not (await member.rpc.status()).catching_up

    await until(level)


def seeded(name, generation=0):
    """The validator key of a member: its cosigning key, as `tests.contract.key` makes it."""
    return KeyPair(hashlib.sha256(f"{name}/cosigning/{generation}".encode()).digest())


@asynccontextmanager
async def network(names, begins):
    """A network whose chain begins as ``begins``, a spec or a function of the nodes, says; none runs yet."""
    with tempfile.TemporaryDirectory(prefix="comet") as directory:
        root = Path(directory)
        drawn = draw_parties(sorted(names), root / "nodes", PACE)
        parties = [dataclasses.replace(one, validator_key=seeded(one.settings.name)) for one in drawn]
        nodes = {one.settings.name: node_id(one.node_key.public_key) for one in parties}
        beginning = begins(nodes) if callable(begins) else Beginning(Founding(begins.value()), nodes)
        write_network(parties, "consortium", datetime.now(UTC), beginning.app_state())
        running = Network(root, parties)
        try:
            yield running
        finally:
            await asyncio.gather(*(running.stop(name) for name in list(running.tasks)))
