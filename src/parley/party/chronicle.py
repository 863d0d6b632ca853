"""Reading the member's own copy of the ledger, whether the party runs or not.

The database is opened read-only, and everything that one `Chronicle` says is of one moment.
"""

import sqlite3
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import msgspec

from parley.core.errors import UsageError
from parley.ledger import electorate
from parley.ledger.block import Leaf, read_genesis
from parley.ledger.contract import Genesis, Receipt, View
from parley.ledger.contract.endpoints import Endpoint, Node, endpoint_path, node_path
from parley.ledger.contract.grants import Grant
from parley.ledger.contract.members import Member
from parley.ledger.contract.plans import Approval, Plan, approval_path
from parley.ledger.contract.state import Draft
from parley.ledger.contract.tables import Table
from parley.ledger.contract.votes import Proposal
from parley.ledger.encoding import Value, decode
from parley.party.ledger import no_consortium
from parley.store.home import Home


@dataclass(frozen=True)
class Entry:
    """One record of the history.

    Attributes:
        number: of its receipt; 0 is the foundation.
        height: of its block.
        time: of its block, seconds since 1970.
        sender: who asked.
        type: what was asked.
        body: the particulars.
        digest: of the transaction.
        code: ``accepted``, or that of the refusal.
        reason: of a refusal, in words.
        final: whether a majority has signed for it.
    """

    number: int
    height: int
    time: int
    sender: str
    type: str
    body: dict[str, Value]
    digest: str
    code: str
    reason: str
    final: bool

    @property
    def accepted(self) -> bool:
        """Whether the contract accepted it."""
        return self.code == "accepted"


@dataclass(frozen=True)
class Belonging:
    """A member as the others see it.

    Attributes:
        name: of the member.
        role: holder or observer.
        standing: invited, active, suspended or removed.
        since: time of the last change of standing, seconds since 1970.
        address: where it listens; empty if it has not said.
        sequencer: whether its machine orders the transactions.
        node: id and address of its CometBFT node; empty if it has announced none.
    """

    name: str
    role: str
    standing: str
    since: int
    address: str
    sequencer: bool
    node: str


@dataclass(frozen=True)
class Proposed:
    """A plan and what its parties said to it.

    Attributes:
        id: of the plan.
        plan: as it stands on the ledger.
        words: by party, for those that have spoken.
    """

    id: str
    plan: Plan
    words: dict[str, Approval]

    @property
    def missing(self) -> tuple[str, ...]:
        """Who has not spoken yet."""
        return tuple(party for party in self.plan.terms.parties if party not in self.words)


class _Stored:
    """The state in the database, as the rules view it."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def get(self, key: str) -> Value:
        row = self._database.execute("SELECT value FROM state WHERE key = ?", (key,)).fetchone()
        return None if row is None else decode(row[0])

    def keys(self, prefix: str) -> Iterator[str]:
        query = "SELECT key FROM state WHERE key >= ? AND key < ? ORDER BY key"
        for row in self._database.execute(query, (prefix, prefix + "\U0010ffff")).fetchall():
            yield row[0]


class Chronicle:
    """One moment of the ledger; get it from `open`."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self.view: View = _Stored(database)
        self.draft = Draft(self.view)

    @classmethod
    @contextmanager
    def open(cls, home: Home) -> Iterator[Self]:
        """Read a home's copy.

        Raises:
            UsageError: the party belongs to no consortium, or has nothing of its ledger yet.
        """
        if home.membership is None:
            raise no_consortium(home.settings.party)
        path = home.path / "ledger" / "ledger.db"
        if not path.exists():
            raise _nothing_yet(home)
        database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        try:
            database.execute("BEGIN")
            if not database.execute("SELECT count(*) FROM leaf").fetchone()[0]:
                raise _nothing_yet(home)
            yield cls(database)
        except sqlite3.DatabaseError as error:
            raise UsageError(
                "ledger-damaged",
                f"{path} cannot be read: {error}",
                remedy="stop the party and move the file away; the other members have the ledger",
            ) from None
        finally:
            database.close()

    # ── history ───────────────────────────────────────────────────────────────────────────────────────

    def entries(self, last: int | None = None) -> list[Entry]:
        """The history, oldest first; only the ``last`` ones if so wished."""
        size = self.size
        first = 0 if last is None else max(0, size - last)
        final = self.final
        query = "SELECT number, digest, data, receipt FROM leaf WHERE number >= ? ORDER BY number"
        return [_entry(row, final) for row in self._database.execute(query, (first,))]

    def part(self, first: int, limit: int) -> list[Entry]:
        """At most ``limit`` records of the history, from a number on."""
        final = self.final
        query = "SELECT number, digest, data, receipt FROM leaf WHERE number >= ? ORDER BY number LIMIT ?"
        return [_entry(row, final) for row in self._database.execute(query, (first, limit))]

    def entry(self, number: int) -> Entry:
        """One record.

        Raises:
            UsageError: there is none of that number.
        """
        query = "SELECT number, digest, data, receipt FROM leaf WHERE number = ?"
        row = self._database.execute(query, (number,)).fetchone()
        if row is None:
            raise UsageError(
                "no-such-record",
                f"the ledger has no record {number}; the last is {self.size - 1}",
                remedy="take a number that `parley ledger show` prints",
            )
        return _entry(row, self.final)

    def time_of(self, height: int) -> int:
        """When the block of a height was made, seconds since 1970."""
        query = (
            "SELECT number, digest, data, receipt FROM leaf WHERE height <= ? ORDER BY number DESC LIMIT 1"
        )
        return _entry(self._database.execute(query, (height,)).fetchone(), 0).time

    def at(self, height: int) -> list[Entry]:
        """The records of one block; heights ascend with the numbers, so a few looks find it."""
        size = self.size
        first = bisect_left(range(size), height, key=self._height_of)
        stop = bisect_left(range(size), height + 1, key=self._height_of)
        return self.part(first, stop - first)

    def _height_of(self, number: int) -> int:
        query = "SELECT height FROM leaf WHERE number = ?"
        return int(self._database.execute(query, (number,)).fetchone()[0])

    # ── the state ─────────────────────────────────────────────────────────────────────────────────────

    def members(self) -> list[Belonging]:
        """Everyone who is, was or is invited to be a member, ascending by name."""
        sequencer = self.sequencer
        return [self._belonging(self.draft.known(Member, path), sequencer) for path in self._paths("member/")]

    @property
    def sequencer(self) -> str:
        """Who orders the next block; empty where no single member does."""
        return electorate.sequencer(self.view, self.height + 1)

    @property
    def height(self) -> int:
        """Of the last block."""
        return int(self._database.execute("SELECT max(height) FROM leaf").fetchone()[0])

    def _belonging(self, member: Member, sequencer: str) -> Belonging:
        node = self.draft.find(Node, node_path(member.name))
        endpoint = self.draft.find(Endpoint, endpoint_path(member.name))
        return Belonging(
            name=member.name,
            role=member.role,
            standing=member.standing,
            since=self.time_of(member.since),
            address="" if endpoint is None else endpoint.address,
            sequencer=member.name == sequencer,
            node="" if node is None else f"{node.node}@{node.address}",
        )

    def proposals(self) -> list[Proposal]:
        """All votes, the open ones first, then the latest."""
        found = [self.draft.known(Proposal, path) for path in self._paths("proposal/")]
        return sorted(found, key=lambda each: (each.status != "open", -each.opened, each.id))

    def plans(self) -> list[Proposed]:
        """All plans, the open ones first, then the latest."""
        found = [self.plan(path.split("/")[1]) for path in self._paths("plan/")]
        return sorted(found, key=lambda each: (each.plan.status != "open", -each.plan.height, each.id))

    def plan(self, identifier: str) -> Proposed:
        """One plan, by its whole id."""
        plan = self.draft.known(Plan, f"plan/{identifier}")
        said = {
            party: self.draft.find(Approval, approval_path(identifier, party))
            for party in (*plan.terms.parties, plan.proposer)
        }
        return Proposed(identifier, plan, {party: word for party, word in said.items() if word is not None})

    def grants(self) -> list[tuple[str, Grant]]:
        """All grants with their ids."""
        paths = self._paths("grant/")
        return [(path.split("/")[1], self.draft.known(Grant, path)) for path in paths]

    def table(self, owner: str, name: str) -> Table | None:
        """A table's commitment, if it was ever registered."""
        return self.draft.find(Table, f"table/{owner}/{name}")

    def identify(self, what: str, prefix: str) -> str:
        """The whole id of a plan, proposal or grant of which the beginning is given.

        Raises:
            UsageError: none begins so, or several do.
        """
        wanted = prefix.strip().lower().removesuffix("…")
        found = [path.split("/")[1] for path in self._paths(f"{what}/{wanted}")] if wanted.isalnum() else []
        if len(found) == 1:
            return found[0]
        count = f"several {what}s on the ledger begin" if found else f"no {what} on the ledger begins"
        raise UsageError(
            f"no-such-{what}",
            f"{count} with {prefix!r}",
            remedy=f"take the id that `parley {_LISTED[what]}` prints; its first letters will do",
        )

    def _paths(self, prefix: str) -> list[str]:
        return list(self.draft.paths(prefix))

    # ── the log ───────────────────────────────────────────────────────────────────────────────────────

    @property
    def size(self) -> int:
        """Leaves held."""
        return int(self._database.execute("SELECT count(*) FROM leaf").fetchone()[0])

    @property
    def final(self) -> int:
        """Leaves that a majority has signed for."""
        query = "SELECT coalesce(max(size), 0) FROM seal WHERE final"
        return int(self._database.execute(query).fetchone()[0])

    @property
    def final_height(self) -> int:
        """Of the last block that a majority has signed for; -1 before the first."""
        query = "SELECT coalesce(max(height), -1) FROM seal WHERE final"
        return int(self._database.execute(query).fetchone()[0])

    def leaves(self) -> Iterator[bytes]:
        """All leaves, in order."""
        for row in self._database.execute("SELECT data FROM leaf ORDER BY number"):
            yield bytes(row[0])

    def leaf(self, number: int) -> bytes:
        """One leaf that is there."""
        query = "SELECT data FROM leaf WHERE number = ?"
        return bytes(self._database.execute(query, (number,)).fetchone()[0])

    def hashes(self, size: int) -> Iterator[bytes]:
        """The tree hashes of the first leaves."""
        query = "SELECT hash FROM leaf WHERE number < ? ORDER BY number"
        for row in self._database.execute(query, (size,)):
            yield bytes(row[0])

    def note(self, size: int) -> bytes:
        """The checkpoint of a size, with the signatures known."""
        return bytes(self._database.execute("SELECT note FROM seal WHERE size = ?", (size,)).fetchone()[0])

    def notes(self) -> Iterator[bytes]:
        """All checkpoints, ascending by size."""
        for row in self._database.execute("SELECT note FROM seal ORDER BY size"):
            yield bytes(row[0])


_LISTED = {"plan": "plans", "proposal": "votes", "grant": "grants"}


def _nothing_yet(home: Home) -> UsageError:
    return UsageError(
        "ledger-not-fetched",
        f"{home.settings.party} has nothing of its consortium's ledger yet",
        remedy=f"start the party with `parley up --home {home.path}`; it fetches the ledger from the others",
    )


def _entry(row: tuple[Any, ...], final: int) -> Entry:
    number, digest, data, stored = row
    if number == 0:
        spec = Genesis.of(read_genesis(bytes(data)))
        founders: list[Value] = [{"name": each.name, "role": each.role} for each in spec.founders]
        body: dict[str, Value] = {"name": spec.name, "founders": founders}
        sender = spec.founders[0].name
        return Entry(0, 0, spec.time, sender, "genesis", body, bytes(digest).hex(), "accepted", "", final > 0)
    leaf = Leaf.decoded(bytes(data))
    asked = leaf.opened().transaction
    receipt = msgspec.json.decode(stored, type=Receipt)
    return Entry(
        number=receipt.number,
        height=leaf.height,
        time=leaf.time,
        sender=asked.sender,
        type=asked.type,
        body=dict(asked.body),
        digest=receipt.transaction,
        code=receipt.code,
        reason=receipt.reason,
        final=number < final,
    )
