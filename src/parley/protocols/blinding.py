"""The computations of an alignment, without its messages: blind, digest, match.

H is hashing to ristretto255 (RFC 9380, appendix B) and D the first 16 bytes of SHA-256 of a point's
encoding, each under a tag that names the protocol and a digest of the run: what was blinded or
digested in one run means nothing in another, even under the same secret.
"""

import hashlib
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from parley._native import SecretScalar, blind_digest, hash_and_blind
from parley.crypto.randomness import derive, permutation

POINT: Final = 32
"""Bytes of a point of the group (RFC 9496, section 4.3.2)."""
DIGEST: Final = 16
"""Bytes of a digest: among N and M distinct ids, one pair collides with probability N·M / 2^128."""

_HASH_TAG: Final = b"PARLEY-ALIGN-R255-SHA512-V02-"
"""With the run's 16 bytes 45: for a short id b_0 and b_1 (RFC 9380, section 5.3.1) take a block each."""
_DIGEST_TAG: Final = b"PARLEY-ALIGN-DIGEST-V02-"
_RUN: Final = 16
"""Bytes of SHA-256 of the run's identifier in a tag."""

Rows = npt.NDArray[np.int64]
Points = npt.NDArray[np.uint8]
Digests = npt.NDArray[np.uint8]


class IdBuffer(Protocol):
    """Distinct, normalised ids: id i is the UTF-8 text ``buffer[offsets[i]:offsets[i + 1]]``."""

    @property
    def buffer(self) -> bytes:
        """All ids end to end."""

    @property
    def offsets(self) -> npt.NDArray[np.uint64]:
        """Where each id begins, and where the last one ends: uint64 [n + 1]."""


class Blinder:
    """One party's side of one pair: its secret, its shuffle, and the run's tags.

    Args:
        ids: the party's ids.
        entered: which of them take part, int64 [n].
        seed: 32 secret bytes, used for this pair only.
        run: identifier of the run.
        threads: native threads.

    Attributes:
        shuffle: int64 [n]; ``entered[shuffle[p]]`` is the id at place p.

    """

    def __init__(self, ids: IdBuffer, entered: Rows, seed: bytes, run: str, threads: int) -> None:
        tag = hashlib.sha256(run.encode()).digest()[:_RUN]
        self._entered = entered
        self.shuffle = permutation(derive(seed, "shuffle"), len(entered))
        self._scalar = SecretScalar.from_seed(derive(seed, "scalar"))
        self._hash_tag = _HASH_TAG + tag
        self._digest_tag = _DIGEST_TAG + tag
        self._threads = threads
        self._text = np.frombuffer(ids.buffer, dtype=np.uint8)
        self._begins = ids.offsets.view(np.int64)

    def blinded(self, first: int, end: int) -> Points:
        """The points at places ``first`` to ``end`` or the last: uint8 [rows, 32]."""
        text, offsets = self._gather(self.shuffle[first:end])
        return hash_and_blind(text, offsets, self._hash_tag, self._scalar, self._threads)

    def digests(self, points: Points) -> Digests:
        """The digests of points [rows, 32] blinded once more: uint8 [rows, 16]."""
        return blind_digest(points, self._scalar, self._digest_tag, self._threads)

    def id_at(self, place: int) -> int:
        """Which id of the party stands at a place of the shuffle."""
        return int(self._entered[self.shuffle[place]])

    def text(self, index: int) -> bytes:
        """One id of the party."""
        return self._text[self._begins[index] : self._begins[index + 1]].tobytes()

    def _gather(self, indices: Rows) -> tuple[bytes, npt.NDArray[np.uint64]]:
        """The ids of some of the rows entered, end to end, and their offsets."""
        rows = self._entered[indices]
        begins = self._begins[rows]
        lengths = self._begins[rows + 1] - begins
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        source = np.arange(offsets[-1]) + np.repeat(begins - offsets[:-1], lengths)
        return self._text[source].tobytes(), offsets.astype(np.uint64)


def match(digests: Digests) -> tuple[Rows, Rows]:
    """Equal digests among uint8 [n, 16].

    Returns:
        two int64 [m], ascending by digest: where each pair stands, the smaller place first. Of a
        digest that is there more than twice, every two neighbours are returned.

    """
    halves = digests.view("<u8")
    high, low = halves[:, 0].copy(), halves[:, 1]
    order = np.argsort(high)
    same = _neighbours(high, order)
    if (same[1:] & same[:-1]).any():  # three equal halves: only the whole digests tell who is whose
        order = np.lexsort((low, high))
        same = _neighbours(high, order)
    at = np.flatnonzero(same)
    one, other = order[at], order[at + 1]
    equal = low[one] == low[other]
    return np.minimum(one, other)[equal], np.maximum(one, other)[equal]


def _neighbours(values: npt.NDArray[np.uint64], order: Rows) -> npt.NDArray[np.bool_]:
    """Whether each value in order equals the next."""
    ordered = values[order]
    return np.asarray(ordered[1:] == ordered[:-1])
