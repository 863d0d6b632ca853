"""Writes ``commands.md``: the help text of every command, as the program prints it."""

import io
import os
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Final
from unittest.mock import patch

from parley.cli.main import main

PAGE: Final = Path(__file__).parent / "commands.md"
COMMANDS: Final = (
    "",
    "init",
    "identity",
    "identity show",
    "identity rotate",
    "identity replace",
    "consortium create",
    "consortium node",
    "consortium promise",
    "consortium rotate",
    "invite",
    "join",
    "members",
    "votes",
    "vote",
    "propose suspend",
    "propose reinstate",
    "propose remove",
    "propose threshold",
    "propose sequencer",
    "propose engine",
    "propose version",
    "up",
    "doctor",
    "explain",
    "config show",
    "store move",
    "api",
    "api token",
    "key add",
    "key list",
    "key remove",
    "data add",
    "data check",
    "data list",
    "data serve",
    "data show",
    "run",
    "run start",
    "run show",
    "run logs",
    "run cancel",
    "run resume",
    "plans",
    "plan show",
    "approve",
    "reject",
    "grant",
    "grant revoke",
    "grants",
    "runs",
    "models",
    "model show",
    "model release",
    "model withdraw",
    "model merge",
    "model export",
    "model prove",
    "predict",
    "serve",
    "ledger show",
    "ledger status",
    "ledger prove",
    "ledger keys",
    "ledger check-proof",
    "ledger export",
    "ledger verify",
    "ledger accuse",
    "peer add",
    "peer list",
    "demo",
    "bench",
)


def help_of(command: str) -> str:
    """What ``parley COMMAND --help`` prints in a terminal of 80 columns."""
    with patch.dict(os.environ, {"COLUMNS": "80"}), redirect_stdout(io.StringIO()) as output:
        main([*command.split(), "--help"])
    return "\n".join(line.rstrip() for line in output.getvalue().strip().splitlines())


def page() -> str:
    """The whole page."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield "# Commands"
    yield ""
    yield "The help texts, as `parley COMMAND --help` prints them. Every command that answers takes `--json`,"
    yield "and every one ends with an [exit code](exit-codes.md) by the family of its error."
    for command in COMMANDS:
        yield ""
        yield f"## parley {command}".rstrip()
        yield ""
        yield "```text"
        yield help_of(command)
        yield "```"
    yield ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
