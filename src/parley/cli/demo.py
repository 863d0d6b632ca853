"""The main job with the real commands, as a person would type them, on this machine."""

import gzip
import json
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Annotated, Final

import polars as pl
import typer
from rich.console import Console
from rich.text import Text

from parley.cli.options import JsonOption
from parley.cli.output import answer, remarks, terminal
from parley.cli.shell import Shell, free_port
from parley.cli.source_tree import beside_sources
from parley.core.errors import ProtocolBug, UsageError
from parley.data.sources import parse_source, read
from parley.store.home import Home

_HOLDERS: Final = ("bank", "operator")
_PARTIES: Final = (*_HOLDERS, "regulator")
_FILES: Final = ("bank.csv.gz", "operator.csv.gz", "plan.toml")
_APPLICANTS: Final = 100
_RELEASED: Final = timedelta(days=30)


def demo(
    *,
    rows: Annotated[
        int | None,
        typer.Option(
            "--rows", metavar="N", min=200, help="Take about so many people per party; all by default."
        ),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", metavar="DIR", help="Work in this new folder and leave it behind."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """See organisations train a model together and use it, on this machine.

    \b
    Examples:
      parley demo
      parley demo --rows 3000 --keep try

    A bank knows its customers' accounts and who did not pay; an operator knows other things of
    partly the same people; a regulator holds no data, but signs for the ledger. Each gets a home
    folder, keys and a process of its own, and they speak over mutual TLS. Nothing is run that is
    not approved. The model is released and used, for a list and over HTTP, one answer is proven,
    and the model withdrawn; at the end the regulator verifies all that happened. Every command is
    shown as you would type it. With --keep you can go on in the folder: homes, tables and plan are
    in it.
    """
    example = beside_sources("examples/credit")
    signal.signal(signal.SIGTERM, _interrupted)
    began = time.monotonic()
    folder = _working_folder(keep)
    console = remarks() if as_json else terminal()
    try:
        with Shell(folder, console, quiet=as_json) as shell:
            _copy(example, folder, rows)
            report = _story(shell, console, quiet=as_json)
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    seconds = time.monotonic() - began

    def show(console: Console) -> None:
        console.print()
        console.print(Text(f"all of it took {seconds:.0f} seconds; all processes are stopped", style="bold"))
        if keep is not None:
            console.print(Text(f"go on in {keep}: parley ledger show --home bank"))

    answer({"seconds": seconds, "folder": keep and str(keep), "report": report}, show, as_json=as_json)


def _story(shell: Shell, console: Console, *, quiet: bool) -> object:
    """The commands one after another; returns the report if it is to be kept instead of shown."""

    def chapter(text: str) -> None:
        if not quiet:
            console.print()
            console.print(Text(f"# {text}", style="bold cyan"))

    chapter("Three organisations: each makes a home with a key of its own")
    for party in _PARTIES:
        shell.run(f"parley init --name {party} --home {party} --listen 127.0.0.1:{free_port()}")
    _gather(shell, chapter)
    chapter("Bank and operator register their tables: commitments go on the ledger, rows stay at home")
    shell.run("parley data add accounts bank.csv.gz --id id --home bank")
    shell.run("parley data add subscribers operator.csv.gz --id id --home operator")
    chapter("The bank holds the label and wants to run a plan, but the operator has not approved it")
    plan = _id_in(shell.refused("parley run plan.toml --wait 0 --home bank", "plan-awaits-approval"))
    chapter("The operator reads what exactly is asked for, and approves")
    shell.run("parley plans --home operator")
    shell.run(f"parley approve {plan} --home operator")
    chapter("Now it runs; every round is committed on the ledger")
    report = shell.watch("parley run plan.toml --home bank")
    chapter("The plan allowed one run. A second one is refused, and the refusal is on the ledger too")
    shell.refused("parley run plan.toml --home bank", "ledger-runs-exhausted")
    _use(shell, chapter)
    chapter("The regulator looks at what happened, replays all of it, and checks every signature")
    shell.run("parley ledger show --last 8 --home regulator")
    shell.run("parley ledger verify --home regulator")
    return report


def _use(shell: Shell, chapter: Callable[[str], None]) -> None:
    """From a trained model to predictions that can be proven, and to its end."""
    chapter("Nobody may use the model before both owners release it, for so many predictions until some day")
    (model,) = Home.open(shell.folder / "bank").models()
    until = datetime.now(UTC).date() + _RELEASED
    for party in _HOLDERS:
        shell.run(f"parley model release {model} --predictions 1000 --until {until} --home {party}")
    chapter("The bank scores a list; the operator answers for its columns, and learns no score")
    predict = (
        f"parley predict {model} --ids applicants.csv --out scores.csv --fallback active-only --home bank"
    )
    shell.run(predict)
    chapter("A program of the bank asks for one applicant over HTTP, with a key")
    key = _found(r"pk_[\w-]+", shell.run("parley key add webshop --home bank"))
    place = f"127.0.0.1:{free_port()}"
    served = f"parley serve {model} --listen {place} --home bank"
    shell.start(served, until="is served at", log="serve.log")
    said = shell.ask(place, f"/v1/models/{model}/predict", key, {"id": _scored(shell.folder / "scores.csv")})
    chapter("That answer can be proven to whoever has the members' keys; it shows no other one")
    receipt = json.loads(said)["predictions"][0]["receipt"]
    proving = f"parley model prove {model} {receipt} --out decision.proof --home bank"
    shell.run(proving, unless="prediction-not-committed")
    shell.run("parley ledger keys --out credit.keys --home regulator")
    shell.run("parley ledger check-proof decision.proof --keys credit.keys")
    chapter("The operator withdraws the model: from now on it is refused")
    shell.run(f"parley model withdraw {model} --home operator")
    shell.refused(predict.replace("scores", "more"), "model-withdrawn")


def _scored(path: Path) -> str:
    """An id of a list that all parties know."""
    joint = read(parse_source(str(path))).filter(pl.col("basis") == "joint")
    return str(joint["id"][0])


def _gather(shell: Shell, chapter: Callable[[str], None]) -> None:
    """From three homes to one consortium, all of it running."""

    def up(party: str) -> None:
        shell.start(f"parley up --home {party}", until=f"{party} listens on", log=f"{party}.log")

    chapter("The bank founds a consortium and serves")
    shell.run('parley consortium create "credit scoring" --home bank')
    up("bank")
    chapter("It invites the operator, which needs nothing but the string")
    said = shell.run("parley invite operator --home bank")
    shell.run(f"parley join {_invitation_in(said)} --home operator")
    up("operator")
    chapter("From now on both decide who comes in: the operator votes on the regulator, which holds no data")
    said = shell.run("parley invite regulator --role observer --home bank")
    shell.run("parley votes --home operator")
    shell.run(f"parley vote {_id_in(said.replace(_invitation_in(said), ''))} yes --home operator")
    shell.run(f"parley join {_invitation_in(said)} --home regulator")
    up("regulator")
    shell.run("parley members --home bank")


def _invitation_in(text: str) -> str:
    return _found(r"parley1\.[\w-]+", text)


def _id_in(text: str) -> str:
    """The first id in what a command printed, shortened as people do."""
    return _found(r"\b[0-9a-f]{12,64}\b", text)[:12]


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise ProtocolBug("demo-astray", f"no {pattern} in {text!r}", remedy="please report it")
    return match[0]


def _interrupted(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _working_folder(keep: Path | None) -> Path:
    if keep is None:
        return Path(tempfile.mkdtemp(prefix="parley-demo-"))
    try:
        keep.mkdir(parents=True)
    except OSError as error:
        raise UsageError(
            "folder-not-new",
            f"the folder {keep} cannot be made: {error.strerror}",
            remedy="name a folder that does not exist yet",
        ) from error
    return keep


def _copy(example: Path, folder: Path, rows: int | None) -> None:
    """Put the example's files into the folder, with fewer people if so wished, and a list of some of them."""
    for name in _FILES:
        if rows is None or name == "plan.toml":
            shutil.copy(example / name, folder / name)
    if rows is not None:
        _cut(example, folder, rows)
    known = read(parse_source(str(folder / "bank.csv.gz")))
    known.select("id").head(_APPLICANTS).write_csv(folder / "applicants.csv")


def _cut(example: Path, folder: Path, rows: int) -> None:
    """Put its tables there with about so many people."""
    tables = {party: read(parse_source(str(example / f"{party}.csv.gz"))) for party in _HOLDERS}
    digits = {
        party: frame["id"].cast(pl.String).str.replace_all(r"\D", "").str.zfill(8)
        for party, frame in tables.items()
    }
    # the ids are random numbers, so those below a limit are a random sample, and the same on both sides
    limit = digits["bank"].sort()[min(rows, len(digits["bank"])) - 1]
    for party, frame in tables.items():
        text = frame.filter(digits[party] <= limit).write_csv()
        (folder / f"{party}.csv.gz").write_bytes(gzip.compress(text.encode()))
