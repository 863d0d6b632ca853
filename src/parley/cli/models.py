"""Our pieces of joint models."""

from collections.abc import Sequence
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from parley.cli.options import DEFAULT_HOME, HomeOption, JsonOption, group
from parley.cli.output import answer, columns, facts, heading
from parley.learn.shares import ActiveShare, Feature, ModelShare
from parley.party.shown.models import ConditionShown, ModelShown, model_listed, model_shown
from parley.store.home import Home

app = group("Our piece of a joint model.")

_SHOWN: Final = 15


def models(*, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List the models we hold a piece of.

    \b
    Example:
      parley models
    """
    opened = Home.open(home)
    records = [model_listed(opened, model) for model in opened.models()]

    def show(console: Console) -> None:
        if not records:
            console.print("no models yet; train one with `parley run`")
            return
        numbers = ("trees", "own columns", "own splits")
        table = columns("model", "our role", *numbers, "", right=numbers)
        for each in records:
            cells = (each.trees, each.columns, each.splits)
            counts = ("" if count is None else f"{count:,}" for count in cells)
            table.add_row(each.model, each.role, *counts, Text(each.problem))
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
    """Show our piece of a model: columns, splits, gains.

    \b
    Example:
      parley model show run-0123456789abcdef

    The party with the label has the trees and knows what every column is worth: its own by
    name, those of others by a number. Every other party has only what its own splits test.
    The number before a column of ours is the one by which they know it. The conditions say which
    rows go left.
    """
    share = Home.open(home).share(model)
    record = model_shown(share)
    conditions, importances = record.splits, record.importances

    def show(console: Console) -> None:
        console.print(Text.assemble((share.model, "bold"), f", the piece of {share.party}"))
        facts(console, _summary(share, record))
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
