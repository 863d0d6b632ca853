"""Registered tables as they are shown."""

import msgspec

from parley.data.sources import parse_source
from parley.data.urls import redacted
from parley.store.catalogue import Serving, TableRecord


class ServingShown(msgspec.Struct, frozen=True):
    """Where a table's columns come from when a model is used; see `parley.store.catalogue.Serving`.

    Attributes:
        source: without secrets; empty: the registered table itself.
        query: of a database.
        age: seconds for which what was read or fetched counts.
        entries: ids held at most.
        deadline: seconds within which the source must answer.
    """

    source: str
    query: str | None
    age: int
    entries: int
    deadline: float


class TableShown(msgspec.Struct, frozen=True):
    """A registered table.

    Attributes:
        table: how plans call it.
        source: where it comes from, without secrets.
        id: the column that names the rows.
        allowed: columns that plans may learn from; none named: all.
        categorical: columns that are categories whatever their type.
        shared_with: without a consortium: peers whose plans may use it.
        serving: the source when a model is used.
    """

    table: str
    source: str
    id: str
    allowed: tuple[str, ...]
    categorical: tuple[str, ...]
    shared_with: tuple[str, ...]
    serving: ServingShown


def table_shown(record: TableRecord) -> TableShown:
    """A table of the catalogue."""
    return TableShown(
        table=record.name,
        source=without_secrets(record),
        id=record.id,
        allowed=record.columns,
        categorical=record.categorical,
        shared_with=record.partners,
        serving=serving_shown(record.serving or Serving()),
    )


def serving_shown(serving: Serving) -> ServingShown:
    """A source of the catalogue."""
    return ServingShown(
        source=redacted(serving.source),
        query=serving.query,
        age=serving.age,
        entries=serving.entries,
        deadline=serving.deadline,
    )


def without_secrets(record: TableRecord) -> str:
    """Where the table comes from, without secrets."""
    return str(parse_source(record.source, record.query))
