"""Runs that are under way or over: looking at them, and deciding about them."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from parley.cli.explanations import is_explained
from parley.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from parley.cli.output import Failure, Problem, answer, columns, facts
from parley.core.errors import more
from parley.core.plan import decode_plan
from parley.party import compose
from parley.party.shown.runs import known_run, run_shown
from parley.protocols import control
from parley.store.catalogue import RunRecord
from parley.store.home import Home

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run of `parley runs`.")]


LEFT: Final = Problem(
    "interrupted",
    "no-longer-watching",
    "we no longer watch the run, but it goes on in our party",
    "see how it stands with `parley runs`",
)
_STYLES = {"finished": "green", "failed": "red", "cancelled": "red", "interrupted": "yellow"}


def runs(*, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List the runs we led or followed, and how each ended.

    \b
    Example:
      parley runs

    A finished run made a model of the same name: `parley model show RUN`. An interrupted one
    goes on by itself.
    """
    records = Home.open(home).catalogue.runs()

    def show(console: Console) -> None:
        if not records:
            console.print("no runs yet; start one with `parley run`")
            return
        table = columns("run", "began", "plan", "our role", "state", "")
        for each in records:
            table.add_row(
                each.id,
                _moment(each.began),
                Text(run_shown(each).plan),
                each.role,
                Text(each.state, style=_STYLES.get(each.state, "cyan")),
                Text(_ending(each)),
            )
        console.print(table)

    answer({"runs": [run_shown(each) for each in records]}, show, as_json=as_json)


class _Outcome(msgspec.Struct):
    """What the outcomes of all runs may hold and a line has room for."""

    common: int | None = None
    what: str = ""
    code: str = ""
    remedy: str = ""


def _ending(run: RunRecord) -> str:
    """How a run ended or why it stands still, in a line."""
    if run.state in ("queued", "awaiting", "running"):
        return ""
    outcome = msgspec.json.decode(run.outcome, type=_Outcome)
    return f"{outcome.common or 0:,} rows in common" if run.state == "finished" else outcome.what


def show_run(run: RunArgument, *, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Show where a run stands, since when, why, and what to do about it.

    \b
    Example:
      parley run show run-0123456789abcdef

    How it came to that: `parley run logs RUN`.
    """
    record = known_run(Home.open(home), run)

    def show(console: Console) -> None:
        plan = decode_plan(record.plan.encode())
        outcome = msgspec.json.decode(record.outcome, type=_Outcome | None) or _Outcome()
        lines = [
            ("plan", plan.name),
            ("purpose", " ".join(plan.purpose.split())),
            ("our role", record.role),
            ("parties", ", ".join(plan.parties)),
            ("began", _moment(record.began)),
            ("state", f"{record.state} since {_moment(record.since or record.began)}"),
        ]
        if record.state == "queued":
            lines.append(("waits", f"for its turn, with priority {record.priority}"))
        if record.state == "interrupted":
            lines.append(("goes on", f"by itself until {_moment(record.since + plan.limits.patience)}"))
        if ending := _ending(record):
            lines.append(("because" if outcome.code else "found", ending))
        if outcome.remedy:
            lines.append(("what to do", outcome.remedy))
        if is_explained(outcome.code):
            lines.append(("more", more(outcome.code)))
        console.print(Text(record.id, style="bold"))
        facts(console, lines)

    answer(run_shown(record), show, as_json=as_json)


def cancel_run(run: RunArgument, *, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """End a run without a model, at every party.

    \b
    Example:
      parley run cancel run-0123456789abcdef

    Any party of the run may do this, at any time before it is over. Nothing of the model is kept.
    """
    _ask(compose.cancel(home, run), f"{run} is cancelled", as_json=as_json)


def resume_run(run: RunArgument, *, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Go on at once with a run that stands still; by itself it tries every few seconds.

    \b
    Example:
      parley run resume run-0123456789abcdef
    """
    _ask(compose.resume(home, run), f"{run} is tried again", as_json=as_json)


def _ask(asking: Coroutine[Any, Any, control.Done | control.Failed], done: str, *, as_json: bool) -> None:
    outcome = asyncio.run(asking)
    if isinstance(outcome, control.Failed):
        raise Failure(Problem(outcome.family, outcome.code, outcome.what, outcome.remedy))
    answer(msgspec.json.decode(outcome.report), lambda console: console.print(done), as_json=as_json)


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
