"""The tables of a party's store, as the steps by which every release has changed them.

A new release adds a step and changes none: version n is what the first n steps make. A new table also
gets its line in `TABLES`. Statements keep to what `store.database` says both databases know.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from parley.core.errors import UsageError
from parley.store.database import Database, Execute

STEPS: Final[tuple[tuple[str, ...], ...]] = (
    (
        "CREATE TABLE peers (name TEXT PRIMARY KEY, address TEXT NOT NULL, certificate TEXT NOT NULL)",
        "CREATE TABLE tables (name TEXT PRIMARY KEY, record BLOB NOT NULL)",
        "CREATE TABLE invitations (name TEXT PRIMARY KEY, certificate TEXT NOT NULL, until REAL NOT NULL)",
        "CREATE TABLE runs (id TEXT PRIMARY KEY, began REAL NOT NULL, record BLOB NOT NULL)",
    ),
    (
        "CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
        "CREATE INDEX runs_by_beginning ON runs (began, id)",
    ),
)
VERSION: Final = len(STEPS)

TABLES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "peers": ("name", "address", "certificate"),
        "tables": ("name", "record"),
        "invitations": ("name", "certificate", "until"),
        "runs": ("id", "began", "record"),
    }
)
"""Tables with their columns, the key first; `about` is the store's own and moves nowhere."""


def begin(database: Database) -> None:
    """Make the tables where nothing of ours is yet; where they are, bring them up to date."""
    database.alone(lambda execute: _step_on(database, execute))


def bring_up_to_date(database: Database) -> None:
    """Do the steps that are missing, all of them or none.

    Raises:
        UsageError: ``store-empty``: nothing of ours is there; ``catalogue-version``: a later release was.
    """
    if check(database, database.read(database.version)) < VERSION:
        begin(database)


def check(database: Database, found: int) -> int:
    """The version, if this release can work with it.

    Raises:
        UsageError: as `bring_up_to_date`.
    """
    if not found:
        raise UsageError(
            "store-empty",
            f"nothing of a party is in the store {database.place}",
            remedy="if it is to be the party's store from now on, run `parley store move`; if not, correct "
            "`store` in parley.toml",
        )
    if found > VERSION:
        raise UsageError(
            "catalogue-version",
            f"{database.place} has catalogue version {found}, this release reads {VERSION}",
            remedy="use the release of Parley that was here last, or a later one",
        )
    return found


def _step_on(database: Database, execute: Execute) -> None:
    found = database.version(execute)  # another process may have come first
    if found:
        check(database, found)
    for step in STEPS[found:]:
        for statement in step:
            execute(statement)
    if found < VERSION:
        database.note_version(execute, VERSION)
