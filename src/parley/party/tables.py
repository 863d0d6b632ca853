"""Registered tables: reading them, and what of them a plan may use."""

import hashlib
import hmac

import polars as pl

from parley.core.errors import PolicyRefused, UsageError
from parley.core.plan import Part, Plan
from parley.crypto.randomness import derive
from parley.data.drift import Limits, Shift, drift, schema_changes, shifts
from parley.data.preflight import Finding, IdColumn, preflight
from parley.data.sources import parse_source, read
from parley.data.table import Table
from parley.ledger.encoding import Value, encode
from parley.ledger.merkle import leaf_hash, root
from parley.store.catalogue import TableRecord
from parley.store.home import Home
from parley.store.settings import Settings


def load(record: TableRecord, part: Part | None = None) -> Table:
    """Read a registered table from its source: all of it, or the columns that a part of a plan may use.

    Raises:
        UsageError: the source cannot be read, or lacks a declared column.
    """
    columns = None if part is None else _used(record, part)
    frame = read(parse_source(record.source, record.query), columns=columns)
    categorical = [name for name in record.categorical if columns is None or name in columns]
    return Table.of(frame, categorical=categorical, ids=(record.id,))


def _used(record: TableRecord, part: Part) -> tuple[str, ...] | None:
    """The columns that a part of a plan may use; nothing if that may be all there are."""
    named = part.columns or record.columns
    rest = (record.id, part.id, part.label, part.weight)
    return tuple(dict.fromkeys([*filter(None, rest), *named])) if named else None


def allowed(record: TableRecord) -> tuple[str, ...]:
    """The columns that its owner allows in plans; reads the table if that is all of them."""
    return record.columns or tuple(name for name in load(record).frame.columns if name != record.id)


def examine(home: Home, record: TableRecord) -> tuple[Table, tuple[Finding, ...]]:
    """Read a table once, and check it as far as can be done without a plan.

    Returns:
        The table, and warnings about its columns, and about how it differs from what was registered
        under its name before.

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
    return table, (*findings, *_since(home.catalogue.tables().get(record.name), table, home.settings))


def foresee(home: Home, plan: Plan) -> tuple[Finding, ...]:
    """Look at our table of a plan before the plan is proposed: how it drifted from what was registered.

    Raises:
        UsageError: ``drift-column-gone`` or ``drift-type-changed``, or the table cannot be read.
    """
    part = plan.parties.get(home.settings.party)
    record = None if part is None else home.catalogue.tables().get(part.table)
    if part is None or record is None or record.profile is None:
        return ()
    try:
        table = load(record, part)
    except UsageError as error:
        if error.code != "column-unknown":
            raise
        table = load(record)  # whether the plan is wrong or the column is gone is seen in all of it
    used = _used(record, part) or record.profile.names()
    return drift(record.profile.only(used), table, limits_of(home.settings))


def check(home: Home, record: TableRecord) -> tuple[Table, tuple[Finding, ...], tuple[Shift, ...]]:
    """Read a registered table, and compare it with what was registered.

    Returns:
        The table, warnings, and for each registered column how far its values moved.

    Raises:
        UsageError: as `examine`, and ``drift-column-gone`` or ``drift-type-changed``.
    """
    table = load(record)
    before = record.profile
    usable = (record.id, *record.columns) if record.columns else None
    kept = None if before is None else before.only(usable or before.names())
    changes = () if kept is None else drift(kept, table, limits_of(home.settings))
    learnt_from = record.columns or tuple(name for name in table.frame.columns if name != record.id)
    findings = preflight(table, IdColumn(record.id), None, learnt_from)
    return table, (*findings, *changes), () if kept is None else shifts(kept, table)


def limits_of(settings: Settings) -> Limits:
    """From where on a change is worth a warning."""
    return Limits(settings.drift_psi, settings.drift_missing, settings.drift_rows)


def _since(before: TableRecord | None, table: Table, settings: Settings) -> tuple[Finding, ...]:
    """How a table differs from the earlier registration, which it may in every way."""
    if before is None or before.profile is None:
        return ()
    changed = schema_changes(before.profile, table)
    alike = [name for name in before.profile.names() if name not in {each.column for each in changed}]
    return (*changed, *drift(before.profile.only(alike), table, limits_of(settings)))


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
