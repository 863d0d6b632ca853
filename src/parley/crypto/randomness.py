"""Seeds derived from seeds, so that every random choice of a run follows from one secret and its place."""

import hashlib
import hmac
from typing import Final

import numpy as np
import numpy.typing as npt

SEED_BYTES: Final = 32
_TAG: Final = b"parley/derive/v1"


def derive(seed: bytes, *labels: str | int) -> bytes:
    """A 32-byte seed for one purpose: HMAC-SHA-256 of the labels under ``seed``.

    Labels are length-prefixed, so ``("a", "bc")`` and ``("ab", "c")`` differ; an integer differs from
    its decimal string.
    """
    mac = hmac.new(seed, _TAG, hashlib.sha256)
    for label in labels:
        kind = b"i" if isinstance(label, int) else b"s"
        text = str(label).encode()
        mac.update(kind + len(text).to_bytes(4, "big") + text)
    return mac.digest()


def generator(seed: bytes) -> np.random.Generator:
    """A fast, reproducible generator for sampling and rounding; never for keys."""
    return np.random.Generator(np.random.Philox(key=np.frombuffer(seed[:16], dtype=np.uint64)))


def permutation(seed: bytes, count: int) -> npt.NDArray[np.int64]:
    """A secret order of ``count`` things: the ranks of as many 64-bit words of SHAKE-256 of the seed.

    Fit to hide an order from a peer, unlike a shuffle by a statistical generator.
    """
    words = np.frombuffer(hashlib.shake_256(seed).digest(8 * count), dtype="<u8")
    return np.argsort(words).astype(np.int64, copy=False)
