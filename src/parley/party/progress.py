"""Progress of a run as messages: not every event, but enough for one live line per phase."""

from collections.abc import Callable

import msgspec

from parley.core.trace import Event, PhaseAdvanced, PhaseBegan, PhaseEnded
from parley.protocols.control import Progress

_EVERY = 0.1
"""Seconds between two messages about one running phase."""


class ProgressSink:
    """Turns trace events into `Progress` messages.

    Phases of one name that run at once (with several peers) are shown as one.

    Args:
        clock: monotonic seconds.
        tell: takes each message.
    """

    def __init__(self, clock: Callable[[], float], tell: Callable[[Progress], None]) -> None:
        self._clock = clock
        self._tell = tell
        self._running: dict[str, Progress] = {}
        self._open: dict[str, int] = {}
        self._told = 0.0

    def __call__(self, event: Event) -> None:
        """Take one event."""
        match event:
            case PhaseBegan(phase, total, unit):
                self._open[phase] = self._open.get(phase, 0) + 1
                self._say(Progress(phase, 0, total, unit, "", -1.0))
            case PhaseAdvanced(phase, done, detail):
                before = self._running.get(phase)
                if before is not None:
                    now = msgspec.structs.replace(before, done=done, detail=detail)
                    self._running[phase] = now
                    # the first words of a phase may be the only ones for long: whom it waits for
                    first = bool(detail) and not before.detail
                    if first or self._clock() - self._told >= _EVERY:
                        self._say(now)
            case PhaseEnded(phase, seconds):
                self._open[phase] -= 1
                before = self._running.pop(phase, None)
                if before is not None and not self._open[phase]:
                    self._say(msgspec.structs.replace(before, seconds=seconds))
                    self._running.pop(phase)
            case _:
                pass

    def _say(self, progress: Progress) -> None:
        self._running[progress.phase] = progress
        self._told = self._clock()
        self._tell(progress)
