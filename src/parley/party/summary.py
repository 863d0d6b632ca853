"""From what a run left to what its active party tells its people."""

from parley.party.report import Learnt, RunReport, StepCost
from parley.party.run import Led, Work
from parley.privacy.leakage import ALIGNMENT, BOOSTING, PREDICTION, Leakage


def summarise(work: Work, led: Led, costs: tuple[StepCost, ...]) -> RunReport:
    """The report of a finished run."""
    split, share = led.split, led.share
    outputs = share.outputs
    return RunReport(
        run=work.run,
        plan=work.plan.digest,
        rows={work.means.party: led.entered, **led.peers},
        common=len(split.fitted) + len(split.test),
        training=len(split.training),
        validation=len(split.validation),
        test=len(split.test),
        rounds=len(share.trees) // outputs,
        quality=led.quality,
        importances=share.importances(),
        costs=costs,
        learnt=_learnt(work, led),
        warnings=led.warnings,
    )


def _learnt(work: Work, led: Led) -> tuple[Learnt, ...]:
    """The leakage statements of the protocols that ran, with this run's figures."""
    active = work.means.party
    protocols = (ALIGNMENT, BOOSTING, PREDICTION) if len(led.split.test) else (ALIGNMENT, BOOSTING)
    to_active: list[str] = []
    told = []
    for owner, peer in enumerate(work.plan.passive, start=1):
        figures: dict[str, str | int] = {
            "active": active,
            "peer": peer,
            "peer_ids": led.peers[peer],
            "entered": led.entered,
            "common": len(led.split.fitted) + len(led.split.test),
            "trees": len(led.share.trees),
            "splits": led.share.splits_of(owner),
            "test": len(led.split.test),
        }
        to_active += _filled(protocols, figures, to_active=True)
        told.append(Learnt(peer, tuple(_filled(protocols, figures, to_active=False))))
    return (Learnt(active, tuple(to_active)), *told)


def _filled(protocols: tuple[Leakage, ...], figures: dict[str, str | int], *, to_active: bool) -> list[str]:
    return [
        fact.format_map(figures)
        for protocol in protocols
        for fact in (protocol.to_active if to_active else protocol.to_passive)
    ]
