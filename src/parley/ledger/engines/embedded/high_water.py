"""The highest checkpoint this member ever signed, kept apart from the database.

A database that was put back to an earlier day, or lost its last blocks, is noticed before a second history
is signed: the file is newer than it.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from parley.core.errors import UsageError
from parley.core.files import write_atomically

HIGH_WATER_FILE: Final = "high-water.json"

_HASH_BYTES: Final = 32
_LONG: Final = 1000
"""Lines after which the file begins anew."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A checkpoint that was signed.

    Attributes:
        size: leaves.
        root: of the log, in hexadecimal.
        note: as it was signed.
        era: epoch of the last takeover before it; 0 if there was none.
    """

    size: int
    root: str
    note: str
    era: int = 0


NO_MARK: Final = Mark(0, "", "")
"""Before the first signature."""


class HighWater:
    """The file with the `Mark`: one line per signature, the last whole one counts.

    A line that a crash tore was never acted upon. The file begins anew when it has grown long.

    Args:
        path: of the file.

    Attributes:
        mark: the highest checkpoint signed so far.
        path: as it was given.

    Raises:
        UsageError: ``high-water-damaged``; the file is there and cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines = 0
        self.mark = self._read()

    def raise_to(self, mark: Mark) -> None:
        """Remember a signature about to be given; on the disk before this returns."""
        if mark.size < self.mark.size:
            raise ValueError(f"mark of {mark.size} leaves below the one of {self.mark.size}")
        if (mark.size, mark.root, mark.era) == (self.mark.size, self.mark.root, self.mark.era):
            return
        content = {"size": mark.size, "root": mark.root, "era": mark.era, "note": mark.note}
        line = json.dumps(content, ensure_ascii=False).encode() + b"\n"
        if 0 < self._lines < _LONG:
            with self.path.open("ab") as file:
                file.write(line)
                file.flush()
                os.fdatasync(file.fileno())
            self._lines += 1
        else:
            write_atomically(self.path, line)
            self._lines = 1
        self.mark = mark

    def _read(self) -> Mark:
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return NO_MARK
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) == len(content):
            self._lines = content.count(b"\n")  # else the next signature begins the file anew
        try:
            return _mark(whole.splitlines()[-1])
        except (ValueError, KeyError, TypeError, IndexError):
            raise UsageError(
                "high-water-damaged",
                f"{self.path} cannot be read",
                remedy="restore it from a copy; without it this member cannot know what it signed",
            ) from None


def _mark(line: bytes) -> Mark:
    known = json.loads(line)
    mark = Mark(int(known["size"]), str(known["root"]), str(known["note"]), int(known["era"]))
    if mark.size < 1 or len(bytes.fromhex(mark.root)) != _HASH_BYTES:
        raise ValueError(mark.size)
    return mark
