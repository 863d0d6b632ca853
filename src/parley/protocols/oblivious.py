"""The computations of an alignment, without its messages: blind, evaluate, unblind, match.

An oblivious function of ids, 2HashDH with additive blinding: the evaluator has a secret scalar β and
publishes its key K = β·G; the asker learns F(a) = D(4β·H(a)) of its ids a, and the evaluator nothing::

    X = 2·(H(a) + r·G)      blinded by the asker; r is fresh for every id
    E = β·X                 evaluated
    F(a) = D(2·(E − 2r·K))  unblinded, since E = 2β·H(a) + 2r·K

All factors of two stand here: what is encoded is the double of a point at hand, which needs no square
root. H is hashing to ristretto255 (RFC 9380, appendix B) and D the first 16 bytes of SHA-256 of a
point's encoding, each under a tag that names the protocol and a digest of the run: what was blinded
or digested in one run means nothing in another, even under the same secret.

Source: Jarecki, Liu: Fast secure computation of set intersection. SCN 2010.
"""

import hashlib
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from parley._native import EvaluationKey, SecretScalar, blind_ids, evaluate, evaluate_ids, unblind
from parley.crypto.randomness import derive, permutation

POINT: Final = 32
"""Bytes of a point of the group (RFC 9496, section 4.3.2)."""
DIGEST: Final = 16
"""Bytes of a digest: among N and M distinct ids, one pair collides with probability N·M / 2^128."""

_HASH_TAG: Final = b"PARLEY-ALIGN-R255-SHA512-V03-"
"""With the run's 16 bytes 45: for a short id b_0 and b_1 (RFC 9380, section 5.3.1) take a block each."""
_DIGEST_TAG: Final = b"PARLEY-ALIGN-DIGEST-V03-"
_RUN: Final = 16
"""Bytes of SHA-256 of the run's identifier in a tag."""

Rows = npt.NDArray[np.int64]
Points = npt.NDArray[np.uint8]
Digests = npt.NDArray[np.uint8]
Spans = npt.NDArray[np.uint64]
"""Begin and end of each id in a text, uint64 [n, 2]."""


class IdBuffer(Protocol):
    """Distinct, normalised ids: id i is the UTF-8 text ``buffer[offsets[i]:offsets[i + 1]]``."""

    @property
    def buffer(self) -> bytes:
        """All ids end to end."""

    @property
    def offsets(self) -> npt.NDArray[np.uint64]:
        """Where each id begins, and where the last one ends: uint64 [n + 1]."""


class Entered:
    """The ids with which a party enters a pair, in a secret order.

    Args:
        ids: the party's ids.
        rows: which of them take part, int64 [n].
        seed: 32 secret bytes; the order is derived from them.

    Attributes:
        buffer: the text of all ids.
        shuffle: int64 [n]; ``rows[shuffle[p]]`` is the id at place p.

    """

    def __init__(self, ids: IdBuffer, rows: Rows, seed: bytes) -> None:
        self.shuffle = permutation(derive(seed, "shuffle"), len(rows))
        self._rows = rows
        self.buffer = ids.buffer
        self._offsets = ids.offsets

    def __len__(self) -> int:
        return len(self.shuffle)

    def id_at(self, place: int) -> int:
        """Which id of the party stands at a place."""
        return int(self._rows[self.shuffle[place]])

    def text(self, index: int) -> bytes:
        """One id of the party."""
        return self.buffer[self._offsets[index] : self._offsets[index + 1]]

    def between(self, first: int, end: int) -> Spans:
        """Where the ids at places ``first`` to ``end`` or the last stand in the text."""
        rows = self._rows[self.shuffle[first:end]]
        return np.stack((self._offsets[rows], self._offsets[rows + 1]), axis=1)


@dataclass(frozen=True, slots=True)
class Tags:
    """What H and D are computed under in one run."""

    hashing: bytes
    digesting: bytes

    @classmethod
    def of(cls, run: str) -> "Tags":
        """The tags of a run."""
        digest = hashlib.sha256(run.encode()).digest()[:_RUN]
        return cls(_HASH_TAG + digest, _DIGEST_TAG + digest)


class Asker:
    """The active party's side of one pair: it learns F of its ids and shows nothing of them.

    Args:
        ids: the party's ids.
        rows: which of them take part, int64 [n].
        seed: 32 secret bytes, used for this pair only.
        run: identifier of the run.
        threads: native threads.

    """

    def __init__(self, ids: IdBuffer, rows: Rows, seed: bytes, run: str, threads: int) -> None:
        self.ids = Entered(ids, rows, seed)
        self._blinds = derive(seed, "blinds")
        self._tags = Tags.of(run)
        self._threads = threads

    def blinded(self, first: int, end: int) -> Points:
        """X of the ids at places ``first`` to ``end`` or the last: uint8 [rows, 32]."""
        spans = self.ids.between(first, end)
        return blind_ids(self.ids.buffer, spans, self._tags.hashing, self._blinds, first, self._threads)

    def unblinded(self, first: int, points: Points, key: EvaluationKey) -> Digests:
        """F of the ids from place ``first`` on, whose E are ``points`` [rows, 32]: uint8 [rows, 16].

        Raises:
            DecodeError: an element is no point of the group.

        """
        return unblind(points, key, self._blinds, first, self._tags.digesting, self._threads)


class Evaluator:
    """A passive party's side of one pair: its secret β, and its own ids. Arguments as for `Asker`.

    Attributes:
        key: K = β·G, an encoding of 32 bytes.

    """

    def __init__(self, ids: IdBuffer, rows: Rows, seed: bytes, run: str, threads: int) -> None:
        self.ids = Entered(ids, rows, seed)
        self._secret = SecretScalar.from_seed(derive(seed, "secret"))
        self.key = self._secret.public()
        self._tags = Tags.of(run)
        self._threads = threads

    def evaluated(self, points: Points) -> Points:
        """E of every X among ``points`` [rows, 32]: uint8 [rows, 32].

        Raises:
            DecodeError: an element is no point of the group.

        """
        return evaluate(points, self._secret, self._threads)

    def digests(self, first: int, end: int) -> Digests:
        """F of the own ids at places ``first`` to ``end`` or the last: uint8 [rows, 16]."""
        spans, tags = self.ids.between(first, end), self._tags
        return evaluate_ids(self.ids.buffer, spans, tags.hashing, self._secret, tags.digesting, self._threads)


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
