"""Files that commands read and write for people."""

from pathlib import Path

from parley.core.errors import UsageError
from parley.core.files import write_atomically


def contents(path: Path) -> bytes:
    """What a file holds.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise not_readable(path, error) from None


def write(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        write_atomically(path, data)
    except OSError as error:
        raise not_writable(path, error) from None


def not_readable(path: Path, error: OSError) -> UsageError:
    """The error of a file that is not there or not for us."""
    return UsageError(
        "file-unreadable", f"{path} cannot be read: {error.strerror}", remedy="name a file that is there"
    )


def not_writable(path: Path, error: OSError) -> UsageError:
    """The error of a file that we may not write."""
    return UsageError(
        "file-not-writable",
        f"{path} cannot be written: {error.strerror}",
        remedy="name a file in a folder that you may write to",
    )
