"""What the process that answers takes up."""

import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from parley.web.metrics import Metric


@dataclass(frozen=True)
class ProcessFigures:
    """Resident bytes, open files, and seconds of computation of our own process."""

    resident: int
    files: int
    seconds: float

    @classmethod
    def read(cls) -> "ProcessFigures":
        """As they are now."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        used = resource.getrusage(resource.RUSAGE_SELF)
        files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 (a count, not paths)
        return cls(pages * resource.getpagesize(), files, used.ru_utime + used.ru_stime)


class OfProcess(Protocol):
    """A scene that has them."""

    @property
    def process(self) -> ProcessFigures:
        """As they were at that moment."""

    @property
    def delay(self) -> float:
        """The longest that the event loop was held up lately, seconds."""


def process_metrics(memory_of: str, computation_of: str) -> tuple[Metric[OfProcess], ...]:
    """The metrics of a process.

    Args:
        memory_of: whose memory, as the help says it.
        computation_of: whose computation.
    """
    return (
        Metric(
            "process_resident_memory_bytes",
            "gauge",
            f"Memory of {memory_of}.",
            (),
            lambda scene: [((), scene.process.resident)],
        ),
        Metric(
            "process_open_fds",
            "gauge",
            "Files and connections that it has open.",
            (),
            lambda scene: [((), scene.process.files)],
        ),
        Metric(
            "process_cpu_seconds_total",
            "counter",
            f"Computation of {computation_of}.",
            (),
            lambda scene: [((), scene.process.seconds)],
        ),
        Metric(
            "parley_event_loop_delay_seconds",
            "gauge",
            "The longest that the event loop was held up in the last ten seconds.",
            (),
            lambda scene: [((), scene.delay)],
        ),
    )
