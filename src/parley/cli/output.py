"""What commands print: answers on standard output, errors and remarks on standard error.

With ``--json`` standard output holds one JSON object and nothing else, be it an answer or an error.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from parley.cli.explanations import is_explained
from parley.core import errors
from parley.core.errors import ParleyError, more

_WIDTH: Final = 110
"""Columns of text where the output is no terminal."""
_SCALE: Final = 1000
_FINGERPRINT_GROUPS: Final = 8
INTERRUPTED: Final = 130
"""Exit code after Ctrl-C, as shells have it."""


@dataclass(frozen=True)
class Problem:
    """An error as it is shown, wherever it was raised."""

    family: str
    code: str
    what: str
    remedy: str

    @classmethod
    def of(cls, error: ParleyError) -> "Problem":
        """What an error of ours says."""
        return cls(error.family, error.code, error.what, error.remedy)

    @property
    def exit_code(self) -> int:
        """The exit code of the error's family; see ``docs/exit-codes.md``."""
        return exit_code(self.family)


class Failure(Exception):
    """Ends a command with a problem that was not raised as an error here."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.what)
        self.problem = problem


def exit_code(family: str) -> int:
    """The exit code of a family of errors; 1 for one that is not known here."""
    codes = {kind.family: kind.exit_code for kind in _families()}
    return codes.get(family, INTERRUPTED if family == "interrupted" else 1)


def _families() -> Iterator[type[ParleyError]]:
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, ParleyError):
            yield value


def terminal() -> Console:
    """Where answers go."""
    return Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)


def remarks() -> Console:
    """Where everything that is no answer goes."""
    return Console(stderr=True, width=None if sys.stderr.isatty() else _WIDTH, highlight=False)


def answer(record: object, show: Callable[[Console], None], *, as_json: bool) -> None:
    """Print what a command found out: as one JSON object, or in words."""
    if as_json:
        sys.stdout.write(msgspec.json.encode(record).decode() + "\n")
    elif sys.stdout.isatty():
        show(terminal())
    else:
        console = terminal()
        with console.capture() as captured:
            show(console)
        sys.stdout.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())
    sys.stdout.flush()


def complain(problem: Problem, *, as_json: bool) -> None:
    """Print an error: as one JSON object on standard output, or in words on standard error."""
    if as_json:
        sys.stdout.write(msgspec.json.encode({"error": problem}).decode() + "\n")
        return
    console = remarks()
    line = Text.assemble(("error: ", "bold red"), problem.what, (f"  [{problem.code}]", "dim"))
    console.print(line, soft_wrap=True)
    console.print(Text.assemble(("  what to do: ", "bold"), problem.remedy), soft_wrap=True)
    if is_explained(problem.code):
        console.print(Text.assemble(("  more: ", "bold"), more(problem.code)), soft_wrap=True)


def columns(*headings: str, right: Iterable[str] = ()) -> Table:
    """An empty table without lines; the headings named in ``right`` stand over numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in headings:
        table.add_column(heading, justify="right" if heading in set(right) else "left", overflow="fold")
    return table


def facts(console: Console, pairs: Iterable[tuple[str, str]]) -> None:
    """Print names and values under one another."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for name, value in pairs:
        table.add_row(Text(f"  {name}", style="dim"), Text(value, overflow="fold"))
    console.print(table)


def bullets(console: Console, lines: Iterable[str]) -> None:
    """Print facts under one another, each behind a dot."""
    table = Table.grid(padding=(0, 1, 0, 0))
    for line in lines:
        table.add_row("   ", "·", Text(line, overflow="fold"))
    console.print(table)


def heading(console: Console, text: str) -> None:
    """Print the line above a table, set off from what stands before."""
    console.print()
    console.print(Text(text, style="bold"))


def size(count: int) -> str:
    """Bytes as people read them, in powers of a thousand."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < _SCALE:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= _SCALE
    return f"{amount:.1f} TB"


def read_aloud(grouped: str) -> str:
    """A fingerprint in two lines of eight groups."""
    groups = grouped.split()
    halves = groups[:_FINGERPRINT_GROUPS], groups[_FINGERPRINT_GROUPS:]
    return "\n".join(" ".join(half) for half in halves)
