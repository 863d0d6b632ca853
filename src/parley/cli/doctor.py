"""Finding out what is wrong, before or after something fails."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from parley.cli.explanations import is_explained
from parley.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from parley.cli.output import answer
from parley.core.errors import more
from parley.party.consultation import consult_about, consult_about_us
from parley.party.finding import Finding, is_well

_STYLES: Final = {"ok": "green", "warning": "yellow", "failure": "bold red", "skipped": "dim"}


def doctor(
    peer: Annotated[
        str,
        typer.Argument(metavar="PEER", help="With whom something is wrong.", show_default=False),
    ] = "",
    *,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Look for what is wrong: at our own site, or between us and a peer.

    \b
    Examples:
      parley doctor
      parley doctor operator

    Nothing is changed. Every line is ok, a warning, a failure, or skipped, with what to do about it.
    The command ends with 0 if nothing has failed, and with 1 otherwise.

    With a peer the lines go up from the address to the peer's answer, and stop where it fails. If it
    answers, clocks, releases and ledgers are compared, and it says whether it comes through when it
    dials us. The peer learns our release, our clock, and the id and height of our ledger.

    Our running party does this over its link; if it is not running, this command dials by itself.
    """
    found = consult_about(home, peer) if peer else consult_about_us(home)
    _report(asyncio.run(found), as_json=as_json)


def _report(findings: Sequence[Finding], *, as_json: bool) -> None:
    """Print all of it; the exit code says whether something has failed."""

    def show(console: Console) -> None:
        table = Table.grid(padding=(0, 2, 0, 0))
        for each in findings:
            said = Text(each.found, overflow="fold")
            if each.remedy:
                said.append(f"\nwhat to do: {each.remedy}", style="bold")
            if is_explained(each.code):
                said.append(f"\nmore: {more(each.code)}")
            table.add_row(Text(each.verdict, style=_STYLES[each.verdict]), each.check, said)
        console.print(table)

    answer({"well": is_well(findings), "findings": findings}, show, as_json=as_json)
    if not is_well(findings):
        raise typer.Exit(1)
