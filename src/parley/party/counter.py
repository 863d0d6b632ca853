"""What our own command line asks of the running party's ledger member, and its answers."""

from typing import TypeAlias

import msgspec

from parley.core.conversation import Channel
from parley.core.errors import ParleyError
from parley.ledger.engines.engine import LedgerEngine
from parley.party.ledger import PartyLedger, no_consortium
from parley.party.releasing import Wanted, release
from parley.party.replacing import replace_identity
from parley.party.rotation import rotate
from parley.protocols import control
from parley.store.home import Home

Asked: TypeAlias = (
    control.Transact | control.Release | control.Look | control.Promise | control.Rotate | control.Replace
)


async def answer(channel: Channel, asked: Asked, ledger: PartyLedger | None, home: Home) -> None:
    """Sign and submit what is to go on the ledger, replace a key, or say how the member stands."""
    try:
        if ledger is None:
            raise no_consortium(home.settings.party)
        done = await _done(asked, ledger, home)
    except ParleyError as error:
        await channel.send(control.Failed(error.family, error.code, error.what, error.remedy))
    else:
        await channel.send(control.Done(done))


async def _done(asked: Asked, ledger: PartyLedger, home: Home) -> bytes:
    match asked:
        case control.Look():
            return msgspec.json.encode(await condition(ledger.member))
        case control.Promise(successor):
            return msgspec.json.encode(await ledger.member.promise(successor))
        case control.Rotate():
            return msgspec.json.encode((await rotate(ledger, home)).value())
        case control.Replace():
            receipt = await replace_identity(ledger, home)
            return msgspec.json.encode(None if receipt is None else receipt.value())
        case control.Release(model, predictions, until):
            wanted = Wanted(model=model, predictions=predictions or None, until=until or None)
            return msgspec.json.encode(await release(ledger, wanted))
        case control.Transact(act, body):
            receipt = await ledger.transact(act, msgspec.json.decode(body))
            return msgspec.json.encode(receipt.value())


async def condition(member: LedgerEngine) -> control.Condition:
    """How a ledger member stands."""
    now = await member.condition()
    return control.Condition(
        leader=member.leader,
        halted=member.halted,
        engine=now.engine,
        height=now.height,
        last_block=now.last_block,
        voters=now.voters,
        connected=now.connected,
        trouble=now.trouble,
    )
