"""What an error code means."""

from collections.abc import Iterable
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from parley.cli.explanations import CAUSES, PEER, RELATED, REMEDIES, Explanation, codes
from parley.cli.explanations import explain as read
from parley.cli.options import JsonOption
from parley.cli.output import answer, bullets, columns, exit_code, heading


def explain(
    code: Annotated[
        str, typer.Argument(metavar="[CODE]", help="As the message has it in brackets.", show_default=False)
    ] = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Say what an error code means, how it comes about, and what to do.

    \b
    Examples:
      parley explain label-constant
      parley explain certificate-not-pinned --json
      parley explain

    Every error ends with its code in brackets; without a code all of them are listed. Needs neither a
    home nor a network. A refusal on the ledger is found by the code in its receipt, too.

    \b
    Remedies:
      unknown-code   the nearest codes are named; take it from the message
    """
    if not code:
        pages = [read(each) for each in codes()]
        answer(
            {"codes": [_gist(each) for each in pages]}, lambda console: _list(console, pages), as_json=as_json
        )
        return
    page = read(code.strip("[]"))
    answer(page, lambda console: _show(console, page), as_json=as_json)


def _gist(page: Explanation) -> dict[str, object]:
    return {"code": page.code, "families": page.families, "meaning": page.gist}


def _list(console: Console, pages: Iterable[Explanation]) -> None:
    table = columns("code", "family", "means")
    for each in pages:
        table.add_row(each.code, ", ".join(each.families), Text(each.gist))
    console.print(table)


def _show(console: Console, page: Explanation) -> None:
    families = ", ".join(map(_family, page.families))
    console.print(Text.assemble((page.code, "bold"), f"  {families}"))
    console.print()
    console.print(Text(page.meaning))
    heading(console, CAUSES)
    bullets(console, page.causes)
    heading(console, REMEDIES)
    bullets(console, page.remedies)
    if page.peer:
        heading(console, PEER)
        bullets(console, [page.peer])
    if page.related:
        heading(console, RELATED)
        bullets(console, [", ".join(page.related)])


def _family(family: str) -> str:
    return "warning, the run goes on" if family == "warning" else f"{family}, exit code {exit_code(family)}"
