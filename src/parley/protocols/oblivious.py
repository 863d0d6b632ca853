"""The computations of alignment and enrolment, without messages: an oblivious function of ids, and matching.

The evaluator can compute F of any id; the asker learns F of the ids that it keeps in a store, and the
evaluator nothing of them. Every row has 572 bits, C is a linear code whose words differ in 128::

    s, k_s                  the evaluator's secret word, and for each of its bits one of two keys
    k_0, k_1                the asker's keys; it learns nothing of s (oblivious transfer)
    T, T'                   rows whose columns are the streams of bits under k_0 and under k_1
    D(v(x)) = h(x)          the asker's store: cells that add up to h(x) at the places v(x) of every id x
    U = T + T' + C(D)       the asker's masked rows, a row for each cell
    Q = T + s∧C(D)          the evaluator's rows, from U and the streams under k_s
    F(x) = H(x, T(v(x)))    the asker, for ids in its store
    F(x) = H(x, Q(v(x)) + s∧C(h(x)))    the evaluator, for any id

For an id x outside the store the two sides differ in s∧C(d), d ≠ 0: in 128 bits of s or more. That the
masked rows are words of the code is shown by sums of rows that a challenge picks.

Everything is hashed under a tag of the pair: it names the run and what both parties contributed, so
that what was computed in one pair means nothing in another.

Source: Pinkas, Rosulek, Trieu, Yanai: PSI from PaXoS. Eurocrypt 2020. ``spec/alignment.md`` says more.
"""

import hashlib
from itertools import count
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from parley._native import AskerRows, EvaluatorRows, KeyGiver, KeyTaker, SecretScalar, rows_of_ids
from parley.crypto.randomness import derive, permutation

POINT: Final = 32
"""Bytes of a point of the group (RFC 9496, section 4.3.2)."""
BITS: Final = 572
"""Bits of a row, and pairs of keys."""
ROW: Final = 72
"""Bytes of a row: the bits and four of filling."""
VALUE: Final = 16
"""Bytes of a cell's value: 126 bits and two of filling."""
SUMS: Final = 64
"""Sums of rows that a challenge asks for: a row that is no word passes with probability 2^-64."""
DIGEST: Final = 16
"""Bytes of a digest: among N and M distinct ids, one pair collides with probability N·M / 2^128."""
FEW: Final = 512
"""Ids whose digests are computed by one thread."""
SALT: Final = 32
"""Bytes of the asker's contribution to the tag of the pair."""

_HASH_TAG: Final = b"PARLEY-ALIGN-R255-SHA512-V04-"
_KEY_TAG: Final = b"PARLEY-ALIGN-KEY-V04-"
_PAIR_TAG: Final = b"PARLEY-ALIGN-PAIR-V04-"
_RUN: Final = 16
"""Bytes of SHA-256 of the run's identifier in a tag."""

Rows = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
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
    """The ids with which a party enters a pair, in the order in which it does.

    Args:
        ids: the party's ids.
        order: which of them stands at each place, int64 [n].

    Attributes:
        buffer: the text of all ids.
        order: as given.

    """

    def __init__(self, ids: IdBuffer, order: Rows) -> None:
        self.order = order
        self.buffer = ids.buffer
        self._offsets = ids.offsets

    def __len__(self) -> int:
        return len(self.order)

    def text(self, index: int) -> bytes:
        """One id of the party."""
        return self.buffer[self._offsets[index] : self._offsets[index + 1]]

    def repeated(self) -> tuple[int, int] | None:
        """The places of the first id that stands there twice; none if all are distinct."""
        seen: dict[bytes, int] = {}
        for place, row in enumerate(self.order.tolist()):
            before = seen.setdefault(self.text(row), place)
            if before != place:
                return before, place
        return None

    def between(self, first: int, end: int) -> Spans:
        """Where the ids at places ``first`` to ``end`` or the last stand in the text."""
        rows = self.order[first:end]
        return np.stack((self._offsets[rows], self._offsets[rows + 1]), axis=1)


class RepeatedId(ValueError):
    """So many ids stand twice that there is no store of them under any salt.

    Attributes:
        ids: as entered.
        one, other: places of the first that does.

    """

    def __init__(self, ids: Entered, one: int, other: int) -> None:
        super().__init__(f"the ids at places {one} and {other} are the same")
        self.ids = ids
        self.one = one
        self.other = other


class Tags:
    """What is hashed under in one run."""

    def __init__(self, run: str) -> None:
        self._run = hashlib.sha256(run.encode()).digest()[:_RUN]
        self.hashing = _HASH_TAG + self._run
        self.keys = hashlib.sha256(_KEY_TAG + self._run).digest()

    def of_pair(self, offers: bytes, point: bytes, salt: bytes) -> bytes:
        """32 bytes that depend on all that the two parties contributed."""
        return hashlib.sha256(_PAIR_TAG + self._run + offers + point + salt).digest()


class Asker:
    """The asking party's side of one pair: it learns F of its ids and shows nothing of them.

    Args:
        ids: the party's ids.
        rows: which of them take part, int64 [n].
        offers: the peer's, uint8 [BITS, 2, POINT].
        seed: 32 secret bytes, used once: under one seed two runs of this would tell the values in the store.
        run: identifier of the run.
        threads: native threads.

    Attributes:
        point: B = b·G, with which the peer opens its keys.
        salt: what this side adds to the tag of the pair.
        size: number of rows that the ids make.

    Raises:
        DecodeError: an offer is no point of the group; ``index`` is twice its number, or one more.
        MemoryError: there is no room for the rows.
        RepeatedId: thousands of ids are repeated; a few make a store, and equal digests.

    """

    def __init__(self, ids: IdBuffer, rows: Rows, offers: Bytes, seed: bytes, run: str, threads: int) -> None:
        self.ids = Entered(ids, rows)
        self._threads = threads
        tags = Tags(run)
        secret = SecretScalar.from_seed(derive(seed, "secret"))
        keys = KeyGiver.answer(offers, secret, tags.hashing, tags.keys)
        self.point = keys.point
        self.size = rows_of_ids(len(rows))
        for attempt in count():  # another one is needed once in 2^41
            self.salt = derive(seed, "salt", attempt)
            pair = tags.of_pair(offers.tobytes(), self.point, self.salt)
            built = AskerRows.build(
                self.ids.buffer, self.ids.between(0, len(rows)), pair, keys, derive(seed, "masks"), threads
            )
            if built is not None:
                self._rows = built
                break
            if attempt == 0 and (twice := self.ids.repeated()) is not None:
                raise RepeatedId(self.ids, *twice)

    def masked(self, first: int, end: int) -> Bytes:
        """U from row ``first``, which must be the next, to ``end`` or the last: uint8 [rows, ROW]."""
        return self._rows.masked(first, min(end, self.size) - first, self._threads)

    def answer(self, challenge: bytes) -> tuple[Bytes, Bytes]:
        """The sums of T and of D that a challenge of 32 bytes asks for: uint8 [SUMS, ROW], [SUMS, VALUE].

        Raises:
            ValueError: it was asked before, or not all rows were made.

        """
        return self._rows.answer(challenge, self._threads)

    def digests(self, first: int, end: int) -> Digests:
        """F of the own ids at places ``first`` to ``end`` or the last: uint8 [rows, DIGEST]."""
        return self._rows.digests(self.ids.buffer, self.ids.between(first, end), self._threads)

    def forget(self) -> None:
        """Give the memory of the rows back; there are no more digests."""
        del self._rows


class Function:
    """The evaluating party's side of one pair: its secret s, with which it computes F of any id.

    `expect` comes first, then `take` and `agrees`; `of` for ever after, from any thread.

    Args:
        seed: 32 secret bytes, used once: two checks under one seed would tell s.
        run: identifier of the run.
        threads: native threads.

    Attributes:
        offers: uint8 [BITS, 2, POINT], from which the peer makes the keys.
        challenge: 32 bytes that pick the sums of rows; to be told when all rows have come.

    """

    def __init__(self, seed: bytes, run: str, threads: int) -> None:
        self._threads = threads
        self._tags = Tags(run)
        self._keys = KeyTaker.from_seed(derive(seed, "keys"), self._tags.hashing)
        self.offers: Bytes = self._keys.offers()
        self.challenge = derive(seed, "challenge")
        self._rows: EvaluatorRows

    def expect(self, point: bytes, salt: bytes, count: int) -> int:
        """Make ready for the peer's ``count`` ids: how many rows will come.

        Raises:
            ValueError: the point is none of the group, or the neutral one.
            MemoryError: there is no room for the rows.

        """
        pair = self._tags.of_pair(self.offers.tobytes(), point, salt)
        self._rows = EvaluatorRows.expect(self._keys, point, self._tags.keys, pair, count)
        return rows_of_ids(count)

    def take(self, first: int, masked: Bytes) -> None:
        """The next of the peer's rows U, uint8 [rows, ROW]."""
        self._rows.take(first, masked, self._threads)

    def agrees(self, rows: Bytes, values: Bytes) -> bool:
        """Whether the sums, uint8 [SUMS, ROW] and [SUMS, VALUE], are of rows that are words of the code."""
        return self._rows.agrees(self.challenge, rows, values, self._threads)

    def of(self, ids: IdBuffer) -> Digests:
        """F of any ids, in their order: uint8 [ids, DIGEST]. Calls of several threads go one by one."""
        spans = np.stack((ids.offsets[:-1], ids.offsets[1:]), axis=1)
        return self._of(ids.buffer, spans)

    def _of(self, text: bytes, spans: Spans) -> Digests:
        threads = 1 if len(spans) < FEW else self._threads  # a pool would take longer to wake than to work
        return self._rows.digests(text, spans, threads)


class Evaluator(Function):
    """The evaluating party's side where it has ids of its own, which it enters in a secret order.

    Arguments as for `Asker`; attributes of `Function`.

    Attributes:
        ids: its own, as it enters them.

    """

    def __init__(self, ids: IdBuffer, rows: Rows, seed: bytes, run: str, threads: int) -> None:
        super().__init__(seed, run, threads)
        self.ids = Entered(ids, rows[permutation(derive(seed, "shuffle"), len(rows))])

    def digests(self, first: int, end: int) -> Digests:
        """F of the own ids at places ``first`` to ``end`` or the last: uint8 [rows, DIGEST]."""
        return self._of(self.ids.buffer, self.ids.between(first, end))


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
