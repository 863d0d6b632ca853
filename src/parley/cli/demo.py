"""The main job with the real commands, as a person would type them, on this machine."""

import gzip
import shutil
import signal
import tempfile
import time
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
from parley.core.errors import UsageError
from parley.data.sources import parse_source, read

_PARTIES: Final = {"bank": "accounts", "operator": "subscribers"}
"""Who takes part, and what each calls its table."""
_FILES: Final = ("bank.csv.gz", "operator.csv.gz", "plan.toml")


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
    """See two organisations train a model on this machine.

    \b
    Examples:
      parley demo
      parley demo --rows 3000 --keep try

    A bank knows its customers' accounts and who did not pay; an operator knows other things of
    partly the same people. Each gets a home folder, a key and a process of its own, and they
    speak over mutual TLS. Every command is shown as you would type it. With --keep you can go on
    in the folder: both homes, both tables and the plan are in it.
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
        console.print(Text(f"all of it took {seconds:.0f} seconds; both processes are stopped", style="bold"))
        if keep is not None:
            console.print(Text(f"go on in {keep}: parley up --home bank"))

    answer({"seconds": seconds, "folder": keep and str(keep), "report": report}, show, as_json=as_json)


def _story(shell: Shell, console: Console, *, quiet: bool) -> object:
    """The commands one after another; returns the report if it is to be kept instead of shown."""

    def chapter(text: str) -> None:
        if not quiet:
            console.print()
            console.print(Text(f"# {text}", style="bold cyan"))

    ports = {party: free_port() for party in _PARTIES}
    chapter("Two organisations: each makes a home with a key of its own")
    for party in _PARTIES:
        shell.run(f"parley init --name {party} --home {party} --listen 127.0.0.1:{ports[party]}")
    chapter("They exchange certificates; the bank will dial, so only it needs an address")
    dial = f"--address 127.0.0.1:{ports['operator']}"
    shell.run(f"parley peer add operator {dial} --certificate operator/identity/certificate.pem --home bank")
    shell.run("parley peer add bank --certificate bank/identity/certificate.pem --home operator")
    chapter("Each registers its table; the operator lets the bank's plans use it")
    shell.run("parley data add accounts bank.csv.gz --id id --home bank")
    shell.run("parley data add subscribers operator.csv.gz --id id --share-with bank --home operator")
    chapter("Both serve")
    for party in _PARTIES:
        shell.start(f"parley up --home {party}", until=f"{party} listens on", log=f"{party}.log")
    chapter("The bank holds the label, so it runs the plan")
    return shell.watch("parley run plan.toml --home bank")


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
    """Put the example's files into the folder, with fewer people if so wished."""
    for name in _FILES:
        if rows is None or name == "plan.toml":
            shutil.copy(example / name, folder / name)
    if rows is None:
        return
    tables = {party: read(parse_source(str(example / f"{party}.csv.gz"))) for party in _PARTIES}
    digits = {
        party: frame["id"].cast(pl.String).str.replace_all(r"\D", "").str.zfill(8)
        for party, frame in tables.items()
    }
    # the ids are random numbers, so those below a limit are a random sample, and the same on both sides
    limit = digits["bank"].sort()[min(rows, len(digits["bank"])) - 1]
    for party, frame in tables.items():
        text = frame.filter(digits[party] <= limit).write_csv()
        (folder / f"{party}.csv.gz").write_bytes(gzip.compress(text.encode()))
