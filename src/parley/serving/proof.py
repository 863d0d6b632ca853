"""Proving one prediction to somebody who has nothing of the ledger but the members' keys.

What must hold, in the order in which it is checked:

1. the file is canonical JSON and has its members;
2. the receipt of its batch holds, see `parley.ledger.proof`, and is of a ``prediction.commit``;
3. id, basis, margins and salt make a leaf that stands under the root which that transaction names.

Then the party that signed the transaction answered so when it was asked about that id, at the latest when the
members signed. Nothing is shown of the other predictions of the batch but how many there are.
"""

import struct
from dataclasses import dataclass
from typing import Any, Final, Self

from parley.core.errors import UsageError
from parley.ledger.contract.predictions import Batch, batch_path
from parley.ledger.encoding import EncodingError, Value, decode, encode, hexed, unhexed
from parley.ledger.merkle import HASH_BYTES, Frontier, inclusion_proof, verify_inclusion
from parley.ledger.predictions import BASES, prediction_leaf, prediction_salt
from parley.ledger.proof import Proven, ReceiptRefused, Trust, verify_receipt
from parley.party.chronicle import Chronicle
from parley.party.proving import prove as receipt_of
from parley.serving.pages import Book

FORMAT: Final = "parley-prediction-proof-v1"
MAX_BYTES: Final = 1 << 20
_MEMBERS: Final = frozenset({"basis", "format", "id", "index", "margins", "proof", "receipt", "salt"})
_ACT: Final = "prediction.commit"
_FLOAT: Final = 8


@dataclass(frozen=True)
class Prediction:
    """A proven prediction.

    Attributes:
        model: identifier.
        batch: number of its batch among the model's.
        id: who was asked about.
        basis: what the score rests on.
        margins: of each output.
        committed: the proven transaction.
    """

    model: str
    batch: int
    id: str
    basis: str
    margins: tuple[float, ...]
    committed: Proven


def prove(ledger: Chronicle, book: Book, model: str, receipt: str) -> bytes:
    """The proof of the prediction with a receipt, as a file.

    Raises:
        UsageError: there is none; or the ledger does not have it yet, or not for good.
    """
    name, _, number = receipt.partition(".")
    place = int(number) if number.isdecimal() else -1
    identifier, basis, margins = book.prediction(name, place)
    batch = book.batch_of(name)
    if batch is None:
        raise UsageError(
            "prediction-not-committed",
            f"prediction {receipt} is not on the ledger yet",
            remedy="wait a second while `parley serve` or `parley predict` runs",
        )
    page = book.page(name)
    frontier, nodes = Frontier(), dict[tuple[int, int], bytes]()
    for leaf in page.leaves():
        nodes |= {(node.level, node.position): node.digest for node in frontier.append(leaf.tobytes())}
    path = inclusion_proof(place, page.count, lambda level, position: nodes[level, position])
    members: dict[str, Value] = {
        "basis": basis,
        "format": FORMAT,
        "id": hexed(identifier.encode()),
        "index": place,
        "margins": hexed(struct.pack(f">{len(margins)}d", *margins)),
        "proof": [hexed(each) for each in path],
        "receipt": hexed(receipt_of(ledger, _record(ledger, model, batch)).encoded()),
        "salt": hexed(prediction_salt(page.key, place)),
    }
    return encode(members, MAX_BYTES)


def _record(ledger: Chronicle, model: str, batch: int) -> int:
    """The number of the record by which a batch came onto the ledger."""
    found = ledger.draft.find(Batch, batch_path(model, batch))
    for entry in () if found is None else ledger.entries():
        body = entry.body
        if entry.type == _ACT and entry.accepted and (body["model"], body["batch"]) == (model, batch):
            return entry.number
    raise UsageError(
        "prediction-not-committed",
        f"our copy of the ledger has no batch {batch} of model {model}",
        remedy="wait until `parley ledger status` says that it has caught up",
    )


def is_proof(data: bytes) -> bool:
    """Whether a file is meant as a proof of a prediction."""
    return FORMAT.encode() in data[:MAX_BYTES]


def verify(data: bytes, trust: Trust, quorum: int) -> Prediction:
    """What a file proves to one who holds ``trust``.

    Raises:
        ReceiptRefused: nothing.
    """
    # 1
    try:
        shown = _Shown.read(data)
    except (EncodingError, UnicodeDecodeError, TypeError) as error:
        raise ReceiptRefused(1, error) from None
    # 2
    proven = verify_receipt(shown.receipt, trust, quorum)
    asked = proven.signed.transaction
    if asked.type != _ACT:
        raise ReceiptRefused(2, f"the record is a {asked.type}, not a {_ACT}")
    # 3
    model, batch, count, root = _committed(asked.body)
    if not verify_inclusion(shown.leaf(), shown.index, count, shown.proof, root):
        raise ReceiptRefused(6, "the prediction does not stand under the root that was committed")
    return Prediction(model, batch, shown.id, shown.basis, shown.margins, proven)


def _committed(body: Any) -> tuple[str, int, int, bytes]:  # noqa: ANN401 (a member may have signed anything)
    """Model, batch, count and root of a transaction, which the ledger may have refused for its form.

    Raises:
        ReceiptRefused: it has not the form of one.
    """
    try:
        model, batch, count, root = body["model"], body["batch"], body["count"], body["root"]
        found = _bytes({"root": root}, "root", HASH_BYTES)
    except (KeyError, TypeError, EncodingError) as error:
        raise ReceiptRefused(2, f"the transaction commits to nothing: {error}") from None
    if type(model) is not str or type(batch) is not int or type(count) is not int:
        raise ReceiptRefused(2, "the transaction commits to nothing")
    return model, batch, count, found


@dataclass(frozen=True)
class _Shown:
    """What a proof says."""

    id: str
    basis: str
    margins: tuple[float, ...]
    salt: bytes
    index: int
    proof: tuple[bytes, ...]
    receipt: bytes

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Check 1."""
        members: Any = decode(data, MAX_BYTES)
        if not isinstance(members, dict) or members.keys() != _MEMBERS or members["format"] != FORMAT:
            raise EncodingError(f"expected an object of exactly {', '.join(sorted(_MEMBERS))}")
        floats, index, basis = _bytes(members, "margins"), members["index"], members["basis"]
        if basis not in BASES or type(index) is not int or len(floats) % _FLOAT:
            raise EncodingError("basis, index or margins make no sense")
        return cls(
            id=_bytes(members, "id").decode(),
            basis=basis,
            margins=struct.unpack(f">{len(floats) // _FLOAT}d", floats),
            salt=_bytes(members, "salt", HASH_BYTES),
            index=index,
            proof=tuple(_hash(each) for each in members["proof"]),
            receipt=_bytes(members, "receipt"),
        )

    def leaf(self) -> bytes:
        """The hash that must stand in the tree."""
        return prediction_leaf(self.salt, self.id.encode(), BASES.index(self.basis), self.margins)


def _bytes(members: dict[str, Any], name: str, size: int | None = None) -> bytes:
    if type(members[name]) is not str:
        raise EncodingError("expected bytes in hexadecimal", (name,))
    return unhexed(members[name], size)


def _hash(text: object) -> bytes:
    return _bytes({"proof": text}, "proof", HASH_BYTES)
