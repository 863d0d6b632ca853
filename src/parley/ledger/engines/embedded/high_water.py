"""The highest checkpoint this member ever signed, kept apart from the database.

A database that was put back to an earlier day, or lost its last blocks, is noticed before a second history
is signed: the file is newer than it.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from parley.core.errors import UsageError
from parley.core.files import write_atomically

_HASH_DIGITS: Final = 64


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
    """The file with the `Mark`.

    Args:
        path: of the file.

    Raises:
        UsageError: ``high-water-damaged``; the file is there and cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.mark = self._read()

    def raise_to(self, mark: Mark) -> None:
        """Remember a signature about to be given; on the disk before this returns."""
        if mark.size < self.mark.size:
            raise ValueError(f"mark of {mark.size} leaves below the one of {self.mark.size}")
        if (mark.size, mark.root, mark.era) == (self.mark.size, self.mark.root, self.mark.era):
            return
        content = {"size": mark.size, "root": mark.root, "era": mark.era, "note": mark.note}
        write_atomically(self._path, json.dumps(content, ensure_ascii=False, indent=1).encode())
        self.mark = mark

    def _read(self) -> Mark:
        try:
            known = json.loads(self._path.read_bytes())
            mark = Mark(int(known["size"]), str(known["root"]), str(known["note"]), int(known["era"]))
            bytes.fromhex(mark.root)
            if mark.size < 1 or len(mark.root) != _HASH_DIGITS:
                raise ValueError(mark.size)  # noqa: TRY301 (one place says what to do)
        except FileNotFoundError:
            return NO_MARK
        except (ValueError, KeyError, TypeError):
            raise UsageError(
                "high-water-damaged",
                f"{self._path} cannot be read",
                remedy="restore it from a copy; without it this member cannot know what it signed",
            ) from None
        return mark
