"""Whatever is sent, in whatever order: the invariants of the contract hold.

A shadow of the history is kept from accepted transactions alone and compared with what the state says.
"""

from collections import defaultdict

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from parley.ledger.contract import Block, apply
from parley.ledger.contract.transitions import TERMINAL
from parley.ledger.encoding import decode, encode

from tests.contract import HOLDERS, plan_of
from tests.contract_moves import RUNS, Driver

STARTS = (
    "table.register",
    "plan.propose",
    "plan.approve",
    "grant.give",
    "grant.use",
    "vote.propose",
    "vote.cast",
    "run.propose",
    "run.start",
    "run.align",
    "round.commit",
    "rounds.commit",
    "run.resume",
    "run.finish",
    "run.share",
    "model.release",
    "model.merge",
    "prediction.commit",
)


class Contract(RuleBasedStateMachine):
    """Executes moves and watches."""

    @staticmethod
    def choice(data):
        return lambda options: options[data.draw(st.integers(0, len(options) - 1))]

    @initialize(data=st.data())
    def begin(self, data):
        self.driver = Driver(self.choice(data))
        self.ledger = self.driver.ledger
        self.digests = set()
        self.approved = defaultdict(set)
        self.plan_of_run = {}
        self.commitments = defaultdict(dict)
        self.ended = {}
        self.granted = defaultdict(lambda: [0, 0])
        self.batches = defaultdict(int)
        self.merging = defaultdict(dict)
        self.merged = set()

    @rule(data=st.data(), wait=st.sampled_from((1, 1, 1, 1, 1, 1, 4000)))
    def send(self, data, wait):
        ledger, state = self.ledger, self.ledger.state
        self.driver.choose = self.choice(data)
        transaction = self.driver.next()
        ledger.height, ledger.time = ledger.height + 1, ledger.time + wait
        outcome = apply(state, transaction, Block(ledger.height, ledger.time))
        receipt = outcome.receipt
        # each receipt belongs to one transaction, and each transaction has one
        assert receipt.transaction == transaction.digest.hex()
        assert receipt.transaction not in self.digests
        self.digests.add(receipt.transaction)
        assert receipt.number == len(self.digests)
        # what is written has an encoding, and is what it says
        for _, value in outcome.writes:
            assert value is None or decode(encode(value)) == value
        if receipt.accepted:
            self.accept(transaction, state)
        else:
            # a refusal writes nothing but numbering
            assert all(path == "meta/count" or path.startswith("seen/") for path, _ in outcome.writes)
        state.write(outcome.writes)

    def accept(self, transaction, state):  # noqa: C901
        body, sender, kind = transaction.body, transaction.sender, transaction.type
        # a suspended member starts nothing
        if kind in STARTS:
            assert state.get(f"member/{sender}")["standing"] == "active"
        match kind:
            case "plan.propose":
                self.approved[plan_of(sender, body["terms"])] |= {sender} & HOLDERS.keys()
            case "plan.approve":
                self.approved[body["plan"]].add(sender)
            case "grant.use":
                self.use_grant(body, state)
            case "run.propose":
                assert body["run"] not in self.plan_of_run
                self.plan_of_run[body["run"]] = body["plan"]
            case "run.start" | "run.finish" | "run.share":
                self.check_approved(body["run"])
            case "run.align":
                self.commit(body["run"], 0, sender, body["root"])
            case "round.commit":
                self.commit(body["run"], body["round"], sender, body["root"])
            case "rounds.commit":
                self.commit_several(body, sender)
            case "prediction.commit":
                self.predict(body, state)
            case "model.merge":
                self.merge(body, sender, state)
            case "model.withdraw":
                self.merging.pop(body["model"], None)

    def check_approved(self, run):
        """No training before every owner approved that plan."""
        assert self.approved[self.plan_of_run[run]] >= HOLDERS.keys()

    def commit(self, run, number, sender, root):
        self.check_approved(run)
        made = self.commitments[run, sender]
        # one commitment for each run, round and party; rounds are contiguous
        assert number == len(made)
        made[number] = root

    def commit_several(self, body, sender):
        made = self.commitments[body["run"], sender]
        known = len(made) - body["first"]
        # what was committed to before stays as it is, and something is new
        for number, said in enumerate(body["rounds"][:known], body["first"]):
            assert made[number] == said["root"]
        assert known < len(body["rounds"])
        for number, said in enumerate(body["rounds"][known:], body["first"] + known):
            self.commit(body["run"], number, sender, said["root"])

    def use_grant(self, body, state):
        grant = state.get(f"grant/{body['grant']}")
        limits = state.get(f"plan/{body['plan']}")["terms"]["limits"]
        used = self.granted[body["grant"]]
        used[0] += limits["runs"]
        used[1] += limits["predictions"]
        # the quota of a grant is never exceeded
        assert used[0] <= grant["quota"]["runs"]
        assert used[1] <= grant["quota"]["predictions"]
        assert not grant["revoked"]
        self.approved[body["plan"]].add(grant["owner"])

    def predict(self, body, state):
        plan = self.plan_of_run[body["model"]]
        self.batches[plan] += body["count"]
        # nor are the predictions of a plan
        assert self.batches[plan] <= state.get(f"plan/{plan}")["terms"]["limits"]["predictions"]

    def merge(self, body, sender, state):
        name, receiver = body["model"], body["receiver"]
        assert receiver in HOLDERS
        assert state.get(f"model/{name}")["status"] in ("trained", "released")
        # a receiver holds the whole forest only if that is every owner's last word
        words = self.merging[name]
        words[sender] = receiver
        if set(words.values()) == {receiver} and words.keys() >= HOLDERS.keys():
            words.clear()
            self.merged.add(f"merged/{name}/{receiver}")

    @invariant()
    def merges_are_what_every_owner_said(self):
        state = self.ledger.state
        assert set(state.keys("merged/")) == self.merged
        waiting = {name: words for name, words in self.merging.items() if words}
        assert {path.split("/")[1] for path in state.keys("merge/")} == waiting.keys()

    @invariant()
    def ended_runs_stay_as_they_are(self):
        for name in RUNS:
            run = self.ledger.state.get(f"run/{name}")
            if name in self.ended:
                assert run == self.ended[name]
            elif run is not None and run["state"] in TERMINAL:
                self.ended[name] = run

    @invariant()
    def live_marks_are_those_of_live_runs(self):
        live = {path.split("/")[2] for path in self.ledger.state.keys("live/")}
        runs = {path: self.ledger.state.get(path) for path in self.ledger.state.keys("run/")}
        assert live == {path[4:] for path, run in runs.items() if run["state"] not in TERMINAL}

    @invariant()
    def the_state_knows_the_commitments(self):
        for name in RUNS:
            run = self.ledger.state.get(f"run/{name}")
            for party in HOLDERS if run else ():
                assert run["committed"][party] == len(self.commitments[name, party])

    @invariant()
    def runs_stay_within_their_plan(self):
        plans = list(self.plan_of_run.values())
        for plan in plans:
            limits = self.ledger.state.get(f"plan/{plan}")["terms"]["limits"]
            assert plans.count(plan) <= limits["runs"]


Contract.TestCase.settings = settings(max_examples=40, stateful_step_count=50, deadline=None)
TestContract = Contract.TestCase
