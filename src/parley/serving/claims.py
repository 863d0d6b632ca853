"""How much of a model's release each of our programs has set aside, so that together they stay within it.

Beside the model's pages, ``claims/NAME`` is one program's: the end of the release that it goes by, what it
knows to be counted of it, and how many predictions it has set aside or given out that are not counted yet; 24
bytes. Whoever wants more first writes what it would have, then reads what the others have: of two that take
the last ones at once both see too much and neither gets them, and never more is given than there is.

The file is locked while its program lives. What a program leaves that was killed counts on, until another
one has had its pages entered on the ledger.
"""

import fcntl
import os
import secrets
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from parley.core.files import room_for

_RECORD: Final = struct.Struct(">QQQ")
_NAME: Final = 8
_CLOSED: Final = -1


class Claimed(NamedTuple):
    """What stands in a claim, or in several together.

    Attributes:
        until: end of the release, seconds since 1970.
        used: predictions that the ledger counts of it.
        beyond: predictions that are not among those.
    """

    until: int
    used: int
    beyond: int


class Claims:
    """One program's claim, and its view of the others'.

    Args:
        folder: of the model's pages.

    Raises:
        BudgetExhausted: the disk is full.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "claims"
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = secrets.token_hex(_NAME)
        rough = self._folder / f".{name}"
        with room_for(rough):
            self._file = os.open(rough, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX)
            os.pwrite(self._file, _RECORD.pack(0, 0, 0), 0)
        self._path = rough.replace(self._folder / name)  # nobody finds it unlocked

    def claim(self, claimed: Claimed) -> None:
        """Say what is ours now."""
        os.pwrite(self._file, _RECORD.pack(*claimed), 0)

    def others(self, until: int) -> Claimed:
        """What the others say: the most that one of them knows of this release, and all that they claim."""
        used = beyond = 0
        for path in self._others():
            with suppress(FileNotFoundError):
                record = path.read_bytes()
                if len(record) == _RECORD.size:
                    theirs = Claimed(*_RECORD.unpack(record))
                    used = max(used, theirs.used if theirs.until == until else 0)
                    beyond += theirs.beyond
        return Claimed(until, used, beyond)

    def dead(self) -> list[Path]:
        """Claims of programs that have ended without a word."""
        return [path for path in self._others() if _unlocked(path)]

    def bury(self, dead: list[Path]) -> None:
        """Drop claims whose pages are accounted for."""
        for path in dead:
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Claim nothing any more."""
        self._path.unlink(missing_ok=True)
        self.leave()

    def leave(self) -> None:
        """End as if killed: what is claimed counts on until another program has seen to our pages."""
        os.close(self._file)
        self._file = _CLOSED

    def _others(self) -> list[Path]:
        with os.scandir(self._folder) as found:
            names = [each.name for each in found if not each.name.startswith(".")]
        return [self._folder / name for name in names if name != self._path.name]


def _unlocked(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True
