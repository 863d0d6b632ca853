"""Ed25519 signatures (RFC 8032), each bound to the purpose it was made for.

What is signed is never the bare message but a zero byte, a fixed tag, the domain and the message, so a
signature for one purpose cannot be shown as one for another. Checkpoints are the exception: the C2SP
signed-note format signs its text as it is. A note has no control character but the newline, hence no zero
byte in front, so the two kinds never meet (`SigningKey.sign_note` refuses any other text).

Verification is the cofactorless equation of RFC 8032, section 5.1.7, as OpenSSL computes it: it compares
the encoding of R, hence accepts no other encoding of it, and refuses S ≥ L. OpenSSL does accept public keys
of small order and encodings with y ≥ p; both are refused here, so that a signature fits one key and one
message (Chalkias, Garillot, Nikolaenko, "Taming the many EdDSAs", SSR 2020, section 3).

`verify` and `verify_note` are OpenSSL's, and what members must agree on asks only them. `verify_all` is for
who checks very many signatures again: `curve25519-dalek` in the crate, and its own kernels for a key that has
signed many, the same equation for each by itself (never one for a batch, which accepts more), S and the
encodings of R and A as above. So the verdicts are the same, and the tests compare them on all the edge cases
of that paper; it takes a quarter of the time, or with the kernels a twentieth.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple, NoReturn, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from parley._native import ed25519_verify
from parley.crypto.hashing import TaggedHash

ED25519: Final = "ed25519"
"""The algorithm tag that stands beside a signature, so that another algorithm can be told from this one."""

PUBLIC_BYTES: Final = 32
SEED_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64

_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")
_FRAME: Final = b"\x00parley/signature/v1\x00"
_MAX_DOMAIN: Final = 255
_KEY_HASH: Final = TaggedHash("parley/key/v1")
_P: Final = 2**255 - 19
_L: Final = 2**252 + 27742317777372353535851937790883648493
_SIGN_BIT: Final = 1 << 255
# y of the eight points whose order divides the cofactor: the neutral element, the one of order two, the
# two of order four (y = 0), and the four of order eight (d·y⁴ + 2·y² = 1, so that doubling them gives y = 0).
_Y8: Final = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_SMALL_ORDER_Y: Final = frozenset({0, 1, _P - 1, _Y8, _P - _Y8})


class Claim(NamedTuple):
    """That the holder of ``public`` signed ``message`` for ``domain``."""

    public: bytes
    domain: str
    message: bytes
    signature: bytes


class SigningKey:
    """A secret Ed25519 key. Not printed, copied or pickled; `destroy` forgets it.

    The secret is held by OpenSSL, which overwrites it when it is freed; Python keeps no copy of it.

    Attributes:
        public: the 32 bytes of the public key.
        key_id: its `key_id`.

    """

    __slots__ = ("_secret", "key_id", "public")

    def __init__(self, secret: Ed25519PrivateKey) -> None:
        self._secret: Ed25519PrivateKey | None = secret
        self.public = secret.public_key().public_bytes_raw()
        self.key_id = key_id(self.public)

    @classmethod
    def generate(cls) -> Self:
        """A fresh key from the operating system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes | bytearray) -> Self:
        """The key of a 32-byte seed (RFC 8032, section 5.1.5); a ``bytearray`` is overwritten with zeros."""
        if len(seed) != SEED_BYTES:
            raise ValueError(f"Ed25519 seed of {len(seed)} bytes; it must have {SEED_BYTES}")
        key = cls(Ed25519PrivateKey.from_private_bytes(seed))
        if isinstance(seed, bytearray):
            seed[:] = bytes(SEED_BYTES)
        return key

    @classmethod
    def from_private(cls, secret: object) -> Self:
        """The key that ``cryptography`` loaded, for instance from PEM; `ValueError` if it is not Ed25519."""
        if not isinstance(secret, Ed25519PrivateKey):
            raise ValueError(f"expected an Ed25519 private key; got {type(secret).__name__}")  # noqa: TRY004
        return cls(secret)

    def sign(self, domain: str, message: bytes) -> bytes:
        """The 64-byte signature of ``message`` for the purpose ``domain``, such as ``parley/vote/v1``."""
        return self._held().sign(_framed(domain, message))

    def sign_note(self, text: bytes) -> bytes:
        """The signature of the text of a C2SP signed note, or of a cosignature's message, as it stands."""
        if not _is_note(text):
            raise ValueError("a note is UTF-8 without control characters, and ends in a newline")
        return self._held().sign(text)

    def destroy(self) -> None:
        """Forget the secret; signing raises from now on."""
        self._secret = None

    def _held(self) -> Ed25519PrivateKey:
        if self._secret is None:
            raise ValueError(f"signing key {self.key_id[:16]} has been destroyed")
        return self._secret

    def __repr__(self) -> str:
        return f"SigningKey({self.key_id[:16]}, secret not shown)"

    def __reduce_ex__(self, protocol: object, /) -> NoReturn:
        raise TypeError("a signing key is neither pickled nor copied")


@lru_cache(maxsize=1024)
def key_id(public: bytes, algorithm: str = ED25519) -> str:
    """The name of a public key: 64 hexadecimal digits, a tagged hash of its algorithm and its bytes."""
    return _KEY_HASH(algorithm.encode("ascii") + b"\x00" + public).hex()


def is_public_key(public: bytes) -> bool:
    """Whether ``public`` is the canonical encoding of a point that is not of small order."""
    return _loaded(public) is not None


def verify(public: bytes, domain: str, message: bytes, signature: bytes) -> bool:
    """Whether ``public`` signed ``message`` for ``domain``; false for a malformed key or signature."""
    return _verified(public, _framed(domain, message), signature)


def verify_note(public: bytes, text: bytes, signature: bytes) -> bool:
    """Whether ``signature`` is that of the note ``text`` (see `SigningKey.sign_note`) by ``public``."""
    return _is_note(text) and _verified(public, text, signature)


def verify_all(claims: Sequence[Claim], threads: int = 1) -> list[bool]:
    """`verify` of each claim, in order, on ``threads`` threads, 1 to 1024, without the interpreter's lock."""
    parts = [(public, _frame(domain), message, signature) for public, domain, message, signature in claims]
    return ed25519_verify(parts, threads)


def _framed(domain: str, message: bytes) -> bytes:
    """What is signed: frame, length of the domain, domain, message. The parts can be told apart."""
    return _frame(domain) + message


@lru_cache(maxsize=64)
def _frame(domain: str) -> bytes:
    """What stands before a message."""
    name = domain.encode("ascii")
    if not 0 < len(name) <= _MAX_DOMAIN:
        raise ValueError(f"signature domain of {len(name)} bytes; it must have 1 to {_MAX_DOMAIN}")
    return b"%b%c%b" % (_FRAME, len(name), name)


def _is_note(text: bytes) -> bool:
    """C2SP signed-note, "Format": UTF-8, newline last and the only character below U+0020."""
    try:
        letters = text.decode()
    except UnicodeDecodeError:
        return False
    return letters.endswith("\n") and not _CONTROL.search(letters)


def _verified(public: bytes, framed: bytes, signature: bytes) -> bool:
    key = _loaded(public)
    if key is None or len(signature) != SIGNATURE_BYTES:
        return False
    if int.from_bytes(signature[32:], "little") >= _L:
        return False
    try:
        key.verify(signature, framed)
    except InvalidSignature:
        return False
    return True


@lru_cache(maxsize=1024)
def _loaded(public: bytes) -> Ed25519PublicKey | None:
    """The key, or nothing if ``public`` is not a point's canonical encoding or the point has small order."""
    if len(public) != PUBLIC_BYTES:
        return None
    y = int.from_bytes(public, "little") & (_SIGN_BIT - 1)
    if y >= _P or y in _SMALL_ORDER_Y or not _on_curve(y):
        return None
    return Ed25519PublicKey.from_public_bytes(public)


def _on_curve(y: int) -> bool:
    """Whether a point has this y: x² = (y² − 1)/(d·y² + 1) has a root (RFC 8032, section 5.1.3)."""
    d = -121665 * pow(121666, -1, _P)
    square = (y * y - 1) * pow(d * y * y + 1, -1, _P) % _P
    return pow(square, (_P - 1) // 2, _P) in (0, 1)
