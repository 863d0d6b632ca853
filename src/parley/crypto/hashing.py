"""SHA-256 with a domain tag, so that a digest made for one purpose can never stand for another."""

import hashlib
from typing import Final

_MAX_TAG: Final = 255


def tag_prefix(tag: str) -> bytes:
    """The bytes put before what is hashed under ``tag``: the tag's length in one byte, then the tag.

    No prefix begins another, so two tags never give the same hash input.
    """
    name = tag.encode("ascii")
    if not 0 < len(name) <= _MAX_TAG:
        raise ValueError(f"hash tag of {len(name)} bytes; it must have 1 to {_MAX_TAG}")
    return bytes([len(name)]) + name


class TaggedHash:
    """SHA-256 under one domain tag: ``TaggedHash("parley/key/v1")(data)`` is a 32-byte digest."""

    __slots__ = ("_prefix", "tag")

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self._prefix = tag_prefix(tag)

    def __call__(self, data: bytes) -> bytes:
        """The digest of ``data``: 32 bytes."""
        return hashlib.sha256(self._prefix + data).digest()

    def __repr__(self) -> str:
        return f"TaggedHash({self.tag!r})"
