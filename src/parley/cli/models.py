"""Our pieces of joint models."""

from collections import Counter
from typing import Annotated, Final

import msgspec
import numpy as np
import typer
from rich.console import Console
from rich.text import Text

from parley.cli.options import DEFAULT_HOME, HomeOption, JsonOption, group
from parley.cli.output import answer, columns, facts, heading
from parley.core.errors import UsageError
from parley.learn.shares import ActiveShare, Feature, ModelShare
from parley.learn.trees import SplitRule
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
    records = [_listed(opened, model) for model in opened.models()]

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


class _Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the list; ``problem`` says why a piece cannot be read."""

    model: str
    role: str = ""
    trees: int | None = None
    columns: int | None = None
    splits: int | None = None
    problem: str = ""


def _listed(home: Home, model: str) -> _Listed:
    try:
        share = home.share(model)
    except UsageError as error:
        return _Listed(model=model, problem=error.what)
    return _Listed(
        model=model,
        role=_role(share),
        trees=len(share.trees) if isinstance(share, ActiveShare) else None,
        columns=len(share.columns),
        splits=len(share.rules),
    )


class _Condition(msgspec.Struct, frozen=True):
    """What a split of ours tests, and in how many splits it is tested."""

    column: str
    left: str
    splits: int


class _Column(msgspec.Struct, frozen=True):
    """A column of ours: the handle by which others know it (none if it is ours alone), and its splits."""

    column: str
    handle: str | None
    splits: int


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
    conditions = _conditions(share)
    importances = share.importances() if isinstance(share, ActiveShare) else ()
    record = {
        "model": share.model,
        "party": share.party,
        "role": _role(share),
        "columns": _columns(share),
        "splits": conditions,
        "importances": importances,
    }

    def show(console: Console) -> None:
        console.print(Text.assemble((share.model, "bold"), f", the piece of {share.party}"))
        facts(console, _summary(share))
        heading(console, "what our splits test (rows that go left)")
        _show_conditions(console, conditions if everything else conditions[:_SHOWN])
        if len(conditions) > _SHOWN and not everything:
            console.print(Text(f"  and {len(conditions) - _SHOWN} more, see --all", style="dim"))
        if importances:
            heading(console, "what the columns are worth")
            _show_importances(console, importances)

    answer(record, show, as_json=as_json)


def _role(share: ModelShare) -> str:
    return "active" if isinstance(share, ActiveShare) else "passive"


def _columns(share: ModelShare) -> list[_Column]:
    counts = Counter(rule.column for rule in share.rules)
    passive = not isinstance(share, ActiveShare)
    return [
        _Column(column.name, f"#{place}" if passive else None, counts[place])
        for place, column in enumerate(share.columns)
    ]


def _conditions(share: ModelShare) -> list[_Condition]:
    """What is tested, most frequent first."""
    counts = Counter((share.columns[rule.column].name, _in_words(share, rule)) for rule in share.rules)
    found = [_Condition(column, left, splits) for (column, left), splits in counts.items()]
    return sorted(found, key=lambda each: (-each.splits, each.column, each.left))


def _in_words(share: ModelShare, rule: SplitRule) -> str:
    column = share.columns[rule.column]
    left = np.zeros(column.bins.bin_count, dtype=np.bool_)
    left[list(rule.left_bins)] = True
    return column.bins.describe(column.name, left)


def _summary(share: ModelShare) -> list[tuple[str, str]]:
    lines = [("our role", _role(share))]
    if isinstance(share, ActiveShare):
        lines += [
            ("learns", share.parameters.objective),
            ("trees", f"{len(share.trees):,}"),
            ("parties", ", ".join(share.owners)),
        ]
    known = ", ".join(f"{each.handle or ''} {each.column}".strip() for each in _columns(share))
    return [*lines, ("our splits", f"{len(share.rules):,}"), ("our columns", known)]


def _show_conditions(console: Console, conditions: list[_Condition]) -> None:
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
