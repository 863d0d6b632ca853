"""The log and the state of one member on disk: SQLite, write-ahead log, every commit flushed.

A block, its receipts and the changes of the state are one transaction of the database, so a crash leaves
either all of it or nothing.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from parley.core.errors import UsageError
from parley.ledger.encoding import Value, decode, encode

VERSION: Final = 1
_SCHEMA: Final = """
    CREATE TABLE leaf (number INTEGER PRIMARY KEY, height INTEGER NOT NULL, digest BLOB NOT NULL UNIQUE,
                       hash BLOB NOT NULL, data BLOB NOT NULL, receipt BLOB NOT NULL);
    CREATE TABLE seal (height INTEGER PRIMARY KEY, size INTEGER NOT NULL UNIQUE, note BLOB NOT NULL,
                       final INTEGER NOT NULL);
    CREATE TABLE state (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE pending (digest BLOB PRIMARY KEY, data BLOB NOT NULL);
"""


class StoreFailed(UsageError):
    """The disk did not take what must be on it; what was there is whole. The member stops."""

    def __init__(self, path: Path, cause: Exception) -> None:
        super().__init__(
            "ledger-not-written",
            f"the disk failed under {path}: {cause}",
            remedy="see that the disk has room and is sound, then start the party again; nothing is lost",
        )


@dataclass(frozen=True, slots=True)
class StoredLeaf:
    """A leaf and what was computed of it: hash in the tree, digest of its transaction, receipt."""

    data: bytes
    hash: bytes
    digest: bytes
    receipt: bytes


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """A block as it is written, or read again.

    Attributes:
        height: of the block; 0 is the genesis.
        first: number of its first leaf.
        leaves: in order.
        note: the checkpoint behind it, with the signatures known.
        final: whether a majority is among them.
    """

    height: int
    first: int
    leaves: tuple[StoredLeaf, ...]
    note: bytes
    final: bool = False

    @property
    def size(self) -> int:
        """Leaves of the log with this block."""
        return self.first + len(self.leaves)


class LedgerStore:
    """One member's database. Safe to use from several threads; each method is one short step.

    Args:
        path: of the database; made if it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._turn = threading.RLock()
        try:
            self._prepare()
        except sqlite3.OperationalError as error:
            self._database.close()
            raise StoreFailed(path, error) from error
        except sqlite3.DatabaseError as error:
            self._database.close()
            raise UsageError(
                "ledger-damaged",
                f"{path} cannot be read: {error}",
                remedy="move it away; the ledger is fetched again from the other members",
            ) from None

    def _prepare(self) -> None:
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
        elif version != VERSION:
            raise UsageError(
                "ledger-version",
                f"{self.path} has version {version}, this release reads {VERSION}",
                remedy="use the release of Parley that made it",
            )

    def close(self) -> None:
        """Close the database."""
        with self._turn:
            self._database.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._turn:
            try:
                self._database.execute("BEGIN IMMEDIATE")
                yield self._database
                self._database.execute("COMMIT")
            except BaseException as error:
                with suppress(sqlite3.Error):  # SQLite may have rolled back by itself
                    self._database.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise StoreFailed(self.path, error) from error
                raise

    def _read(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._turn:
            try:
                return self._database.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise StoreFailed(self.path, error) from error

    # ── the log ───────────────────────────────────────────────────────────────────────────────────────

    @property
    def size(self) -> int:
        """Leaves in the log."""
        return int(self._read("SELECT coalesce(max(number) + 1, 0) FROM leaf")[0][0])

    def append(self, block: StoredBlock, writes: Iterable[tuple[str, Value]]) -> None:
        """Write a block and the changes it makes to the state, all or nothing."""
        with self._writing() as database:
            database.executemany(
                "INSERT INTO leaf VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (block.first + place, block.height, leaf.digest, leaf.hash, leaf.data, leaf.receipt)
                    for place, leaf in enumerate(block.leaves)
                ],
            )
            database.execute(
                "INSERT INTO seal VALUES (?, ?, ?, ?)",
                (block.height, block.size, block.note, int(block.final)),
            )
            for key, value in writes:
                if value is None:
                    database.execute("DELETE FROM state WHERE key = ?", (key,))
                else:
                    database.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (key, encode(value)))
            database.executemany(
                "DELETE FROM pending WHERE digest = ?", [(leaf.digest,) for leaf in block.leaves]
            )

    def cut(self, size: int, state: Mapping[str, Value], pending: Mapping[bytes, bytes]) -> None:
        """Go back to ``size`` leaves and the state there; remember transactions to submit again."""
        with self._writing() as database:
            database.execute("DELETE FROM leaf WHERE number >= ?", (size,))
            database.execute("DELETE FROM seal WHERE size > ?", (size,))
            database.execute("DELETE FROM state")
            database.executemany(
                "INSERT INTO state VALUES (?, ?)", [(key, encode(value)) for key, value in state.items()]
            )
            database.executemany("INSERT OR IGNORE INTO pending VALUES (?, ?)", list(pending.items()))

    def block_from(self, first: int) -> StoredBlock | None:
        """The block that begins at leaf ``first``, or None at the end of the log."""
        rows = self._read(
            "SELECT height, note, final FROM leaf JOIN seal USING (height) WHERE number = ?", first
        )
        if not rows:
            return None
        height, note, final = rows[0]
        return StoredBlock(height, first, tuple(self._leaves("height = ?", height)), note, bool(final))

    def leaves(self, first: int, end: int) -> list[StoredLeaf]:
        """Leaves ``first`` … ``end`` − 1."""
        return self._leaves("number >= ? AND number < ?", first, end)

    def _leaves(self, condition: str, *values: int) -> list[StoredLeaf]:
        query = f"SELECT data, hash, digest, receipt FROM leaf WHERE {condition} ORDER BY number"  # noqa: S608
        return [StoredLeaf(*row) for row in self._read(query, *values)]

    def hashes(self, size: int) -> list[bytes]:
        """Tree hashes of the first ``size`` leaves."""
        query = "SELECT hash FROM leaf WHERE number < ? ORDER BY number"
        return [row[0] for row in self._read(query, size)]

    def numbers(self) -> dict[bytes, int]:
        """The leaf number of every transaction, by digest."""
        return dict(self._read("SELECT digest, number FROM leaf"))

    # ── checkpoints ───────────────────────────────────────────────────────────────────────────────────

    def note(self, size: int) -> bytes | None:
        """The checkpoint of a size, with the signatures known."""
        rows = self._read("SELECT note FROM seal WHERE size = ?", size)
        return bytes(rows[0][0]) if rows else None

    def keep_note(self, size: int, note: bytes, *, final: bool) -> None:
        """Replace a checkpoint by one with more signatures."""
        with self._writing() as database:
            database.execute("UPDATE seal SET note = ?, final = ? WHERE size = ?", (note, int(final), size))

    def notes(self) -> list[tuple[int, bytes]]:
        """Every checkpoint with its size, ascending."""
        return self._read("SELECT size, note FROM seal ORDER BY size")

    @property
    def final_size(self) -> int:
        """Leaves that a majority has signed for."""
        return int(self._read("SELECT coalesce(max(size), 0) FROM seal WHERE final")[0][0])

    # ── the state ─────────────────────────────────────────────────────────────────────────────────────

    def state(self) -> dict[str, Value]:
        """All of it."""
        return {key: decode(value) for key, value in self._read("SELECT key, value FROM state")}

    # ── what is to be submitted ───────────────────────────────────────────────────────────────────────

    def keep_pending(self, transactions: Mapping[bytes, bytes]) -> None:
        """Remember transactions, by digest, until they are in the log."""
        with self._writing() as database:
            database.executemany("INSERT OR IGNORE INTO pending VALUES (?, ?)", list(transactions.items()))

    def forget_pending(self, digests: Iterable[bytes]) -> None:
        """They were dropped."""
        with self._writing() as database:
            database.executemany("DELETE FROM pending WHERE digest = ?", [(one,) for one in digests])

    def pending(self) -> dict[bytes, bytes]:
        """Transactions not yet in the log, by digest."""
        return dict(self._read("SELECT digest, data FROM pending ORDER BY rowid"))
