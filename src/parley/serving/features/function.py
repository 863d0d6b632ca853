"""A Python function as the source: ``python:package.module:function``.

It is given a list of ids and gives a mapping from id to a mapping of column values, or a Polars frame with
the id column; ids that it does not know are left out. It may be called from several threads at a time.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

import numpy as np
import polars as pl

from parley.core.errors import UsageError
from parley.core.log import Log
from parley.data.ids import IdRule
from parley.data.rows import typed
from parley.serving.features.coded import texts, writable
from parley.serving.features.hands import Hands
from parley.serving.features.sources import Fetched, lacks, matched

PYTHON: Final = "python:"
"""How the address of a function begins."""
Function = Callable[[list[str]], object]


class FunctionSource:
    """Rows by a function.

    Args:
        address: ``python:package.module:function``.
        id_column: of a frame that it gives.
        rule: by which ids are compared.
        deadline: seconds for each call.
        log: told the text of its exceptions, and nobody else.
    """

    def __init__(self, address: str, id_column: str, rule: IdRule, *, deadline: float, log: Log) -> None:
        self._address = address
        self._id = id_column
        self._rule = rule
        self._log = log
        function = imported(address, log)
        self._hands: Hands[Function] = Hands(address, deadline, lambda: function, lambda _: None)

    async def fetch(self, ids: Sequence[str]) -> Fetched:
        """See `RowSource.fetch`."""
        return await self._hands.do(partial(self._called, ids))

    def close(self) -> None:
        """See `RowSource.close`."""
        self._hands.close()

    def _called(self, ids: Sequence[str], function: Function) -> Fetched:
        try:
            given = function([each for each in ids if writable(each)])
        except Exception as error:  # noqa: BLE001 (it is not ours)
            raise _raised(self._address, error, self._log) from None
        if isinstance(given, pl.DataFrame):
            return matched(ids, given, self._id, self._rule, self._address)
        if not isinstance(given, Mapping) or not all(isinstance(each, str) for each in given):
            raise _not_understood(self._address, given)
        return matched(ids, self._frame(given), self._id, self._rule, self._address)

    def _frame(self, given: Mapping[str, object]) -> pl.DataFrame:
        rows = list(given.values())
        names: dict[str, None] = {}
        for row in rows:
            if not isinstance(row, Mapping) or not all(isinstance(name, str) for name in row):
                raise _not_understood(self._address, row)
            names |= dict.fromkeys(row)
        columns = (self._column(name, rows) for name in names if name != self._id)
        return pl.DataFrame([texts(list(given)).alias(self._id), *columns])

    def _column(self, name: str, rows: Sequence[Any]) -> pl.Series:
        """One column; what a row lacks is an error, as a gap must be said: None."""
        if not all(name in row for row in rows):
            raise lacks(self._address, name)
        cells = [row[name].item() if isinstance(row[name], np.generic) else row[name] for row in rows]
        types = {type(cell) for cell in cells if cell is not None}
        if len(types) == 1 or types <= {
            int,
            float,
        }:  # else an id's codes might depend on who is asked with it
            with suppress(UsageError):
                return typed(name, cells)
        if not types:
            return pl.Series(name, cells, dtype=pl.Null)
        shown = " and ".join(sorted(each.__name__ for each in types))
        raise UsageError(
            "column-type",
            f"{self._address} gives values of type {shown} in column {name!r}",
            remedy=f"let it give numbers, text, dates or None in {name!r}, always of one type",
        )


def imported(address: str, log: Log) -> Function:
    """The function that an address names.

    Raises:
        UsageError: ``serving-function``, or ``serving-function-failed`` if its module cannot be run.
    """
    module, _, name = address.removeprefix(PYTHON).partition(":")
    if not module or not name:
        raise _no_function(address, "is no address of a function")
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise _no_function(address, f"cannot be imported: there is no module {error.name!r}") from None
    except Exception as error:  # noqa: BLE001 (it is not ours)
        raise _raised(address, error, log) from None
    for part in name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise _no_function(address, f"cannot be called: module {module!r} has no function {name!r}")
    function: Function = found
    return function


def _no_function(address: str, why: str) -> UsageError:
    return UsageError(
        "serving-function",
        f"{address!r} {why}",
        remedy="write python:package.module:function, and put the package where Python finds it (PYTHONPATH)",
    )


def _raised(address: str, error: Exception, log: Log) -> UsageError:
    made = UsageError(
        "serving-function-failed",
        f"{address} raised {type(error).__name__}",
        remedy="the text of the exception is in our log; correct the function",
    )
    log.because(made).say("error", f"{address} raised {type(error).__name__}: {error}")
    return made


def _not_understood(address: str, given: object) -> UsageError:
    return UsageError(
        "serving-function-answer",
        f"{address} gave a {type(given).__name__}",
        remedy="let it give a mapping from id to a mapping of column values, or a Polars frame with the id",
    )
