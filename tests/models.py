"""Models on a ledger whose members are all here: real homes, real logs, conversations in memory."""

import hashlib
from contextlib import asynccontextmanager
from dataclasses import dataclass

from parley.data.bins import NumericBins
from parley.learn.parameters import BoostingParameters
from parley.learn.shares import ActiveShare, Column, PassiveShare, encode_share
from parley.learn.trees import SplitRule, Tree, TreeLeaf, TreeSplit
from parley.ledger.contract import consortium_id, plan_id
from parley.ledger.contract.plans import Terms
from parley.party.ledger import PartyLedger
from parley.store.home import Home, Membership
from parley.store.keys import LedgerKeys
from parley.store.settings import Settings

from tests.contract import digest, grant, terms
from tests.ledger.members import Consortium, genesis_of, key

NOW = 1_790_000_100
DAY = 86_400
UNTIL = NOW + 30 * DAY
RUN = "run-1"
OWNERS = ("bank", "operator")

SPLIT = TreeSplit(node=0, left=1, owner=1, column=0, split=0, gain=2.0)
SHARES = {
    "bank": ActiveShare(
        model=RUN,
        party="bank",
        owners=OWNERS,
        parameters=BoostingParameters(n_estimators=1),
        outputs=1,
        classes=("0", "1"),
        initial=(-0.5,),
        trees=(Tree(0, (SPLIT,), (TreeLeaf(1, 0.25), TreeLeaf(2, -0.125))),),
        columns=(Column("limit", NumericBins((1.0,))),),
        rules=(),
    ),
    "operator": PassiveShare(
        model=RUN,
        party="operator",
        columns=(Column("age", NumericBins((30.0, 40.0))),),
        rules=(SplitRule(0, (0, 1)),),
    ),
}


def keys_of(name):
    return LedgerKeys(*(key(name, kind) for kind in ("signing", "cosigning", "recovery")))


@dataclass(frozen=True)
class Owners:
    """Bank and operator, each with a home that holds its piece, and with its ledger."""

    homes: dict[str, Home]
    ledgers: dict[str, PartyLedger]

    async def do(self, party, type_, body):
        return await self.ledgers[party].demand(type_, body)

    async def trained(self, *, predictions=1000, granted_until=None):
        """A model whose run has finished; by a grant of the operator's if one is to be given."""
        for owner in OWNERS:
            table = {"name": "table", "schema": digest("s"), "rows": 14, "root": digest(owner)}
            await self.do(owner, "table.register", table)
        asked = terms(predictions=predictions, until=UNTIL)
        plan = plan_id("bank", Terms.of(asked))
        await self.do("bank", "plan.propose", {"terms": asked})
        if granted_until is None:
            await self.do("operator", "plan.approve", {"plan": plan})
        else:
            given = await self.do("operator", "grant.give", grant(until=granted_until))
            await self.do("bank", "grant.use", {"grant": given.transaction, "plan": plan})
        await self.do("bank", "run.propose", {"run": RUN, "plan": plan})
        await self.do("bank", "run.start", {"run": RUN})
        for owner in OWNERS:
            said = {"run": RUN, "rows": 500, "root": digest(owner), "messages": 3}
            await self.do(owner, "run.align", said)
        shares = {owner: hashlib.sha256(encode_share(SHARES[owner])).hexdigest() for owner in OWNERS}
        metrics = [{"name": "joint.auc", "ppm": 780_000}]
        await self.do("bank", "run.finish", {"run": RUN, "share": shares["bank"], "metrics": metrics})
        await self.do("operator", "run.share", {"run": RUN, "share": shares["operator"]})
        return plan


@asynccontextmanager
async def owners(folder):
    """Both, with a ledger that orders at once."""
    homes = {}
    spec = genesis_of(OWNERS)
    for name in OWNERS:
        home = homes[name] = Home.create(folder / name, Settings(party=name, listen=""))
        home.keep_membership(Membership(consortium_id(spec), "bank"))
        home.keep_share(SHARES[name])
    (folder / "logs").mkdir()
    for name in OWNERS:
        (homes[name].path / "ledger").mkdir()
        (folder / "logs" / name).symlink_to(homes[name].path / "ledger")
    async with Consortium(folder / "logs", OWNERS, spec=spec, wall=lambda: NOW) as members:
        ledgers = {name: PartyLedger(members.members[name], keys_of(name)) for name in OWNERS}
        yield Owners(homes, ledgers)
