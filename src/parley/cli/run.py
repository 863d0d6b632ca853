"""Running plans and looking back at runs."""

import asyncio
import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from parley.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from parley.cli.output import Failure, Problem, answer, columns
from parley.cli.progress import LiveLines
from parley.cli.report import show_report
from parley.core.errors import UsageError
from parley.core.plan import decode_plan, read_plan
from parley.party.compose import submit
from parley.party.gate import APPROVAL
from parley.party.report import RunReport
from parley.protocols import control
from parley.store.catalogue import RunRecord
from parley.store.home import Home


def run(
    plan: Annotated[Path, typer.Argument(metavar="PLAN.toml", help="The plan.")],
    *,
    wait: Annotated[
        float,
        typer.Option(
            "--wait",
            metavar="SECONDS",
            min=0,
            help="How long to wait for the owners' approval; 0: not at all.",
        ),
    ] = APPROVAL,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Run a plan through our running party, and report.

    \b
    Example:
      parley run examples/credit/plan.toml

    The party that holds the label runs the plan, and every other party of it must be up. In a
    consortium this proposes the plan on the ledger, unless it stands there, and waits until every
    owner of a table has approved it; then the run starts, and each round is committed. Without a
    consortium the others must know our certificate and share their tables with us. Ctrl-C ends the
    watching, not the run: see `parley runs`.

    \b
    Remedies:
      plan-awaits-approval         the owners decide: `parley plans`, `parley approve`; then run again
      plan-rejected                the text says why; propose another plan
      ledger-runs-exhausted        the plan was run as often as it allows: raise `runs` in its [limits]
      party-not-running            start ours: `parley up`
      peer-unreachable             its party is down, or a firewall is between
      certificate-unknown-to-peer  the peer has not added our certificate yet
      certificate-not-pinned       somebody else answers, or the peer has a new certificate
      table-not-shared             the peer runs `parley data add ... --share-with` for us
    """
    text = _read(plan)
    read_plan(text)
    try:
        with LiveLines() as lines:
            outcome = asyncio.run(submit(home, text, lines.tell, wait))
    except KeyboardInterrupt:
        raise Failure(_LEFT) from None
    if isinstance(outcome, control.Failed):
        raise Failure(Problem(outcome.family, outcome.code, outcome.what, outcome.remedy))
    report = msgspec.json.decode(outcome.report, type=RunReport)
    answer(report, lambda console: show_report(console, report), as_json=as_json)


_LEFT = Problem(
    "interrupted",
    "no-longer-watching",
    "we no longer watch the run, but it goes on in our party",
    "see how it stands with `parley runs`",
)


def _read(plan: Path) -> str:
    try:
        return plan.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            "plan-unreadable",
            f"the plan {plan} cannot be read: {getattr(error, 'strerror', 'it is not UTF-8 text')}",
            remedy="name a TOML file such as examples/credit/plan.toml",
        ) from error


def runs(*, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List the runs we led or followed, and how each ended.

    \b
    Example:
      parley runs

    A finished run made a model of the same name: `parley model show RUN`.
    """
    records = Home.open(home).catalogue.runs()

    def show(console: Console) -> None:
        if not records:
            console.print("no runs yet; start one with `parley run`")
            return
        table = columns("run", "began", "plan", "our role", "state", "")
        for each in records:
            style = {"finished": "green", "failed": "red"}.get(each.state, "cyan")
            table.add_row(
                each.id,
                time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each.began)),
                Text(_plan_name(each)),
                each.role,
                Text(each.state, style=style),
                Text(_ending(each)),
            )
        console.print(table)

    answer({"runs": [_record(each) for each in records]}, show, as_json=as_json)


def _record(run: RunRecord) -> dict[str, object]:
    return {
        "run": run.id,
        "began": run.began,
        "plan": _plan_name(run),
        "role": run.role,
        "state": run.state,
        "outcome": run.outcome,
    }


def _plan_name(run: RunRecord) -> str:
    return decode_plan(run.plan.encode()).name


class _Outcome(msgspec.Struct):
    """What the outcomes of all runs may hold and a line has room for."""

    common: int | None = None
    what: str = ""


def _ending(run: RunRecord) -> str:
    """How a run ended, in a line."""
    if run.state == "running":
        return ""
    outcome = msgspec.json.decode(run.outcome, type=_Outcome)
    return outcome.what if run.state == "failed" else f"{outcome.common or 0:,} rows in common"
