"""The ledger as one file that can be carried anywhere and verified offline.

JSON lines, each in canonical encoding and ended by a newline:

    {"format":"parley-ledger/v1","leaves":N,"origin":"parley/…"}
    leaf 0 … leaf N − 1, as the log hashes them
    {"checkpoint":["<line>",…]}            signed notes, ascending by size; each line of the note is a string

`verifier` reads it.
"""

from collections.abc import Iterable
from typing import BinaryIO, Final, Protocol

from parley.ledger.encoding import EncodingError, Value, decode, encode

FORMAT: Final = "parley-ledger/v1"
LINE_LIMIT: Final = 128 * 1024


class Exported(Protocol):
    """A log that can be exported, as it was at one moment.

    Attributes:
        origin: the origin line of its checkpoints.
        size: leaves.
    """

    origin: str
    size: int

    def leaf_data(self) -> Iterable[bytes]:
        """The leaves in order."""

    def notes(self) -> Iterable[bytes]:
        """The signed notes, ascending by size."""


def export(log: Exported, file: BinaryIO) -> None:
    """Write a ledger into an open file."""
    header: dict[str, Value] = {"format": FORMAT, "leaves": log.size, "origin": log.origin}
    file.write(encode(header) + b"\n")
    file.writelines(leaf + b"\n" for leaf in log.leaf_data())
    for note in log.notes():
        lines = note.decode().split("\n")
        file.write(encode({"checkpoint": lines}, LINE_LIMIT) + b"\n")


def read_header(line: bytes) -> tuple[str, int]:
    """Origin and number of leaves; `EncodingError` if it is not the first line of such a file."""
    value = decode(line, LINE_LIMIT)
    if not isinstance(value, dict) or value.keys() != {"format", "leaves", "origin"}:
        raise EncodingError("expected a header with format, leaves and origin")
    origin, leaves = value["origin"], value["leaves"]
    if value["format"] != FORMAT or type(origin) is not str or type(leaves) is not int or leaves < 1:
        raise EncodingError(f"expected format {FORMAT}, an origin, and a number of leaves from 1")
    return origin, leaves


def read_note(line: bytes) -> bytes:
    """The signed note in a line; `EncodingError` if the line is not one."""
    value = decode(line, LINE_LIMIT)
    lines = value.get("checkpoint") if isinstance(value, dict) and len(value) == 1 else None
    if not isinstance(lines, list) or not all(type(one) is str for one in lines):
        raise EncodingError("expected a checkpoint as a list of lines")
    return "\n".join(lines).encode()
