"""A receipt: one transaction of the ledger, provable to somebody who has nothing of it but a few public keys.

What must hold, in the order in which it is checked:

1. the receipt is in canonical encoding and has its five members;
2. the leaf holds a well-formed envelope, for the consortium that is trusted;
3. it names the key that is enclosed, and that key signed it;
4. the checkpoint is of the trusted origin, signed by the log's key, and carries a state root;
5. at least ``quorum`` trusted members have cosigned the checkpoint;
6. the leaf stands, at the stated index, in the log whose root the checkpoint gives.

Then the transaction was part of the agreed record, at that place, at the time of the last cosignature. That
the key belonged to the sender, and whether the contract accepted or refused what was asked, follow from
replaying the ledger up to there; the cosigners vouch that they did.
"""

from typing import Any, Final, NamedTuple

import msgspec

from parley.crypto.signatures import PUBLIC_BYTES
from parley.ledger import merkle, notes
from parley.ledger.block import Leaf
from parley.ledger.checkpoint import Checkpoint, open_checkpoint
from parley.ledger.encoding import EncodingError, Value, decode, encode, hexed, unhexed
from parley.ledger.notes import Kind, NoteError, NoteKey
from parley.ledger.transaction import SignedTransaction

MAX_RECEIPT_BYTES: Final = 512 * 1024
CHECKS: Final = (
    "the receipt is in canonical encoding and has its five members",
    "the leaf holds a well-formed envelope for the trusted consortium",
    "the transaction names the enclosed key, and that key signed it",
    "the checkpoint is of the trusted origin, signed by the log, and carries a state root",
    "enough trusted members have cosigned the checkpoint",
    "the leaf stands in the log whose root the checkpoint gives",
)
"""What `verify_receipt` checks; check n is ``CHECKS[n - 1]``."""

_MEMBERS: Final = frozenset({"checkpoint", "index", "leaf", "proof", "public"})
_MAX_PROOF: Final = 64


class ReceiptRefused(ValueError):
    """A receipt that proves nothing.

    Attributes:
        check: the number of the check that failed, from one.
        reason: why.

    """

    def __init__(self, check: int, reason: object) -> None:
        super().__init__(f"check {check} failed ({CHECKS[check - 1]}): {reason}")
        self.check = check
        self.reason = str(reason)


class Receipt(msgspec.Struct, frozen=True):
    """A transaction and what proves it, as the ledger gives it out.

    Attributes:
        leaf: as it stands in the log: height, time and the signed envelope.
        public: the public key that signed it.
        index: of its leaf, from zero.
        proof: audit path of the leaf; hashes of 32 bytes.
        checkpoint: the signed note.

    """

    leaf: bytes
    public: bytes
    index: int
    proof: tuple[bytes, ...]
    checkpoint: bytes

    def encoded(self) -> bytes:
        """The receipt as a file: canonical JSON, byte strings in hexadecimal."""
        members: dict[str, Value] = {
            "checkpoint": hexed(self.checkpoint),
            "index": self.index,
            "leaf": hexed(self.leaf),
            "proof": [hexed(digest) for digest in self.proof],
            "public": hexed(self.public),
        }
        return encode(members, MAX_RECEIPT_BYTES)

    @classmethod
    def decoded(cls, data: bytes) -> "Receipt":
        """The receipt in ``data``; `EncodingError` unless it is canonical and of the right shape."""
        members: Any = decode(data, MAX_RECEIPT_BYTES)
        if not isinstance(members, dict) or members.keys() != _MEMBERS:
            raise EncodingError(f"expected an object of exactly {', '.join(sorted(_MEMBERS))}")
        index, proof = members["index"], members["proof"]
        if type(index) is not int or index < 0:
            raise EncodingError("expected an index from zero", ("index",))
        if not isinstance(proof, list) or len(proof) > _MAX_PROOF:
            raise EncodingError(f"expected a list of at most {_MAX_PROOF} hashes", ("proof",))
        return cls(
            leaf=_bytes(members, "leaf"),
            public=_bytes(members, "public", PUBLIC_BYTES),
            index=index,
            proof=tuple(_bytes({"proof": digest}, "proof", merkle.HASH_BYTES) for digest in proof),
            checkpoint=_bytes(members, "checkpoint"),
        )


class Trust(NamedTuple):
    """What the one who checks knows beforehand.

    Attributes:
        consortium: its id, 32 bytes in hexadecimal.
        origin: of the log.
        log: keys (0x01) of the log itself; one of them must have signed.
        cosigners: the members' keys (0x04).

    """

    consortium: str
    origin: str
    log: tuple[NoteKey, ...]
    cosigners: tuple[NoteKey, ...]


class Proven(msgspec.Struct, frozen=True):
    """What a good receipt shows.

    Attributes:
        signed: the transaction in its envelope.
        height: of its block.
        index: its place in the log.
        checkpoint: the head of the log that it was proven under.
        cosigners: names of the trusted members that cosigned; empty if the quorum was zero.
        time: POSIX seconds of the latest of their cosignatures; None if the quorum was zero.

    """

    signed: SignedTransaction
    height: int
    index: int
    checkpoint: Checkpoint
    cosigners: tuple[str, ...]
    time: int | None


def verify_receipt(data: bytes, trust: Trust, quorum: int) -> Proven:
    """What the receipt in ``data`` proves to one who holds ``trust``; `ReceiptRefused` names what failed.

    ``quorum`` is the number of distinct members whose cosignatures are required.
    """
    # 1
    try:
        receipt = Receipt.decoded(data)
    except EncodingError as error:
        raise ReceiptRefused(1, error) from None
    # 2
    try:
        leaf = Leaf.decoded(receipt.leaf)
        signed = leaf.opened()
    except EncodingError as error:
        raise ReceiptRefused(2, error) from None
    if signed.transaction.consortium != trust.consortium:
        raise ReceiptRefused(2, f"it is for consortium {signed.transaction.consortium[:16]}")
    # 3
    if not signed.verify(receipt.public):
        raise ReceiptRefused(3, "the key is another one, or the signature does not hold")
    # 4
    checkpoint = _signed_by_log(receipt.checkpoint, trust)
    # 5
    cosigners, time = _cosigned(receipt.checkpoint, trust, quorum)
    # 6
    digest = merkle.leaf_hash(receipt.leaf)
    if not merkle.verify_inclusion(digest, receipt.index, checkpoint.size, receipt.proof, checkpoint.root):
        raise ReceiptRefused(
            6, f"the proof of leaf {receipt.index} of {checkpoint.size} does not give its root"
        )
    return Proven(signed, leaf.height, receipt.index, checkpoint, cosigners, time)


def _signed_by_log(note: bytes, trust: Trust) -> Checkpoint:
    try:
        checkpoint = open_checkpoint(note, trust.log).checkpoint
        _ = checkpoint.state_root
    except NoteError as error:
        raise ReceiptRefused(4, error) from None
    if checkpoint.origin != trust.origin:
        raise ReceiptRefused(4, f"it is of {checkpoint.origin!r}; expected {trust.origin!r}")
    return checkpoint


def _cosigned(note: bytes, trust: Trust, quorum: int) -> tuple[tuple[str, ...], int | None]:
    """The cosigners, one for each public key however many names it has, and their latest time."""
    if quorum == 0:
        return (), None
    try:
        statements = notes.parse_note(note).verified(trust.cosigners)
    except NoteError as error:
        raise ReceiptRefused(5, error) from None
    distinct = {said.key.public: said for said in statements if said.key.kind is Kind.COSIGNATURE_V1}
    if len(distinct) < quorum:
        raise ReceiptRefused(5, f"{len(distinct)} cosignatures of trusted members; required are {quorum}")
    times = [said.time for said in distinct.values() if said.time is not None]
    return tuple(said.key.name for said in distinct.values()), max(times, default=None)


def _bytes(members: dict[str, Any], name: str, size: int | None = None) -> bytes:
    text = members[name]
    if type(text) is not str:
        raise EncodingError("expected bytes in hexadecimal", (name,))
    try:
        return unhexed(text, size)
    except EncodingError as error:
        error.path = (name,)
        raise
