"""Our word on the use of a model: releasing it for predictions, and withdrawing it."""

import asyncio
from datetime import UTC, date, datetime
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from parley.cli.asking import ask
from parley.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from parley.cli.output import Failure, Problem, answer
from parley.core.errors import UsageError
from parley.party.compose import release_model
from parley.party.releasing import Consented, Wanted
from parley.party.words import count, moment
from parley.protocols import control

_DAY: Final = 86_400

ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="A model of `parley models`.")]


def release(
    model: ModelArgument,
    *,
    predictions: Annotated[
        int | None,
        typer.Option(
            "--predictions", metavar="N", min=1, help="How many; as many as the plan has left by default."
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--until",
            metavar="DATE",
            help="Last day (UTC), or a time; as long as the plan allows by default.",
        ),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Consent to a model's use for predictions.

    \b
    Examples:
      parley model release run-0123456789abcdef
      parley model release run-0123456789abcdef --predictions 5000 --until 2027-06-30

    The release is in force when every owner of a table in the model's plan has consented to the same
    number and end. Owners who name neither consent to what the plan allows, so to the same. A later
    release takes the place of an earlier one. Where an owner let the plan through by a standing grant
    to us, we consent for it too, unless the grant ends before. Needs our running party.

    \b
    Remedies:
      nothing-to-release        the plan has no predictions left; plans have `predictions` in [limits]
      ledger-quota-exceeded     more than the plan has left: `parley model show`
      ledger-time-out-of-range  in the past, or beyond the plan's end
    """
    wanted = Wanted(model=model, predictions=predictions, until=None if until is None else _until(until))
    said = asyncio.run(release_model(home, wanted))
    if isinstance(said, control.Failed):
        raise Failure(Problem(said.family, said.code, said.what, said.remedy))
    done = msgspec.json.decode(said.report, type=Consented)
    answer(done, lambda console: _show(console, done), as_json=as_json)


def withdraw(model: ModelArgument, *, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """End the use of a model, for good and at every party.

    \b
    Example:
      parley model withdraw run-0123456789abcdef

    Any owner may. What was answered stays on the ledger; no further prediction is. The pieces stay
    where they are. Needs our running party.
    """
    receipt = ask(home, "model.withdraw", {"model": model})

    def show(console: Console) -> None:
        console.print(Text(f"{model} is withdrawn, on the ledger as record {receipt.number}"))

    answer({"model": model, "record": receipt.number, "status": "withdrawn"}, show, as_json=as_json)


def _show(console: Console, done: Consented) -> None:
    terms = f"{count(done.quota, 'prediction')} of {done.model} until {moment(done.until)}"
    console.print(Text(f"we consent to {terms}, on the ledger as record {done.record}"))
    for owner in done.granted:
        console.print(Text(f"so does {owner}, by its grant"))
    for words in done.refused:
        console.print(Text(words, style="yellow"))
    missing = ", ".join(done.missing)
    console.print(Text("it is released" if done.in_force else f"still to consent to the same: {missing}"))


def _until(text: str) -> int:
    """Seconds since 1970: the end of a day (UTC), or a moment as ISO 8601 has it."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        pass
    else:
        return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) + _DAY
    try:
        exact = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            "bad-arguments",
            f"--until {text!r} is neither a date nor a time",
            remedy="write it as 2027-06-30 or 2027-06-30T18:00+02:00",
        ) from None
    return int((exact if exact.tzinfo else exact.replace(tzinfo=UTC)).timestamp())
