"""The log of one run: what happened, and, while it lasts, what happens."""

import sys
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from parley.cli.lines import STYLES, as_json, clock
from parley.cli.options import DEFAULT_HOME, HomeOption
from parley.cli.output import Failure, terminal
from parley.cli.runs import LEFT, RunArgument
from parley.core.errors import UsageError
from parley.core.log import Record
from parley.party.runstate import TERMINAL
from parley.party.shown.runs import known_run
from parley.store.home import Home
from parley.store.runlog import RunLog, log_of

_POLL: Final = 0.3
"""Seconds between two looks at a log that grows."""
_LAST_WORDS: Final = 1.5
"""Seconds after the end of a run in which its last records are written."""


def show_log(
    run: RunArgument,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what happens, until the run is over.")
    ] = False,
    home: HomeOption = DEFAULT_HOME,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per record on standard output.")
    ] = False,
) -> None:
    """Tell what happened in a run at our party: steps, pace, what was waited for, why it stood still.

    \b
    Examples:
      parley run logs run-0123456789abcdef
      parley run logs run-0123456789abcdef -f

    A passive party has a log of its own, and may watch a run that it follows like that. Ctrl-C ends
    the watching, not the run. No record holds a value of a table. A log is let go of with what else
    is kept of a run, seven days after the run began; of a very long one the middle is left out.

    \b
    Remedies:
      unknown-run  see `parley runs` for those of our party
      no-run-log   see `parley run show RUN` for how it ended
    """
    opened = Home.open(home)
    log = log_of(opened, run)
    state = known_run(opened, run).state
    try:
        if follow:
            records = followed(log, lambda: known_run(opened, run).state in TERMINAL, _POLL)
        else:
            records = iter(log.read())
        shown = _show(records, as_lines=json)
    except KeyboardInterrupt:
        raise Failure(LEFT) from None
    if not shown:
        raise UsageError(
            "no-run-log",
            f"{run} is {state}, and no log of it is here: it is older than what is kept, or none was written",
            remedy=f"see `parley run show {run}` for how it stands",
        )


def followed(log: RunLog, over: Callable[[], bool], pause: float) -> Iterator[Record]:
    """The records of a run as they are written, until it has ended.

    Args:
        log: of the run; it may not be there yet.
        over: whether the run has ended, so that little more is written.
        pause: seconds between two looks.
    """
    number, ended = 0, over()
    left = 0.0 if ended else _LAST_WORDS
    while True:
        for record in log.read(after=number):
            number = record.number
            ended = ended or record.kind == "end"
            yield record
        if left <= 0:
            return
        ended = ended or over()
        left -= pause if ended else 0
        time.sleep(pause)


def _show(records: Iterator[Record], *, as_lines: bool) -> int:
    """Print records as they come; says how many."""
    console, shown = terminal(), 0
    for shown, record in enumerate(records, 1):  # noqa: B007 (counted)
        if as_lines:
            sys.stdout.write(as_json(record) + "\n")
            sys.stdout.flush()
        else:
            _print(console, record)
    return shown


def _print(console: Console, record: Record) -> None:
    style = STYLES[record.level] or ("bold" if record.kind in ("state", "end", "attempt") else "")
    line = Text.assemble((clock(record, "%Y-%m-%d %H:%M:%S"), "dim"), "  ", (record.text, style))
    console.print(line, soft_wrap=True)
    console.file.flush()
