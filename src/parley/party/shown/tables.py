"""Registered tables as they are shown."""

import msgspec

from parley.data.sources import parse_source
from parley.store.catalogue import TableRecord


class TableShown(msgspec.Struct, frozen=True):
    """A registered table.

    Attributes:
        table: how plans call it.
        source: where it comes from, without secrets.
        id: the column that names the rows.
        allowed: columns that plans may learn from; none named: all.
        categorical: columns that are categories whatever their type.
        shared_with: without a consortium: peers whose plans may use it.
    """

    table: str
    source: str
    id: str
    allowed: tuple[str, ...]
    categorical: tuple[str, ...]
    shared_with: tuple[str, ...]


def table_shown(record: TableRecord) -> TableShown:
    """A table of the catalogue."""
    return TableShown(
        table=record.name,
        source=without_secrets(record),
        id=record.id,
        allowed=record.columns,
        categorical=record.categorical,
        shared_with=record.partners,
    )


def without_secrets(record: TableRecord) -> str:
    """Where the table comes from, without secrets."""
    return str(parse_source(record.source, record.query))
