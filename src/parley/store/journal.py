"""What a party keeps of a run while it lasts, so that the run can go on after an interruption.

    alignment      which of our rows are common, in the common order
    round-000012   our state after a round
    said           a line per round: what we commit to on the ledger
    done           what the run leaves, once nothing more is said in it

A place to go on from is named by the number of rounds done, with the alignment as round 0: 0 is the very
beginning, 1 stands after the alignment, 1 + r after training round r, and whatever `done` says after that.
Files are replaced in one step and carry a digest: a damaged one counts as missing.
A full disk is `BudgetExhausted`; what was kept before stays.
"""

import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from parley.core.files import room_for, write_atomically

ALIGNED: Final = 1
"""The place after the alignment."""
_TAG: Final = b"parley/journal/v1\0"
_DIGEST: Final = 32
_STATES: Final = 4
"""How many of the latest states stay: the parties are never further apart."""
_ROUND: Final = "round-"


class _Done(msgspec.Struct, frozen=True):
    """``place``: where a run is that has nothing more to say; ``outcome``: what it leaves."""

    place: int
    outcome: bytes


class Journal:
    """The folder of one run; made when the first thing is kept.

    Args:
        folder: where.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    # ── places to go on from ──────────────────────────────────────────────────────────────────────────

    def places(self) -> tuple[int, ...]:
        """Where the run can be gone on from, ascending; the very beginning is not named."""
        done = self._done()
        last = () if done is None else (done.place,)
        if self.alignment() is None:
            return last
        rounds = [1 + number for number in self._rounds() if self.state(number) is not None]
        return (ALIGNED, *rounds, *last)

    def rewind(self, place: int) -> None:
        """Forget what comes after a place."""
        done = self._done()
        if done is not None and done.place > place:
            self._drop("done")
        for number in self._rounds():
            if 1 + number > place:
                self._drop(f"{_ROUND}{number:06}")
        if place < ALIGNED:
            self._drop("alignment")
        self._write("said", b"".join(line + b"\n" for line in self.said()[:place]))

    # ── what is kept ──────────────────────────────────────────────────────────────────────────────────

    def keep_alignment(self, data: bytes) -> None:
        """Keep the outcome of the alignment."""
        self._keep("alignment", data)

    def alignment(self) -> bytes | None:
        """The outcome of the alignment."""
        return self._read("alignment")

    def keep_state(self, number: int, data: bytes) -> None:
        """Keep our state after a training round, and let go of old ones."""
        self._keep(f"{_ROUND}{number:06}", data)
        for old in self._rounds()[:-_STATES]:
            self._drop(f"{_ROUND}{old:06}")

    def state(self, number: int) -> bytes | None:
        """Our state after a training round."""
        return self._read(f"{_ROUND}{number:06}")

    def keep_done(self, place: int, outcome: bytes) -> None:
        """Keep what the run leaves."""
        self._keep("done", msgspec.msgpack.encode(_Done(place, outcome)))

    def done(self, place: int) -> bytes | None:
        """What the run leaves, if that is where it stands."""
        done = self._done()
        return done.outcome if done is not None and done.place == place else None

    def say(self, commitment: bytes) -> None:
        """Keep our commitment to the next round, a line of text; when this returns, it is on the disk."""
        path = self._folder / "said"
        with room_for(path):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with path.open("ab", buffering=0) as file:
                file.write(commitment + b"\n")
                os.fsync(file.fileno())

    def said(self) -> tuple[bytes, ...]:
        """Our commitments by round; a line that was cut short does not count."""
        try:
            data = (self._folder / "said").read_bytes()
        except FileNotFoundError:
            return ()
        return tuple(data.split(b"\n")[:-1])

    # ── the end ───────────────────────────────────────────────────────────────────────────────────────

    def close(self) -> None:
        """Forget everything but what the run leaves: it has ended well."""
        for path in self._files():
            if path.name != "done":
                path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Forget everything."""
        shutil.rmtree(self._folder, ignore_errors=True)

    # ── files ─────────────────────────────────────────────────────────────────────────────────────────

    def _files(self) -> Iterable[Path]:
        return list(self._folder.iterdir()) if self._folder.is_dir() else []

    def _rounds(self) -> list[int]:
        names = (path.name for path in self._files())
        numbers = (name.removeprefix(_ROUND) for name in names if name.startswith(_ROUND))
        return sorted(int(number) for number in numbers if number.isdecimal())

    def _done(self) -> _Done | None:
        data = self._read("done")
        return None if data is None else msgspec.msgpack.decode(data, type=_Done)

    def _keep(self, name: str, data: bytes) -> None:
        self._write(name, _digest(name, data) + data)

    def _read(self, name: str) -> bytes | None:
        try:
            kept = (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None
        data = kept[_DIGEST:]
        return data if kept[:_DIGEST] == _digest(name, data) else None

    def _write(self, name: str, data: bytes) -> None:
        path = self._folder / name
        with room_for(path):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(path, data)

    def _drop(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)


def _digest(name: str, data: bytes) -> bytes:
    return hashlib.sha256(_TAG + name.encode() + b"\0" + data).digest()
