"""Leaves of the log: a signed transaction, and the block it stands in.

    {"height":3,"time":1790000000,"transaction":{"alg":…,"signature":…,"transaction":{…}}}

A leaf repeats its block's height and time, so each can be read, and proven, by itself. Leaf 0 is the
genesis. All leaves are canonical JSON.
"""

import re
from dataclasses import dataclass
from typing import Final, Self

import msgspec

from parley.ledger.encoding import DEFAULT_LIMIT, MAX_INT, EncodingError, Value, decode, encode
from parley.ledger.transaction import SignedTransaction, open_signed

LEAF_LIMIT: Final = DEFAULT_LIMIT + 128
_LEAF: Final = re.compile(
    rb'\{"height":([1-9][0-9]{0,15}),"time":(0|[1-9][0-9]{0,15}),"transaction":(\{.*\})\}', re.DOTALL
)


class Leaf(msgspec.Struct, frozen=True):
    """One transaction at its place in the history.

    Attributes:
        height: of its block.
        time: of its block, seconds since 1970.
        signed: the envelope as it was submitted.
    """

    height: int
    time: int
    signed: bytes

    def encoded(self) -> bytes:
        """The canonical bytes that the log hashes."""
        return b'{"height":%d,"time":%d,"transaction":%b}' % (self.height, self.time, self.signed)

    @classmethod
    def decoded(cls, data: bytes) -> Self:
        """Read what `encoded` wrote; the envelope inside is not read, `opened` does that.

        Raises:
            EncodingError: it is not a leaf.
        """
        found = _LEAF.fullmatch(data)
        if found is None or len(data) > LEAF_LIMIT:
            raise EncodingError("expected a leaf with height from 1, time from 0, and transaction")
        height, time = int(found[1]), int(found[2])
        if max(height, time) > MAX_INT:
            raise EncodingError("integer of 2^53 or more in magnitude")
        return cls(height, time, found[3])

    def opened(self) -> SignedTransaction:
        """The envelope, structurally checked."""
        return open_signed(self.signed)


@dataclass(frozen=True, slots=True)
class Batch:
    """A block before it is sealed: transactions in order, with one height and time."""

    height: int
    time: int
    transactions: tuple[bytes, ...]

    def leaves(self) -> tuple[bytes, ...]:
        """Its leaves as the log hashes them."""
        return tuple(Leaf(self.height, self.time, signed).encoded() for signed in self.transactions)


def genesis_leaf(spec: Value) -> bytes:
    """Leaf 0: what the consortium begins with."""
    return encode({"genesis": spec}, LEAF_LIMIT)


def read_genesis(data: bytes) -> Value:
    """The specification in leaf 0.

    Raises:
        EncodingError: it is not a genesis leaf.
    """
    value = decode(data, LEAF_LIMIT)
    if not isinstance(value, dict) or value.keys() != {"genesis"}:
        raise EncodingError("expected the genesis")
    spec: Value = value["genesis"]
    return spec
