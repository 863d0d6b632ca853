"""Finding ids among a table's, in little memory: sorted hashes of 64 bits, and the ids to make sure."""

from typing import Final

import numpy as np
import polars as pl

from parley.serving.features.coded import Rows

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
        hashes = self.ids.hash(_SEED).to_numpy()
        order = np.argsort(hashes)
        self._hashes = hashes[order]
        self._rows = order.astype(np.uint32)

    def __len__(self) -> int:
        """Ids."""
        return len(self._rows)

    def find(self, ids: pl.Series) -> Rows:
        """The row of each id, -1 of those that are not there.

        Args:
            ids: as the rule writes them, null where nothing is left of one.
        """
        hashes = ids.hash(_SEED).to_numpy()
        places = np.searchsorted(self._hashes, hashes)
        found = np.full(len(ids), -1, dtype=np.int64)
        open_ = np.arange(len(ids))
        while len(open_):
            at = places[open_]
            inside = at < len(self._hashes)
            alike = inside & (self._hashes[np.where(inside, at, 0)] == hashes[open_])
            open_ = open_[alike]
            rows = self._rows[places[open_]]
            equal = (self.ids.gather(rows) == ids.gather(open_)).fill_null(value=False).to_numpy()
            found[open_[equal]] = rows[equal]
            open_ = open_[~equal]
            places[open_] += 1
        return found
