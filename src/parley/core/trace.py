"""What a protocol tells about its progress; feeds live progress, logs and the performance report alike."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StepBegan:
    """A step of a run, such as ``align``, began; all that follows is accounted to it."""

    step: str


@dataclass(frozen=True, slots=True)
class PhaseBegan:
    """A phase such as ``align`` or ``train`` began; ``total`` units of work are expected in it."""

    phase: str
    total: int
    unit: str


@dataclass(frozen=True, slots=True)
class PhaseAdvanced:
    """``done`` of the phase's units are done; ``detail`` is a short human remark such as a metric."""

    phase: str
    done: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class PhaseEnded:
    """The phase is over after ``seconds`` of wall time."""

    phase: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Worked:
    """``seconds`` of computation named ``what``, e.g. ``encrypt``; wall time of one worker call."""

    what: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Sent:
    """A message of ``size`` bytes went to ``peer``; handing it to the network took ``seconds``."""

    peer: str
    message: str
    size: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Received:
    """A message of ``size`` bytes came from ``peer`` after ``seconds`` of waiting."""

    peer: str
    message: str
    size: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Waits:
    """A message is due from ``peer``, which has been silent for ``seconds``; told once for each message."""

    peer: str
    seconds: float


@dataclass(frozen=True, slots=True)
class MemoryPeak:
    """The process that computes has held ``held`` bytes at its most so far."""

    held: int


Event = StepBegan | PhaseBegan | PhaseAdvanced | PhaseEnded | Worked | Sent | Received | Waits | MemoryPeak


class Sink(Protocol):
    """Whatever wants to hear about events: a progress line, a log, a tally, a test."""

    def __call__(self, event: Event, /) -> None:
        """Take one event; must be quick and must not raise."""


class Trace:
    """Hands events to sinks and measures phases with an injected clock.

    Args:
        clock: monotonic seconds.
        sinks: who hears about each event, in order.

    """

    def __init__(self, clock: Callable[[], float], *sinks: Sink) -> None:
        self.clock = clock
        self._sinks = sinks

    def emit(self, event: Event) -> None:
        """Hand ``event`` to every sink."""
        for sink in self._sinks:
            sink(event)

    @contextmanager
    def phase(self, name: str, total: int, unit: str) -> Iterator["Phase"]:
        """Announce a phase, and its end however it ends."""
        began = self.clock()
        self.emit(PhaseBegan(name, total, unit))
        try:
            yield Phase(self, name)
        finally:
            self.emit(PhaseEnded(name, self.clock() - began))

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        """Account the time of the block as computation named ``what``."""
        began = self.clock()
        try:
            yield
        finally:
            self.emit(Worked(what, self.clock() - began))


class Phase:
    """A running phase: counts its finished units."""

    def __init__(self, trace: Trace, name: str) -> None:
        self._trace = trace
        self._name = name
        self._done = 0

    def advance(self, units: int, detail: str = "") -> None:
        """Report ``units`` more as done."""
        self._done += units
        self._trace.emit(PhaseAdvanced(self._name, self._done, detail))
