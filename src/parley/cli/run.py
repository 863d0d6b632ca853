"""Running plans."""

import asyncio
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.text import Text
from typer.core import TyperGroup

from parley.cli import logs, runs
from parley.cli.options import DEFAULT_HOME, HomeOption, JsonOption, group
from parley.cli.output import Failure, Problem, answer, remarks
from parley.cli.progress import LiveLines
from parley.cli.report import show_report
from parley.core.errors import UsageError
from parley.core.plan import Plan, read_plan
from parley.party.compose import submit
from parley.party.gate import APPROVAL
from parley.party.report import RunReport
from parley.party.tables import foresee
from parley.protocols import control
from parley.store.home import Home


class _Runs(TyperGroup):
    """`parley run PLAN.toml` means `parley run start PLAN.toml`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 (typer has its own click)
        """Put the command in where it was left out."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["start", *args]
        return super().parse_args(ctx, args)


_TEXT: Final = """Run a plan, and decide about runs.

\b
Example:
  parley run examples/credit/plan.toml

That is short for `parley run start`; see its help.
"""

app = group(_TEXT, cls=_Runs)
app.command("show")(runs.show_run)
app.command("logs")(logs.show_log)
app.command("cancel")(runs.cancel_run)
app.command("resume")(runs.resume_run)


@app.command("start")
def start(
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
    priority: Annotated[
        int,
        typer.Option(
            "--priority",
            metavar="N",
            min=-100,
            max=100,
            help="Among the runs that wait for their turn: the higher, the sooner.",
        ),
    ] = 0,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Run a plan through our running party, and report.

    \b
    Example:
      parley run start examples/credit/plan.toml

    The word `start` may be left out. The party that holds the label runs the plan, and every other
    party of it must be up. In a consortium this proposes the plan on the ledger, unless it stands
    there, and waits until every owner of a table has approved it; then the run starts, and each
    round is committed. Without a consortium the others must know our certificate and share their
    tables with us. Ctrl-C ends the watching, not the run: see `parley runs`.

    `runs_at_once` of parley.toml says how many runs take place at a time; the others are queued, by
    --priority and then in turn.

    When a party stops or its link is down, the run stands still and goes on by itself, from the last
    round that all have, to the very same model. `parley run logs RUN -f` tells what happens in it, at
    each party of it. `patience` in the plan's [limits] says for how long it
    may stand still; `parley run cancel` ends it.

    \b
    Remedies:
      plan-awaits-approval         the owners decide: `parley plans`, `parley approve`; then run again
      plan-rejected                the text says why; propose another plan
      ledger-runs-exhausted        the plan was run as often as it allows: raise `runs` in its [limits]
      party-not-running            start ours: `parley up`
      peer-unreachable             its party is down, or a firewall is between
      certificate-unknown-to-peer  the peer has not added our certificate yet
      certificate-not-pinned       somebody else answers, or the peer has a new certificate
      drift-column-gone            our table has changed: correct it, or `parley data add` it again
      table-not-shared             the peer runs `parley data add ... --share-with` for us
    """
    text = _read(plan)
    _look_at_table(home, read_plan(text))
    try:
        with LiveLines() as lines:
            outcome = asyncio.run(submit(home, text, lines.tell, wait, priority))
    except KeyboardInterrupt:
        raise Failure(runs.LEFT) from None
    if isinstance(outcome, control.Failed):
        raise Failure(Problem(outcome.family, outcome.code, outcome.what, outcome.remedy))
    report = msgspec.json.decode(outcome.report, type=RunReport)
    answer(report, lambda console: show_report(console, report), as_json=as_json)


def _look_at_table(home: Path, plan: Plan) -> None:
    """Say how our table drifted; one that cannot be read from here is our running party's to judge.

    Raises:
        UsageError: ``drift-column-gone`` or ``drift-type-changed``.
    """
    console = remarks()
    try:
        findings = foresee(Home.open(home), plan)
    except UsageError as error:
        if error.code.startswith("drift-"):
            raise
        console.print(Text(f"our table was not looked at for drift: {error.what}"), soft_wrap=True)
        return
    for finding in findings:
        told = " ".join(filter(None, [finding.column, finding.what]))
        console.print(Text(f"drift: {told}  [{finding.code}]"), soft_wrap=True)


def _read(plan: Path) -> str:
    try:
        return plan.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            "plan-unreadable",
            f"the plan {plan} cannot be read: {getattr(error, 'strerror', 'it is not UTF-8 text')}",
            remedy="name a TOML file such as examples/credit/plan.toml",
        ) from error
