"""The contract, served by a process of its own that tests kill: ``SOCKET FOLDER [POINT HEIGHT]``."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from parley.ledger.engines.cometbft.contract_application import ContractApplication
from parley.ledger.engines.cometbft.log import ChainLog
from parley.ledger.engines.cometbft.server import serving

from tests.contract import key

POINTS = ("before finalize", "after finalize", "before commit", "within commit", "after commit")


class Mortal(ContractApplication):
    """Dies by SIGKILL at a point of the block of a height."""

    def __init__(self, log, dies_at):
        super().__init__(log)
        self._dies_at = dies_at
        log.store._database.create_function("reached", 0, self._within)
        log.store._database.execute(
            "CREATE TEMP TRIGGER dying AFTER INSERT ON chain BEGIN SELECT reached(); END"
        )

    def _reached(self, point, height):
        if self._dies_at == (point, height):
            os.kill(os.getpid(), signal.SIGKILL)

    def _within(self):
        """Called by SQLite, with all of the block written and nothing committed."""
        self._reached("within commit", self._log.position.height + 1)

    def finalize(self, txs, height, time, misbehaviour, proposer):
        self._reached("before finalize", height)
        result = super().finalize(txs, height, time, misbehaviour, proposer)
        self._reached("after finalize", height)
        return result

    def commit(self):
        height = self._log.position.height + 1
        self._reached("before commit", height)
        kept = super().commit()
        self._reached("after commit", height)
        return kept


async def serve(socket, folder, *dies_at):
    log = ChainLog(Path(folder), "bank", key("bank", "cosigning"))
    point = (dies_at[0], int(dies_at[1])) if dies_at else None
    async with serving(Mortal(log, point), Path(socket)):
        print("serving", flush=True)  # noqa: T201 (the test waits for it)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
