"""Writes ``errors/README.md``: every error code by family, from the pages that `parley explain` prints."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from parley.cli.explanations import Explanation, codes, explain

PAGE: Final = Path(__file__).parent / "errors" / "README.md"
PAGES: Final = "../../src/parley/explanations"
FAMILIES: Final = {
    "error": "Stopped without anybody's fault: exit code 1",
    "usage": "The command, the plan or the data: exit code 2",
    "refused": "A rule of an organisation or of the ledger: exit code 3",
    "peer-lost": "A peer cannot be reached, or has gone silent: exit code 4",
    "peer-misbehaved": "A peer broke the protocol: exit code 5",
    "peer-aborted": "A peer stopped, for the reason it gives: exit code 6",
    "budget": "A quota, memory or disk is used up: exit code 7",
    "bug": "Our own mistake: exit code 70",
    "interrupted": "Ctrl-C: exit code 130",
    "warning": "Findings of a look at a table: the run goes on",
}
"""In the order of exit codes: what each family is about."""


def page() -> str:
    """The whole page."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    pages = [explain(code) for code in codes()]
    yield "# Errors by code"
    yield ""
    yield "`parley explain CODE` prints the page of a code offline; this is the list of them, by the family"
    yield "that decides the [exit code](../exit-codes.md). A code of several families stands under each. Any"
    yield "code can also come as `peer-aborted`: then it is the peer's own error, and its page says what the"
    yield "peer has met. The list is made by `docs/write_errors.py`."
    for family, about in FAMILIES.items():
        yield ""
        yield f"## {family}"
        yield ""
        yield f"{about}."
        yield ""
        yield "| code | means |"
        yield "|---|---|"
        yield from (_row(each) for each in pages if family in each.families)
    yield ""


def _row(each: Explanation) -> str:
    return f"| [`{each.code}`]({PAGES}/{each.code}.md) | {each.gist.replace('|', chr(92) + '|')} |"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
