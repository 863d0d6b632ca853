"""Proving single predictions."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from parley.cli.asking import read
from parley.cli.files import write
from parley.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from parley.cli.output import answer
from parley.serving.pages import Book
from parley.serving.proof import prove as proof_of
from parley.store.home import Home
from parley.store.predictions import FOLDER


def prove(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model of `parley models`.")],
    receipt: Annotated[str, typer.Argument(metavar="RECEIPT", help="As the answer or the output has it.")],
    *,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The proof; RECEIPT.proof by default.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Write a proof that one prediction was made, to be shown to others.

    \b
    Example:
      parley model prove run-0123456789abcdef 5b1c0ffee0123456.17 --out decision.proof
      parley ledger check-proof decision.proof --keys credit.keys

    It shows id, margin and what the score rests on, that they stand under a root that is on the
    ledger, and the members' signatures; of the other predictions it shows nothing. Who checks it
    needs the members' keys, from `parley ledger keys`, and nothing else of ours.

    \b
    Remedies:
      no-such-prediction        take the receipt from the answer or the output of `parley predict`
      prediction-not-committed  wait a second, or start the program again that gave the answer
      prediction-let-go         its page is older than `keep_predictions` days: put it back from a backup
    """
    book = Book(Home.open(home).path / FOLDER, model)
    path = out or Path(f"{receipt}.proof")
    write(path, read(home, lambda ledger: proof_of(ledger, book, model, receipt)))

    def show(console: Console) -> None:
        words = f"{path} proves prediction {receipt}; check it with `parley ledger check-proof`"
        console.print(Text(words))

    answer({"receipt": receipt, "file": str(path)}, show, as_json=as_json)
