"""Records of the ledger as they are shown."""

from typing import Any

import msgspec

from parley.party.chronicle import Entry
from parley.party.words import deed


class RecordShown(msgspec.Struct, frozen=True):
    """A record of the ledger.

    Attributes:
        number: of its receipt; 0 is the foundation.
        height: of its block.
        time: of its block, seconds since 1970.
        sender: who asked.
        type: what was asked.
        words: the same for people.
        body: the particulars.
        digest: of the transaction, hexadecimal.
        code: ``accepted``, or that of the refusal.
        reason: of a refusal, in words.
        final: whether a majority has signed for it.
    """

    number: int
    height: int
    time: int
    sender: str
    type: str
    words: str
    body: dict[str, Any]
    digest: str
    code: str
    reason: str
    final: bool


def record_shown(entry: Entry) -> RecordShown:
    """A record of the history."""
    return RecordShown(
        number=entry.number,
        height=entry.height,
        time=entry.time,
        sender=entry.sender,
        type=entry.type,
        words=deed(entry),
        body=dict(entry.body),
        digest=entry.digest,
        code=entry.code,
        reason=entry.reason,
        final=entry.final,
    )
