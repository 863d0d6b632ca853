"""Our tables."""

from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from parley.cli.announcing import announce
from parley.cli.options import DEFAULT_HOME, HomeOption, JsonOption, group, names
from parley.cli.output import answer, columns, heading
from parley.cli.serving_source import in_words, serve
from parley.data.drift import Shift
from parley.data.objects import S3
from parley.data.preflight import Finding
from parley.data.profile import TableProfile
from parley.data.sources import parse_source
from parley.data.sql import SQL_SCHEMES, SQLITE
from parley.data.table import ColumnInfo, TableSummary, describe
from parley.party.shown.tables import table_shown, without_secrets
from parley.party.tables import check, examine, load
from parley.store.catalogue import TableRecord
from parley.store.home import Home

app = group("Our tables: what plans may use; rows never leave.")
app.command("serve")(serve)


@app.command("add")
def add(  # noqa: PLR0913 (a parameter for each option)
    name: Annotated[str, typer.Argument(metavar="NAME", help="How plans call the table.")],
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A .csv, .csv.gz, .tsv or .parquet file, s3://bucket/key, or a database url.",
        ),
    ],
    *,
    id_column: Annotated[
        str, typer.Option("--id", metavar="COLUMN", help="The column that names a person or thing.")
    ],
    query: Annotated[
        str | None, typer.Option("--query", metavar="SQL", help="The SELECT whose rows are the table.")
    ] = None,
    allowed: Annotated[
        str | None,
        typer.Option(
            "--columns", metavar="A,B", help="The columns that plans may learn from; all by default."
        ),
    ] = None,
    categorical: Annotated[
        str | None,
        typer.Option("--categorical", metavar="A,B", help="Columns of numbers that mean categories."),
    ] = None,
    share_with: Annotated[
        list[str] | None,
        typer.Option(
            "--share-with",
            metavar="PEER",
            help="Without a consortium: a peer whose plans may use the table; repeatable.",
        ),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Register a table: read, check, say who may use it.

    \b
    Examples:
      parley data add accounts accounts.csv.gz --id customer
      parley data add usage usage.parquet --id phone --categorical tariff --columns minutes,tariff
      parley data add loans 'postgresql://risk:${PGPASSWORD}@db/risk' --query 'select * from loans' --id who
      parley data add bills 'mysql://risk:${MYPASSWORD}@db/risk' --query 'select * from bills' --id who
      parley data add visits 's3://bank/visits/*.parquet?profile=risk' --id who

    Nothing is copied: the source is read again in every run. In a consortium a commitment goes on
    the ledger: digests of schema and rows, and about how many rows there are; that needs our
    running party, and what plans may use is then approved plan by plan. Without a consortium a
    table that is shared with nobody serves our own plans only. Adding a name again replaces its
    registration; that is how a change of the data is announced, and how sharing is withdrawn. What
    `parley data serve` said of it stays.

    Ranges and frequent values of every column are kept at home, to see drift by: `parley data check`.

    \b
    Remedies:
      id-missing, id-duplicate   the text names the rows; correct them, or exclude them in a query
      column-unknown             the text lists the columns there are
      feature-type               leave the column out with --columns, or convert it in a query
      party-not-running          start ours: `parley up`; nothing was registered
      ledger-role-not-allowed    an observer holds no tables
    """
    record = TableRecord(
        name=name,
        source=_settled(source, query),
        query=query,
        id=id_column,
        columns=names(allowed),
        categorical=names(categorical),
        partners=tuple(share_with or ()),
    )
    opened = Home.open(home)
    table, findings = examine(opened, record)
    before = opened.catalogue.tables().get(name)
    serving = None if before is None else before.serving
    record = msgspec.structs.replace(record, profile=TableProfile.of(table), serving=serving)
    number = None if opened.membership is None else announce(home, record, table)
    opened.catalogue.keep_table(record)
    summary = describe(table)

    def show(console: Console) -> None:
        use = _sharing(record) if opened.membership is None else _on_ledger(number)
        console.print(Text(f"{name}: {summary.rows:,} rows named by {id_column!r}; {use}"))
        console.print(Text(f"  {_kinds(summary, record)}"))
        _show_findings(console, findings)

    answer(_shown(record, summary, findings) | {"record": number}, show, as_json=as_json)


@app.command("check")
def check_table(
    name: Annotated[str, typer.Argument(metavar="TABLE", help="A registered table.")],
    *,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Check a table: gaps, constants, ids, and drift since it was registered.

    \b
    Example:
      parley data check accounts

    For our own eyes, and without a peer. Values are compared by the population stability index (PSI)
    over the ranges or categories that were there at `parley data add`; below 0.1 is stable. What
    counts as drift is set by drift_psi, drift_missing and drift_rows in parley.toml. Drift is a
    warning, here and before a plan of ours is proposed; another schema is an error.

    \b
    Remedies:
      drift-column-gone, drift-type-changed   correct the source, or register the table anew
      id-missing, id-duplicate                the text names the rows; correct or exclude them
    """
    opened = Home.open(home)
    record = opened.catalogue.table(name)
    table, findings, moved = check(opened, record)

    def show(console: Console) -> None:
        then = "" if record.profile is None else f", {record.profile.rows:,} when it was registered"
        console.print(Text(f"{name}: {len(table):,} rows{then}; no id is missing or there twice"))
        if record.profile is None:
            console.print(Text("  registered by an earlier release: `parley data add` it again to see drift"))
        console.print()
        shift_of = {each.column: each for each in moved}
        lines = columns("column", "kind", "missing", "then", "distinct", "psi", right=_FIGURES)
        for each in table.schema:
            lines.add_row(*_checked(each, len(table), shift_of.get(each.name)))
        console.print(lines)
        _show_findings(console, findings)

    counts = [
        {"name": each.name, "missing": each.missing, "distinct": each.distinct, "constant": each.constant}
        for each in table.schema
    ]
    answer(
        {"table": name, "rows": len(table), "columns": counts, "drift": moved, "warnings": findings},
        show,
        as_json=as_json,
    )


_FIGURES: Final = ("missing", "then", "distinct", "psi")


def _checked(column: ColumnInfo, rows: int, shift: Shift | None) -> tuple[Text | str, ...]:
    """A line of `parley data check`."""
    absent = f"{column.missing / rows:.1%}" if column.missing else ""
    then = f"{shift.missing_before:.1%}" if shift is not None and shift.missing_before else ""
    psi = f"{shift.psi:.3f}" if shift is not None and shift.psi is not None else ""
    kind = f"{column.kind}, constant" if column.constant else column.kind
    return Text(column.name), kind, absent, then, f"{column.distinct:,}", psi


@app.command("list")
def list_tables(*, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List the tables, where they lie, who may use them.

    \b
    Example:
      parley data list
    """
    records = list(Home.open(home).catalogue.tables().values())

    def show(console: Console) -> None:
        if not records:
            console.print("no tables yet; register one with `parley data add`")
            return
        table = columns("table", "named by", "shared with", "source", "when a model is used")
        for each in records:
            partners = ", ".join(each.partners) or "nobody"
            used = table_shown(each).serving.source or "the table"
            table.add_row(each.name, each.id, partners, without_secrets(each), used)
        console.print(table)

    answer({"tables": [table_shown(each) for each in records]}, show, as_json=as_json)


@app.command("show")
def show_table(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A registered table.")],
    *,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Show what a table holds, column by column.

    \b
    Example:
      parley data show accounts

    For our own eyes: values are among it. Kinds: "numeric" columns are cut into ranges,
    "categorical" ones into sets of values, an "id" names rows, and "unsupported" cannot be learnt
    from. Numbers that mean categories are declared with `parley data add --categorical`.
    """
    record = Home.open(home).catalogue.table(name)
    summary = describe(load(record))

    def show(console: Console) -> None:
        console.print(
            Text(f"{name}: {summary.rows:,} rows from {without_secrets(record)}; {_sharing(record)}")
        )
        console.print(Text(f"  when a model is used: {in_words(table_shown(record).serving)}"))
        console.print()
        table = columns("column", "kind", "missing", "distinct", "values", right=("missing", "distinct"))
        for each in summary.columns:
            absent = f"{each.missing:.1%}" if each.missing else ""
            values = " ".join(filter(None, [each.values, f"({each.remark})" if each.remark else ""]))
            table.add_row(Text(each.name), each.kind, absent, f"{each.distinct:,}", Text(values))
        console.print(table)

    answer(_shown(record, summary, ()), show, as_json=as_json)


def _settled(source: str, query: str | None) -> str:
    """The source with its path made absolute: `parley up` may run in another folder."""
    parse_source(source, query)
    if source.startswith(SQLITE):
        return SQLITE + _absolute(source.removeprefix(SQLITE))
    return source if source.startswith((*SQL_SCHEMES, S3)) else _absolute(source)


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())


def _sharing(record: TableRecord) -> str:
    partners = ", ".join(record.partners)
    return f"shared with {partners}" if partners else "shared with nobody, so for our own plans"


def _on_ledger(number: int | None) -> str:
    return "on the ledger as it is already" if number is None else f"on the ledger as record {number}"


def _kinds(summary: TableSummary, record: TableRecord) -> str:
    """How many columns there are to learn from, and of which kinds."""
    kinds = [
        column.kind
        for column in summary.columns
        if column.name != record.id and (not record.columns or column.name in record.columns)
    ]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    return f"{len(kinds)} columns that plans may use: {counts}"


def _show_findings(console: Console, findings: tuple[Finding, ...]) -> None:
    if findings:
        heading(console, "worth knowing")
    for finding in findings:
        console.print(Text(f"  {finding.column} {finding.what}" if finding.column else f"  {finding.what}"))


def _shown(record: TableRecord, summary: TableSummary, findings: tuple[Finding, ...]) -> dict[str, object]:
    return msgspec.structs.asdict(table_shown(record)) | {
        "rows": summary.rows,
        "columns": summary.columns,
        "warnings": findings,
    }
