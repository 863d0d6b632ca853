"""One member on CometBFT as a process of its own, with a client that submits and keeps a journal.

    python -m tests.ledger.comet_runner CONFIG

CONFIG is JSON, see `tests.ledger.comet_processes`. The journal has a line ``sent <digest>`` before each
submission and ``acknowledged <digest> <number>`` behind each receipt, on the disk before the next; ``done``
is last, when the file ``enough`` is there.
"""

import asyncio
import json
import os
import secrets
import signal
import sys
from pathlib import Path

import msgspec

from parley.core.errors import PeerLost
from parley.core.files import write_atomically
from parley.ledger.contract import consortium_id
from parley.ledger.engines.cometbft.files import NodeSettings
from parley.ledger.engines.cometbft.log import ChainLog
from parley.ledger.engines.cometbft.member import CometMember, NodePlace
from parley.ledger.transaction import Transaction, sign

from tests.comet import binary
from tests.contract import digest, key, spec

MEMBERS = dict.fromkeys(("bank", "insurer", "operator", "retailer"), "holder")
FOUNDED = spec(MEMBERS, engine="cometbft", sequencer=None)
PATIENCE = 5.0
EVERY = 0.1


class Runner:
    def __init__(self, config):
        self.name, self.folder = config["name"], Path(config["folder"])
        settings = msgspec.convert(config["settings"], NodeSettings, dec_hook=lambda kind, value: kind(value))
        log = ChainLog(self.folder, self.name, key(self.name, "cosigning"))
        self.member = CometMember(log, NodePlace(settings, binary()), self._say)

    def _say(self, line):
        print(line, flush=True)  # noqa: T201 (the test shows it when it fails)

    async def run(self):
        running = asyncio.create_task(self.member.run())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        beside = [asyncio.create_task(work) for work in (self.show(), self.submit())]
        await asyncio.wait([running])
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        if not running.cancelled():
            running.result()

    async def show(self):
        while True:
            node = self.member.node
            pid = node.pid if node is not None and node.running else 0
            status = [self.member.log.size, len(self.member._wanted), pid, self.member.halted]
            write_atomically(self.folder / "status", json.dumps(status).encode())
            await asyncio.sleep(EVERY)

    async def submit(self):
        with (self.folder / "journal").open("a", buffering=1) as journal:

            def note(*words):
                journal.write(" ".join(map(str, words)) + "\n")
                os.fsync(journal.fileno())

            while not (self.folder / "enough").exists():
                signed = self.registration()
                note("sent", signed.digest.hex())
                note("acknowledged", signed.digest.hex(), (await self.receipt(signed)).number)
                await asyncio.sleep(EVERY)
            note("done")

    async def receipt(self, signed):
        while True:
            try:
                return await self.member.submit(signed, PATIENCE)
            except PeerLost:
                continue

    def registration(self):
        signing = key(self.name, "signing")
        body = {"name": secrets.token_hex(8), "schema": digest("s"), "rows": 10, "root": digest("r")}
        asked = Transaction(
            consortium=consortium_id(FOUNDED),
            sender=self.name,
            key=signing.key_id,
            type="table.register",
            body=body,
            expires=9000,
            nonce=secrets.token_hex(16),
        )
        return sign(asked, signing)


if __name__ == "__main__":
    asyncio.run(Runner(json.loads(Path(sys.argv[1]).read_text())).run())
