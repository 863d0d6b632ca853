"""The promise that this member made about who orders, kept beside the database."""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from parley.core.errors import UsageError
from parley.core.files import write_atomically
from parley.ledger.contract.takeover import Promise


@dataclass(frozen=True, slots=True)
class Succession:
    """A promise together with what it is for: the epoch, and who orders from then on."""

    epoch: int
    successor: str
    promise: Promise


class PromiseFile:
    """The file with the last promise made.

    Args:
        path: of the file.

    Attributes:
        made: the promise; None before the first.

    Raises:
        UsageError: ``promise-damaged``; the file is there and cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self.made: Succession | None = msgspec.json.decode(path.read_bytes(), type=Succession)
        except FileNotFoundError:
            self.made = None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise UsageError(
                "promise-damaged",
                f"{path} cannot be read",
                remedy="restore it from a copy; without it this member cannot know what it promised",
            ) from None

    def keep(self, made: Succession) -> None:
        """Remember a promise about to be given; on the disk before this returns."""
        write_atomically(self._path, msgspec.json.encode(made))
        self.made = made
