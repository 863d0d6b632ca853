"""What our own command line asks of the running party's ledger member, and its answers."""

import msgspec

from parley.core.conversation import Channel
from parley.core.errors import ParleyError
from parley.party.ledger import PartyLedger, no_consortium
from parley.protocols import control


async def answer(
    channel: Channel, asked: control.Transact | control.Look, ledger: PartyLedger | None, party: str
) -> None:
    """Sign and submit a transaction, or say how the member stands."""
    try:
        if ledger is None:
            raise no_consortium(party)
        done = await _done(asked, ledger)
    except ParleyError as error:
        await channel.send(control.Failed(error.family, error.code, error.what, error.remedy))
    else:
        await channel.send(control.Done(done))


async def _done(asked: control.Transact | control.Look, ledger: PartyLedger) -> bytes:
    if isinstance(asked, control.Look):
        return msgspec.json.encode(control.Condition(ledger.member.leader, ledger.member.halted))
    receipt = await ledger.transact(asked.act, msgspec.json.decode(asked.body))
    return msgspec.json.encode(receipt.value())
