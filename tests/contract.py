"""A ledger in memory for tests of the contract: no engine, no log, just the state and the rules."""

import hashlib
from bisect import bisect_left, insort

from parley.crypto.signatures import SigningKey
from parley.ledger.contract import Block, Founder, Genesis, apply, consortium_id, genesis, plan_id
from parley.ledger.contract.plans import Terms
from parley.ledger.contract.rules import NEWEST
from parley.ledger.encoding import encode
from parley.ledger.transaction import Transaction, sign

START = 1_700_000_000
DAY = 86_400
HOLDERS = {"bank": "holder", "operator": "holder"}
WITH_REGULATOR = {**HOLDERS, "regulator": "observer"}


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def key(member, kind, generation=0):
    return SigningKey.from_seed(hashlib.sha256(f"{member}/{kind}/{generation}".encode()).digest())


class State:
    """The canonical state as a sorted mapping."""

    def __init__(self, values=()):
        self.values = dict(values)
        self._keys = sorted(self.values)

    def get(self, path):
        return self.values.get(path)

    def keys(self, prefix):
        at = bisect_left(self._keys, prefix)
        while at < len(self._keys) and self._keys[at].startswith(prefix):
            yield self._keys[at]
            at += 1

    def write(self, writes):
        for path, value in writes:
            if value is None:
                if self.values.pop(path, None) is not None:
                    self._keys.remove(path)
            else:
                if path not in self.values:
                    insort(self._keys, path)
                self.values[path] = value

    def copy(self):
        return State(self.values)

    def digest(self):
        lines = [encode([path, self.values[path]]) for path in self._keys]
        return hashlib.sha256(b"\n".join(lines)).hexdigest()


def spec(members=WITH_REGULATOR, **changes):
    founders = tuple(
        Founder(
            name=name,
            role=role,
            signing=key(name, "signing").public.hex(),
            cosigning=key(name, "cosigning").public.hex(),
            recovery=key(name, "recovery").public.hex(),
        )
        for name, role in sorted(members.items())
    )
    fields = {
        "name": "Test",
        "founders": founders,
        "time": START,
        "nonce": "0",
        "sequencer": founders[0].name,
        "version": NEWEST,
    }
    return Genesis(**{**fields, **changes})


class Ledger:
    """Applies transactions one after the other, each in a block of its own, a second apart."""

    def __init__(self, members=WITH_REGULATOR, **changes):
        founded = spec(members, **changes)
        self.spec = founded
        self.consortium = consortium_id(founded)
        self.state = State()
        self.state.write(genesis(founded))
        self.height = 0
        self.time = founded.time
        self.receipts = []
        self.history = []

    def transaction(self, sender, kind, body, *, signer=None, expires=None, nonce=None):
        signer = signer or key(sender, "signing")
        return Transaction(
            consortium=self.consortium,
            sender=sender,
            key=signer.key_id,
            type=kind,
            body=body,
            expires=self.height + 100 if expires is None else expires,
            nonce=digest(f"{len(self.history)}" if nonce is None else nonce)[:32],
        )

    def signed(self, sender, kind, body, *, signer=None, **options):
        signer = signer or key(sender, "signing")
        return sign(self.transaction(sender, kind, body, signer=signer, **options), signer)

    def execute(self, transaction):
        self.height += 1
        self.time += 1
        block = Block(self.height, self.time)
        outcome = apply(self.state, transaction, block)
        self.state.write(outcome.writes)
        self.receipts.append(outcome.receipt)
        self.history.append((transaction, block))
        return outcome.receipt

    def send(self, sender, kind, body, **options):
        return self.execute(self.transaction(sender, kind, body, **options))

    def do(self, sender, kind, body, **options):
        """Send what must be accepted; the digest of the transaction."""
        receipt = self.send(sender, kind, body, **options)
        assert receipt.accepted, receipt
        return receipt.transaction

    def refuses(self, code, sender, kind, body, **options):
        """Send what must be refused."""
        receipt = self.send(sender, kind, body, **options)
        assert (receipt.status, receipt.code) == ("refused", code), receipt

    def __getitem__(self, path):
        return self.state.get(path)

    # ── the usual course ──────────────────────────────────────────────────────────────────────────────

    def register(self, owner, table="table"):
        self.do(
            owner,
            "table.register",
            {"name": table, "schema": digest("schema"), "rows": 14, "root": digest(owner)},
        )

    def vote(self, subject, *voters, proposer="bank"):
        """Propose and let others say yes; the path of the proposal."""
        proposal = self.do(proposer, "vote.propose", {"subject": subject, "until": self.time + DAY})
        for voter in voters:
            self.do(voter, "vote.cast", {"proposal": proposal, "ballot": "yes"})
        return f"proposal/{proposal}"

    def plan(self, *, approve=True, **changes):
        """Register tables where none are, propose a plan of bank and operator, and approve it."""
        for owner in HOLDERS:
            if self[f"table/{owner}/table"] is None:
                self.register(owner)
        body = terms(**changes)
        self.do("bank", "plan.propose", {"terms": body})
        plan = plan_of("bank", body)
        if approve:
            self.do("operator", "plan.approve", {"plan": plan})
        return plan

    def aligning(self, run="run-1", **changes):
        """A run whose alignment has begun."""
        plan = self.plan(**changes)
        self.do("bank", "run.propose", {"run": run, "plan": plan})
        self.do("bank", "run.start", {"run": run})
        return plan

    def training(self, run="run-1", **changes):
        """A run whose training has begun."""
        plan = self.aligning(run, **changes)
        for party in HOLDERS:
            self.do(party, "run.align", alignment(run, party))
        return plan

    def model(self, run="run-1", **changes):
        """A run that is finished after one round."""
        plan = self.training(run, **changes)
        for party in HOLDERS:
            self.do(party, "round.commit", round_of(run, 1, party))
        self.do("bank", "run.finish", finish(run))
        self.do("operator", "run.share", {"run": run, "share": digest("operator's share")})
        return plan

    def released(self, run="run-1", quota=100, **changes):
        """A model that is released."""
        plan = self.model(run, **changes)
        for party in HOLDERS:
            self.do(party, "model.release", release(run, quota))
        return plan


def terms(*, purpose="credit scores", algorithm="boosted-trees", columns=("age", "income"), **limits):
    bounds = {"rows": 10_000, "rounds": 20, "runs": 3, "predictions": 1000, "until": START + 30 * DAY}
    return {
        "document": digest("plan"),
        "purpose": purpose,
        "algorithm": algorithm,
        "parts": [
            {"party": "bank", "table": "table", "columns": ["limit"], "label": "default"},
            {"party": "operator", "table": "table", "columns": list(columns), "label": None},
        ],
        "limits": {**bounds, "patience": 3600, **limits},
        "learns": digest("leakage"),
    }


def plan_of(proposer, body):
    return plan_id(proposer, Terms.of(body))


def alignment(run, party, rows=5000, root=None):
    return {"run": run, "rows": rows, "root": root or digest(f"{party}/0"), "messages": 12}


def round_of(run, number, party, root=None):
    return {"run": run, "round": number, "root": root or digest(f"{party}/{number}"), "messages": 40}


def rounds_of(run, first, last, party, root=None):
    said = [
        {key: round_of(run, number, party, root)[key] for key in ("root", "messages")}
        for number in range(first, last + 1)
    ]
    return {"run": run, "first": first, "rounds": said}


def finish(run):
    return {"run": run, "share": digest("bank's share"), "metrics": [{"name": "auc", "ppm": 780_000}]}


def release(run, quota=100, until=START + 20 * DAY):
    return {"model": run, "release": {"quota": quota, "until": until}}


def grant(columns=("age", "income"), runs=3, predictions=1000, until=START + 30 * DAY):
    return {
        "kind": {
            "proposer": "bank",
            "algorithm": "boosted-trees",
            "purpose": "credit scores",
            "table": "table",
            "columns": list(columns),
        },
        "runs": runs,
        "predictions": predictions,
        "until": until,
    }
