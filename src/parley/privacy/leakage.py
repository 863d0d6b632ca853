"""The leakage statement of every protocol: what each role learns about the others besides the result.

The texts are templates. A report fills in the figures of its run; before a run, at approval, they stand
without figures. ``spec/`` argues for each.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

Role: TypeAlias = Literal["active", "passive"]


@dataclass(frozen=True)
class Leakage:
    """What one protocol gives away.

    Attributes:
        protocol: its name.
        to_active: what the active party learns.
        to_passive: what a passive party learns.
        to_passive_by_goss: what it learns too where rows are sampled by the size of their gradients.
    """

    protocol: str
    to_active: tuple[str, ...]
    to_passive: tuple[str, ...]
    to_passive_by_goss: tuple[str, ...] = ()


ALIGNMENT = Leakage(
    "alignment",
    to_active=("how many ids {peer} entered{peer_ids}", "which of its own ids {peer} has too"),
    to_passive=(
        "how many ids {active} entered for it{entered}",
        "which of its own ids are common to all parties{common}",
    ),
)

BOOSTING = Leakage(
    "boosting",
    to_active=(
        "sums of gradients and row counts in nodes of {trees}, by groups of bins of {peer}'s columns",
        "no single sum of fewer rows than {peer} allows",
        "person by person, the bins of {peer}'s columns, if it works them out from the sums of many trees",
        "on which side of each of {peer}'s{splits} splits every row of its node falls, person by person",
    ),
    to_passive=(
        "which rows stand together in a node of {trees}, person by person; such rows are alike",
        "which of its own columns were chosen for splits, and where: those that tell most of the label there",
        "no label, gradient or score",
    ),
    to_passive_by_goss=("which rows have large gradients, and so something of the label",),
)

PREDICTION = Leakage(
    "prediction",
    to_active=("the outcome of {peer}'s{splits} splits for{test} held-out rows, person by person",),
    to_passive=("which{test} rows were scored, and nothing of the scores",),
)

ENROLMENT = Leakage(
    "enrolment",
    to_active=("how many ids {peer}'s table has",),
    to_passive=("that predictions are about to be asked for", "no id of {active}"),
)

ASKING = Leakage(
    "asking",
    to_active=(
        "for{quota} asked ids, of anyone it chooses, whether {peer}'s table has them",
        "for those that it has, the outcome of{splits} splits on {peer}'s columns, person by person",
        "over many asks, {peer}'s columns as finely as the splits divide them, and how they change",
    ),
    to_passive=(
        "how many are asked about, and when; who, where its own table has them, and when again",
        "of others a token that it knows again for as long as the model is served, and not who it is",
        "no score, label or path",
    ),
)

PROTOCOLS = (ALIGNMENT, BOOSTING, PREDICTION)
"""Of a run: its training and its evaluation."""
SERVING = (ENROLMENT, ASKING)
"""Of a model that is released for prediction."""
_UNKNOWN = {"peer_ids": "", "entered": "", "common": "", "splits": "", "test": ""}


def facts(leakage: Leakage, role: Role, figures: Mapping[str, str], *, goss: bool) -> tuple[str, ...]:
    """What a role learns in one protocol, with names and figures filled in."""
    by_goss = leakage.to_passive_by_goss if goss else ()
    told = leakage.to_active if role == "active" else (*leakage.to_passive, *by_goss)
    return tuple(fact.format_map(figures) for fact in told)


def foreseen(active: str, peer: str, rounds: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a run would tell the active party of one peer, and that peer, before anything is known of it.

    Args:
        active: the party that holds the label.
        peer: a passive party.
        rounds: at most; each makes a tree, or one for each class.
    """
    names = _UNKNOWN | {"active": active, "peer": peer, "trees": f"the trees of up to {rounds} rounds"}
    to_active = [fact for each in PROTOCOLS for fact in facts(each, "active", names, goss=False)]
    to_peer = [fact for each in PROTOCOLS for fact in facts(each, "passive", names, goss=False)]
    to_peer += [
        f"if the plan samples by goss: {fact}" for each in PROTOCOLS for fact in each.to_passive_by_goss
    ]
    return tuple(to_active), tuple(to_peer)


def released(active: str, peer: str, quota: int, splits: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a release tells the active party of one peer, and that peer.

    Args:
        active: the party that asks.
        peer: a passive party.
        quota: how many predictions the release allows.
        splits: how many the model has on columns of the peer.
    """
    figures = {"active": active, "peer": peer, "quota": f" up to {quota}", "splits": f" all {splits}"}
    to_active = [fact for each in SERVING for fact in facts(each, "active", figures, goss=False)]
    to_peer = [fact for each in SERVING for fact in facts(each, "passive", figures, goss=False)]
    return tuple(to_active), tuple(to_peer)


def statement() -> str:
    """Everything that a joint training and its evaluation give away, as one text; plans name it by digest."""
    lines = []
    for leakage in PROTOCOLS:
        lines += [f"{leakage.protocol}: the active party learns {fact}" for fact in leakage.to_active]
        lines += [f"{leakage.protocol}: a passive party learns {fact}" for fact in leakage.to_passive]
        lines += [
            f"{leakage.protocol}: with goss, a passive party learns {fact}"
            for fact in leakage.to_passive_by_goss
        ]
    return "\n".join(lines)
