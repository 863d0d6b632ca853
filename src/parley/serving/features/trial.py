"""Asking a source once, before it is declared: whether it answers, and how it differs from the table."""

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from parley.core.errors import UsageError
from parley.core.log import Log
from parley.data.cells import text
from parley.data.ids import IdRule
from parley.data.preflight import Finding
from parley.data.profile import TableProfile, family_of
from parley.data.sources import parse_source, read
from parley.party.tables import load
from parley.serving.features.opening import open_source, shown
from parley.store.catalogue import Serving, TableRecord

_RULES: Final = (IdRule("as-is"), IdRule("upper"), IdRule("digits"))
"""By which ids are compared, one after another: the rule that counts is the plan's."""
_ASKED: Final = 20
"""Ids asked for: of one alone a gap would hide what a column holds."""


@dataclass(frozen=True)
class Trial:
    """What came of it.

    Attributes:
        asked: ids of the table that were asked for.
        known: of these, those that the source has.
        seconds: that the answer took, connecting included.
        differs: columns that are not there or hold other values than the table's:
            ``serving-column-missing`` and ``serving-column-type``.
    """

    asked: int
    known: int
    seconds: float
    differs: tuple[Finding, ...]


async def try_out(
    record: TableRecord, serving: Serving, log: Log, environment: Mapping[str, str] = os.environ
) -> Trial:
    """Ask a source for the first ids of the registered table.

    Raises:
        UsageError: ``serving-id-unknown``: it knows none of them; or it cannot be asked.
    """
    column = read(parse_source(record.source, record.query), environment, (record.id,))[record.id]
    ids = text(column.head(_ASKED)).drop_nulls().unique(maintain_order=True).to_list()
    for rule in _RULES:
        source = open_source(record, serving, rule, log, environment)
        try:
            began = time.monotonic()
            fetched = await source.fetch(ids)
            seconds = time.monotonic() - began
        finally:
            source.close()
        if fetched.known.any():
            break
    else:
        raise UsageError(
            "serving-id-unknown",
            f"{shown(serving)} knows none of the first {len(ids)} ids of table {record.name!r}",
            remedy=f"let it find rows by what column {record.id!r} of the table holds",
        )
    profile = record.profile or TableProfile.of(load(record))
    usable = set(record.columns) or {name for name in profile.names() if name != record.id}
    known = int(fetched.known.sum())
    return Trial(len(ids), known, seconds, tuple(_differences(profile.only(usable), fetched.frame)))


def _differences(profile: TableProfile, frame: pl.DataFrame) -> Iterator[Finding]:
    for column in profile.columns:
        if column.name not in frame.columns:
            what = "is in the table and not in what the source gives"
            yield Finding("serving-column-missing", column.name, what)
            continue
        found = frame[column.name]
        if family_of(found) not in (None, column.family):
            what = f"is {column.type} in the table and {found.dtype} in what the source gives"
            yield Finding("serving-column-type", column.name, what)
