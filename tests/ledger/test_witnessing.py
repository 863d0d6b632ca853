"""Members on CometBFT sign one another's checkpoints, so that whoever has no chain sees what is final."""

import asyncio
import io
import time

import pytest

from parley.core.errors import ParleyError
from parley.core.trace import Trace
from parley.ledger.engines.cometbft.witnessing import Transactions, Witnessing
from parley.ledger.engines.embedded import gossip
from parley.ledger.engines.embedded.prove import Snapshot
from parley.ledger.export import export
from parley.ledger.verifier import verify
from parley.net.channel import CheckedChannel, Setting
from parley.net.memory import memory_pair
from parley.protocols.together import together

from tests.contract import spec
from tests.contract_moves import MEMBERS
from tests.ledger.chains import founded
from tests.ledger.test_contract_application import Signing

COMET = {"engine": "cometbft", "sequencer": None}
THREE = ("bank", "operator", "regulator")


class Member:
    """A member's ledger as the chain made it, and its side of the conversations."""

    def __init__(self, folder, name):
        self.name = name
        self.chain = founded(folder / name, spec(MEMBERS, **COMET), name)
        self.log, self.waiting, self.taken, self.lines = self.chain.log, (), [], []
        transactions = Transactions(lambda: self.waiting, self._take)
        self.witnessing = Witnessing(self.log, transactions, self.lines.append)

    async def _take(self, data):
        self.taken.append(data)

    async def call(self, other):
        near, far = memory_pair(self.name, other.name)
        async with asyncio.timeout(20):
            await together(
                _talk(near, gossip.CALLER, self.witnessing.as_caller),
                _talk(far, gossip.CALLED, other.witnessing.as_called),
            )


async def _talk(end, role, side):
    setting = Setting(gossip.STEPS, role, "ledger", Trace(time.monotonic), 20.0)
    async with CheckedChannel(end, setting) as channel:
        await side(channel)


@pytest.fixture
def members(tmp_path):
    three = [Member(tmp_path, name) for name in THREE]
    yield three
    for member in three:
        member.log.store.close()


def decide(members, *txs):
    for member in members:
        member.chain.decide(list(txs))


def exported(member):
    file = io.BytesIO()
    export(Snapshot(member.log), file)
    return verify(file.getvalue().splitlines(keepends=True))


async def test_a_checkpoint_gathers_signatures_until_a_majority_has_signed(members):
    bank, operator, regulator = members
    decide(members, Signing().table())
    assert (bank.log.size, exported(bank).final) == (2, 0)
    await bank.call(operator)
    assert (bank.log.cosigned_size, operator.log.cosigned_size) == (0, 0)  # two of four are no majority
    await bank.call(regulator)
    assert bank.log.cosigned_size == regulator.log.cosigned_size == 2
    found = exported(bank)
    assert (found.final, found.cosigners) == (2, THREE)
    bank.chain.reopen()
    assert bank.chain.log.cosigned_size == 2


async def test_a_member_that_is_further_on_signs_what_the_other_has(members):
    bank, operator, regulator = members
    ledger = Signing()
    decide(members, ledger.table())
    decide((operator, regulator), ledger.table(name="more"))
    for other in (operator, regulator):
        await bank.call(other)
    assert bank.log.cosigned_size == 2
    assert operator.log.cosigned_size == 0


async def test_a_member_with_another_ledger_is_told_and_its_signature_does_not_count(members):
    bank, operator, _ = members
    ledger = Signing()
    bank.chain.decide([ledger.table()])
    operator.chain.decide([ledger.table(name="other")])
    with pytest.raises(ParleyError, match="log-differs"):
        await bank.call(operator)
    assert bank.log.cosigned_size == 0


async def test_a_transaction_that_does_not_come_in_is_given_to_the_other(members):
    bank, operator, _ = members
    bank.waiting = (Signing().table(),)
    await operator.call(bank)
    assert operator.taken == list(bank.waiting)
