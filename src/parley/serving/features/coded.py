"""What every source of columns gives: the codes of a model share's columns, for ids or for enrolled rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias, overload

import numpy as np
import polars as pl
from numpy.typing import NDArray

from parley.core.errors import UsageError
from parley.data.binning import encode_columns
from parley.data.bins import Codes
from parley.data.ids import IdRule, Ids, written, written_few
from parley.learn.shares import Column

Rows: TypeAlias = NDArray[np.int64]
Comparable: TypeAlias = "pl.Series | list[str | None]"
"""Ids as a rule writes them: a column, or of few a list, which is made and read faster."""
FEW: Final = 256
"""Ids up to which Python is done with them before Polars has begun."""


@dataclass(frozen=True, eq=False)
class Listed(Sequence[str]):
    """Ids of a list: texts for who asks for one, and a column for who works on all of them at once.

    Attributes:
        column: of texts, none missing.
    """

    column: pl.Series
    _written: dict[IdRule, pl.Series] = field(default_factory=dict, repr=False)

    def written(self, rule: IdRule) -> pl.Series:
        """The ids as a rule writes them, null or empty where nothing is left; worked out once."""
        if rule not in self._written:
            self._written[rule] = written(self.column, rule)
        return self._written[rule]

    def __len__(self) -> int:
        return len(self.column)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> "Listed": ...
    def __getitem__(self, place: int | slice) -> "str | Listed":
        if isinstance(place, slice):
            return Listed(self.column[place])
        return str(self.column[place])

    def __iter__(self) -> Iterator[str]:
        return iter(self.column.to_list())


@dataclass(frozen=True, eq=False)
class Coded:
    """The codes of some ids.

    Attributes:
        known: ``bool[n]``: whether the source has each id, in the order asked.
        codes: ``uint8[columns, known ids]``, in that order; 0 is missing.
    """

    known: NDArray[np.bool_]
    codes: Codes


@dataclass(frozen=True)
class Figures:
    """How a source does.

    Attributes:
        hits: ids answered from what was held.
        misses: ids for which the source had to be asked, or that are not in the table.
        held: ids held, with those of which it is known that the source lacks them.
    """

    hits: int
    misses: int
    held: int


class Enrolled(Protocol):
    """The registered table's ids as they were at one time; rows are those of that time."""

    @property
    def ids(self) -> Ids:
        """Every id of the table under the rule, in the order of its rows."""

    async def of_rows(self, rows: Rows) -> Coded:
        """The codes of some rows, by number; unknown are those that the source has no more.

        Raises:
            UsageError: as `Features.codes`.
        """


class Features(Protocol):
    """Gives the codes of a model share's columns as they are now."""

    async def codes(self, ids: Sequence[str]) -> Coded:
        """The codes of some ids; the same id may be asked twice.

        Raises:
            UsageError: the source cannot be asked, does not answer in time (``source-late``), or gives what
                the model cannot use: ``column-unknown``, ``column-type``.
        """

    async def enrol(self) -> Enrolled:
        """The registered table's ids as they are now.

        Raises:
            UsageError: the table cannot be read, or an id is missing or there twice.
        """

    def figures(self) -> Figures:
        """How it does."""

    async def close(self) -> None:
        """Let go of threads and connections."""


@dataclass(frozen=True)
class Coding:
    """How values become a share's codes, as in training.

    Attributes:
        columns: of the share, in its order.
        source: where the values come from, for errors.
    """

    columns: tuple[Column, ...]
    source: str

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names."""
        return tuple(column.name for column in self.columns)

    def codes(self, frame: pl.DataFrame, threads: int = 1) -> Codes:
        """The codes of rows: ``uint8[columns, rows]``, C-contiguous.

        Raises:
            UsageError: ``column-unknown`` or ``column-type``, with column and source.
        """
        if not frame.height:
            return np.empty((len(self.columns), 0), dtype=np.uint8)
        bins = {column.name: column.bins for column in self.columns}
        try:
            return encode_columns(frame, bins, threads=threads).codes
        except UsageError as error:
            raise UsageError(error.code, f"{self.source}: {error.what}", remedy=error.remedy) from None


def texts(ids: Sequence[str]) -> pl.Series:
    """Asked ids as a column; null where one cannot be written as UTF-8, so nobody has it."""
    try:
        return pl.Series("id", ids, dtype=pl.String)
    except UnicodeEncodeError:
        return pl.Series("id", [each if writable(each) else None for each in ids], dtype=pl.String)


def comparable(ids: Sequence[str], rule: IdRule) -> Comparable:
    """Asked ids as a rule writes them, null or empty where nothing is left; most need no writing."""
    if isinstance(ids, Listed):
        return ids.written(rule)
    few = written_few(ids, rule) if len(ids) <= FEW else None
    if few is not None:
        return few
    plain = rule.name == "as-is" and "".join(ids).isascii()
    return texts(ids) if plain else written(texts(ids), rule)


def writable(text: str) -> bool:
    """Whether a text has a form in UTF-8."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)
