"""A book served to a node by a process of its own, which tests kill: ``SOCKET BOOK [POINT HEIGHT]``."""

import asyncio
import sys
from pathlib import Path

from parley.ledger.engines.cometbft.server import serving

from tests.book import Book


async def serve(socket, book, *dies_at):
    point = (dies_at[0], int(dies_at[1])) if dies_at else None
    async with serving(Book(Path(book), point), Path(socket)):
        print("serving", flush=True)  # noqa: T201 (the test waits for it)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
