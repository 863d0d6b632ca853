"""What the ledger holds a run to, at one party.

Before anything is aligned the run stands on the ledger as started, under a plan that every owner of a
table in it approved. While it lasts, every stretch of it is committed: round 0 is the alignment, then
the training rounds, then the evaluation. Commitments are submitted beside the work; the run waits for
the ledger only here: at the start, and at the end.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from parley.core.errors import ParleyError, PeerLost, PolicyRefused, UsageError
from parley.core.plan import Plan
from parley.core.transcript import Stretch, Transcript
from parley.learn.parameters import boosting_parameters
from parley.ledger.contract.grants import Grant
from parley.ledger.contract.plans import Approval, Terms, approval_path, plan_id, plan_path
from parley.ledger.contract.plans import Plan as LedgerPlan
from parley.ledger.contract.rounds import ROUNDS_AHEAD
from parley.ledger.contract.runs import Run, run_path
from parley.ledger.contract.transitions import TERMINAL
from parley.ledger.encoding import Value
from parley.ledger.merkle import leaf_hash, root
from parley.party.ledger import PartyLedger, check_accepted
from parley.party.report import Quality
from parley.privacy.leakage import statement
from parley.protocols.together import all_of

DAY: Final = 86_400
APPROVAL: Final = 600.0
"""Seconds the active party waits for approvals."""
STARTED: Final = 10.0
"""Seconds that our own ledger may be behind with the start of a run, and again until that is final."""
SETTLE: Final = 60.0
"""Seconds to wait for the others' commitments at the end of a run."""

R = TypeVar("R")
Commitment = tuple[str, dict[str, Value]]
"""Type and body of a transaction that commits to a stretch of a run."""
_Uncommitted = tuple[str, dict[str, Value], Stretch]
"""The same while what was said is not hashed yet."""


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


@dataclass
class Gate:
    """One party's hold on one run.

    Attributes:
        ledger: of the party.
        run: identifier.
        transcript: what the party says and hears in the run.
    """

    ledger: PartyLedger
    run: str
    transcript: Transcript

    def __post_init__(self) -> None:
        self._commitments: asyncio.Queue[_Uncommitted | None] = asyncio.Queue()
        self._round = 0
        self._committing: asyncio.Task[None] | None = None

    # ── the start ─────────────────────────────────────────────────────────────────────────────────────

    async def open(self, terms: Terms, patience: float, tell: Callable[[str], None]) -> None:
        """As the active party: have the plan approved by every owner, and the run started.

        Raises:
            PolicyRefused: an owner rejects the plan, or says nothing for ``patience`` seconds; or the
                contract refuses.
        """
        me = self.ledger.member.name
        plan = await self._propose(terms)
        if self._approval(plan, me) is None:
            await self.ledger.demand("plan.approve", {"plan": plan})
        refused = await self._use_grants(plan)
        await self._wait_approved(plan, terms, patience, _Telling(tell, refused))
        await self.ledger.demand("run.propose", {"run": self.run, "plan": plan})
        await self.ledger.demand("run.start", {"run": self.run})
        self._begin()

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
            known = await self._until(decided, patience, f"approval of plan {plan[:12]}")
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

    async def enter(self, plan: Plan, leader: str) -> None:
        """As a passive party: take part only in what the ledger says was approved and started.

        Raises:
            PolicyRefused: the ledger knows no such run, not yet for good, or another plan.
        """

        def started() -> Run | None:
            found = self.ledger.draft.find(Run, run_path(self.run))
            return found if found is not None and found.state != "approved" else None

        log = self.ledger.member.log
        try:
            await self._until(started, STARTED, f"run {self.run} on the ledger")
            size = log.size
            await self._until(lambda: log.final_size >= size or None, STARTED, f"{size} records to be final")
            run = await self._until(started, STARTED, f"run {self.run} on the final ledger")
        except PeerLost:
            raise PolicyRefused(
                "run-not-on-ledger",
                f"{leader} began {self.run}, which the ledger does not know for good as started",
                remedy="nothing joint is done outside the ledger; propose the plan there",
                public="the ledger knows no such run as started",
            ) from None
        terms = self.ledger.draft.known(LedgerPlan, plan_path(run.plan)).terms
        sound = (run.state, run.active) == ("aligning", leader)
        if not sound or not stands_for(terms, plan):
            raise PolicyRefused(
                "run-differs-from-ledger",
                f"{leader} began {self.run} with another plan or state ({run.state}) than the ledger has",
                remedy="run the plan that was approved",
                public="the run is not what the ledger says was approved",
            )
        self._begin()

    # ── while it lasts ────────────────────────────────────────────────────────────────────────────────

    def aligned(self, rows: int) -> None:
        """Commit to the alignment.

        Raises:
            ParleyError: as `round_over`.
        """
        self._commit("run.align", {"rows": rows}, self.transcript.cut())

    def round_over(self, *, heard_next: bool) -> None:
        """Commit to what was said since the last commitment.

        Raises:
            ParleyError: an earlier commitment was refused, or the run has ended on the ledger.
        """
        self._commit("round.commit", {"round": self._round}, self.transcript.cut(before_last=heard_next))

    def _commit(self, type_: str, body: dict[str, Value], stretch: Stretch) -> None:
        if self._committing is not None and self._committing.done():
            self._committing.result()
        self._commitments.put_nowait((type_, body | {"run": self.run}, stretch))
        self._round += 1

    def _begin(self) -> None:
        self._committing = asyncio.create_task(self._submit_commitments())

    async def _submit_commitments(self) -> None:
        """Submit commitments in order, several at once: a block costs more than a transaction in it."""
        while (first := await self._commitments.get()) is not None:
            if first[0] == "run.align":
                await self.ledger.demand(*await asyncio.to_thread(_stated, first))
                continue
            gathered, over = await self._gathered(first)
            together = await asyncio.to_thread(lambda: [_stated(each) for each in gathered])  # noqa: B023
            room = partial(self._room_for, len(together))
            await self._until(room, SETTLE, f"the other parties' rounds of {self.run}")
            await self._demand_in_order(together)
            if over:
                return

    async def _demand_in_order(self, commitments: list[Commitment]) -> None:
        """Submit rounds together; those refused only because an earlier one came in behind them once more.

        Whoever makes a block may have missed one that others have: CometBFT's nodes do not ask for it again.
        """
        while commitments:
            receipts = await all_of([self.ledger.transact(*each) for each in commitments])
            early = [receipt.code == _EARLY for receipt in receipts]
            for (type_, _), receipt, again in zip(commitments, receipts, early, strict=True):
                if not again or all(early):
                    check_accepted(type_, receipt)
            commitments = [each for each, again in zip(commitments, early, strict=True) if again]

    async def _gathered(self, first: _Uncommitted) -> tuple[list[_Uncommitted], bool]:
        """The commitments that come within a moment, and whether they are the last."""
        together = [first]
        with suppress(TimeoutError):
            async with asyncio.timeout(_MOMENT):
                while len(together) < _TOGETHER:
                    following = await self._commitments.get()
                    if following is None:
                        return together, True
                    together.append(following)
        return together, False

    def _room_for(self, rounds: int) -> bool | None:
        """Whether so many rounds may be committed to: all have aligned, and nobody is far behind."""
        run = self.ledger.draft.known(Run, run_path(self.run))
        self._check_alive(run)
        ahead = run.committed[self.ledger.member.name] - run.closed
        return True if run.state == "training" and ahead + rounds <= ROUNDS_AHEAD else None

    # ── the end ───────────────────────────────────────────────────────────────────────────────────────

    async def finish(self, share: bytes, quality: Iterable[Quality]) -> None:
        """As the active party: commit to the rest, our model share and the measures."""
        await self._drain()
        await self._until(self._all_closed, SETTLE, f"the last round of {self.run}")
        metrics: list[Value] = [
            {"name": f"{each.model.replace(' ', '-')}.{each.metric}", "ppm": round(each.value * 1_000_000)}
            for each in quality
            if each.value is not None
        ]
        digest = hashlib.sha256(share).hexdigest()
        await self.ledger.demand(
            "run.finish", {"run": self.run, "share": digest, "metrics": sorted(metrics, key=_name_of)}
        )

    async def hand_in(self, share: bytes) -> None:
        """As a passive party: commit to the rest, and to the model share once the active party finished."""
        await self._drain()
        await self._until(self._finishing, SETTLE, f"the end of {self.run}")
        digest = hashlib.sha256(share).hexdigest()
        await self.ledger.demand("run.share", {"run": self.run, "share": digest})

    async def fail(self, error: BaseException) -> None:
        """Say on the ledger that the run has failed, and why, unless it has ended."""
        if self._committing is not None:
            self._committing.cancel()
            await asyncio.wait([self._committing])
            if not self._committing.cancelled():
                self._committing.exception()  # told, or part of what is being told
        run = self.ledger.draft.find(Run, run_path(self.run))
        if run is None or run.state in TERMINAL:
            return
        code = error.code if isinstance(error, ParleyError) else "cancelled"
        with suppress(ParleyError):  # else the deadline on the ledger ends the run
            await self.ledger.transact("run.fail", {"run": self.run, "reason": code[:64]}, 5.0)

    async def _drain(self) -> None:
        """Commit to what was said since the last round, and see every commitment in."""
        self.round_over(heard_next=False)
        self._commitments.put_nowait(None)
        if self._committing is not None:
            await self._committing

    def _all_closed(self) -> Run | None:
        run = self.ledger.draft.known(Run, run_path(self.run))
        self._check_alive(run)
        return run if run.closed == run.opened else None

    def _finishing(self) -> Run | None:
        run = self.ledger.draft.known(Run, run_path(self.run))
        self._check_alive(run)
        return run if run.state == "finishing" else None

    def _check_alive(self, run: Run) -> None:
        if run.state in ("cancelled", "failed"):
            raise PolicyRefused(
                "run-ended-on-ledger",
                f"{run.ended_by} ended {run.id} on the ledger: {run.reason}",
                remedy=f"ask {run.ended_by}",
            )

    def _approval(self, plan: str, party: str) -> Approval | None:
        return self.ledger.draft.find(Approval, approval_path(plan, party))

    async def _until(self, found: Callable[[], R | None], patience: float, what: str) -> R:
        """Wait until our state shows something; it may not be final yet."""
        at_once = found()
        if at_once is not None:
            return at_once
        try:
            async with asyncio.timeout(patience):
                async for _ in self.ledger.member.changes():
                    result = found()
                    if result is not None:
                        return result
        except TimeoutError:
            raise PeerLost(
                "ledger-silent",
                f"waited {patience:g} s for {what}",
                peer=self.ledger.member.leader,
                remedy="see `parley ledger show`, and ask the members that are missing there",
            ) from None
        raise UsageError(
            "ledger-stopped",
            f"our ledger stopped while we waited for {what}",
            remedy="see the party's log, and start it again with `parley up`",
        )


def _stated(uncommitted: _Uncommitted) -> Commitment:
    """The commitment to a stretch, with its root."""
    type_, body, stretch = uncommitted
    leaves = [leaf_hash(each.leaf()) for each in stretch.said()]
    return type_, body | {"root": root(leaves).hex(), "messages": len(leaves)}


class _Telling:
    """Tells what a run waits for, with what the contract refused meanwhile, and remembers it."""

    def __init__(self, tell: Callable[[str], None], refused: str) -> None:
        self._tell = tell
        self._refused = refused
        self.said = ""

    def __call__(self, words: str) -> None:
        self.said = words + self._refused
        self._tell(self.said)


_EARLY: Final = "round-gap"
"""Code of the refusal of a round that is committed to before the one before it."""
_MOMENT: Final = 5.0
"""Seconds a commitment waits for company."""
_TOGETHER: Final = ROUNDS_AHEAD // 2
"""Rounds committed to at once: with them we are never further ahead than the contract allows."""


def _name_of(metric: Value) -> str:
    assert isinstance(metric, dict)  # noqa: S101 (made above)
    return str(metric["name"])
