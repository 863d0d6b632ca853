"""What passes over a link, as figures for people and for metrics."""

from collections import deque
from dataclasses import dataclass
from typing import Final

OVER: Final = 10
"""Seconds, and samples, over which a rate is taken."""


@dataclass(frozen=True)
class Figures:
    """How a link does.

    Attributes:
        peer: at the other end.
        connected: whether there is a connection now.
        streams: that are open.
        bytes_in, bytes_out: chunks since the party started, in bytes.
        chunks_in, chunks_out: the same, counted.
        resent: chunks that had to be written again, over another connection.
        rate_in, rate_out: bytes per second over the last ten seconds.
        round_trip: seconds, of the last beat that was answered; None before the first.
    """

    peer: str
    connected: bool
    streams: int
    bytes_in: int
    bytes_out: int
    chunks_in: int
    chunks_out: int
    resent: int
    rate_in: float
    rate_out: float
    round_trip: float | None


class Meter:
    """Counts the bytes of a link; `sample` it once a second while it is connected."""

    def __init__(self) -> None:
        self.bytes_in = 0
        self.bytes_out = 0
        self.chunks_in = 0
        self.chunks_out = 0
        self.resent = 0
        self._samples: deque[tuple[float, int, int]] = deque(maxlen=OVER + 1)

    def sample(self, now: float) -> None:
        """Note the bytes so far; ``now`` in monotonic seconds."""
        self._samples.append((now, self.bytes_in, self.bytes_out))

    def rates(self, now: float) -> tuple[float, float]:
        """Bytes per second in and out, over the last ten seconds."""
        if not self._samples:
            return 0.0, 0.0
        began, was_in, was_out = self._samples[0]
        seconds = max(now - began, 1.0)
        return (self.bytes_in - was_in) / seconds, (self.bytes_out - was_out) / seconds
