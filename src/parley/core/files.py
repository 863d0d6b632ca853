"""Files that are either the old or the new one, whatever happens in between."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from parley.core.errors import BudgetExhausted

DISK_FULL: Final = "disk-full"
"""The code of what goes on once there is room again."""


@contextmanager
def room_for(path: Path) -> Iterator[None]:
    """Says in our own words that there is no room to write a file.

    Raises:
        BudgetExhausted: the disk is full, or what this user may use of it.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise no_room(path) from error


def no_room(path: Path | str) -> BudgetExhausted:
    """The error of a full disk, for a file or for a database by the name that people know it by."""
    return BudgetExhausted(
        DISK_FULL,
        f"{path} cannot be written: there is no space left on its disk",
        remedy="free some space there; what was under way goes on by itself",
        public="a disk is full here",
    )


def check_room(folder: Path, needed: int) -> None:
    """Refuse to begin what would fill the disk.

    Args:
        folder: on it.
        needed: bytes that must be free.

    Raises:
        BudgetExhausted: there are fewer.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise BudgetExhausted(
            DISK_FULL,
            f"{free >> 20} MiB are free on the disk of {folder}, {needed >> 20} MiB must be",
            remedy="free some space there, or lower `disk` in parley.toml; what waits goes on by itself",
            public="a disk is full here",
        )


def write_atomically(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace a file in one step; when this returns, the new one is on the disk.

    Raises:
        BudgetExhausted: the disk is full; the old file stays.
    """
    with room_for(path):
        _write_atomically(path, data, mode)


def _write_atomically(path: Path, data: bytes, mode: int) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
