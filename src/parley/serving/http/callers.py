"""Who asks a served model, and how fast each may."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_REMEMBERED: Final = 10_000
"""Callers whose last requests are kept in mind; whoever was heard of longest ago is forgotten first."""


@dataclass(frozen=True)
class Caller:
    """Somebody who showed a key, or a token of the issuer.

    Attributes:
        name: unique among all callers; begins with how it was shown.
        label: for metrics; one for all callers of the issuer, since there may be any number of them.
        rate: requests per second, in the long run.
        burst: requests at once.
        models: that may be asked; empty: all.
        metrics: whether `/metrics` may be read.
    """

    name: str
    label: str
    rate: float
    burst: int
    models: frozenset[str]
    metrics: bool


class Pace:
    """How fast callers ask: a token bucket for each, as its virtual time of arrival.

    A request costs 1/rate seconds of a time that never lags behind the clock, and may run ahead of it by
    burst/rate (the generic cell rate algorithm, ITU-T I.371): one number for each caller, and no timer.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ahead: dict[str, float] = {}

    def wait(self, caller: Caller) -> float:
        """Count a request, if it may come now: 0. Else the seconds until one may, and nothing is counted."""
        now = self._clock()
        due = max(self._ahead.pop(caller.name, now), now) + 1 / caller.rate
        early = due - now - caller.burst / caller.rate
        # a billionth of a second: sums of fractions are not exact, and a full burst is allowed
        allowed = early <= 1e-9  # noqa: PLR2004
        self._ahead[caller.name] = due if allowed else due - 1 / caller.rate
        if len(self._ahead) > _REMEMBERED:
            del self._ahead[next(iter(self._ahead))]
        return 0.0 if allowed else early


def whole_seconds(seconds: float) -> int:
    """For a header ``Retry-After``."""
    return max(1, math.ceil(seconds))
