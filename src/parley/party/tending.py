"""What the running party does on the ledger by itself: announce itself, end the embedded engine."""

from collections.abc import Callable
from typing import Final

from parley.core.errors import ParleyError
from parley.ledger.contract.consortium import ENGINE, Engine
from parley.ledger.encoding import Value
from parley.party.ledger import PartyLedger
from parley.party.node import announcement, is_announced
from parley.party.replacing import replace_identity
from parley.store.home import Home

PATIENCE: Final = 60.0
"""Seconds that a transaction of ours may take; it is submitted again by itself after that too."""


async def tend(
    ledger: PartyLedger, home: Home, endpoint: Callable[[], dict[str, Value]], log: Callable[[str], None]
) -> None:
    """Keep at it until cancelled, or the engine ends.

    When the members have decided to leave the embedded engine at a height, its sequencer repeats how it is
    reached until the ledger is there: with nothing to write, it would wait for ever.

    Args:
        ledger: of the party.
        home: of the party.
        endpoint: gives the body of its announcement.
        log: takes a line for the operator of the party.
    """
    announced = False
    async for _ in ledger.member.changes():
        try:
            if await replace_identity(ledger, home) is not None:
                log("our new certificate stands on the ledger; the old one does not count any more")
            if not announced:
                await _announce_node(ledger, home, log)
                announced = ledger.member.log.size > 0
            while _is_to_end(ledger):
                await ledger.demand("member.announce", endpoint(), PATIENCE)
        except ParleyError as error:
            log(f"on the ledger: {error.what}")


async def _announce_node(ledger: PartyLedger, home: Home, log: Callable[[str], None]) -> None:
    plan = home.node
    if plan is not None and ledger.member.log.size and not is_announced(ledger.view, home, plan):
        await ledger.demand("member.announce-node", announcement(home, plan), PATIENCE)
        log(f"our CometBFT node, reached at {plan.address}, stands on the ledger")


def _is_to_end(ledger: PartyLedger) -> bool:
    """Whether we order, and only some heights are missing to the last of the embedded engine."""
    member = ledger.member
    if not member.log.size or member.leader != member.name:
        return False
    return ledger.draft.known(Engine, ENGINE).kind == "cometbft"
