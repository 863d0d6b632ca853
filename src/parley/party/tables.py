"""Registered tables: reading them, and what of them a plan may use."""

import hashlib
import hmac

import polars as pl

from parley.core.errors import PolicyRefused, UsageError
from parley.core.plan import Part, Plan
from parley.crypto.randomness import derive
from parley.data.preflight import Finding, IdColumn, preflight
from parley.data.sources import parse_source, read
from parley.data.table import Table
from parley.ledger.encoding import Value, encode
from parley.ledger.merkle import leaf_hash, root
from parley.store.catalogue import TableRecord
from parley.store.home import Home


def load(record: TableRecord) -> Table:
    """Read a registered table from its source.

    Raises:
        UsageError: the source cannot be read, or lacks a declared column.
    """
    frame = read(parse_source(record.source, record.query))
    return Table.of(frame, categorical=record.categorical, ids=(record.id,))


def allowed(record: TableRecord) -> tuple[str, ...]:
    """The columns that its owner allows in plans; reads the table if that is all of them."""
    return record.columns or tuple(name for name in load(record).frame.columns if name != record.id)


def examine(home: Home, record: TableRecord) -> tuple[Table, tuple[Finding, ...]]:
    """Read a table once, and check it as far as can be done without a plan.

    Returns:
        The table, and warnings about its columns.

    Raises:
        UsageError: the source cannot be read, an id is missing or occurs twice, a column cannot be
            used, or the table is to be shared with an unknown party, or at all in a consortium.
    """
    if record.partners and home.membership is not None:
        raise UsageError(
            "sharing-by-approval",
            f"{home.settings.party} belongs to a consortium: tables are used by approved plans there",
            remedy="leave out --share-with; allow plans with `parley approve` or `parley grant`",
        )
    for partner in record.partners:
        home.catalogue.peer(partner)
    table = load(record)
    learnt_from = record.columns or tuple(name for name in table.frame.columns if name != record.id)
    findings = preflight(table, IdColumn(record.id), None, learnt_from)
    return table, tuple(findings)


def features(record: TableRecord, table: Table, part: Part) -> tuple[str, ...]:
    """The columns to learn from: those the plan names, or all that the owner allows.

    Raises:
        PolicyRefused: the plan names a column that the owner does not allow.
    """
    taken = {record.id, part.id, part.label, part.weight}
    usable = record.columns or tuple(name for name in table.frame.columns if name not in taken)
    refused = [name for name in part.columns if name in table.frame.columns and name not in {*usable, *taken}]
    if refused:
        raise PolicyRefused(
            "column-not-allowed",
            f"column {refused[0]!r} of table {record.name!r} is not allowed in plans",
            remedy="leave it out of the plan, or allow it with `parley data add --columns`",
            public="a column that the plan names is not available",
        )
    return part.columns or tuple(name for name in usable if name not in taken)


def admit(plan: Plan, party: str, peer: str, record: TableRecord) -> None:
    """Whether a peer's plan may use our table. Numbered checks.

    Raises:
        PolicyRefused: it may not.
        UsageError: it means another id column than the registered one.
    """
    # 1. the plan is about us, and its label is the peer's
    if party not in plan.parties or plan.active != peer:
        raise PolicyRefused(
            "not-our-plan",
            f"{peer} proposes a plan of {', '.join(plan.parties)} led by {plan.active}",
            remedy=f"the party with the label must propose the plan, and the plan must name {party}",
            public=f"the plan must be proposed by its active party and name {party}",
        )
    # 2. rows are named by the registered column
    if plan.parties[party].id != record.id:
        raise UsageError(
            "other-id-column",
            f"the plan aligns {record.name!r} by {plan.parties[party].id!r}, not by {record.id!r}",
            remedy="correct the plan",
            public="the plan names another id column than the registered one",
        )


def commitment(record: TableRecord, table: Table, salt: bytes) -> dict[str, Value]:
    """What the ledger learns of a table: a digest of its schema, about how large it is, a salted root.

    The root commits to every row; without the salt nobody can test a guess about one.

    Args:
        record: the registration.
        table: the rows.
        salt: 32 secret bytes of the party.
    """
    schema: list[Value] = [[column.name, column.kind, column.type] for column in table.schema]
    key = derive(salt, "table", record.name)
    cells = [pl.col(name).cast(pl.String, strict=False).fill_null("\0") for name in table.frame.columns]
    rows = table.frame.select(pl.concat_str(cells, separator="\x1f").alias("row"))["row"]
    leaves = (hmac.digest(key, f"{number}\0{row}".encode(), "sha256") for number, row in enumerate(rows))
    return {
        "name": record.name,
        "schema": hashlib.sha256(encode(schema)).hexdigest(),
        "rows": len(table).bit_length() - 1,
        "root": root(leaf_hash(leaf) for leaf in leaves).hex(),
    }


def digest_of(frame: pl.DataFrame) -> bytes:
    """32 bytes that tell whether rows are what they were; for this machine and this release only."""
    types = repr(frame.schema).encode()
    return hashlib.sha256(types + frame.hash_rows(seed=0).to_numpy().tobytes()).digest()


def check_shared(peer: str, record: TableRecord) -> None:
    """Whether the owner shares a table with a peer; on a ledger, approvals say so instead.

    Raises:
        PolicyRefused: it does not.
    """
    if peer not in record.partners:
        raise PolicyRefused(
            "table-not-shared",
            f"table {record.name!r} is not shared with {peer}",
            remedy=f"share it with `parley data add … --share-with {peer}`, or refuse the plan",
            public="the table that the plan names is not shared with you",
        )
