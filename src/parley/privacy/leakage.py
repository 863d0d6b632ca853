"""The leakage statement of every protocol: what each role learns about the others besides the result.

The texts are templates; a run fills in its figures. ``spec/`` argues for each.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Leakage:
    """What one protocol gives away.

    Attributes:
        protocol: its name.
        to_active: what the active party learns.
        to_passive: what a passive party learns.
    """

    protocol: str
    to_active: tuple[str, ...]
    to_passive: tuple[str, ...]


ALIGNMENT = Leakage(
    "alignment",
    to_active=("how many ids {peer} entered ({peer_ids:,})", "which of its own ids {peer} has too"),
    to_passive=(
        "how many ids {active} entered for it ({entered:,})",
        "which of its own ids are common to all parties ({common:,})",
    ),
)

BOOSTING = Leakage(
    "boosting",
    to_active=(
        "sums of gradients and row counts in nodes of {trees} trees, by groups of bins of {peer}'s columns",
        "no such sum of fewer rows than {peer} allows",
        "how {peer}'s {splits} splits divide the rows of their nodes",
    ),
    to_passive=("which rows stand together in a node of {trees} trees, and nothing of labels or scores",),
)

PREDICTION = Leakage(
    "prediction",
    to_active=("for each of {test:,} held-out rows, the outcome of {peer}'s {splits} splits",),
    to_passive=("which {test:,} rows were scored, and nothing of the scores",),
)


def statement() -> str:
    """Everything that a joint training and its evaluation give away, as one text; plans name it by digest."""
    lines = []
    for leakage in (ALIGNMENT, BOOSTING, PREDICTION):
        lines += [f"{leakage.protocol}: the active party learns {fact}" for fact in leakage.to_active]
        lines += [f"{leakage.protocol}: a passive party learns {fact}" for fact in leakage.to_passive]
    return "\n".join(lines)
