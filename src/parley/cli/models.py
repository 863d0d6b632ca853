"""Our pieces of joint models, and how the models stand on the ledger."""

from collections.abc import Sequence
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from parley.cli.options import DEFAULT_HOME, HomeOption, JsonOption, group
from parley.cli.output import answer, columns, facts, heading
from parley.learn.shares import ActiveShare, Feature, ModelShare
from parley.party.shown.models import ConditionShown, ModelListed, ModelShown, model_shown, models_listed
from parley.party.words import SHORT, count, moment
from parley.store.home import Home

app = group("One joint model: our piece of it, and its use.")

_SHOWN: Final = 15


def models(*, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List the models we hold a piece of.

    \b
    Example:
      parley models

    A model is used for predictions once every owner has released it: `parley model release`.
    """
    opened = Home.open(home)
    records = models_listed(opened)

    def show(console: Console) -> None:
        if not records:
            console.print("no models yet; train one with `parley run`")
            return
        numbers = ("trees", "own columns", "own splits")
        table = columns("model", "our role", *numbers, "on the ledger", "", right=numbers)
        for each in records:
            cells = (each.trees, each.columns, each.splits)
            counts = ("" if count is None else f"{count:,}" for count in cells)
            table.add_row(each.model, each.role, *counts, _standing(each), Text(each.problem))
        console.print(table)

    answer({"models": records}, show, as_json=as_json)


@app.command("show")
def show_model(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model of `parley models`.")],
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Show every condition, not only the most frequent ones.")
    ] = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Show a model: who holds which piece, its release, what our piece tests.

    \b
    Example:
      parley model show run-0123456789abcdef

    The party with the label has the trees and knows what every column is worth: its own by
    name, those of others by a number. Every other party has only what its own splits test.
    The number before a column of ours is the one by which they know it. The conditions say which
    rows go left. Plan, record, metrics, release and the hash of every piece are from our copy of the
    ledger; the file here is compared with the hash that we committed to.
    """
    opened = Home.open(home)
    share, record = opened.share(model), model_shown(opened, model)
    conditions, importances = record.splits, record.importances

    def show(console: Console) -> None:
        console.print(Text.assemble((share.model, "bold"), f", the piece of {share.party}"))
        facts(console, _summary(share, record))
        heading(console, "who holds a piece")
        _show_holders(console, record)
        heading(console, "on the ledger")
        facts(console, _registration(record))
        heading(console, "what our splits test (rows that go left)")
        _show_conditions(console, conditions if everything else conditions[:_SHOWN])
        if len(conditions) > _SHOWN and not everything:
            console.print(Text(f"  and {len(conditions) - _SHOWN} more, see --all", style="dim"))
        if importances:
            heading(console, "what the columns are worth")
            _show_importances(console, importances)

    answer(record, show, as_json=as_json)


def _summary(share: ModelShare, record: ModelShown) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = [("our role", record.role)]
    if isinstance(share, ActiveShare):
        lines += [
            ("learns", share.parameters.objective),
            ("trees", f"{len(share.trees):,}"),
            ("parties", ", ".join(share.owners)),
        ]
    known = ", ".join(f"{each.handle or ''} {each.column}".strip() for each in record.columns)
    return [*lines, ("our splits", f"{len(share.rules):,}"), ("our columns", known)]


def _standing(each: ModelListed) -> str:
    """``released, 12 of 500 used``."""
    if each.quota is None or each.status == "withdrawn":
        return each.status
    return f"{each.status}, {each.used:,} of {each.quota:,} used"


def _show_holders(console: Console, record: ModelShown) -> None:
    table = columns("  party", "role", "committed to", "")
    for each in record.holders:
        ours = {True: "the file here", False: "not the file here", None: ""}[each.kept]
        style = "red" if each.kept is False else ""
        table.add_row(f"  {each.party}", each.role, each.committed[:SHORT], Text(ours, style=style))
    console.print(table)


def _registration(record: ModelShown) -> list[tuple[str, str]]:
    known = record.registered
    if known is None:
        return [("", "nothing: there is no ledger here, or it has no such model")]
    plan = f"{known.plan[:SHORT]} {known.name}".strip()
    lines = [("plan", plan), ("purpose", known.purpose), ("status", known.status)]
    if known.record is not None:
        lines.append(("record", f"{known.record}, after {count(known.rounds, 'round')}"))
    lines += [("", f"{each.name} {each.value:.4f}") for each in known.metrics]
    if known.release is not None:
        terms = known.release
        used = f"{terms.used:,} of {terms.quota:,} predictions used, until {moment(terms.until)}"
        lines.append(("released", f"{used}, in {count(known.batches, 'batch', 'batches')}"))
    for each in known.consents:
        by = f" by grant {each.grant[:SHORT]}" if each.grant else ""
        terms_of = f"{count(each.quota, 'prediction')} until {moment(each.until)}"
        lines.append((f"{each.party} consents", f"to {terms_of}{by}"))
    lines += [(f"{owner} lets", f"{receiver} hold the whole") for owner, receiver in known.merging.items()]
    if known.merged:
        lines.append(("merged", f"{', '.join(known.merged)} may hold the whole forest"))
    if known.consents:
        lines.append(("waits for", ", ".join(known.missing) or "all to consent to the same"))
    if known.status in {"trained", "released"}:
        allowed = f"{count(known.left, 'prediction')} until {moment(known.until)}"
        lines.append(("may be released", f"{allowed}, by the plan"))
    return lines


def _show_conditions(console: Console, conditions: Sequence[ConditionShown]) -> None:
    table = columns("  splits", "condition", right=("  splits",))
    for each in conditions:
        table.add_row(f"{each.splits:,}", Text(each.left))
    console.print(table)


def _show_importances(console: Console, importances: tuple[Feature, ...]) -> None:
    total = sum(feature.gain for feature in importances) or 1.0
    table = columns("  party", "column", "share of gain", "splits", right=("share of gain", "splits"))
    for each in importances:
        table.add_row(f"  {each.party}", Text(each.column), f"{each.gain / total:.1%}", f"{each.splits:,}")
    console.print(table)
