"""Members of a consortium for tests: real logs on disk, conversations in memory."""

import asyncio
import secrets
import shutil
import time
from contextlib import asynccontextmanager

from parley.core.errors import PeerLost
from parley.core.trace import Trace
from parley.crypto.signatures import SigningKey
from parley.ledger.contract import Founder, Genesis, consortium_id
from parley.ledger.contract.rules import NEWEST
from parley.ledger.engines.embedded import gossip, replication
from parley.ledger.engines.embedded.log import MemberLog
from parley.ledger.engines.embedded.member import LedgerMember, Surroundings
from parley.ledger.transaction import Transaction, sign
from parley.net.channel import CheckedChannel, Setting
from parley.net.memory import memory_pair


def key(name, kind):
    return SigningKey.from_seed(f"{name}/{kind}".encode().ljust(32, b".")[:32])


def genesis_of(names, sequencer="bank"):
    founders = tuple(
        Founder(
            name=name,
            role="observer" if name == "regulator" else "holder",
            **{kind: key(name, kind).public.hex() for kind in ("signing", "cosigning", "recovery")},
        )
        for name in sorted(names)
    )
    return Genesis(
        name="test", founders=founders, time=1_790_000_000, nonce="n", sequencer=sequencer, version=NEWEST
    )


def transaction(spec, sender, type_, body, *, expires=1000):
    signing = key(sender, "signing")
    asked = Transaction(
        consortium=consortium_id(spec),
        sender=sender,
        key=signing.key_id,
        type=type_,
        body=body,
        expires=expires,
        nonce=secrets.token_hex(16),
    )
    return sign(asked, signing)


def registration(spec, sender, name="people"):
    return transaction(
        spec, sender, "table.register", {"name": name, "schema": "00" * 32, "rows": 10, "root": "11" * 32}
    )


class Consortium:
    """Members whose conversations can be cut."""

    def __init__(
        self,
        folder,
        names=("bank", "operator", "regulator"),
        *,
        force_after=10.0,
        spec=None,
        keys=key,
        wall=time.time,
    ):
        self.folder, self.names = folder, names
        self.spec = spec or genesis_of(names)
        self.keys, self.wall = keys, wall
        self.members, self.tasks, self.lines = {}, {}, []
        self.cut = set()
        self.force_after = force_after

    def start(self, name, *, lost=False, had=0):
        marks = self.folder / f"{name}-keys"
        marks.mkdir(exist_ok=True)
        log = MemberLog(self.folder / name, name, self.keys(name, "cosigning"), marks=marks)
        if name == self.spec.sequencer and not log.size and not lost:
            log.begin(self.spec.value())
        around = Surroundings(
            self.opening(name),
            self.wall,
            time.monotonic,
            lambda line: self.lines.append((name, line)),
            self.force_after,
            0.25,
            lambda: self.names,
            had,
        )
        self.members[name] = LedgerMember(log, around, self.spec.sequencer)
        self.tasks[name] = asyncio.create_task(self.members[name].run())
        return self.members[name]

    async def lose(self, name, *, mark=True):
        """Stop a member and lose its ledger, and what says what it signed."""
        await self.stop(name)
        shutil.rmtree(self.folder / name)
        if mark:
            shutil.rmtree(self.folder / f"{name}-keys")

    async def stop(self, name):
        task = self.tasks.pop(name)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        self.members.pop(name)

    def opening(self, caller):
        @asynccontextmanager
        async def opened(callee, table, role):
            if callee not in self.members or {caller, callee} & self.cut:
                raise PeerLost("peer-unreachable", f"{callee} is away", peer=callee, remedy="wait")
            near, far = memory_pair(caller, callee)
            other = next(each for each in table.roles() if each != role)
            trace = Trace(time.monotonic)
            serving = asyncio.create_task(
                self.serve(callee, table, CheckedChannel(far, Setting(table, other, "ledger", trace, 60.0)))
            )
            try:
                async with CheckedChannel(near, Setting(table, role, "ledger", trace, 60.0)) as channel:
                    yield channel
            finally:
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)

        return opened

    async def serve(self, callee, table, channel):
        async with channel:
            member = self.members[callee]
            if table is replication.STEPS:
                await member.serve_follower(channel)
            elif table is gossip.STEPS:
                await member.gossip_as_called(channel)

    async def __aenter__(self):
        for name in self.names:
            self.start(name)
        return self

    async def __aexit__(self, *_):
        for name in list(self.tasks):
            await self.stop(name)
