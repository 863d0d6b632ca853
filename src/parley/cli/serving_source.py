"""Where the columns of our tables come from when a model is used."""

import asyncio
import time
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from parley.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from parley.cli.output import answer, heading, remarks
from parley.core.errors import UsageError
from parley.core.log import Log
from parley.data.sql import SQLITE
from parley.party.shown.tables import ServingShown, serving_shown
from parley.serving.features.opening import check_serving
from parley.serving.features.trial import Trial, try_out
from parley.store.catalogue import Serving, TableRecord
from parley.store.home import Home

_AGE: Final = 60
"""Seconds for which what was fetched counts, unless said otherwise."""
_LONGEST: Final = 60.0


def serve(  # noqa: PLR0913 (a parameter for each option)
    name: Annotated[str, typer.Argument(metavar="TABLE", help="A registered table.")],
    *,
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            metavar="SOURCE",
            help="A database url, or python:package.module:function; left out: the table itself.",
        ),
    ] = None,
    query: Annotated[
        str | None, typer.Option("--query", metavar="SQL", help="A SELECT with :id, or with :ids.")
    ] = None,
    age: Annotated[
        int | None,
        typer.Option(
            "--age",
            metavar="SECONDS",
            min=0,
            help="How long values count; 60 by default, 86400 of the table itself.",
        ),
    ] = None,
    entries: Annotated[
        int, typer.Option("--entries", metavar="N", min=1, help="Ids held at most.")
    ] = Serving().entries,
    deadline: Annotated[
        float, typer.Option("--deadline", metavar="SECONDS", help="How long the source may take.")
    ] = Serving().deadline,
    clear: Annotated[bool, typer.Option("--clear", help="Back to the table itself.")] = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Say where the columns of an id come from when a model is used.

    \b
    Examples:
      parley data serve accounts --age 3600
      parley data serve loans --source 'postgresql://risk@db/risk' --query 'select * from l where who = :id'
      parley data serve loans --source sqlite:///risk.db --query 'select * from l where who in :ids' --age 9
      parley data serve usage --source python:features.usage:latest --deadline 0.5
      parley data serve loans --clear

    By default that is the table as it is registered, read whole and again every day. Any other source
    is asked for single ids, as they are written in the table or by whoever asks: a query with :id for
    each of them, one with :ids (`where who in :ids`) for up to 1,000 at once; then it must give the
    id column too. A function is given a list of ids and gives a mapping from id to a mapping of
    values, or a Polars frame. What a source does not know is left out.

    The source is asked for some ids of the table first; columns that are missing or of another type
    than in the table are told. A model needs those it was trained on, as they were.

    \b
    Remedies:
      serving-parameter     write :id or :ids where the id belongs, outside of quotation marks
      serving-id-unknown    let the source find rows by what the id column holds
      source-late           give the database an index on the id, or allow more with --deadline
    """
    opened = Home.open(home)
    record = opened.catalogue.table(name)
    if clear and (source is not None or query is not None):
        raise UsageError(
            "bad-arguments",
            "--clear was given beside --source or --query",
            remedy="give one or the other",
        )
    if not 0 < deadline <= _LONGEST:  # a NaN neither
        raise UsageError(
            "bad-arguments",
            f"--deadline is {deadline:g} s, expected more than 0 and at most {_LONGEST:g}",
            remedy="give seconds in that range; 2 is usual",
        )
    serving = None if clear else _declared(source, query, age, entries, deadline)
    trial = None if serving is None or not serving.source else asyncio.run(_tried(opened, record, serving))
    opened.catalogue.keep_table(msgspec.structs.replace(record, serving=serving))
    shown = serving_shown(serving or Serving())

    def show(console: Console) -> None:
        console.print(Text(f"{name}: when a model is used, {in_words(shown)}"))
        if trial is not None:
            of = f"{trial.known} of the table's first {trial.asked} ids"
            console.print(Text(f"  knows {of}; answered in {trial.seconds * 1000:,.0f} ms"))
            if trial.differs:
                heading(console, "worth knowing")
            for each in trial.differs:
                console.print(Text(f"  {each.column} {each.what}"))

    answer({"table": name, "serving": shown} | _trial_shown(trial), show, as_json=as_json)


def in_words(serving: ServingShown) -> str:
    """A source, and how fresh it is."""
    age = timedelta(seconds=serving.age)
    if not serving.source:
        return f"the table itself, read again after {age}"
    limits = f"{serving.entries:,} ids held, deadline {serving.deadline:g} s"
    return f"{serving.source}, values count for {age}, {limits}"


def _declared(
    source: str | None, query: str | None, age: int | None, entries: int, deadline: float
) -> Serving:
    if source is None:
        if query is not None:
            raise UsageError(
                "sql-query-unneeded",
                "a query was given without the database to ask",
                remedy="name the database with --source",
            )
        return Serving(age=Serving().age if age is None else age, entries=entries, deadline=deadline)
    if source.startswith(SQLITE):  # `parley serve` may run in another folder
        source = SQLITE + str(Path(source.removeprefix(SQLITE)).expanduser().absolute())
    serving = Serving(
        source=source,
        query=query,
        age=_AGE if age is None else age,
        entries=entries,
        deadline=deadline,
    )
    check_serving(serving)
    return serving


async def _tried(home: Home, record: TableRecord, serving: Serving) -> Trial:
    console = remarks()
    log = Log(home.settings.party, time.time, lambda said: console.print(Text(said.text)))
    return await try_out(record, serving, log)


def _trial_shown(trial: Trial | None) -> dict[str, object]:
    if trial is None:
        return {}
    return {"asked": trial.asked, "known": trial.known, "seconds": trial.seconds, "warnings": trial.differs}
