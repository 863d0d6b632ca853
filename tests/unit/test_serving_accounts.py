"""The party's accounts: a page becomes one batch, however often and by whomever it is asked for."""

import asyncio
from dataclasses import dataclass

from parley.ledger.contract import Receipt
from parley.ledger.contract.models import Model, Release
from parley.ledger.contract.predictions import Batch, batch_path
from parley.serving.accounts import Accounts


@dataclass
class Contract:
    """What the contract does with batches of one model, as a party's ledger shows it."""

    batches: list
    late: int = 0

    @property
    def draft(self):
        return self

    def find(self, kind, path):
        if kind is Model:
            release = Release(quota=10**9, until=1)
            fields = dict.fromkeys(Model.__struct_fields__)
            return Model(**(fields | {"release": release, "batches": len(self.batches)}))
        assert kind is Batch
        number = int(path.rsplit("/", 1)[1])
        assert path == batch_path("m", number)
        return Batch(self.batches[number], 1, 1)

    async def transact(self, _kind, body):
        if self.late:  # another batch of the model comes in between
            self.late -= 1
            self.batches.append(f"other-{self.late}")
        await asyncio.sleep(0)
        if body["batch"] != len(self.batches):
            return Receipt(1, "", "refused", "batch-gap", "another came in between")
        self.batches.append(body["root"])
        return Receipt(1, "", "accepted", "accepted", "")


def test_a_page_is_found_however_many_batches_came_after_it():
    contract = Contract([f"{number:064x}" for number in range(2000)])
    accounts = Accounts(contract)
    assert asyncio.run(accounts.enter("m", bytes.fromhex(f"{3:064x}"), 1)) == 3
    assert asyncio.run(accounts.enter("m", bytes.fromhex(f"{1999:064x}"), 1, since=1500)) == 1999
    assert len(contract.batches) == 2000


def test_a_batch_that_came_in_between_costs_another_attempt():
    contract = Contract([], late=3)
    assert asyncio.run(Accounts(contract).enter("m", b"\1" * 32, 1)) == 3
    assert contract.batches.count("01" * 32) == 1


def test_a_page_that_is_asked_for_many_times_at_once_is_entered_once():
    contract = Contract([])

    async def work():
        accounts = Accounts(contract)
        return await asyncio.gather(*(accounts.enter("m", b"\1" * 32, 1) for _ in range(5)))

    assert asyncio.run(work()) == [0] * 5
    assert len(contract.batches) == 1
