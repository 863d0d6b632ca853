"""Putting the commitment to a table of ours on the ledger."""

from collections.abc import Mapping
from pathlib import Path

from parley.cli.asking import ask, read
from parley.data.table import Table
from parley.ledger.contract.tables import Table as Committed
from parley.ledger.encoding import Value
from parley.party.tables import commitment
from parley.store.catalogue import TableRecord
from parley.store.home import Home


def announce(home: Path, record: TableRecord, table: Table) -> int | None:
    """Register a table, anew if it has changed; the record's number, or None if all stands there already.

    Raises:
        Failure: the contract refused it.
        UsageError: the party is not running.
    """
    opened = Home.open(home)
    body = commitment(record, table, opened.handles_secret)
    known = read(home, lambda ledger: ledger.table(opened.settings.party, record.name))
    if known is not None and known.status == "registered":
        if _same(known, body):
            return None
        ask(home, "table.withdraw", {"name": record.name})
    return ask(home, "table.register", body).number


def _same(known: Committed, body: Mapping[str, Value]) -> bool:
    return (known.schema, known.rows, known.root) == (body["schema"], body["rows"], body["root"])
