"""Standing grants: plans of one kind that need no further approval of ours."""

from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from parley.cli.asking import ask, read
from parley.cli.options import DEFAULT_HOME, HomeOption, JsonOption, names
from parley.cli.output import answer, columns
from parley.core.errors import UsageError
from parley.ledger.contract.grants import Grant
from parley.ledger.encoding import Value
from parley.party import tables
from parley.party.compose import CLOCKS
from parley.party.words import SHORT, count, moment
from parley.store.home import Home

_DAY: Final = 86_400

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
    subcommand_metavar="[revoke ID]",
)


@app.callback()
def grant(  # noqa: PLR0913 (a parameter for each option)
    context: typer.Context,
    *,
    to: Annotated[str, typer.Option("--to", metavar="PARTY", help="Whose plans.")] = "",
    table: Annotated[str, typer.Option("--table", metavar="T", help="Our table that they may use.")] = "",
    purpose: Annotated[
        str, typer.Option("--purpose", metavar="TEXT", help="The purpose of the plans, word for word.")
    ] = "",
    chosen: Annotated[
        str | None,
        typer.Option("--columns", metavar="A,B", help="Which columns at most; all that we allow by default."),
    ] = None,
    runs: Annotated[int, typer.Option("--runs", metavar="N", min=1, help="Runs altogether.")] = 1,
    predictions: Annotated[
        int, typer.Option("--predictions", metavar="N", min=0, help="Predictions altogether.")
    ] = 0,
    days: Annotated[
        int, typer.Option("--days", metavar="D", min=1, max=366, help="Days that it holds.")
    ] = 30,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Let plans of one kind through without asking us again.

    \b
    Examples:
      parley grant --to bank --table subscribers --purpose "monthly scoring" --runs 12 --days 366
      parley grant revoke 3f9ac2

    What a plan may use at most, its runs and predictions, is taken from the grant when it is let
    through; a plan that asks for more than is left needs our approval. A plan must end before the
    grant does, have the very purpose, and name its columns: one that names none asks for all that
    we allow, and no grant speaks for that. Needs our running party.
    """
    if context.invoked_subcommand is not None:
        return
    for option, value in (("--to", to), ("--table", table), ("--purpose", purpose)):
        if not value:
            raise UsageError(
                "bad-arguments", f"missing option '{option}'", remedy="see `parley grant --help`"
            )
    every = tables.allowed(Home.open(home).catalogue.table(table))
    kind: dict[str, Value] = {
        "proposer": to,
        "algorithm": "boosted-trees",
        "purpose": purpose,
        "table": table,
        "columns": sorted(names(chosen) or every),
    }
    until = int(CLOCKS.wall()) + days * _DAY
    body: dict[str, Value] = {"kind": kind, "runs": runs, "predictions": predictions, "until": until}
    receipt = ask(home, "grant.give", body)

    def show(console: Console) -> None:
        line = f"grant {receipt.transaction[:SHORT]} is on the ledger as record {receipt.number}"
        console.print(Text(f"{line}; it holds until {moment(until)}"))

    answer({"grant": receipt.transaction, "record": receipt.number, "until": until}, show, as_json=as_json)


@app.command("revoke")
def revoke(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="Of the grant; its beginning will do.")],
    *,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """End a standing grant.

    \b
    Example:
      parley grant revoke 3f9ac2

    It lets nothing more through. What it let through before stays approved. Needs our running party.
    """
    whole = read(home, lambda ledger: ledger.identify("grant", identifier))
    receipt = ask(home, "grant.revoke", {"grant": whole})

    def show(console: Console) -> None:
        console.print(Text(f"grant {whole[:SHORT]} is revoked, on the ledger as record {receipt.number}"))

    answer({"grant": whole, "record": receipt.number}, show, as_json=as_json)


def grants(*, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List the standing grants of all members.

    \b
    Example:
      parley grants
    """
    found = read(home, lambda ledger: ledger.grants())

    def show(console: Console) -> None:
        if not found:
            console.print("no grants yet; give one with `parley grant`")
            return
        table = columns("grant", "from", "to", "table and columns", "purpose", "left", "until")
        for identifier, each in found:
            table.add_row(*_cells(identifier, each))
        console.print(table)

    answer(
        {"grants": [{"id": identifier} | each.value() for identifier, each in found]}, show, as_json=as_json
    )


def _cells(identifier: str, each: Grant) -> tuple[str | Text, ...]:
    runs, predictions = each.quota.runs - each.used.runs, each.quota.predictions - each.used.predictions
    left = "revoked" if each.revoked else f"{count(runs, 'run')}, {count(predictions, 'prediction')}"
    what = f"{each.kind.table}: {', '.join(each.kind.columns)}"
    cells = (
        identifier[:SHORT],
        each.owner,
        each.kind.proposer,
        what,
        each.kind.purpose,
        left,
        moment(each.until),
    )
    return tuple(Text(cell) for cell in cells)
