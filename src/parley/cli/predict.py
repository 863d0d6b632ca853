"""Scoring a list of ids."""

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from parley.cli.lines import STYLES
from parley.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from parley.cli.output import answer, facts, remarks
from parley.cli.progress import LiveLines
from parley.core.log import Record
from parley.party.compose import log_of, own_party
from parley.protocols import control
from parley.serving.batch import Batch, Predicted, read_ids
from parley.serving.monitor import Monitor
from parley.serving.program import Choices, at_work
from parley.serving.scores import Fallback
from parley.serving.subject import Subject
from parley.store.home import Home


class FallbackName(StrEnum):
    """What --fallback takes."""

    refuse = "refuse"
    active_only = "active-only"
    missing = "missing"


FALLBACKS: dict[str, Fallback] = {"refuse": "refuse", "active-only": "active-only", "missing": "missing"}

ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="A model of `parley models`.")]
FallbackOption = Annotated[
    FallbackName,
    typer.Option(
        "--fallback",
        help="What is done about ids that a party lacks: refuse; active-only, a score of our columns alone, "
        "which says so; missing, no score.",
    ),
]


def predict(
    model: ModelArgument,
    *,
    ids: Annotated[str, typer.Option("--ids", help="The ids: a file as `parley data add` takes it.")],
    out: Annotated[Path, typer.Option("--out", help="Where the scores go, .parquet or .csv.")],
    column: Annotated[
        str | None, typer.Option("--column", help="The column of the ids, if the file has several.")
    ] = None,
    fallback: FallbackOption = FallbackName.refuse,
    patience: Annotated[
        float, typer.Option("--patience", min=0, help="Seconds for which a passive party may be away.")
    ] = 300.0,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Score a list of ids with a released model.

    \b
    Example:
      parley predict run-0123456789abcdef --ids customers.csv --out scores.parquet

    Run it at the party with the label, which must be up, as must be the others. The output has every
    id of the list once, in its order: `score` (of a model with several classes one for each), `margin`,
    `basis` (joint, active-only or missing), and `receipt`, by which `parley model prove` proves this
    one prediction.

    What was scored is kept in OUT.parts until the output is whole: the same command goes on after an
    interruption. Every prediction is counted on the ledger against the model's release.

    \b
    Remedies:
      model-not-released      every owner runs `parley model release`
      predictions-used-up     the owners release more
      unknown-ids             choose another --fallback, or leave those ids out
      peer-away               the others' parties must be up
      party-not-running       start ours with `parley up`
    """
    opened = Home.open(home)
    subject = Subject.of(opened, model)
    distinct, repeated = read_ids(ids, column)

    async def work(lines: LiveLines) -> Predicted:
        def tell(done: int, total: int, detail: str) -> None:
            lines.tell(
                control.Progress("predict", done, total, "ids", detail, 0.0 if done == total else -1.0)
            )

        log = log_of(opened.settings, _only_trouble)
        choices = Choices(FALLBACKS[fallback.value], deadline=60.0, degrades=False)
        async with at_work(subject, choices, own_party(home), log, Monitor()) as program:
            tell(0, len(distinct), "enrols")
            await program.met()
            return await Batch(out, distinct, program, patience, tell).run(repeated)

    with LiveLines() as lines:
        predicted = asyncio.run(work(lines))

    def show(console: Console) -> None:
        rate = (predicted.ids - predicted.resumed) / max(predicted.seconds, 1e-9)
        facts(
            console,
            [
                ("scores", predicted.out),
                ("ids", f"{predicted.ids:,}"),
                *([("repeated", f"{repeated:,} more in the list")] if repeated else []),
                *((basis, f"{count:,}") for basis, count in predicted.basis.items() if count),
                *([("scored before", f"{predicted.resumed:,}")] if predicted.resumed else []),
                ("rate", f"{rate:,.0f} ids/s"),
            ],
        )

    answer(predicted, show, as_json=as_json)


def _only_trouble(record: Record) -> None:
    if record.level != "info":
        remarks().print(record.text, style=STYLES[record.level], highlight=False, markup=False)
