"""The settings of the party."""

import msgspec
from rich.console import Console
from rich.text import Text

from parley.cli import options
from parley.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from parley.cli.output import answer, columns
from parley.store.settings import SETTINGS_FILE, explained

app = options.group("The settings of the party.")


@app.callback()
def _config() -> None:
    """Keep `show` a command of its own while it is the only one."""


@app.command("show")
def show_settings(*, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Show every setting: its value, where that comes from, and what it means.

    \b
    Example:
      parley config show

    They stand in parley.toml in the home folder, to be edited at will; one that is left out has its
    default. A running party uses what it read when it started: stop and start it.

    \b
    Remedies:
      bad-settings   correct the line that the message names
    """
    settings = explained(home)

    def show(console: Console) -> None:
        console.print(Text(str(home / SETTINGS_FILE)))
        table = columns("setting", "value", "from", "meaning")
        for each in settings:
            value = msgspec.json.encode(each.value).decode()
            table.add_row(each.name, Text(value), each.source, Text(each.help))
        console.print(table)

    answer({"file": str(home / SETTINGS_FILE), "settings": settings}, show, as_json=as_json)
