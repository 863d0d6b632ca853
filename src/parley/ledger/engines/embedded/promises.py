"""The promises that this member made about who orders, kept beside the high-water mark."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from parley.core.errors import UsageError
from parley.core.files import write_atomically
from parley.ledger.contract.takeover import Promise

PROMISE_FILE: Final = "promise.json"


@dataclass(frozen=True, slots=True)
class Succession:
    """A promise together with what it is for: the epoch, and who orders from then on."""

    epoch: int
    successor: str
    promise: Promise


class _Kept(msgspec.Struct, frozen=True):
    """The file: the last promise, and epoch and successor of those before it."""

    epoch: int
    successor: str
    promise: Promise
    earlier: tuple[tuple[int, str], ...] = ()


class PromiseFile:
    """The file with the last promise made, and whom those before it named.

    Args:
        path: of the file.

    Attributes:
        made: the promise; None before the first.

    Raises:
        UsageError: ``promise-damaged``; the file is there and cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.made: Succession | None = None
        self._earlier: tuple[tuple[int, str], ...] = ()
        try:
            kept = msgspec.json.decode(path.read_bytes(), type=_Kept)
        except FileNotFoundError:
            return
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise UsageError(
                "promise-damaged",
                f"{path} cannot be read",
                remedy="restore it from a copy; without it this member cannot know what it promised",
            ) from None

        self.made = Succession(kept.epoch, kept.successor, kept.promise)
        self._earlier = kept.earlier

    def successors(self, era: int) -> set[str]:
        """Whom this member has promised an epoch later than ``era``, and who may take over therefore."""
        last = () if self.made is None else ((self.made.epoch, self.made.successor),)
        return {successor for epoch, successor in (*self._earlier, *last) if epoch > era}

    def keep(self, made: Succession) -> None:
        """Remember a promise about to be given; on the disk before this returns."""
        before, era = self.made, made.promise.era
        earlier = self._earlier if before is None else (*self._earlier, (before.epoch, before.successor))
        earlier = tuple(dict.fromkeys(each for each in earlier if each[0] > era))
        kept = _Kept(made.epoch, made.successor, made.promise, earlier)
        write_atomically(self._path, msgspec.json.encode(kept))
        self.made, self._earlier = made, earlier
