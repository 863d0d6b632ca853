"""What a prediction is: the score of one id, what it rests on, and what becomes of ids that a party lacks."""

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

import msgspec

Basis: TypeAlias = Literal["joint", "active-only", "missing"]
"""What a score rests on: all parties' columns; the active party's alone; nothing, there is none."""

Fallback: TypeAlias = Literal["refuse", "active-only", "missing"]
"""What is done about an id that some party does not have, or while a party is away: refuse the request,
score it by the model of the active party's columns alone and say so, or give no score."""


class Score(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a model says of one id.

    Attributes:
        id: as it was asked.
        basis: what the score rests on.
        score: probability of the second class, or the value of a regression; none of a multiclass model, and
            where there is no score.
        classes: of a multiclass model, probability of each class, in the model's order.
        margin: of each output, before it was made a probability.
        receipt: by which this one prediction can be proven later.
    """

    id: str
    basis: Basis
    score: float | None = None
    classes: tuple[float, ...] = ()
    margin: tuple[float, ...] = ()
    receipt: str = ""


class Peerage(msgspec.Struct, frozen=True):
    """How one passive party does.

    Attributes:
        peer: its name.
        state: ``ready``; ``away``: not asked for a while, as it did not answer; ``trying``: asked again.
        code: of what was wrong last; empty if nothing was.
        rows: ids of its table that can be asked about.
    """

    peer: str
    state: Literal["ready", "away", "trying"]
    code: str
    rows: int


class Service(msgspec.Struct, frozen=True):
    """What is served, and how it does.

    Attributes:
        model: identifier.
        objective: ``binary``, ``regression`` or ``multiclass``.
        classes: how each class was written in the label column.
        fallback: what is done about ids that a party lacks.
        quota: predictions allowed by the release.
        used: predictions counted so far, with those not yet on the ledger.
        until: time to which the release holds, seconds since 1970.
        peers: the passive parties.
    """

    model: str
    objective: str
    classes: tuple[str, ...]
    fallback: Fallback
    quota: int
    used: int
    until: int
    peers: tuple[Peerage, ...]


class Scorer(Protocol):
    """Answers for one released model."""

    def service(self) -> Service:
        """How it does now."""

    async def score(self, ids: Sequence[str]) -> Sequence[Score]:
        """The score of each id, in their order.

        Raises:
            UsageError: ``unknown-ids``: some party does not have an id, and the fallback is to refuse.
            PolicyRefused: the model was withdrawn, its release is over, or its quota is used up.
            PeerLost: a passive party did not answer within the deadline, and the fallback is to refuse.
            BudgetExhausted: too many requests wait already.
        """
