"""The door: malformed, unsigned or replayed input is dropped here and leaves no trace in the state."""

from collections.abc import Callable
from typing import Final, NoReturn, TypeAlias

from parley.ledger.contract.consortium import CONSORTIUM, Consortium
from parley.ledger.contract.execution import seen_path
from parley.ledger.contract.members import Key, key_path
from parley.ledger.contract.outcome import Block, Dropped
from parley.ledger.contract.state import Draft, View
from parley.ledger.encoding import EncodingError
from parley.ledger.transaction import SignedTransaction, Transaction, open_signed

EXPIRY_WINDOW: Final = 10_000
"""How many heights ahead a transaction may expire."""

Verify: TypeAlias = Callable[[SignedTransaction, bytes], bool]
"""Whether the signature of an envelope is that of a public key; so that many can be checked together."""


def admit(
    view: View, signed: bytes | SignedTransaction, block: Block, verify: Verify
) -> Transaction | Dropped:
    """The transaction in ``signed``, if it is one to be executed in ``block``.

    1. It decodes, canonically, and within the limit.
    2. It is meant for this consortium.
    3. It has not expired, and does not expire too far ahead.
    4. It has not been executed before.
    5. Its key is on the ledger, belongs to its sender and is not revoked.
    6. Its signature is that key's.

    An envelope that `open_signed` gave is taken in place of its bytes.
    """
    try:
        envelope = open_signed(signed) if isinstance(signed, bytes) else signed  # 1
        _check_envelope(Draft(view), envelope, block, verify)
    except EncodingError as error:
        return Dropped("malformed", str(error))
    except _Drop as drop:
        return drop.dropped
    return envelope.transaction


class _Drop(Exception):
    def __init__(self, dropped: Dropped) -> None:
        self.dropped = dropped


def _drop(code: str, reason: str) -> NoReturn:
    raise _Drop(Dropped(code, reason))


def _check_envelope(draft: Draft, envelope: SignedTransaction, block: Block, verify: Verify) -> None:
    transaction = envelope.transaction
    # 2
    if transaction.consortium != draft.known(Consortium, CONSORTIUM).id:
        _drop("other-consortium", "the transaction is meant for another ledger")
    # 3
    if transaction.expires < block.height:
        _drop("expired", f"at height {transaction.expires}; this is height {block.height}")
    if transaction.expires > block.height + EXPIRY_WINDOW:
        _drop("expires-too-late", f"more than {EXPIRY_WINDOW} heights ahead of {block.height}")
    # 4
    if draft.has(seen_path(transaction.expires, envelope.digest.hex())):
        _drop("replayed", "the transaction has its receipt")
    # 5
    key = draft.find(Key, key_path(transaction.key))
    if key is None or key.member != transaction.sender:
        _drop("key-unknown", f"{transaction.sender} has no such key")
    if key.revoked is not None:
        _drop("key-revoked", f"at height {key.revoked}")
    # 6
    if not verify(envelope, bytes.fromhex(key.public)):
        _drop("bad-signature", f"it is not by this key of {transaction.sender}")
