"""Scoring ids with a joint model: our own columns, one exchange with every passive party, the walk."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from parley.core.errors import ParleyError, PeerError, UsageError
from parley.data.ids import IdRule, end_to_end, parse_rule
from parley.learn.forest import Tests, Walk
from parley.learn.objectives import Objective
from parley.learn.shares import ActiveShare
from parley.ledger.predictions import BASES
from parley.protocols.asking import Answer
from parley.serving.features.coded import FEW, Coded, Comparable, Features, Listed, comparable
from parley.serving.pages import Predictions
from parley.serving.partner import Partner
from parley.serving.scores import Basis, Fallback, Score

JOINT, ALONE, NONE = (np.uint8(BASES.index(each)) for each in BASES)
_SHOWN: Final = 5
_AT_ONCE: Final = 512
"""Ids that are computed on without a thread of their own."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Asked:
    """Normalised ids as the tokens are computed of them.

    Attributes:
        buffer: UTF-8, end to end.
        offsets: where each begins and the last one ends, uint64[n + 1].
    """

    buffer: bytes
    offsets: NDArray[np.uint64]

    @classmethod
    def of(cls, ids: Comparable) -> "Asked":
        """Of ids of which none is null."""
        offsets = np.zeros(len(ids) + 1, dtype=np.uint64)
        if isinstance(ids, list) or len(ids) <= FEW:
            texts = [each or "" for each in ids]
            lengths = np.fromiter((len(each.encode()) for each in texts), np.uint64, len(texts))
            buffer = "".join(texts).encode()
        else:
            lengths = ids.str.len_bytes().to_numpy()
            buffer = end_to_end(ids)
        np.cumsum(lengths, out=offsets[1:], dtype=np.uint64)
        return cls(buffer, offsets)


@dataclass(frozen=True)
class Outcome:
    """What came out for some ids.

    Attributes:
        basis: place in `BASES` of each, uint8[n].
        margins: float64[outputs, n]; NaN where there is no score.
        asked: of which a passive party was asked, bool[n].
    """

    basis: Bytes
    margins: Floats
    asked: Bools

    def of(self, places: NDArray[np.int64] | slice) -> "Outcome":
        """Of some of the ids."""
        return Outcome(self.basis[places], self.margins[:, places], self.asked[places])

    def withheld(self) -> "Outcome":
        """The same where nothing is given out."""
        return Outcome(np.full_like(self.basis, NONE), np.full_like(self.margins, np.nan), self.asked)

    def counted(self) -> dict[Basis, int]:
        """How many scores rest on what."""
        counts = np.bincount(self.basis, minlength=len(BASES)).tolist()
        return dict(zip(BASES, counts, strict=True))


class Engine:
    """The active party's end of a model in use.

    Args:
        share: our piece.
        alone: the model of our own columns alone, if there is one.
        features: our columns, of the share.
        partners: the passive parties with splits in the model, by their owner number.
        rule: by which ids are normalised.
        fallback: what is done about ids that a party lacks.
        deadline: seconds in which a passive party must answer.
        threads: for computing.
        degraded: called with an error for which scores are given without a passive party; none: they are not,
            whatever the fallback.
    """

    def __init__(  # noqa: PLR0913 (a record of what serving needs)
        self,
        share: ActiveShare,
        alone: ActiveShare | None,
        features: Features,
        partners: dict[int, Partner],
        *,
        rule: str,
        fallback: Fallback,
        deadline: float,
        threads: int,
        degraded: Callable[[ParleyError], None] | None = None,
    ) -> None:
        if fallback == "active-only" and (alone is None or alone.columns != share.columns):
            raise UsageError(
                "no-fallback-model",
                f"there is no model of our own columns alone beside {share.model}",
                remedy="use the fallback refuse or missing, or train again with rows held out for evaluation",
            )
        self.share = share
        self.partners = partners
        self.fallback: Fallback = fallback
        self._features = features
        self._rule = parse_rule(rule)
        self._deadline = deadline
        self._threads = threads
        self._degraded = degraded
        bins = [column.bins.bin_count for column in share.columns]
        self._tests, self._walk = Tests.of(share.rules, bins), Walk.of(share)
        self._alone = None
        if fallback == "active-only" and alone is not None:
            self._alone = Tests.of(alone.rules, bins), Walk.of(alone)

    @property
    def objective(self) -> Objective:
        """For turning margins into predictions."""
        return self.share.objective

    def check(self, ids: Sequence[str], outcome: Outcome) -> None:
        """Refuse a request some of whose ids a party lacks, where the fallback is to refuse.

        Raises:
            UsageError: ``unknown-ids``.
        """
        if self.fallback == "refuse" and (outcome.basis != JOINT).any():
            raise _unknown(ids, np.flatnonzero(outcome.basis != JOINT))

    async def outcome(self, ids: Sequence[str]) -> Outcome:
        """Score ids, of which some may be equal; whether all may be given out says `check`.

        Raises:
            UsageError: our source cannot be asked.
            PolicyRefused: a passive party may not answer.
            PeerError: a passive party is away, and the fallback is to refuse.
        """
        # 1. our own columns
        own = await self._features.codes(ids)
        rows = np.flatnonzero(own.known)
        # 2. the others', in one exchange with each
        joint, theirs = np.ones(len(rows), dtype=np.bool_), dict[int, Answer]()
        if len(rows) and self.partners:
            asked = Asked.of(_comparable(ids, rows, self._rule))
            try:
                theirs = await self._exchange(asked, len(rows))
            except PeerError as error:
                if self.fallback == "refuse" or self._degraded is None:
                    raise
                self._degraded(error)
                joint[:] = False
            for answer in theirs.values():
                joint &= answer.known
        # 3. the walk
        if len(ids) <= _AT_ONCE:
            return self._scored(own, rows, joint, theirs)
        return await asyncio.to_thread(self._scored, own, rows, joint, theirs)

    async def _exchange(self, asked: Asked, count: int) -> dict[int, Answer]:
        for each in self.partners.values():
            each.check_ready()  # nobody is asked for nothing
        asking = [each.ask(asked, count, self._deadline) for each in self.partners.values()]
        # a single one needs no task, which would begin and end a turn of the loop later
        answers = [await asking[0]] if len(asking) == 1 else await asyncio.gather(*asking)
        return dict(zip(self.partners, answers, strict=True))

    def _scored(
        self, own: Coded, rows: NDArray[np.int64], joint: Bools, theirs: dict[int, Answer]
    ) -> Outcome:
        count, outputs = len(own.known), self.share.outputs
        basis = np.full(count, NONE, dtype=np.uint8)
        margins = np.full((outputs, count), np.nan)
        together = np.flatnonzero(joint)
        if len(together):
            margins[:, rows[together]] = self._together(own, joint, together, theirs)
            basis[rows[together]] = JOINT
        if self._alone is not None and not joint.all():
            tests, walk = self._alone
            rest = np.flatnonzero(~joint)
            left = tests.directions(own.codes, rest, self._threads)
            margins[:, rows[rest]] = walk.margins([left], self._threads)
            basis[rows[rest]] = ALONE
        asked = np.zeros(count, dtype=np.bool_)
        asked[rows] = bool(theirs)
        return Outcome(basis, margins, asked)

    def _together(
        self, own: Coded, joint: Bools, together: NDArray[np.int64], theirs: dict[int, Answer]
    ) -> Floats:
        """Margins of the rows that everyone has, float64[outputs, rows]."""
        lefts = [self._tests.directions(own.codes, together, self._threads)]
        for owner in range(1, len(self.share.owners)):
            answer = theirs.get(owner)
            lefts.append(
                np.empty((len(together), 0), dtype=np.uint8)
                if answer is None
                else answer.left[joint[answer.known]]
            )
        return self._walk.margins(lefts, self._threads)


def scores_of(
    ids: Sequence[str], outcome: Outcome, objective: Objective, receipts: Sequence[str]
) -> list[Score]:
    """Each id's score, as it is given out."""
    predicted = objective.predict(outcome.margins)
    single = objective.outputs == 1
    values = predicted if predicted.ndim == 1 else predicted[:, 1] if single else np.empty(len(ids))
    scores, margins = values.tolist(), outcome.margins.T.tolist()
    found = []
    for place, each in enumerate(ids):
        basis, receipt = BASES[outcome.basis[place]], receipts[place]
        if basis == "missing":
            found.append(Score(each, basis, receipt=receipt))
            continue
        score = scores[place] if single else None
        classes = () if single else tuple(predicted[place].tolist())
        found.append(Score(each, basis, score, classes, tuple(margins[place]), receipt))
    return found


def predictions_of(ids: Sequence[str], outcome: Outcome) -> Predictions:
    """The same as they are written down."""
    if isinstance(ids, Listed):
        lengths = ids.column.str.len_bytes().to_numpy()
        return Predictions(end_to_end(ids.column), lengths, outcome.basis, outcome.margins)
    return Predictions.of(ids, outcome.basis, outcome.margins)


def _comparable(ids: Sequence[str], rows: NDArray[np.int64], rule: IdRule) -> Comparable:
    """Some of the ids as the rule writes them."""
    if isinstance(ids, Listed):
        whole = ids.written(rule)
        return whole if len(rows) == len(ids) else whole[rows]
    return comparable([ids[row] for row in rows.tolist()], rule)


def asked_of(ids: Sequence[str], outcome: Outcome) -> Predictions:
    """Those of which a passive party was asked, as they are written down where none is given out."""
    places = np.flatnonzero(outcome.asked)
    return predictions_of([ids[place] for place in places.tolist()], outcome.of(places).withheld())


def _unknown(ids: Sequence[str], lacking: NDArray[np.int64]) -> UsageError:
    some = ", ".join(repr(ids[place][:64]) for place in lacking[:_SHOWN].tolist())
    more = f" and {len(lacking) - _SHOWN} more" if len(lacking) > _SHOWN else ""
    return UsageError(
        "unknown-ids",
        f"not every party has {some}{more}",
        remedy="leave them out, or serve with the fallback active-only or missing",
    )
