"""Finding ids among a table's: sorted hashes of 64 bits, and the ids to make sure; of few a dictionary."""

from typing import Final, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from parley.serving.features.coded import Comparable, Rows

Hashes: TypeAlias = NDArray[np.uint64]

_SMALL: Final = 250_000
"""Ids that are kept in a dictionary, at about a hundred bytes each, since that finds a few much faster."""
_MANY: Final = 500
"""Ids from which on Polars compares them faster than Python."""
_SEED: Final = 0
"""Of a hash that stays in this process; a chosen collision costs a comparison more and misleads nobody."""


class IdIndex:
    """Rows by id: 12 bytes each besides the ids, which take 16 and what is longer than 12 bytes.

    Args:
        ids: distinct, none missing, as the rule writes them; a row is a place in it.

    Attributes:
        ids: the same.
    """

    def __init__(self, ids: pl.Series) -> None:
        self.ids = ids.rechunk()
        hashes = _hashes(self.ids)
        order = np.argsort(hashes)
        self._hashes = hashes[order]
        self._rows = order.astype(np.uint32)
        small = len(self.ids) <= _SMALL
        self._by_id = {text: row for row, text in enumerate(self.ids.to_list())} if small else None

    def __len__(self) -> int:
        """Ids."""
        return len(self._rows)

    def find(self, ids: Comparable) -> Rows:
        """The row of each id, -1 of those that are not there.

        Args:
            ids: as the rule writes them, null where nothing is left of one.
        """
        if self._by_id is not None and len(ids) < _MANY:
            find = self._by_id.get
            texts = ids if isinstance(ids, list) else ids.to_list()
            return np.fromiter((find(each, -1) for each in texts), np.int64, len(ids))
        if isinstance(ids, list):
            ids = pl.Series("id", ids, dtype=pl.String)
        hashes = _hashes(ids)
        places = places_in(self._hashes, hashes)
        found = np.full(len(ids), -1, dtype=np.int64)
        open_ = np.arange(len(ids))
        while len(open_):
            at = places[open_]
            inside = at < len(self._hashes)
            alike = inside & (self._hashes[np.where(inside, at, 0)] == hashes[open_])
            open_ = open_[alike]
            rows = self._rows[places[open_]]
            equal = _equal(self.ids[rows], ids[open_])
            found[open_[equal]] = rows[equal]
            open_ = open_[~equal]
            places[open_] += 1
        return found


def places_in(ascending: Hashes, hashes: Hashes) -> Rows:
    """Where each hash would stand; many are found several times faster in their order."""
    if len(hashes) < _MANY:
        return np.searchsorted(ascending, hashes)
    order = np.argsort(hashes)
    places = np.empty(len(hashes), dtype=np.int64)
    places[order] = np.searchsorted(ascending, hashes[order])
    return places


def _hashes(ids: pl.Series) -> Hashes:
    return ids.to_frame().hash_rows(_SEED).to_numpy()


def _equal(one: pl.Series, other: pl.Series) -> NDArray[np.bool_]:
    """Which texts are equal; of a few Polars would take longer to begin."""
    if len(one) < _MANY:
        pairs = zip(one.to_list(), other.to_list(), strict=True)
        return np.fromiter((left == right for left, right in pairs), np.bool_, len(one))
    return (one == other).fill_null(value=False).to_numpy()
