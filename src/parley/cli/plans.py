"""Plans on the ledger: what they ask for, and our word on them."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from parley.cli.asking import ask, read
from parley.cli.options import DEFAULT_HOME, HomeOption, JsonOption, group
from parley.cli.output import answer, bullets, facts
from parley.ledger.contract.plans import Part
from parley.party.shown.plans import PlanShown, plan_shown
from parley.party.words import SHORT, count, moment
from parley.store.home import Home

app = group("One plan on the ledger.")

PlanArgument = Annotated[str, typer.Argument(metavar="ID", help="Of the plan; its beginning will do.")]


def plans(
    *,
    everything: Annotated[bool, typer.Option("--all", help="Decided plans too.")] = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """List the plans that wait for approval.

    \b
    Examples:
      parley plans
      parley plans --all

    For each: which table and columns of whom, who holds the label, purpose, algorithm, how often
    and until when, what each party will learn, and who has approved. A plan runs when every owner
    of a table in it has approved it: `parley approve`, `parley reject`, or a standing grant.
    """
    opened, found = Home.open(home), read(home, lambda ledger: ledger.plans())
    records = [plan_shown(opened, each) for each in found if everything or each.plan.status == "open"]

    def show(console: Console) -> None:
        if not records:
            console.print("no plans yet" if everything else "no plan waits for approval")
        for each in records:
            _show(console, each)

    answer({"plans": records}, show, as_json=as_json)


@app.command("show")
def show_plan(plan: PlanArgument, *, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Show one plan, open or decided.

    \b
    Example:
      parley plan show 3f9ac2
    """
    record = plan_shown(
        Home.open(home), read(home, lambda ledger: ledger.plan(ledger.identify("plan", plan)))
    )
    answer(record, lambda console: _show(console, record), as_json=as_json)


def approve(plan: PlanArgument, *, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Allow a plan to use our table, as it says and no further.

    \b
    Example:
      parley approve 3f9ac2

    Read the plan first: `parley plans`. The approval is for that very text: another column, purpose
    or limit is another plan. The contract holds the runs to it, and refuses what goes beyond.
    Needs our running party.

    \b
    Remedies:
      ledger-not-an-owner   no table of ours is in this plan
      ledger-plan-decided   it was rejected, withdrawn or approved before
      ledger-plan-expired   its time is over; it has to be proposed again
    """
    _say(home, "approve", plan, None, as_json=as_json)


def reject(
    plan: PlanArgument,
    *,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="The reason, for the other members.")],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Refuse a plan, for good.

    \b
    Example:
      parley reject 3f9ac2 --why "AGE is not needed for this purpose"

    The reason stands on the ledger, and the proposer's `parley run` ends with it. Needs our running
    party.
    """
    _say(home, "reject", plan, why, as_json=as_json)


def _say(home: Path, what: str, prefix: str, why: str | None, *, as_json: bool) -> None:
    """Put our word on a plan on the ledger, and show how the plan stands then."""
    identifier = read(home, lambda ledger: ledger.identify("plan", prefix))
    receipt = ask(home, f"plan.{what}", {"plan": identifier} | ({} if why is None else {"why": why}))
    after = read(home, lambda ledger: ledger.plan(identifier))

    def show(console: Console) -> None:
        missing = f"; still to approve: {', '.join(after.missing)}" if after.plan.status == "open" else ""
        plan = f"plan {identifier[:SHORT]} is {after.plan.status}{missing}"
        console.print(Text(f"on the ledger as record {receipt.number}: {plan}"))

    record = {"record": receipt.number, "plan": identifier, "status": after.plan.status}
    answer(record, show, as_json=as_json)


def _show(console: Console, shown: PlanShown) -> None:
    terms, limits = shown.terms, shown.terms.limits
    style = {"approved": "green", "rejected": "red", "withdrawn": "red"}.get(shown.status, "cyan")
    heading = (f"plan {shown.id[:SHORT]}", "bold"), f"  proposed by {shown.proposer}  ", (shown.status, style)
    console.print(Text.assemble(*heading))
    pairs = [
        ("purpose", terms.purpose),
        ("algorithm", f"{terms.algorithm}, up to {limits.rounds - 1} rounds"),
    ]
    pairs += [(part.party, _brings(part, shown)) for part in terms.parts]
    pairs += [
        (
            "allows",
            f"{count(limits.runs, 'run')} ({shown.runs:,} used) on at most {limits.rows:,} common rows",
        ),
        ("", count(limits.predictions, "prediction")),
        ("until", moment(limits.until)),
        ("approved by", ", ".join(shown.approvals) or "nobody yet"),
    ]
    if shown.missing:
        pairs.append(("waits for", ", ".join(shown.missing)))
    pairs += [(f"{party} says", why) for party, why in shown.rejected.items()]
    facts(console, pairs)
    _show_learnt(console, shown)


def _brings(part: Part, shown: PlanShown) -> str:
    if part.columns:
        brings = ", ".join(part.columns)
    elif part.label is not None:
        brings = "no features"
    else:
        brings = f"every column that {part.party} allows"
        brings += f": {', '.join(shown.ours)}" if shown.ours else ""
    label = "" if part.label is None else f"; holds the label {part.label}"
    return f"table {part.table}: {brings}{label}"


def _show_learnt(console: Console, shown: PlanShown) -> None:
    if not shown.known_statement:
        words = "another release of Parley proposed this, and says in other words what each party learns"
        console.print(Text(f"  {words}; this release would say:", style="yellow"))
    for each in shown.learnt:
        console.print(Text(f"  {each.party} will learn, besides its piece of the model"))
        bullets(console, each.facts)
