"""Where the party keeps its peers, tables and runs."""

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from parley.cli import options
from parley.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from parley.cli.output import answer
from parley.store.home import Home
from parley.store.moving import move

app = options.group("Where the party keeps its peers, tables and runs.")


@app.callback()
def _store() -> None:
    """Keep `move` a command of its own while it is the only one."""


@app.command("move")
def move_store(
    *,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="URL",
            help="postgresql://USER:${VARIABLE}@HOST/DATABASE, or sqlite for the home; left out: where "
            "parley.toml says.",
        ),
    ] = "",
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Move peers, tables and runs to another database, and say so in parley.toml.

    \b
    Examples:
      parley store move --to 'postgresql://parley:${PARLEY_DB_PASSWORD}@db/parley?sslmode=verify-full'
      parley store move --to sqlite

    The party must be stopped, and no other command be under way. Everything arrives or nothing does.
    The file is put aside as party.db.moved; what was in PostgreSQL stays there, to be dropped by you.

    Our tables are in a schema of their own, parley_NAME, so parties may share a database. The single
    quotes keep ${VARIABLE} as it is: it is looked up whenever the store is used, and no password is
    written into parley.toml.

    \b
    Remedies:
      party-running          stop `parley up` first
      store-unreachable      see that the server runs, and that `psql URL` gets in
      store-variable-unset   export the variable
      store-failed           the user needs CREATE on the database, or a schema that is its own
      store-not-empty        another party's, or an earlier try: name another with store_schema
    """
    moved = move(Home.open(home), to)

    def show(console: Console) -> None:
        console.print(Text(f"the store is {moved.target} now"))
        console.print(Text(", ".join(f"{count} {table}" for table, count in moved.rows.items())))
        if moved.aside is not None:
            console.print(Text(f"the file that held it is kept as {moved.aside}"))

    answer(moved, show, as_json=as_json)
