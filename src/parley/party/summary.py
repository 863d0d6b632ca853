"""From what a run left to what its active party tells its people."""

from parley.core.plan import Plan
from parley.party.report import Learnt, RunReport, StepCost
from parley.party.run import Led
from parley.privacy.leakage import ALIGNMENT, BOOSTING, PREDICTION, facts


def summarise(run: str, plan: Plan, led: Led, costs: tuple[StepCost, ...]) -> RunReport:
    """The report of a finished run."""
    rows, share = led.rows, led.share
    outputs = share.outputs
    return RunReport(
        run=run,
        plan=plan.digest,
        rows={plan.active: led.entered, **led.peers},
        common=rows.common,
        training=rows.training,
        validation=rows.validation,
        test=rows.test,
        rounds=len(share.trees) // outputs,
        quality=led.quality,
        importances=share.importances(),
        costs=costs,
        learnt=_learnt(plan, led),
        warnings=led.warnings,
    )


def _learnt(plan: Plan, led: Led) -> tuple[Learnt, ...]:
    """The leakage statements of the protocols that ran, with this run's figures."""
    active = plan.active
    protocols = (ALIGNMENT, BOOSTING, PREDICTION) if led.rows.test else (ALIGNMENT, BOOSTING)
    goss = plan.model.get("data_sample_strategy") == "goss"
    to_active: list[str] = []
    told = []
    for owner, peer in enumerate(plan.passive, start=1):
        figures = {
            "active": active,
            "peer": peer,
            "peer_ids": f" ({led.peers[peer]:,})",
            "entered": f" ({led.entered:,})",
            "common": f" ({led.rows.common:,})",
            "trees": f"{len(led.share.trees):,} trees",
            "splits": f" {led.share.splits_of(owner):,}",
            "test": f" {led.rows.test:,}",
        }
        to_active += [fact for each in protocols for fact in facts(each, "active", figures, goss=goss)]
        to_peer = [fact for each in protocols for fact in facts(each, "passive", figures, goss=goss)]
        told.append(Learnt(peer, tuple(to_peer)))
    return (Learnt(active, tuple(to_active)), *told)
