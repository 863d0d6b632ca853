"""Moves for tests of the contract that try many: sensible ones, and plausible ones that are forbidden."""

from tests.contract import (
    DAY,
    HOLDERS,
    START,
    Ledger,
    alignment,
    digest,
    finish,
    grant,
    key,
    plan_of,
    release,
    round_of,
    rounds_of,
    terms,
)

MEMBERS = {"bank": "holder", "operator": "holder", "retailer": "holder", "regulator": "observer"}
RUNS = ("r0", "r1", "r2")
NEWCOMER = {kind: key("insurer", kind).public.hex() for kind in ("signing", "cosigning", "recovery")}


def plans(start):
    bounds = {"until": start + 30 * DAY}
    return (
        ("bank", terms(runs=2, rounds=3, predictions=50, **bounds)),
        ("bank", terms(runs=1, rounds=2, columns=("age",), predictions=0, **bounds)),
        ("regulator", terms(runs=2, rounds=3, predictions=30, **bounds)),
    )


class Driver:
    """Chooses transactions. ``choose`` picks one of a list; Hypothesis or a seeded generator is behind it."""

    def __init__(self, choose, start=START, **founding):
        self.ledger = Ledger(MEMBERS, time=start, **founding)
        self.start = start
        self.plans = plans(start)
        self.choose = choose
        self.sent = 0

    def next(self):
        """A transaction for the state as it is."""
        build = self.choose((*[self._sensible] * 12, *[self._any] * 5, *[self._tempting] * 4, self._vote))
        sender, kind, body = build()
        self.sent += 1
        signer = key("insurer", "invitation") if kind == "member.join" else None
        return self.ledger.transaction(sender, kind, body, signer=signer, nonce=f"n{self.sent}")

    def _sensible(self):  # noqa: PLR0911
        """What a party that follows the rules might do next."""
        state = self.ledger.state
        proposer, body = self.choose(self.plans)
        plan = plan_of(proposer, body)
        tables = {owner: state.get(f"table/{owner}/table") for owner in HOLDERS}
        missing = [owner for owner, table in tables.items() if not table or table["status"] == "withdrawn"]
        if state.get("member/operator")["standing"] == "suspended":
            return self._vote()
        if missing:
            return self._table(missing[0])
        live = [state.get(path) for path in state.keys("run/") if state.get(path)["left"] is None]
        if live and self.choose((True, True, False)):
            run = self.choose(live)
            return self._further(run["id"], run)
        if state.get(f"plan/{plan}") is None:
            return proposer, "plan.propose", {"terms": body}
        if state.get(f"plan/{plan}")["status"] == "open":
            owner = self.choose([o for o in HOLDERS if o not in state.get(f"plan/{plan}")["approvals"]])
            if not list(state.keys("grant/")) and self.choose((True, False)):
                return "operator", "grant.give", grant(runs=2, predictions=90, until=self.start + 30 * DAY)
            given = self._known("grant/")
            by_grant = (proposer, "grant.use", {"grant": given, "plan": plan})
            return self.choose((by_grant, (owner, "plan.approve", {"plan": plan})))
        name = self.choose(RUNS)
        run = state.get(f"run/{name}")
        if run is None:
            return proposer, "run.propose", {"run": name, "plan": plan}
        return self._further(name, run)

    def _further(self, name, run):  # noqa: PLR0911
        """A next step of a run."""
        behind = min(sorted(run["committed"]), key=lambda party: run["committed"][party])
        number = run["committed"][behind]
        model = self.ledger.state.get(f"model/{name}")
        match run["state"]:
            case "approved":
                return run["active"], "run.start", {"run": name}
            case "aligning":
                return behind, "run.align", alignment(name, behind)
            case "training" if number < run["limits"]["rounds"]:
                last = self.choose((number, number, min(number + 2, run["limits"]["rounds"])))
                several = (behind, "rounds.commit", rounds_of(name, max(number - 1, 1), last, behind))
                return self.choose(((behind, "round.commit", round_of(name, number, behind)), several))
            case "training":
                return run["active"], "run.finish", finish(name)
            case "finishing":
                return "operator", "run.share", {"run": name, "share": digest("share")}
            case "paused":
                return run["paused_by"], "run.resume", {"run": name}
            case "finished" if model["status"] == "trained":
                return (
                    self.choose(sorted(HOLDERS)),
                    "model.release",
                    release(name, 20, until=self.start + 20 * DAY),
                )
            case "finished" if model["status"] == "released" and self.choose((True, False)):
                body = {"model": name, "receiver": self.choose(("bank", "bank", "operator"))}
                return self.choose(sorted(HOLDERS)), "model.merge", body
            case "finished":
                return self._batch(name, model["batches"])
        return self._any()

    def _any(self):
        """Any sender, any type, anything known."""
        name, sender = self.choose(RUNS), self.choose(sorted(MEMBERS))
        party = self.choose(sorted(HOLDERS))
        proposer, body = self.choose(self.plans)
        plan = plan_of(proposer, body)
        number = self.choose((1, 2, 3))
        root = self.choose((None, digest("other")))
        kind, content = self.choose(
            (
                ("run.propose", {"run": name, "plan": plan}),
                ("run.start", {"run": name}),
                ("run.align", alignment(name, party, root=root)),
                ("round.commit", round_of(name, number, party, root)),
                ("rounds.commit", rounds_of(name, number, number + self.choose((0, 1, 5)), party, root)),
                ("run.finish", finish(name)),
                ("run.share", {"run": name, "share": digest("share")}),
                ("run.pause", {"run": name, "reason": "pause"}),
                ("run.resume", {"run": name}),
                ("run.cancel", {"run": name, "reason": "enough"}),
                ("run.fail", {"run": name, "reason": "memory"}),
                ("run.expire", {"run": name}),
                ("plan.propose", {"terms": body}),
                ("plan.approve", {"plan": plan}),
                ("plan.reject", {"plan": plan, "why": "no"}),
                ("plan.withdraw", {"plan": plan, "why": "no more"}),
                ("table.withdraw", {"name": "table"}),
                ("model.withdraw", {"model": name}),
                ("model.release", release(name, self.choose((1, 20, 60)), self.start + 20 * DAY)),
                ("model.merge", {"model": name, "receiver": self.choose((party, "retailer", "nobody"))}),
                ("prediction.commit", self._batch(name, self.choose((0, 1, 2)))[2]),
                ("grant.give", grant(runs=self.choose((1, 2)), predictions=60, until=self.start + 30 * DAY)),
                ("grant.give", grant(runs=2, predictions=90, until=self.start + 30 * DAY)),
                ("grant.use", {"grant": self._known("grant/"), "plan": plan}),
                ("grant.revoke", {"grant": self._known("grant/")}),
                ("vote.propose", {"subject": self._subject(party), "until": self.start + DAY}),
                (
                    "vote.cast",
                    {"proposal": self._known("proposal/"), "ballot": self.choose(("yes", "no"))},
                ),
                ("member.join" if self._invited() else "no.such", NEWCOMER),
                ("conduct.record", {"run": name}),
                ("no.such", {}),
            )
        )
        return ("insurer" if kind == "member.join" else sender), kind, content

    def _tempting(self):
        """What almost may be done."""
        state, root = self.ledger.state, digest("other")
        proposer, body = self.choose(self.plans)
        plan = plan_of(proposer, body)
        options = [(proposer, "run.propose", {"run": f"{plan[:8]}-{self.sent}", "plan": plan})]
        for name in RUNS:
            run = state.get(f"run/{name}") or {"committed": {}, "active": "bank"}
            for party, due in sorted(run["committed"].items()):
                options.append((party, "round.commit", round_of(name, due + 1, party)))
                options.append((party, "rounds.commit", rounds_of(name, due + 1, due + 2, party)))
                if due > 1:
                    options.append((party, "rounds.commit", rounds_of(name, due - 1, due, party, root)))
                    options.append((party, "round.commit", round_of(name, due - 1, party, root)))
                options.append((party, "run.align", alignment(name, party, root=root)))
            moves = ("run.start", "run.finish", "run.cancel", "run.pause")
            extra = {"run.finish": finish(name), "run.start": {"run": name}}
            options += [
                (run["active"], kind, extra.get(kind, {"run": name, "reason": "x"})) for kind in moves
            ]
            batches = (state.get(f"model/{name}") or {"batches": 0})["batches"]
            batch = {"model": name, "batch": batches, "root": root, "count": 45}
            options.append(("bank", "prediction.commit", batch))
        if state.get("member/operator")["standing"] == "suspended":
            table = {"name": "another", "schema": root, "rows": 1, "root": root}
            ballot = {"proposal": self._known("proposal/"), "ballot": "yes"}
            return self.choose(
                (
                    ("operator", "table.register", table),
                    ("operator", "vote.cast", ballot),
                    ("operator", "grant.give", grant(until=self.start + 30 * DAY)),
                    ("operator", "plan.approve", {"plan": plan}),
                )
            )
        return self.choose(options)

    def _vote(self):
        """A ballot that is still missing, or a new vote about the operator."""
        values = self.ledger.state.values
        proposals = [values[path] for path in self.ledger.state.keys("proposal/")]
        missing = [
            (voter, "vote.cast", {"proposal": proposal["id"], "ballot": "yes"})
            for proposal in proposals
            if proposal["status"] == "open"
            for voter in proposal["electorate"]
            if voter not in proposal["ballots"]
        ]
        if missing:
            return self.choose(missing)
        kind = "suspend" if values["member/operator"]["standing"] == "active" else "reinstate"
        subject = {"kind": kind, "member": "operator", "why": "x"}
        return "bank", "vote.propose", {"subject": subject, "until": self.start + DAY}

    def _subject(self, member):
        return self.choose(
            (
                {"kind": "suspend", "member": member, "why": "x"},
                {"kind": "reinstate", "member": member, "why": "x"},
                {
                    "kind": "admit",
                    "member": "insurer",
                    "role": "holder",
                    "invitation": key("insurer", "invitation").public.hex(),
                    "until": self.start + DAY,
                },
            )
        )

    def _invited(self):
        return self.ledger.state.get("member/insurer") is not None

    def _known(self, prefix):
        """The last part of one of the paths below ``prefix``, or of none."""
        paths = [path.split("/")[1] for path in self.ledger.state.keys(prefix)]
        return self.choose(paths) if paths else digest("none")

    def _batch(self, name, number):
        count = self.choose((1, 9, 15))
        return (
            "bank",
            "prediction.commit",
            {"model": name, "batch": number, "root": digest("b"), "count": count},
        )

    def _table(self, owner):
        body = {"name": "table", "schema": digest("s"), "rows": 12, "root": digest(owner)}
        return owner, "table.register", body
