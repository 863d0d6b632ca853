"""The log of one run: ``logs/RUN.jsonl`` in a party's home, a record per line, bounded in size.

The party appends to it while the run lasts; whoever reads it meanwhile sees whole records only. Records are
numbered from 1. When the file would outgrow its bound, the beginning and the latest part stay, and a record
between them says how many were left out. A line that a crash or a full disk cut short is passed over.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from parley.core.files import write_atomically
from parley.core.log import Figures, Record
from parley.store.home import Home

BOUND: Final = 4 << 20
"""Bytes that the log of one run may hold."""
_TAIL: Final = 1 << 16
"""Bytes at the end of the file in which the last record lies."""
_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Record)


class RunLog:
    """The file; made when the first records are appended. One writer at a time, any number of readers.

    Args:
        path: where.
        bound: bytes that it may hold.
    """

    def __init__(self, path: Path, bound: int = BOUND) -> None:
        self.path = path
        self._bound = bound

    def append(self, records: Iterable[Record]) -> None:
        """Add records, with the next numbers.

        Raises:
            OSError: the disk is full, or the folder cannot be written; what was there stays.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "r+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            tail = file.read(min(size, _TAIL)) or b""
            number = max((each.number for each in _read(tail)), default=0)
            lines = b"".join(
                _line(msgspec.structs.replace(each, number=number + offset))
                for offset, each in enumerate(records, 1)
            )
            if tail and not tail.endswith(b"\n"):
                lines = b"\n" + lines
            if size + len(lines) <= self._bound:
                _write(file.fileno(), lines)
                return
            file.seek(0)
            kept = self._shortened((file.read(size) or b"") + lines)
        write_atomically(self.path, kept)

    def read(self, after: int = 0) -> list[Record]:
        """The records whose numbers come after one; none if there is no file.

        Raises:
            OSError: the file cannot be read.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return []
        return [each for each in _read(data) if each.number > after]

    def drop(self) -> None:
        """Remove the file, if there is one."""
        self.path.unlink(missing_ok=True)

    def _shortened(self, data: bytes) -> bytes:
        """The first and the latest quarter of the bound, with the number of records between them."""
        quarter = self._bound // 4
        lines = data.split(b"\n")[:-1]
        head = _fitting(lines, quarter)
        tail = _fitting(reversed(lines[len(head) :]), quarter)[::-1]
        first, last = _read(b"\n".join([*tail, b""])), _read(b"\n".join([*head, b""]))
        if not first or not last:  # records as large as the bound itself: the latest stay
            return b"".join(line + b"\n" for line in tail)
        records = first[0].number - last[-1].number - 1
        gap = msgspec.structs.replace(
            first[0],
            level="info",
            text=f"… {records} records left out",
            kind="left-out",
            figures=Figures(records=records),
            code="",
            peer="",
            number=first[0].number - 1,
        )
        return b"".join([*(line + b"\n" for line in head), _line(gap), *(line + b"\n" for line in tail)])


def log_of(home: Home, run: str) -> RunLog:
    """The log of a run."""
    return RunLog(home.path / "logs" / f"{run}.jsonl")


def run_logs(home: Home) -> list[Path]:
    """The logs of runs that there are; each is called like its run."""
    return sorted((home.path / "logs").glob("*.jsonl"))


def encoded(record: Record) -> bytes:
    """A record as a line of JSON, without its end."""
    return _ENCODER.encode(record)


def _line(record: Record) -> bytes:
    return encoded(record) + b"\n"


def _read(data: bytes) -> list[Record]:
    """The whole records; a line that was cut short is none, and the last one has not been written yet."""
    records: list[Record] = []
    for line in data.split(b"\n")[:-1]:
        try:
            records.append(_DECODER.decode(line))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
    return records


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def _fitting(lines: Iterable[bytes], room: int) -> list[bytes]:
    """As many lines as there is room for."""
    fitting: list[bytes] = []
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            break
        fitting.append(line)
    return fitting
