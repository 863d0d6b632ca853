"""The signed envelope in which everything reaches the ledger.

On the wire it is one canonical JSON object (`encoding`):

    {"alg":"ed25519","signature":"<128 hex digits>","transaction":{…}}

with the members of `Transaction` inside. The signature is over the canonical bytes of the inner object under
the domain ``parley/transaction/v1``; since the encoding is canonical, those bytes stand in the outer ones as
they are. The id of a transaction is the tagged hash of the inner bytes, so the signature does not change it.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, Self

import msgspec

from parley.crypto import signatures
from parley.crypto.hashing import TaggedHash
from parley.crypto.signatures import ED25519, Claim, SigningKey
from parley.ledger.encoding import DEFAULT_LIMIT, MAX_INT, EncodingError, Value, decode, encode, unhexed

DOMAIN: Final = "parley/transaction/v1"
CONSORTIUM_BYTES: Final = 32
KEY_ID_BYTES: Final = 32
NONCE_BYTES: Final = 16

_DIGEST: Final = TaggedHash(DOMAIN)
_MEMBER: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
_TYPE: Final = re.compile(r"[a-z][a-z0-9-]{0,31}(\.[a-z][a-z0-9-]{0,31}){0,3}")
_FORM: Final = re.compile(
    rf"[0-9a-f]{{64}}\n[0-9a-f]{{64}}\n[0-9a-f]{{32}}\n{_MEMBER.pattern}\n{_TYPE.pattern}",
)
"""Consortium, key, nonce, sender and type, each in a line."""
_OUTER: Final = frozenset({"alg", "signature", "transaction"})
_INNER: Final = frozenset({"body", "consortium", "expires", "key", "nonce", "sender", "type"})


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """What one member asks of the contract. `EncodingError` names the member of it that is malformed.

    Attributes:
        consortium: id of the ledger it is meant for: 32 bytes in hexadecimal.
        sender: the member's name, as in its certificate.
        key: `key_id` of the key that signs it.
        type: what is asked, such as ``plan.propose``.
        body: the particulars; an object whose members the contract knows.
        expires: the last height at which it may be taken in.
        nonce: 16 bytes in hexadecimal that make it unlike any other.

    """

    consortium: str
    sender: str
    key: str
    type: str
    body: Mapping[str, Value]
    expires: int
    nonce: str

    def __post_init__(self) -> None:
        names = (self.consortium, self.key, self.nonce, self.sender, self.type)
        if {*map(type, names)} != {str} or _FORM.fullmatch("\n".join(names)) is None:
            self._check_names()
        if type(self.body) is not dict:
            raise EncodingError("expected an object", ("body",))
        if type(self.expires) is not int or not 0 <= self.expires <= MAX_INT:
            raise EncodingError("expected a height: an integer from 0 below 2^53", ("expires",))

    def _check_names(self) -> None:
        """Say which is malformed; five lines together may be, since none of the forms has a newline in it."""
        _hex("consortium", self.consortium, CONSORTIUM_BYTES)
        _hex("key", self.key, KEY_ID_BYTES)
        _hex("nonce", self.nonce, NONCE_BYTES)
        _name("sender", self.sender, _MEMBER)
        _name("type", self.type, _TYPE)

    def encoded(self) -> bytes:
        """The canonical bytes that are hashed and signed."""
        return encode(_members(self))

    @property
    def digest(self) -> bytes:
        """The transaction's id: the tagged hash of its canonical bytes."""
        return _DIGEST(self.encoded())


class SignedTransaction(msgspec.Struct, frozen=True):
    """A well-formed envelope. Only `verify` says whether its signature is good.

    Attributes:
        transaction: what is asked.
        signature: 64 bytes.
        alg: the algorithm's tag; always ``ed25519`` for now.
        data: the canonical bytes of the whole, a leaf of the log.
        payload: the canonical bytes of the transaction, the part that is signed.
        digest: the transaction's id.

    """

    transaction: Transaction
    signature: bytes
    alg: str
    data: bytes
    payload: bytes
    digest: bytes

    def claim(self, public: bytes) -> Claim:
        """What `signatures.verify_all` needs to check many envelopes at once."""
        return Claim(public, DOMAIN, self.payload, self.signature)

    def verify(self, public: bytes) -> bool:
        """Whether the envelope names the key ``public`` and that key made the signature."""
        named = self.transaction.key == signatures.key_id(public, self.alg)
        return named and signatures.verify(*self.claim(public))

    @classmethod
    def assemble(cls, transaction: Transaction, payload: bytes, signature: bytes) -> Self:
        """The envelope around ``payload``, which must be ``transaction.encoded()``."""
        data = _head(signature.hex()) + payload + b"}"
        if len(data) > DEFAULT_LIMIT:
            raise EncodingError(f"envelope has {len(data)} bytes; the limit is {DEFAULT_LIMIT}")
        return cls(transaction, signature, ED25519, data, payload, _DIGEST(payload))


def sign(transaction: Transaction, key: SigningKey) -> SignedTransaction:
    """The envelope of ``transaction``, signed with ``key``, which must be the one it names."""
    if transaction.key != key.key_id:
        raise ValueError(f"the transaction names key {transaction.key[:16]}; this one is {key.key_id[:16]}")
    payload = transaction.encoded()
    return SignedTransaction.assemble(transaction, payload, key.sign(DOMAIN, payload))


def open_signed(data: bytes, limit: int = DEFAULT_LIMIT) -> SignedTransaction:
    """The envelope in ``data``; `EncodingError` unless it is canonical and well-formed.

    Whether the sender exists, holds the key and made the signature is not asked here.
    """
    outer = _exact(decode(data, limit), _OUTER, ())
    alg, signature = outer["alg"], outer["signature"]
    if alg != ED25519:
        raise EncodingError(f"unknown signature algorithm; known is {ED25519}", ("alg",))
    _hex("signature", signature, signatures.SIGNATURE_BYTES)
    inner = _exact(outer["transaction"], _INNER, ("transaction",))
    try:
        transaction = Transaction(**inner)
    except EncodingError as error:
        error.path = ("transaction", *error.path)
        raise
    payload = data[len(_head(signature)) : -1]
    return SignedTransaction(transaction, bytes.fromhex(signature), alg, data, payload, _DIGEST(payload))


def _head(signature: str) -> bytes:
    return b'{"alg":"ed25519","signature":"%b","transaction":' % signature.encode()


def _members(transaction: Transaction) -> dict[str, Value]:
    return {name: getattr(transaction, name) for name in _INNER}


def _exact(value: Value, members: frozenset[str], path: tuple[str, ...]) -> dict[str, Any]:
    """``value`` as an object of exactly these members; what they hold is still to be checked."""
    if not isinstance(value, dict) or value.keys() != members:
        raise EncodingError(f"expected an object of exactly {', '.join(sorted(members))}", path)
    return value


def _hex(member: str, value: object, size: int) -> None:
    try:
        if type(value) is not str:
            raise EncodingError("expected a string")  # noqa: TRY301 (one place adds the path)
        unhexed(value, size)
    except EncodingError as error:
        error.path = (member,)
        raise


def _name(member: str, value: object, pattern: re.Pattern[str]) -> None:
    if type(value) is not str or pattern.fullmatch(value) is None:
        raise EncodingError(f"expected a name like {pattern.pattern}", (member,))
