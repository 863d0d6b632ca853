"""What the process that answers takes up."""

import os
import resource
from dataclasses import dataclass
from pathlib import Path


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
