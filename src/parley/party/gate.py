"""What the ledger holds a run to, at one party.

Before anything is aligned the run stands on the ledger as started, under a plan that every owner of a
table in it approved. While it lasts, every round of it is committed, see `commitments`; the run waits for
the ledger only here: at the start, when it goes on after an interruption, and at the end.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from parley.core.errors import ParleyError, PeerLost, PolicyRefused
from parley.core.plan import Plan
from parley.learn.parameters import boosting_parameters
from parley.ledger.contract.grants import Grant
from parley.ledger.contract.plans import Approval, Terms, approval_path, plan_id, plan_path
from parley.ledger.contract.plans import Plan as LedgerPlan
from parley.ledger.contract.runs import Run
from parley.ledger.contract.transitions import RESUMABLE, TERMINAL, State
from parley.ledger.encoding import Value
from parley.party.awaiting import Awaiting
from parley.party.commitments import Commitments
from parley.party.failures import cancels
from parley.party.ledger import PartyLedger, check_accepted
from parley.party.report import Quality
from parley.privacy.leakage import statement
from parley.store.journal import Journal

DAY: Final = 86_400
APPROVAL: Final = 600.0
"""Seconds the active party waits for approvals."""
STARTED: Final = 10.0
"""Seconds that our own ledger may be behind with the start of a run, and again until that is final."""
_HANDED_IN: Final = "share-known"
"""Refusal of a model share that the ledger has."""
_PROPOSED: Final = "run-known"
"""Refusal of a run that was proposed before our last stop."""
_BRIEFLY: Final = 5.0
"""Seconds to wait for the ledger when a run stands still or has failed: it may be what does not answer."""


def terms_of(plan: Plan, features: Mapping[str, Iterable[str]], now: int) -> Terms:
    """The plan as it stands on the ledger.

    The end of its term falls on midnight (UTC), so that proposing it twice on a day is one plan.

    Args:
        plan: the complete plan.
        features: columns by party where the plan names none, as far as we know them.
        now: seconds since 1970.
    """
    rounds = boosting_parameters(plan.model).n_estimators + 1
    parts: list[Value] = [
        {
            "party": party,
            "table": part.table,
            "columns": sorted(part.columns or features.get(party, ())),
            "label": part.label,
        }
        for party, part in sorted(plan.parties.items())
    ]
    limits: Value = {
        "rows": plan.limits.rows,
        "rounds": rounds,
        "runs": plan.limits.runs,
        "predictions": plan.limits.predictions,
        "until": (now // DAY + 1 + plan.limits.days) * DAY,
        "patience": plan.limits.patience,
    }
    return Terms.of(
        {
            "document": plan.digest,
            "purpose": plan.purpose,
            "algorithm": plan.algorithm,
            "parts": parts,
            "limits": limits,
            "learns": hashlib.sha256(statement().encode()).hexdigest(),
        }
    )


def stands_for(terms: Terms, plan: Plan) -> bool:
    """Whether the terms that the owners read and approved say what the plan says, in every field.

    Left open are the end of the term, which the proposal's day decides, and the active party's own columns
    where the plan names none. Where it names none of ours, the terms must not pretend that it does.
    """
    said = terms_of(plan, {}, 0)
    if (terms.document, terms.parties) != (plan.digest, said.parties):
        return False
    parts = tuple(
        part.but(columns=()) if part.party == plan.active and not plan.parties[part.party].columns else part
        for part in terms.parts
    )
    return terms.but(parts=parts, limits=terms.limits.but(until=said.limits.until)) == said


@dataclass(frozen=True)
class Asked:
    """A plan that stands on the ledger.

    Attributes:
        plan: its id.
        terms: what it says.
        refused: in words, which standing grants the contract refused.
    """

    plan: str
    terms: Terms
    refused: str


class Gate:
    """One party's hold on one attempt at a run.

    Args:
        ledger: of the party.
        run: identifier.
        journal: keeps what the party commits to.
    """

    def __init__(self, ledger: PartyLedger, run: str, journal: Journal) -> None:
        self.ledger = ledger
        self.run = run
        self._awaited = Awaiting(ledger, run)
        self._commitments = Commitments(self._awaited, journal)

    # ── the start ─────────────────────────────────────────────────────────────────────────────────────

    async def ask(self, terms: Terms) -> "Asked":
        """As the active party: have the plan on the ledger, approved by us and by standing grants.

        Raises:
            PolicyRefused: the contract refuses.
        """
        me = self.ledger.member.name
        plan = await self._propose(terms)
        if self._approval(plan, me) is None:
            await self.ledger.demand("plan.approve", {"plan": plan})
        return Asked(plan, terms, await self._use_grants(plan))

    def is_approved(self, asked: "Asked") -> bool:
        """Whether every owner of a table in the plan has approved it."""
        return self.ledger.draft.known(LedgerPlan, plan_path(asked.plan)).status == "approved"

    async def approval(self, asked: "Asked", patience: float, tell: Callable[[str], None]) -> None:
        """Wait until every owner has approved the plan.

        Raises:
            PolicyRefused: an owner rejects it, or says nothing for ``patience`` seconds.
        """
        await self._wait_approved(asked.plan, asked.terms, patience, _Telling(tell, asked.refused))

    async def start(self, asked: "Asked") -> None:
        """Have the run started, as far as it was not before our last stop.

        Raises:
            PolicyRefused: the contract refuses.
        """
        if self._awaited.find() is None:
            receipt = await self.ledger.transact("run.propose", {"run": self.run, "plan": asked.plan})
            if receipt.code != _PROPOSED:
                check_accepted("run.propose", receipt)
        run = await self._awaited.until(self._awaited.find, "the run we proposed", STARTED)
        if run.state == "approved":
            await self.ledger.demand("run.start", {"run": self.run})

    async def _propose(self, terms: Terms) -> str:
        """The plan's id; proposed unless it stands on the ledger."""
        plan = plan_id(self.ledger.member.name, terms)
        if not self.ledger.draft.has(plan_path(plan)):
            await self.ledger.demand("plan.propose", {"terms": terms.value()})
        return plan

    async def _use_grants(self, plan: str) -> str:
        """Let standing grants speak for their owners; says in words which the contract refused."""
        refused = ""
        draft = self.ledger.draft
        proposed = draft.known(LedgerPlan, plan_path(plan))
        for path in draft.paths("grant/"):
            grant = draft.known(Grant, path)
            concerned = grant.owner in proposed.terms.parties and not grant.revoked
            fits = concerned and grant.kind.lets_through(grant.owner, proposed)
            if fits and self._approval(plan, grant.owner) is None:
                identifier = path.split("/")[1]
                receipt = await self.ledger.transact("grant.use", {"grant": identifier, "plan": plan})
                if not receipt.accepted:
                    refused += (
                        f"; grant {identifier[:12]} refused as receipt {receipt.number}: {receipt.reason}"
                    )
        return refused

    async def _wait_approved(self, plan: str, terms: Terms, patience: float, telling: "_Telling") -> None:
        def decided() -> LedgerPlan | None:
            now = self.ledger.draft.known(LedgerPlan, plan_path(plan))
            missing = [party for party in terms.parties if self._approval(plan, party) is None]
            if missing and now.status == "open":
                telling(f"waiting for {', '.join(missing)} to approve plan {plan[:12]}")
                return None
            return now

        try:
            known = await self._awaited.until(decided, f"approval of plan {plan[:12]}", patience)
        except PeerLost:
            raise PolicyRefused(
                "plan-awaits-approval",
                f"{telling.said}; nothing was run",
                remedy=f"the owners decide with `parley approve {plan[:12]}`; then run the plan again",
            ) from None
        if known.status != "approved":
            words = [self._approval(plan, party) for party in terms.parties]
            why = "; ".join(word.why for word in words if word is not None and word.why)
            raise PolicyRefused(
                "plan-rejected",
                f"plan {plan[:12]} is {known.status}: {why}",
                remedy="talk to its owner, and propose another plan",
            )

    async def enter(self, plan: Plan, leader: str, *states: State) -> None:
        """As a passive party: take part only in what the ledger says was approved and started.

        Args:
            plan: as the active party proposes it.
            leader: the active party.
            states: in which the run may be; a fresh one is ``aligning``.

        Raises:
            PolicyRefused: the ledger knows no such run, not yet for good, or another plan.
            PeerLost: the ledger does not say so yet, of a run to go on with.
        """

        def started() -> Run | None:
            found = self._awaited.find()
            return found if found is not None and found.state != "approved" else None

        log = self.ledger.member.log
        try:
            await self._awaited.until(started, "the start of the run", STARTED)
            size = log.size
            final = lambda: log.final_size >= size or None  # noqa: E731
            await self._awaited.until(final, f"{size} records to be final", STARTED)
            run = await self._awaited.until(started, "the start of the run to be final", STARTED)
        except PeerLost:
            if states:  # it was there: the ledger is behind, or out of reach
                raise
            raise PolicyRefused(
                "run-not-on-ledger",
                f"{leader} began {self.run}, which the ledger does not know for good as started",
                remedy="nothing joint is done outside the ledger; propose the plan there",
                public="the ledger knows no such run as started",
            ) from None
        terms = self.ledger.draft.known(LedgerPlan, plan_path(run.plan)).terms
        sound = run.active == leader and run.state in (states or ("aligning",))
        if not sound or not stands_for(terms, plan):
            raise PolicyRefused(
                "run-differs-from-ledger",
                f"{leader} began {self.run} with another plan or state ({run.state}) than the ledger has",
                remedy="run the plan that was approved",
                public="the run is not what the ledger says was approved",
            )

    # ── while it lasts ────────────────────────────────────────────────────────────────────────────────

    async def go_on(self, place: int) -> None:
        """Begin, or go on from a place that all parties keep; a pause of ours ends.

        Raises:
            PolicyRefused: we have committed to more than some party keeps, or the run has ended.
            PeerLost: somebody else paused the run and does not let it go on.
        """
        run = self._awaited.alive()
        me = self.ledger.member.name
        if run.committed[me] > place:
            raise PolicyRefused(
                "checkpoint-lost",
                f"we have committed to {run.committed[me]} rounds of {self.run}, some party keeps {place}",
                remedy="a party has lost part of its home; cancel the run and run the plan again",
                public="the ledger holds commitments to more rounds than some party keeps",
            )
        if run.state == "paused" and run.paused_by == me:
            receipt = await self.ledger.transact("run.resume", {"run": self.run})
            if self._awaited.alive().state == "paused":  # else our copy was behind, and it was resumed before
                check_accepted("run.resume", receipt)

        def unpaused() -> bool | None:
            return self._awaited.alive().state != "paused" or None

        await self._awaited.until(unpaused, "the run to be resumed", STARTED)
        self._commitments.begin(place)

    async def said(self, root: str, messages: int, rows: int) -> None:
        """Commit to what was said in a round.

        Args:
            root: Merkle root over its messages, hexadecimal.
            messages: how many.
            rows: in common, if the round is the alignment; else 0.

        Raises:
            ParleyError: an earlier commitment was refused, or the run has ended on the ledger.
        """
        await self._commitments.add(root, messages, rows)

    def kept(self) -> None:
        """What the last round leaves is kept."""
        self._commitments.kept()

    def let_go(self) -> None:
        """The attempt is over: commit to nothing more."""
        self._commitments.stop()

    async def pause(self, error: ParleyError) -> None:
        """Say on the ledger that the run stands still, and why, unless somebody has said so."""
        self.let_go()
        run = self._awaited.find()
        if run is not None and run.state in RESUMABLE:
            await self._say("run.pause", error)

    # ── the end ───────────────────────────────────────────────────────────────────────────────────────

    async def finish(self, share: bytes, quality: Iterable[Quality]) -> None:
        """As the active party: commit to the rest, our model share and the measures."""
        await self._commitments.flush()
        await self._awaited.until(self._all_closed, "the last round of the run")
        if self._handed_in():
            return
        metrics: list[Value] = [
            {"name": f"{each.model.replace(' ', '-')}.{each.metric}", "ppm": round(each.value * 1_000_000)}
            for each in quality
            if each.value is not None
        ]
        digest = hashlib.sha256(share).hexdigest()
        await self._hand_in(
            "run.finish", {"run": self.run, "share": digest, "metrics": sorted(metrics, key=_name_of)}
        )

    async def hand_in(self, share: bytes) -> None:
        """As a passive party: commit to the rest, and to the model share once the active party finished."""
        await self._commitments.flush()
        await self._awaited.until(self._finishing, "the end of the run")
        if self._handed_in():
            return
        digest = hashlib.sha256(share).hexdigest()
        await self._hand_in("run.share", {"run": self.run, "share": digest})

    async def _hand_in(self, type_: str, body: dict[str, Value]) -> None:
        """Commit to our model share; what is refused because it went in before our last stop is well."""
        receipt = await self.ledger.transact(type_, body)
        if receipt.code != _HANDED_IN and not self._handed_in():
            check_accepted(type_, receipt)

    async def finishing(self) -> None:
        """Wait, as long as it takes, until the active party has finished on the ledger.

        Raises:
            PolicyRefused: the run has ended there without a model.
        """
        await self._awaited.until(self._finishing, "the end of the run", DAY)

    async def end(self, error: BaseException) -> None:
        """Say on the ledger that the run has ended without a model, and why, unless it has ended."""
        self.let_go()
        run = self._awaited.find()
        if run is not None and run.state not in TERMINAL:
            await self._say("run.cancel" if cancels(error) else "run.fail", error)

    async def _say(self, type_: str, error: BaseException) -> None:
        code = error.code if isinstance(error, ParleyError) else "party-stopped"
        with suppress(ParleyError):  # else the deadline on the ledger ends the run
            await self.ledger.transact(type_, {"run": self.run, "reason": code[:64]}, _BRIEFLY)

    def _handed_in(self) -> bool:
        """Whether the ledger has our model share."""
        return self.ledger.member.name in self._awaited.alive().shares

    def _all_closed(self) -> Run | None:
        run = self._awaited.alive()
        return run if run.closed == run.opened else None

    def _finishing(self) -> Run | None:
        run = self._awaited.alive()
        return run if run.state in ("finishing", "finished") else None

    def _approval(self, plan: str, party: str) -> Approval | None:
        return self.ledger.draft.find(Approval, approval_path(plan, party))


class _Telling:
    """Tells what a run waits for, with what the contract refused meanwhile, and remembers it."""

    def __init__(self, tell: Callable[[str], None], refused: str) -> None:
        self._tell = tell
        self._refused = refused
        self.said = ""

    def __call__(self, words: str) -> None:
        self.said = words + self._refused
        self._tell(self.said)


def _name_of(metric: Value) -> str:
    assert isinstance(metric, dict)  # noqa: S101 (made above)
    return str(metric["name"])
