"""Moving a party's store to another database while the party stands still.

1. The rows are copied, and are there whole or not at all.
2. ``store`` in parley.toml names the new database.
3. The file that held them is put aside; tables in PostgreSQL stay where they are.

Whatever comes between, one of the two has everything and parley.toml names one that has.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from parley.core.errors import UsageError
from parley.core.files import write_atomically
from parley.store.catalogue import KEEP, Catalogue
from parley.store.database import Database, Execute, Row
from parley.store.home import Home
from parley.store.migrations import TABLES
from parley.store.opening import CATALOGUE_FILE, named_database, new_database
from parley.store.settings import SETTINGS_FILE, Settings, checked_store
from parley.store.sqlite import SqliteDatabase

SQLITE: Final = "sqlite"
"""What stands for the file in the home where the url of a database is asked for."""
_LINE: Final = re.compile(r"^[ \t]*store[ \t]*=.*$", re.MULTILINE)


@dataclass(frozen=True)
class Moved:
    """What was moved.

    Attributes:
        source, target: from where to where, for people.
        rows: by table.
        aside: the file that held them, under its new name; None where it was no file.
    """

    source: str
    target: str
    rows: Mapping[str, int]
    aside: str | None


def move(home: Home, to: str) -> Moved:
    """Move the store of a party that is not running.

    Args:
        home: of the party.
        to: url of a PostgreSQL database, or `SQLITE`; empty: where parley.toml already says.

    Raises:
        UsageError: ``party-running``; ``store-not-empty``; ``store-there-already``; whatever opening
            either database raises.
    """
    store = "" if to == SQLITE else checked_store(to or home.settings.store)
    before, after = _ends(home, store)
    with home.held(before):
        source = Catalogue(named_database(home.path, before, home.environment))
        database = new_database(home.path, after, home.environment)
        target = Catalogue.create(database)
        target.claim(home.owner)
        rows = _copied(source.database, database)
        if home.settings.store != store:
            _rewrite(home.path, store)
        held = source.database
        aside = str(held.put_aside()) if isinstance(held, SqliteDatabase) else None
    return Moved(source.database.place, database.place, rows, aside)


def _ends(home: Home, store: str) -> tuple[Settings, Settings]:
    """Settings as they would be for the store that has the rows, and for the one that is to have them."""
    named = home.settings.store
    file_is_left = store == named and (home.path / CATALOGUE_FILE).exists()
    before = "" if file_is_left else named
    if before == store:
        raise UsageError(
            "store-there-already",
            f"the store already is {named_database(home.path, home.settings, home.environment).place}",
            remedy=f"name another one with --to: the url of a database, or {SQLITE!r} for the home",
        )
    return msgspec.structs.replace(home.settings, store=before), msgspec.structs.replace(
        home.settings, store=store
    )


def _copied(source: Database, target: Database) -> Mapping[str, int]:
    """Copy all rows in one transaction; returns how many by table."""

    def read(execute: Execute) -> dict[str, list[Row]]:
        return {table: execute(f"SELECT {', '.join(TABLES[table])} FROM {table}") for table in TABLES}  # noqa: S608

    found = source.read(read)

    def write(execute: Execute) -> None:
        for table, rows in found.items():
            if execute(f"SELECT 1 FROM {table} LIMIT 1"):  # noqa: S608
                raise UsageError(
                    "store-not-empty",
                    f"the table {table} in {target.place} has rows already",
                    remedy="name another schema, with store_schema in parley.toml, or drop that one",
                )
            for row in rows:
                execute(KEEP[table], *row)

    target.write(write)
    return {table: len(rows) for table, rows in found.items()}


def _rewrite(folder: Path, store: str) -> None:
    """Name the store in parley.toml; nothing else there changes."""
    text = (folder / SETTINGS_FILE).read_bytes().decode()
    line = f"store = {msgspec.json.encode(store).decode()}"
    changed, count = _LINE.subn(lambda _: line, text, count=1)
    write_atomically(folder / SETTINGS_FILE, (changed if count else f"{text.rstrip()}\n{line}\n").encode())
