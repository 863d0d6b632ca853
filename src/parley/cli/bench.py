"""Measuring."""

import subprocess
import sys
from typing import Annotated, Final

import typer

from parley.cli.source_tree import beside_sources
from parley.core.errors import UsageError

PASS_ON: Final = {"allow_extra_args": True, "ignore_unknown_options": True}
"""What the script is told, the command need not know."""


def bench(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="kernels, boosting, alignment, ledger, overhead, network, cometbft or http_load.",
        ),
    ],
) -> None:
    """Measure the speed of this machine.

    \b
    Examples:
      parley bench kernels
      parley bench boosting --rows 200000 --active-columns 25 --passive-columns 25 --trees 5
      parley bench alignment --rows 1000000 --json
      parley bench alignment -- --help

    What follows the name goes to the script of that name in bench/ of the source tree. Each
    prints a table beside a reference of the same run; with --json standard output holds one JSON
    object. Timings on shared machines drift: compare the ratios.
    """
    folder = beside_sources("bench")
    known = sorted(path.stem for path in folder.glob("*.py"))
    if name not in known:
        raise UsageError(
            "unknown-benchmark",
            f"there is no benchmark {name!r}",
            remedy=f"choose one of {', '.join(known)}",
        )
    as_json = "--json" in context.args
    command = [sys.executable, str(folder / f"{name}.py"), *context.args]
    ended = subprocess.run(command, check=False, text=True, stdout=subprocess.PIPE if as_json else None)  # noqa: S603 (a script of the source tree)
    if as_json:
        lines = ended.stdout.strip().splitlines()
        sys.stdout.write((lines[-1] if lines else "{}") + "\n")
    raise typer.Exit(ended.returncode)
