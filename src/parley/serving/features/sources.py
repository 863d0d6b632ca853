"""Features out of a source that is asked by id: rows by id, made codes, through a cache."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from parley.core.errors import UsageError
from parley.data.cells import text
from parley.data.ids import IdRule, Ids, normalise, written
from parley.data.sources import parse_source, read
from parley.serving.features.cache import Cache
from parley.serving.features.coded import Coded, Coding, Enrolled, Figures, Rows, texts
from parley.store.catalogue import Serving, TableRecord


@dataclass(frozen=True, eq=False)
class Fetched:
    """What a source has of some ids.

    Attributes:
        known: ``bool[n]``.
        frame: a row for each known id, in the order asked; its columns are the source's.
    """

    known: NDArray[np.bool_]
    frame: pl.DataFrame


class RowSource(Protocol):
    """Is asked for the columns of ids."""

    async def fetch(self, ids: Sequence[str]) -> Fetched:
        """The columns of distinct ids.

        Raises:
            UsageError: it cannot be asked, or does not answer in time.
        """

    def close(self) -> None:
        """Let go of threads and connections."""


class FetchedFeatures:
    """Features of a row source.

    Args:
        source: to ask.
        coding: of the share.
        record: the registered table, whose rows can be asked for too.
        rule: how ids are written before they are compared.
        serving: how long answers count, and how many are held.
        clock: monotonic seconds.
        environment: where variables of the table's url are looked up.
    """

    def __init__(
        self,
        source: RowSource,
        coding: Coding,
        record: TableRecord,
        rule: IdRule,
        serving: Serving,
        *,
        clock: Callable[[], float],
        environment: Mapping[str, str],
    ) -> None:
        self._source = source
        self._coding = coding
        self._record = record
        self._rule = rule
        self._environment = environment
        self._cache = Cache(
            self._fetch, len(coding.columns), age=serving.age, entries=serving.entries, clock=clock
        )

    async def codes(self, ids: Sequence[str]) -> Coded:
        """See `Features.codes`."""
        return await self._cache.codes(ids)

    async def enrol(self) -> Enrolled:
        """See `Features.enrol`."""

        def reading() -> tuple[Ids, pl.Series]:
            record = self._record
            source = parse_source(record.source, record.query)
            column = read(source, self._environment, (record.id,))[record.id]
            return normalise(column, self._rule), text(column)

        return EnrolledTexts(self, *await asyncio.to_thread(reading))

    def figures(self) -> Figures:
        """See `Features.figures`."""
        return self._cache.figures()

    async def close(self) -> None:
        """See `Features.close`."""
        self._cache.close()
        self._source.close()

    async def _fetch(self, ids: Sequence[str]) -> Coded:
        fetched = await self._source.fetch(ids)
        return Coded(fetched.known, self._coding.codes(fetched.frame))


class EnrolledTexts:
    """The rows of the registered table as it was at one time, fetched by the id as it is written there."""

    def __init__(self, features: FetchedFeatures, ids: Ids, written_there: pl.Series) -> None:
        self.ids = ids
        self._features = features
        self._written = written_there

    async def of_rows(self, rows: Rows) -> Coded:
        """See `Enrolled.of_rows`."""
        return await self._features.codes(self._written.gather(rows).to_list())


def matched(asked: Sequence[str], frame: pl.DataFrame, column: str, rule: IdRule, source: str) -> Fetched:
    """Bring rows that name their id into the order asked.

    Args:
        asked: ids.
        frame: rows, perhaps of other ids as well.
        column: that holds the id.
        rule: by which ids are compared.
        source: for errors.

    Raises:
        UsageError: ``serving-rows``: two rows are of one id; or the column cannot hold ids.
    """
    if not frame.height:
        return Fetched(np.zeros(len(asked), dtype=np.bool_), frame)
    if column not in frame.columns:
        raise lacks(source, column)
    theirs = written(frame[column], rule)
    named = theirs.is_not_null()
    theirs, frame = theirs.filter(named), frame.filter(named)
    if theirs.n_unique() < len(theirs):
        raise twice(source)
    places = {each: place for place, each in enumerate(theirs.to_list())}
    rows = [places.get(each, -1) if each is not None else -1 for each in written(texts(asked), rule)]
    found = np.array(rows, dtype=np.int64)
    return Fetched(found >= 0, frame[found[found >= 0]])


def lacks(source: str, column: str) -> UsageError:
    """The error of an answer without a column that is needed."""
    return UsageError(
        "column-unknown",
        f"{source} gives no column {column!r}",
        remedy=f"let it give {column!r}, or declare another source with `parley data serve`",
    )


def twice(source: str) -> UsageError:
    """The error of two rows of one id."""
    return UsageError(
        "serving-rows",
        f"{source} gives more than one row of one id",
        remedy="let it give one row of an id: the newest, say",
    )
