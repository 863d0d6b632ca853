"""One member as a process of its own, over real TLS and real files, that dies where a test wants it to.

    python -m tests.ledger.runner CONFIG

CONFIG is JSON, see `tests.ledger.processes`. The journal of the client has a line ``sent <digest>`` before
each submission and ``acknowledged <digest> <number>`` behind each receipt, on the disk before the next.
"""

import asyncio
import json
import os
import signal
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

from parley.core.errors import ParleyError, PeerLost
from parley.core.files import write_atomically
from parley.core.trace import Trace
from parley.ledger.engines.embedded import gossip, replication
from parley.ledger.engines.embedded.log import MemberLog
from parley.ledger.engines.embedded.member import LedgerMember, Surroundings
from parley.net.certificates import Identity
from parley.net.channel import CheckedChannel, Setting
from parley.net.websocket import PeerListener, PeerPin, dial

from tests.ledger.members import genesis_of, key, registration

PATIENCE = 20.0
TABLES = {"/replication": replication.STEPS, "/gossip": gossip.STEPS}


class Hook:
    """Dies by its own SIGKILL when a labelled point is reached for the nth time."""

    def __init__(self, point, nth):
        self.point, self.left = point, nth

    def reached(self, point):
        if point == self.point:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def behind(self, owner, method, point):
        """Call `reached` behind every call of a method."""
        original = getattr(owner, method)

        def wrapped(*arguments, **named):
            result = original(*arguments, **named)
            self.reached(point)
            return result

        setattr(owner, method, wrapped)


class Runner:
    def __init__(self, config):
        self.name = config["name"]
        self.folder = Path(config["folder"])
        self.ports = config["ports"]
        self.config = config
        self.identity = Identity.load(self.folder / self.name)
        self.pins = {
            other: PeerPin(other, (self.folder / other / "ca.pem").read_text())
            for other in self.ports
            if other != self.name
        }
        self.hook = Hook(config.get("point", ""), config.get("nth", 1))
        self.spec = genesis_of(tuple(self.ports))
        self.transports = {}
        self.journal = (self.folder / self.name / "journal").open("a")
        self.log = self.opened()
        around = Surroundings(
            self.opening,
            lambda: time.time() + config.get("clock", 0),
            time.monotonic,
            self.say,
            config.get("force_after", 10.0),
            config.get("gossip_every", 0.5),
            lambda: self.ports,
        )
        self.member = LedgerMember(self.log, around, self.spec.sequencer)
        if config.get("lie"):
            from tests.ledger import liars  # noqa: PLC0415 (only those that lie know how)

            getattr(liars, config["lie"])(self)

    def opened(self):
        log = MemberLog(self.folder / self.name, self.name, key(self.name, "cosigning"))
        if self.name == self.spec.sequencer and not log.size and not self.config.get("lost"):
            log.begin(self.spec.value())
        hook = self.hook
        hook.behind(log.store, "keep_pending", "accept")
        hook.behind(log, "prepare", "executed")
        hook.behind(log.replica, "execute", "executed")
        hook.behind(log.store, "append", "written")
        hook.behind(log, "_raise_to", "high-water")
        hook.behind(log, "seal", "signed")
        hook.behind(log, "cosign", "signed")
        hook.behind(log, "_is_final", "final")
        return log

    def say(self, line):
        print(f"{self.name}: {line}", flush=True)  # noqa: T201 (its log)

    def cut_from(self):
        """The members we are cut off from, as the file says now."""
        try:
            return (self.folder / self.name / "cut").read_text().split()
        except FileNotFoundError:
            return []

    def is_cut(self, other):
        return other in self.cut_from()

    @asynccontextmanager
    async def opening(self, other, table, role):
        if self.is_cut(other):
            raise PeerLost("peer-unreachable", f"{other} is away", peer=other, remedy="wait")
        transport = await dial(
            f"127.0.0.1:{self.ports[other]}", self.identity, self.pins[other], f"/{table.protocol}"
        )
        if self.is_cut(other):  # meanwhile
            await transport.close()
            raise PeerLost("peer-unreachable", f"{other} is away", peer=other, remedy="wait")
        async with self.speaking(transport, table, role) as channel:
            yield channel

    @asynccontextmanager
    async def speaking(self, transport, table, role):
        setting = Setting(table, role, "ledger", Trace(time.monotonic), PATIENCE)
        channel = CheckedChannel(transport, setting)
        original = channel.send

        async def send(message):
            await original(message)
            if isinstance(message, replication.Block | replication.Cosigned):
                self.hook.reached("sent")

        channel.send = send
        self.transports.setdefault(transport.peer, set()).add(transport)
        try:
            async with channel:
                yield channel
        finally:
            self.transports[transport.peer].discard(transport)

    async def answer(self, peer, path, transport):
        table = TABLES[path]
        role = replication.SEQUENCER if table is replication.STEPS else gossip.CALLED
        if self.is_cut(peer):
            return
        async with self.speaking(transport, table, role) as channel:
            if table is replication.STEPS:
                await self.member.serve_follower(channel)
            else:
                await self.member.gossip_as_called(channel)

    async def cut(self):
        """Hang up on members that are cut off, and say so in the file ``is-cut``."""
        said = None
        while True:
            others = self.cut_from()
            for peer in others:
                for transport in list(self.transports.get(peer, ())):
                    await transport.close()
            if others != said:
                write_atomically(self.folder / self.name / "is-cut", " ".join(others).encode())
                said = others
            await asyncio.sleep(0.1)

    async def report(self):
        """Keep the file ``status`` up to date."""
        shown = None
        while True:
            log = self.log
            status = [log.size, log.final_size, self.member.halted]
            if status != shown:
                write_atomically(self.folder / self.name / "status", json.dumps(status).encode())
                shown = status
            await asyncio.sleep(0.05)

    async def client(self):
        """Submit for ever, a few at a time."""
        lane = asyncio.Semaphore(self.config.get("at_once", 4))
        number = 0
        async with asyncio.TaskGroup() as group:
            while number < self.config.get("submit", 0):
                await lane.acquire()
                number += 1
                signed = registration(self.spec, self.name, f"t{time.time_ns()}")
                self.note(f"sent {signed.digest.hex()}")
                group.create_task(self.one(signed, lane))
        if number:
            self.note("done")

    async def one(self, signed, lane):
        try:
            receipt = await self.member.submit(signed, 120.0)
            self.note(f"acknowledged {signed.digest.hex()} {receipt.number}")
            self.hook.reached("acknowledged")
        finally:
            lane.release()

    def note(self, line):
        self.journal.write(line + "\n")
        self.journal.flush()
        os.fsync(self.journal.fileno())

    async def run(self):
        address = ("127.0.0.1", self.ports[self.name])
        async with (
            PeerListener(*address, self.identity, self.pins, self.answer),
            asyncio.TaskGroup() as group,
        ):
            group.create_task(self.member.run())
            group.create_task(self.cut())
            group.create_task(self.report())
            group.create_task(self.client())
            self.say("ready")


def flat(group):
    """The errors in a group of groups."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from flat(error)
        else:
            yield error


def main():
    config = json.loads(Path(sys.argv[1]).read_text())
    if "file_limit" in config:
        import resource  # noqa: PLC0415 (few tests limit anything)

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (config["file_limit"], config["file_limit"]))
    try:
        asyncio.run(Runner(config).run())
    except* ParleyError as errors:
        ours = list(flat(errors))
        for error in ours:
            print(f"{config['name']}: {error}", flush=True)  # noqa: T201 (its log)
        sys.exit(ours[0].exit_code)


if __name__ == "__main__":
    main()
