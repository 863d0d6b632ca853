"""The API keys of those who ask a served model."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from parley.cli.options import DEFAULT_HOME, HomeOption, JsonOption, group
from parley.cli.output import answer, columns
from parley.core.errors import UsageError
from parley.party.compose import CLOCKS
from parley.party.words import moment
from parley.serving.http.keys import RATE, Key, KeyFile
from parley.store.home import Home

app = group("API keys: who may ask a model that is served.")


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it shall be, such as shop-frontend.")],
    *,
    rate: Annotated[
        float, typer.Option("--rate", metavar="N", min=0.001, max=1e6, help="Requests per second.")
    ] = RATE,
    burst: Annotated[
        int | None,
        typer.Option(
            "--burst", metavar="N", min=1, max=1_000_000, help="Requests at once; by default --rate."
        ),
    ] = None,
    until: Annotated[
        str, typer.Option("--until", metavar="DATE", help="Day from which it holds no longer, as 2030-12-31.")
    ] = "",
    model: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="ID", help="A model that it may ask; may be given again; else all."),
    ] = None,
    metrics: Annotated[bool, typer.Option("--metrics", help="It may read /metrics, too.")] = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Make an API key, and print it once.

    \b
    Examples:
      parley key add shop-frontend
      parley key add shop-frontend --rate 20 --until 2030-12-31 --model run-0123456789abcdef
      parley key add prometheus --metrics

    Whoever has the key may ask what is served from this home, as fast as --rate allows in the long
    run, and --burst at once. It is kept nowhere: serving/keys.json has a hash of it. DATE begins at
    0:00 UTC; a time may follow, as 2030-12-31T18:00+01:00. A server that runs knows a new key, and
    one that was removed, within about a second.
    """
    opened = Home.open(home)
    ends = _ends(until) if until else None
    key, shown = KeyFile(opened.path).add(
        name, CLOCKS.wall(), rate=rate, burst=burst, until=ends, models=tuple(model or ()), metrics=metrics
    )

    def say(console: Console) -> None:
        console.print(Text(shown), soft_wrap=True)
        console.print(Text(f"the key of {name}; it is not shown again", style="dim"))

    answer({"key": shown} | _record(key), say, as_json=as_json)


@app.command("list")
def list_keys(*, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List the API keys, without the keys themselves.

    \b
    Example:
      parley key list
    """
    keys, now = KeyFile(Home.open(home).path).read(), CLOCKS.wall()

    def show(console: Console) -> None:
        if not keys:
            console.print("no keys yet; make one with `parley key add NAME`")
            return
        table = columns(
            "name", "per second", "at once", "holds until", "models", "", right=("per second", "at once")
        )
        for each in keys:
            remarks = [
                *(["over"] if each.is_over(now) else []),
                *(["reads /metrics"] if each.metrics else []),
            ]
            table.add_row(
                each.name,
                f"{each.rate:g}",
                f"{each.burst:,}",
                "it is removed" if each.until is None else moment(each.until),
                Text("\n".join(each.models) or "all"),
                ", ".join(remarks),
            )
        console.print(table)

    answer({"keys": [_record(each) for each in keys]}, show, as_json=as_json)


@app.command("remove")
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the key, as `parley key list` has it.")],
    *,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Remove an API key: it holds no longer.

    \b
    Example:
      parley key remove shop-frontend

    A server that runs knows within about a second. What is being answered then is answered.
    """
    gone = KeyFile(Home.open(home).path).remove(name)
    answer(
        {"removed": gone.name},
        lambda console: console.print(Text(f"the key of {gone.name} holds no longer")),
        as_json=as_json,
    )


def _ends(text: str) -> int:
    """The second that a day begins with in UTC, or of a time.

    Raises:
        UsageError: it is neither, or is past.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            "bad-arguments",
            f"{text!r} is no date",
            remedy="write it as 2030-12-31, or 2030-12-31T18:00+01:00",
        ) from None
    ends = int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())
    if ends <= CLOCKS.wall():
        raise UsageError("bad-arguments", f"{text} is past", remedy="give a day that is still to come")
    return ends


def _record(key: Key) -> dict[str, object]:
    """A key as it is shown: nothing by which it could be guessed."""
    return {
        "name": key.name,
        "made": key.made,
        "until": key.until,
        "rate": key.rate,
        "burst": key.burst,
        "models": key.models,
        "metrics": key.metrics,
    }
