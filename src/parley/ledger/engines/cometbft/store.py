"""What a party on CometBFT has on disk: the embedded engine's tables, and how far the chain is.

A block of the chain, its leaves, receipts and changes of the state are one transaction of the database;
so is the genesis with the first block. Since the tables are those of the embedded engine, a consortium that
moves goes on in the same file, and what reads the one reads the other.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from parley.ledger.encoding import Value
from parley.ledger.engines.embedded.store import LedgerStore, StoredBlock, Synchronous

_CHAIN: Final = """
    CREATE TABLE IF NOT EXISTS chain (one INTEGER PRIMARY KEY CHECK (one = 1), height INTEGER NOT NULL,
                                      nodes TEXT NOT NULL)
"""
_VOTING: Final = """
    CREATE TABLE IF NOT EXISTS voting (one INTEGER PRIMARY KEY CHECK (one = 1), height INTEGER NOT NULL,
                                       public TEXT NOT NULL)
"""
"""Of its own, so that releases that do not know it go on; what they leave behind is of another height."""


@dataclass(frozen=True)
class Position:
    """How far this party is on the chain.

    Args:
        height: of the last committed block of the chain, 0 before the first.
        nodes: node id of every member at the genesis, by name; holds until it announces another.
        voting: public half, in hexadecimal, of our cosigning key as it was before that block; with it our
            node votes on the next one. Empty if that is not known, and before we have one.

    """

    height: int = 0
    nodes: Mapping[str, str] = field(default_factory=dict)
    voting: str = ""


@dataclass(frozen=True)
class ExecutedBlock:
    """A block of leaves with the changes it makes to the state."""

    block: StoredBlock
    writes: Mapping[str, Value]


class ChainStore(LedgerStore):
    """The database of one party on CometBFT.

    Args:
        path: of the database; made if it does not exist, continued if the embedded engine made it.

    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with self._writing() as database:
            database.execute(_CHAIN)
            database.execute(_VOTING)

    @contextmanager
    def _writing(self, synchronous: Synchronous = "FULL") -> Iterator[sqlite3.Connection]:
        """A transaction; within one that is under way on this thread, part of it."""
        with self._turn:
            if self._database.in_transaction:
                yield self._database
                return
            with super()._writing(synchronous) as database:
                yield database

    def size_before(self, height: int) -> int:
        """Leaves before the block of a height of the ledger."""
        return int(self._read("SELECT coalesce(max(size), 0) FROM seal WHERE height < ?", height)[0][0])

    def position(self) -> Position:
        """How far the chain is."""
        rows = self._read(
            "SELECT chain.height, nodes, coalesce(public, '') FROM chain LEFT JOIN voting USING (height)"
        )
        return Position(rows[0][0], json.loads(rows[0][1]), rows[0][2]) if rows else Position()

    def commit(self, blocks: Sequence[ExecutedBlock], position: Position) -> None:
        """Write a block of the chain, which holds some blocks of leaves or none; all or nothing."""
        with self._writing() as database:
            for one in blocks:
                self.append(one.block, one.writes.items())
            nodes = json.dumps(dict(position.nodes), sort_keys=True)
            database.execute("INSERT OR REPLACE INTO chain VALUES (1, ?, ?)", (position.height, nodes))
            voting = (position.height, position.voting)
            database.execute("INSERT OR REPLACE INTO voting VALUES (1, ?, ?)", voting)
