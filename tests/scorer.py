"""A scorer that needs no parties: what an id is called says what becomes of it."""

import asyncio

import msgspec

from parley.core.errors import BudgetExhausted, PeerLost, PolicyRefused, UsageError
from parley.serving.scores import Peerage, Score, Service

MODEL = "run-0123456789abcdef"
ERRORS = {
    "unknown": UsageError("unknown-ids", "operator does not have 1 id", remedy="leave it out"),
    "withdrawn": PolicyRefused("ledger-model-withdrawn", "it was withdrawn", remedy="ask for another"),
    "quota": PolicyRefused("ledger-quota-exceeded", "no prediction is left", remedy="agree on more"),
    "lost": PeerLost("peer-silent", "operator is silent", peer="operator", remedy="wait"),
    "full": BudgetExhausted("busy", "too many wait", remedy="wait"),
    "spent": BudgetExhausted("predictions-used-up", "no prediction is left", remedy="agree on more"),
    "disk": BudgetExhausted("disk-full", "a disk is full", remedy="free some space"),
    "source": UsageError("column-type", "a column holds text", remedy="correct the query"),
}


class Scripted:
    """An id that is a number is its own score; ``wait`` waits at the gate, others fail as `ERRORS` says."""

    def __init__(self, monitor):
        self._monitor = monitor
        self.gate = asyncio.Event()
        self.arrived = 0
        self.now = Service(
            model=MODEL,
            objective="binary",
            classes=("no", "yes"),
            fallback="refuse",
            quota=1_000_000,
            used=0,
            until=1 << 40,
            peers=(Peerage("operator", "ready", "", 200),),
        )

    def service(self):
        return self.now

    def change(self, **fields):
        self.now = msgspec.structs.replace(self.now, **fields)

    async def score(self, ids):
        self.arrived += 1
        if "wait" in ids:
            await self.gate.wait()
        if "crash" in ids:
            raise RuntimeError("secret text")
        for each in ids:
            if each in ERRORS:
                raise ERRORS[each]
        scores = [Score(id=each, basis="joint", score=_score(each), margin=(_score(each),)) for each in ids]
        self._monitor.answered(scores, 0.001)
        self._monitor.exchanged("operator", len(ids), 0.001)
        return scores


def _score(name):
    try:
        return float(name)
    except ValueError:
        return 0.5
