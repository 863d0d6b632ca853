"""Which database a party's settings name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from parley.core.errors import UsageError
from parley.store.database import Database
from parley.store.settings import Settings
from parley.store.sqlite import SqliteDatabase

CATALOGUE_FILE: Final = "party.db"


def named_database(folder: Path, settings: Settings, environment: Mapping[str, str]) -> Database:
    """The database, with whatever is in it; nothing is changed.

    Args:
        folder: the party's home.
        settings: its settings.
        environment: where variables of the url are looked up.

    Raises:
        UsageError: ``store-missing``, ``store-variable-unset``, ``postgres-driver-missing``.
    """
    if not settings.store:
        return SqliteDatabase(folder / CATALOGUE_FILE)
    return _postgres(settings, environment)


def new_database(folder: Path, settings: Settings, environment: Mapping[str, str]) -> Database:
    """The same for a party that begins: a file is made if there is none."""
    if not settings.store and not (folder / CATALOGUE_FILE).exists():
        return SqliteDatabase.create(folder / CATALOGUE_FILE)
    return named_database(folder, settings, environment)


def _postgres(settings: Settings, environment: Mapping[str, str]) -> Database:
    try:
        from parley.store.postgres import PostgresDatabase  # noqa: PLC0415 (needs an extra)
    except ImportError:
        raise UsageError(
            "postgres-driver-missing",
            "a store in PostgreSQL needs a driver that is not installed",
            remedy="run: pip install 'parley[postgres]'",
        ) from None
    return PostgresDatabase(settings.store, settings.schema(), environment)
