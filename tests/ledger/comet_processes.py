"""A consortium on CometBFT of real processes: cut off from one another, short of disk, killed, looked at.

Every node reaches every other through a forwarder of its own, which a test closes and opens.
"""

import asyncio
import contextlib
import dataclasses
import io
import itertools
import json
import os
import signal
import sys
import tempfile
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from parley.ledger.block import Leaf
from parley.ledger.engines.cometbft.beginning import Beginning, Founding
from parley.ledger.engines.cometbft.files import Peer
from parley.ledger.engines.cometbft.keys import node_id
from parley.ledger.engines.cometbft.local import draw_parties, write_network
from parley.ledger.engines.cometbft.log import ChainLog
from parley.ledger.engines.embedded.prove import Snapshot
from parley.ledger.export import export
from parley.ledger.verifier import verify

from tests.comet import PACE, ROOT, until
from tests.contract import key
from tests.ledger.comet_members import seeded
from tests.ledger.comet_runner import FOUNDED, MEMBERS

PATIENCE = 60.0
"""Seconds after which a test gives up; nothing is measured by it."""


class Forwarder:
    """The way from one node to another; it can be cut, and healed."""

    def __init__(self, port):
        self._port = port
        self._open, self._server, self.is_cut = set(), None, False

    async def start(self):
        self._server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        return self._server.sockets[0].getsockname()[1]

    async def _forward(self, reader, writer):
        ends = [writer]
        with contextlib.suppress(OSError):
            if not self.is_cut:
                there, onwards = await asyncio.open_connection("127.0.0.1", self._port)
                ends.append(onwards)
                self._open |= set(ends)
                await asyncio.wait(
                    [asyncio.create_task(_pump(reader, onwards)), asyncio.create_task(_pump(there, writer))],
                    return_when=asyncio.FIRST_COMPLETED,
                )
        for end in ends:
            self._open.discard(end)
            end.close()

    def cut(self):
        self.is_cut = True
        for end in self._open:
            end.transport.abort()

    def close(self):
        self.cut()
        self._server.close()


async def _pump(reader, writer):
    with contextlib.suppress(OSError):
        while piece := await reader.read(1 << 16):
            writer.write(piece)
            await writer.drain()


class Processes:
    def __init__(self, root):
        self.root = root
        self.ways, self.running, self.settings = {}, {}, {}

    def folder(self, name):
        return self.root / "ledgers" / name

    async def write(self):
        drawn = draw_parties(sorted(MEMBERS), self.root / "nodes", PACE)
        parties = [dataclasses.replace(one, validator_key=seeded(one.settings.name)) for one in drawn]
        nodes = {one.settings.name: node_id(one.node_key.public_key) for one in parties}
        ports = {one.settings.name: one.settings.listen_port for one in parties}
        told = []
        for party in parties:
            name, peers = party.settings.name, []
            for other in sorted(set(nodes) - {name}):
                way = self.ways[name, other] = Forwarder(ports[other])
                peers.append(Peer(nodes[other], "127.0.0.1", await way.start()))
            settings = self.settings[name] = dataclasses.replace(party.settings, peers=tuple(peers))
            told.append(dataclasses.replace(party, settings=settings))
        state = Beginning(Founding(FOUNDED.value()), nodes).app_state()
        write_network(told, "consortium", datetime.now(UTC), state)

    async def start(self, name, **environment):
        folder = self.folder(name)
        folder.mkdir(parents=True, exist_ok=True)
        settings = msgspec.to_builtins(self.settings[name], enc_hook=str)
        config = {"name": name, "folder": str(folder), "settings": settings}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "status").unlink(missing_ok=True)
        with (folder / "output").open("ab") as output:
            self.running[name] = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.ledger.comet_runner", folder / "config.json"),
                cwd=ROOT,
                stdout=output,
                stderr=output,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(("src", ".")), **environment},
            )

    async def stop(self, name, by=signal.SIGTERM):
        process = self.running.pop(name)
        process.send_signal(by)
        await process.wait()

    async def close(self):
        for name in list(self.running):
            await self.stop(name)
        for way in self.ways.values():
            way.close()

    def status(self, name):
        """Leaves, transactions that wait, the process of the node (0: none), reason to halt."""
        path = self.folder(name) / "status"
        return json.loads(path.read_text()) if path.exists() else [0, 0, 0, ""]

    def size(self, name):
        return self.status(name)[0]

    async def grown(self, *names, by=4):
        """Wait until each of these has so many more leaves than it has now."""
        wanted = {name: self.size(name) + by for name in names}
        try:
            await until(lambda: all(self.size(name) >= wanted[name] for name in names), PATIENCE)
        except TimeoutError:
            raise AssertionError((wanted, {name: self.status(name) for name in MEMBERS})) from None

    def part(self, *groups):
        """Cut every way between members of different groups; heals the others."""
        place = {name: number for number, group in enumerate(groups) for name in group}
        for (near, far), way in self.ways.items():
            if place.get(near) != place.get(far):
                way.cut()
            else:
                way.is_cut = False

    async def settled(self):
        """Have the clients stop, wait until all members have the same and nothing waits, and stop them."""
        for name in MEMBERS:
            (self.folder(name) / "enough").touch()
        await until(self._is_settled, PATIENCE)
        for name in MEMBERS:
            await self.stop(name)

    async def _is_settled(self):
        """Asked twice, since a status is a moment old."""
        seen = []
        for _ in range(2):
            seen += [self.status(name)[:2] for name in MEMBERS]
            await asyncio.sleep(0.5)
        done = all((self.folder(name) / "journal").read_text().endswith("done\n") for name in MEMBERS)
        return done and seen == seen[:1] * len(seen) and seen[0][1] == 0

    def journal(self, name):
        """What the client was told: digest → number of the receipt."""
        lines = [line.split() for line in (self.folder(name) / "journal").read_text().splitlines()]
        return {line[1]: int(line[2]) for line in lines if line[0] == "acknowledged"}

    def time_of_last_block(self):
        """By the ledger of one member, seconds since 1970."""
        log = ChainLog(self.folder("bank"), "bank", key("bank", "cosigning"))
        try:
            (leaf,) = log.store.leaves(log.size - 1, log.size)
            return Leaf.decoded(leaf.data).time
        finally:
            log.store.close()

    def agreed(self):
        """Ledgers hold the same leaves, once each, replay to their seals, and have what was acknowledged.

        Returns the transactions that were acknowledged.
        """
        acknowledged = dict(itertools.chain(*(self.journal(name).items() for name in MEMBERS)))
        found = {name: self._replayed(name) for name in MEMBERS}
        numbers = found["bank"]
        assert all(each == numbers for each in found.values())
        assert {each: numbers.get(each) for each in acknowledged} == acknowledged
        return acknowledged

    def _replayed(self, name):
        """The number of every transaction, of a ledger whose replay gives all of its checkpoints."""
        log = ChainLog(self.folder(name), name, key(name, "cosigning"))
        try:
            file = io.BytesIO()
            export(Snapshot(log), file)
            leaves = [leaf.data for leaf in log.store.leaves(1, log.size)]
            assert verify(file.getvalue().splitlines(keepends=True)).leaves == log.size
        finally:
            log.store.close()
        digests = [Leaf.decoded(leaf).opened().digest.hex() for leaf in leaves]
        assert len(set(digests)) == len(digests)
        return {digest: number for number, digest in enumerate(digests, start=1)}


@asynccontextmanager
async def consortium():
    """Four members, all running and submitting; everything is ended after it."""
    with tempfile.TemporaryDirectory(prefix="comet") as directory:
        running = Processes(Path(directory))
        await running.write()
        try:
            for name in MEMBERS:
                await running.start(name)
            await running.grown(*MEMBERS, by=2)
            yield running
        finally:
            await running.close()
