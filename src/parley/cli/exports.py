"""A model as files: our own piece, and the whole forest where every owner has let us hold it."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from parley.cli.asking import ask, read
from parley.cli.files import contents, write
from parley.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from parley.cli.output import Failure, Problem, answer
from parley.cli.releases import ModelArgument
from parley.learn.export.forest import Forest
from parley.party.compose import fetch_pieces
from parley.party.exporting import ENDINGS, INPUTS, Format, is_whole_here, lightgbm_file, onnx_file, whole
from parley.party.merging import still_to_consent
from parley.protocols import control
from parley.store.home import Home


def merge(
    model: ModelArgument,
    *,
    to: Annotated[
        str, typer.Option("--to", metavar="PARTY", help="Who may hold the whole: an owner of the model.")
    ],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Consent that one owner may hold the whole forest of a model.

    \b
    Example:
      parley model merge run-0123456789abcdef --to bank

    When every owner has named the same party, it may fetch the pieces of all others, see
    `parley model export`. It then predicts alone and as often as it likes, and sees which values of
    whose columns decide: no quota limits that, and it cannot be taken back. Until all have
    consented, another name takes the place of this one. No standing grant consents for anybody.
    Needs our running party.

    \b
    Remedies:
      ledger-type-unknown    the ledger follows an earlier version of the contract: `parley propose version 3`
      ledger-merged-already  every owner has consented to that before
    """
    receipt = ask(home, "model.merge", {"model": model, "receiver": to})
    missing = read(home, lambda ledger: still_to_consent(ledger.draft, model, to))

    def show(console: Console) -> None:
        whole = f"every owner has let {to} hold the whole of {model}"
        waits = f"still to consent to {to}: {', '.join(missing)}"
        console.print(Text(f"on the ledger as record {receipt.number}: {waits if missing else whole}"))

    record = {"model": model, "receiver": to, "record": receipt.number, "missing": missing}
    answer(record, show, as_json=as_json)


def export(
    model: ModelArgument,
    *,
    form: Annotated[Format, typer.Option("--format", help="What to write.")] = "json",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="Where; by default named after the model, in this folder."
        ),
    ] = None,
    piece: Annotated[
        list[Path] | None,
        typer.Option("--piece", metavar="FILE", help="Another owner's piece, where it gave it by hand."),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Write our piece of a model, or the whole forest, to a file.

    \b
    Examples:
      parley model export run-0123456789abcdef
      parley model export run-0123456789abcdef --format lightgbm
      parley model export run-0123456789abcdef --format onnx --out credit.onnx

    json is our own piece. The others are the whole forest, for programs that know nothing of Parley; it
    scores as the parties do together, bit for bit before a score becomes a probability. What a row has
    to hold stands beside it, in FILE.inputs.json. The whole needs every owner's consent
    (`parley model merge`) and, the first time, our running party, which fetches the pieces
    of the others from theirs. Parties without a ledger give their pieces by hand: --piece.
    onnx needs the extra: pip install 'parley[export]'.

    \b
    Remedies:
      merge-not-agreed     `parley model show` says who has not consented
      piece-not-committed  a file is not the piece that stands on the ledger
      onnx-missing         pip install 'parley[export]'
    """
    opened = Home.open(home)
    target = Path(f"{model}{ENDINGS[form]}") if out is None else out
    if form == "json":
        opened.share(model)
        write(target, opened.share_text(model))
        written = [target]
    else:
        forest = _whole(opened, model, piece or [])
        inputs = target.with_name(target.name + INPUTS)
        write(target, lightgbm_file(forest) if form == "lightgbm" else onnx_file(forest))
        write(inputs, forest.described())
        written = [target, inputs]

    def show(console: Console) -> None:
        for path in written:
            console.print(Text(f"wrote {path}"))

    record = {"model": model, "format": form, "files": [str(path) for path in written]}
    answer(record, show, as_json=as_json)


def _whole(home: Home, model: str, files: list[Path]) -> Forest:
    """The forest; the pieces are fetched unless they are given."""
    if not is_whole_here(home, model) and not files:
        said = asyncio.run(fetch_pieces(home.path, model))
        if isinstance(said, control.Failed):
            raise Failure(Problem(said.family, said.code, said.what, said.remedy))
    return whole(home, model, [contents(file) for file in files])
