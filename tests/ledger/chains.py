"""The contract's application driven without a node: decided blocks go in, as CometBFT would give them."""

import json

from parley.ledger.engines.cometbft.application import Genesis, ValidatorPower
from parley.ledger.engines.cometbft.beginning import Beginning, Founding
from parley.ledger.engines.cometbft.contract_application import ContractApplication
from parley.ledger.engines.cometbft.keys import node_id
from parley.ledger.engines.cometbft.log import ChainLog
from parley.ledger.engines.cometbft.validators import POWER

from tests.contract import key

NEWCOMER = node_id(key("insurer", "node").public)
SECOND = 10**9
NODES = {name: node_id(key(name, "node").public) for name in ("bank", "operator", "retailer", "regulator")}


class Chain:
    """One party's application with its log, and the heights and times that a node would give it."""

    def __init__(self, folder, name="bank", beginning=None):
        self.folder, self.name = folder, name
        self.beginning = beginning
        self.open()

    def open(self):
        self.log = ChainLog(self.folder, self.name, key(self.name, "cosigning"))
        self.application = ContractApplication(self.log)

    def reopen(self):
        """As after a crash: only what was committed is left."""
        self.log.store.close()
        self.open()
        if not self.application.info().height:
            self.begin()

    def begin(self, validators=None):
        chosen = validators or [
            ValidatorPower(key(name, "cosigning").public, POWER) for name in sorted(NODES)
        ]
        state = json.dumps(self.beginning.app_state()).encode()
        return self.application.init_chain(Genesis("test", 0, 1, tuple(chosen), state))

    @property
    def height(self):
        return self.application.info().height

    def finalize(self, txs, seconds=None):
        at = self.height + 1
        time = (seconds or 1_790_000_000 + at) * SECOND
        return self.application.finalize(txs, at, time, (), b"")

    def decide(self, txs, seconds=None):
        """Finalize and commit a block."""
        result = self.finalize(txs, seconds)
        self.application.commit()
        assert self.application.info().app_hash == result.app_hash
        return result

    def propose(self, txs, max_bytes=1 << 22):
        """What we would propose, voted for by ourselves."""
        at = self.height + 1
        time = (1_790_000_000 + at) * SECOND
        chosen = self.application.prepare(txs, max_bytes, at, time)
        assert self.application.process(chosen, at, time)
        return chosen

    @property
    def leaves(self):
        return [leaf.data for leaf in self.log.store.leaves(0, self.log.size)]

    @property
    def roots(self):
        return self.log.replica.frontier.root(), self.log.replica.state.root


def founded(folder, spec, name="bank"):
    """A chain that begins with a genesis."""
    chain = Chain(folder, name, Beginning(Founding(spec.value()), NODES))
    chain.begin()
    return chain
