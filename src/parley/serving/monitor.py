"""What is counted while a model is served: cheap enough for every request, read when somebody looks.

How far scores moved since training is told by the population stability index over the last scores (see
`parley.learn.stability`): at least `WINDOW` of them once there were so many, and less than twice as many.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from parley.learn.stability import Histogram, by_chance, population_stability_index
from parley.serving.scores import Basis, Score
from parley.web.metrics import Distribution

PROBABILITIES: Final = Histogram.of_probabilities(())
"""The bins of scores of which nothing else is known."""
WINDOW: Final = 50_000
SECONDS: Final = (
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
"""Largest duration of each bin of times but the last."""
ROWS: Final = tuple(float(1 << k) for k in range(17))
"""Largest number of rows of each bin of exchanges but the last."""
_FOLDED: Final = 4096
"""Scores that are sorted into bins at once."""


@dataclass(frozen=True)
class Stability:
    """How far scores moved.

    Attributes:
        index: of the last scores against those of training.
        chance: that an index hardly exceeds where nothing moved.
    """

    index: float
    chance: float


class Tally:
    """Values by bin."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def add(self, value: float) -> None:
        """Count one."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def read(self) -> Distribution:
        """As it is now."""
        return Distribution(self._bounds, tuple(self._counts), self._total)


class _Scores:
    """Where scores of one basis fell: since serving began, and lately."""

    def __init__(self, bins: Histogram = PROBABILITIES) -> None:
        self._bins = bins
        self._waiting: list[float] = []
        none = np.zeros(len(bins.counts), np.int64)
        self._all, self._before, self._now = none.copy(), none.copy(), none
        self._total = 0.0

    def add(self, values: Iterable[float]) -> None:
        self._waiting.extend(values)
        if len(self._waiting) >= _FOLDED:
            self._fold()

    def read(self) -> Distribution:
        self._fold()
        return Distribution(self._bins.edges, tuple(map(int, self._all)), self._total)

    @property
    def lately(self) -> NDArray[np.int64]:
        self._fold()
        return self._before + self._now

    def _fold(self) -> None:
        if not self._waiting:
            return
        values = np.array(self._waiting)
        found = self._bins.counted(values)
        self._waiting.clear()
        self._all += found
        self._total += float(values.sum())
        self._now += found
        if self._now.sum() >= WINDOW:
            self._before, self._now = self._now, np.zeros_like(found)


class Monitor:
    """Counts what a served model does. Of one event loop; nothing in it waits.

    Attributes:
        waiting: requests that wait for scores now.
        requests: by status and label of who asked.
        latency: seconds from a request for scores to its answer.
        scoring: seconds that the scorer took for a batch.
        predictions: by what they rest on.
        failures: exchanges that failed, by peer and code.
        cached: feature look-ups, by ``hit`` and ``miss``.
    """

    def __init__(self) -> None:
        self.waiting = 0
        self.requests: Counter[tuple[int, str]] = Counter()
        self.latency, self.scoring = Tally(SECONDS), Tally(SECONDS)
        self.predictions: Counter[Basis] = Counter()
        self.failures: Counter[tuple[str, str]] = Counter()
        self.cached: Counter[str] = Counter()
        self._exchanges: dict[str, tuple[Tally, Tally]] = {}
        self._scores: dict[Basis, _Scores] = {"joint": _Scores(), "active-only": _Scores()}
        self._expected: NDArray[np.int64] | None = None

    # ── what happens ──────────────────────────────────────────────────────────────────────────────────────

    def requested(self, status: int, label: str) -> None:
        """A request was answered, whatever it asked."""
        self.requests[status, label] += 1

    def answered(self, scores: Sequence[Score], seconds: float) -> None:
        """A batch was scored, in so many seconds. Of a multiclass model the likeliest class counts."""
        self.scoring.add(seconds)
        self.predictions.update(each.basis for each in scores)
        for basis, found in self._scores.items():
            found.add(
                max(each.classes) if each.score is None else each.score
                for each in scores
                if each.basis == basis and (each.score is not None or each.classes)
            )

    def exchanged(self, peer: str, rows: int, seconds: float) -> None:
        """A peer answered about so many rows, in so many seconds."""
        if peer not in self._exchanges:
            self._exchanges[peer] = Tally(SECONDS), Tally(ROWS)
        took, asked = self._exchanges[peer]
        took.add(seconds)
        asked.add(rows)

    def failed(self, peer: str, code: str) -> None:
        """An exchange with a peer failed."""
        self.failures[peer, code] += 1

    def cache(self, hits: int, misses: int) -> None:
        """Features of so many ids were at hand; of so many they were not."""
        self.cached["hit"] += hits
        self.cached["miss"] += misses

    def baseline(self, expected: Histogram) -> None:
        """What scores were in training; later ones fall into its bins. To be told before there are any."""
        self._expected = np.asarray(expected.counts, np.int64)
        self._scores = {basis: _Scores(expected) for basis in self._scores}

    # ── what is read ──────────────────────────────────────────────────────────────────────────────────────

    def exchanges(self) -> dict[str, tuple[Distribution, Distribution]]:
        """Seconds, and rows, of the exchanges with each peer."""
        return {peer: (took.read(), rows.read()) for peer, (took, rows) in self._exchanges.items()}

    def scores(self) -> dict[Basis, Distribution]:
        """Where scores fell, by what they rest on."""
        return {basis: found.read() for basis, found in self._scores.items()}

    def stability(self) -> Stability | None:
        """How far joint scores moved since training; none before there are any, or without a baseline."""
        found = self._scores["joint"].lately
        if self._expected is None or not self._expected.sum() or not found.sum():
            return None
        bins = int(np.count_nonzero(self._expected + found))
        chance = by_chance(bins, int(max(self._expected.sum(), 1)), int(found.sum()))
        return Stability(population_stability_index(self._expected, found), chance)
