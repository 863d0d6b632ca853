"""Long random histories of signed transactions, the same for a seed: legal, refused, and some to be dropped.

Times lie so far ahead that no clock of a node reaches them: the contract's time stands still at the genesis
until then, so a history ends in the same state whenever a test runs it.
"""

import random

from parley.ledger.transaction import sign

from tests.contract import key
from tests.contract_moves import Driver

START = 4_000_000_000
DROPPED_IN = 20
"""One in so many is followed by something that must be dropped."""


class History:
    """Signed transactions, and the ledger they are meant for.

    Args:
        seed: of everything random.
        steps: how many transactions are to be executed.
        founding: fields of the genesis that differ.
    """

    def __init__(self, seed, steps, **founding):
        self.random = random.Random(seed)
        driver = Driver(self.random.choice, START, **founding)
        self.spec = driver.ledger.spec
        self.driver = driver
        self.signed = []
        self.bad = []
        for _ in range(steps):
            self._step()

    def _step(self):
        transaction = self.driver.next()
        self.driver.ledger.execute(transaction)
        kind = "invitation" if transaction.type == "member.join" else "signing"
        signer = key(transaction.sender, kind)
        data = sign(transaction, signer).data
        self.signed.append(data)
        if self.random.randrange(DROPPED_IN) == 0:
            bad = self.random.choice((_broken, _forged, _again))(self, data)
            self.signed.append(bad)
            self.bad.append(bad)


def _broken(history, data):
    return data[: history.random.randrange(len(data))]


def _forged(history, data):
    place = data.index(b'"signature":"') + 13 + history.random.randrange(128)
    return data[:place] + (b"0" if data[place : place + 1] != b"0" else b"1") + data[place + 1 :]


def _again(history, _):
    return history.random.choice([data for data in history.signed if data not in history.bad])
