"""A query by id as the source: over a few connections, with a deadline."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from parley.data.cells import require_distinct
from parley.data.ids import IdRule, written
from parley.data.profile import Family
from parley.data.rows import typed
from parley.data.sources import SqlSource
from parley.serving.features.coded import texts, writable
from parley.serving.features.hands import HANDS, Hands
from parley.serving.features.lines import ONE, Answered, Bound, Line, Statement, line_to
from parley.serving.features.sources import Fetched, matched, twice

_AT_ONCE: Final = 1000
"""Ids of one query with ``:ids``."""
_WHOLE: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,37})", re.ASCII)


class QuerySource:
    """Rows by a query with ``:id``, which is asked once for each id, or with ``:ids``.

    Args:
        source: database and query.
        id_column: by which rows of several ids are told apart.
        family: what the registered ids are: numbers are bound as such, so that the database compares like
            with like.
        rule: by which ids are compared.
        deadline: seconds for each query.
        environment: where variables of the url are looked up.

    Raises:
        UsageError: ``serving-parameter``.
    """

    def __init__(
        self,
        source: SqlSource,
        id_column: str,
        family: Family,
        rule: IdRule,
        *,
        deadline: float,
        environment: Mapping[str, str],
    ) -> None:
        self._source = source
        self._single = Statement.of(source).parameter == ONE
        self._id = id_column
        self._family = family
        self._rule = rule
        self._hands: Hands[Line] = Hands(
            str(source), deadline, partial(line_to, source, deadline, environment), lambda line: line.close()
        )

    async def fetch(self, ids: Sequence[str]) -> Fetched:
        """See `RowSource.fetch`."""
        bound = [self._bound(each) for each in ids]
        possible = [at for at, each in enumerate(bound) if each is not None]
        values = [each for each in bound if each is not None]
        answers = await self._asked(
            [values[at : at + self._size] for at in range(0, len(values), self._size)]
        )
        frame = self._frame(answers)
        if not self._single:
            return matched(ids, frame, self._id, self._rule, str(self._source))
        asked = np.repeat(np.array(possible, dtype=np.int64), [len(each.rows) for each in answers])
        return self._of_each(ids, asked, frame)

    def close(self) -> None:
        """See `RowSource.close`."""
        self._hands.close()

    @property
    def _size(self) -> int:
        return 1 if self._single else _AT_ONCE

    def _of_each(self, ids: Sequence[str], asked: NDArray[np.int64], frame: pl.DataFrame) -> Fetched:
        """Rows that were asked for by one id each; ``asked``: which. A database may compare loosely."""
        if len(asked) and self._id in frame.columns:
            alike = written(frame[self._id], self._rule) == written(texts(ids), self._rule)[asked]
            frame, asked = frame.filter(alike), asked[alike.fill_null(value=False).to_numpy()]
        if len(np.unique(asked)) < len(asked):
            raise twice(str(self._source))
        known = np.zeros(len(ids), dtype=np.bool_)
        known[asked] = True
        return Fetched(known, frame)

    async def _asked(self, jobs: Sequence[Sequence[Bound]]) -> list[Answered]:
        """The answer to each; as many under way as there are connections, so that none waits for long."""
        answers: list[Answered] = []
        for at in range(0, len(jobs), HANDS):
            some = jobs[at : at + HANDS]
            answers += await asyncio.gather(*(self._hands.do(partial(_ask, job)) for job in some))
        return answers

    def _bound(self, text: str) -> Bound | None:
        """The id as it is bound; nothing if no id there can be like it."""
        if self._family == "number":
            return int(text) if _WHOLE.fullmatch(text) else None
        return text if writable(text) and "\0" not in text else None

    def _frame(self, answers: Sequence[Answered]) -> pl.DataFrame:
        names = next((each.names for each in answers if each.names), ())
        require_distinct(names, "query")
        rows = [row for each in answers for row in each.rows]
        columns = zip(*rows, strict=True) if rows else [()] * len(names)
        return pl.DataFrame([typed(name, list(cells)) for name, cells in zip(names, columns, strict=True)])


def _ask(ids: Sequence[Bound], line: Line) -> Answered:
    return line.ask(ids)
