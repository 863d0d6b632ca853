"""What is committed of an answered prediction: the definition of a leaf, for whoever checks one.

Every answer is an entry, salted so that no one can try ids against the hash; its leaf is hashed as RFC 6962
has it, and the root over a page of leaves goes onto the ledger (``prediction.commit``). The salt follows
from a secret key of the active party and the answer's number, so that nothing but the key must be kept;
showing the salt of one answer tells nothing of another's. The kernel ``prediction_leaves`` makes the same
leaves by the million.
"""

import hashlib
import struct
from collections.abc import Sequence
from typing import Final, Literal

from parley.ledger.merkle import leaf_hash

SALT_TAG: Final = b"PARLEY-PREDICTION-SALT-V1-"
ENTRY_TAG: Final = b"PARLEY-PREDICTION-ENTRY-V1-"
KEY_BYTES: Final = 32
BASES: Final[tuple[Literal["joint"], Literal["active-only"], Literal["missing"]]] = (
    "joint",
    "active-only",
    "missing",
)
"""What a score rests on; the byte that says it in an entry is the place here."""


def prediction_salt(key: bytes, number: int) -> bytes:
    """The salt of an answer: SHA-256(tag ‖ key ‖ number in eight bytes, big-endian).

    Args:
        key: 32 secret bytes of the active party.
        number: of the answer, counted under this key from 0.
    """
    if len(key) != KEY_BYTES:
        raise ValueError(f"salt key of {len(key)} bytes; it must have {KEY_BYTES}")
    return hashlib.sha256(SALT_TAG + key + struct.pack(">Q", number)).digest()


def prediction_entry(salt: bytes, identifier: bytes, basis: int, margins: Sequence[float]) -> bytes:
    """The hash of an answer, 32 bytes.

    SHA-256(tag ‖ salt ‖ length of the id in four bytes ‖ id ‖ basis ‖ outputs in two bytes ‖ margins as
    IEEE 754 in eight bytes each), all big-endian.

    Args:
        salt: of this answer, 32 bytes.
        identifier: who was asked about, in UTF-8.
        basis: place in `BASES`.
        margins: of each output, in units of the objective's margin.
    """
    head = struct.pack(">I", len(identifier)) + identifier + struct.pack(">BH", basis, len(margins))
    return hashlib.sha256(ENTRY_TAG + salt + head + struct.pack(f">{len(margins)}d", *margins)).digest()


def prediction_leaf(salt: bytes, identifier: bytes, basis: int, margins: Sequence[float]) -> bytes:
    """The hash of an answer's leaf: what stands in the tree, and what a proof of inclusion begins with."""
    return leaf_hash(prediction_entry(salt, identifier, basis, margins))
