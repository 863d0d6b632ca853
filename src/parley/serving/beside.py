"""What serves models beside a running party: its own programs, and the active parties of others' models."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from parley.party.running import Running
from parley.serving.answering import Answering
from parley.serving.desk import Desk
from parley.serving.standing import Standings


@asynccontextmanager
async def models_in_use(running: Running) -> AsyncIterator[None]:
    """Serve as long as the party runs."""
    standings = Standings(running.peers, running.identity, running.office.clocks.monotonic)
    desk = Desk(running.office, standings)
    answering = Answering(running.office, desk, running.tickets, standings)
    running.party.for_programs |= {"attend": desk.attend, "through": desk.through, "way": desk.way}
    running.party.for_peers["serving"] = answering.serve
    keeping = asyncio.create_task(answering.run())
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
