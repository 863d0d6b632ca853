"""Making a party."""

from typing import Annotated

import typer
from rich.console import Console

from parley.cli.identity import described
from parley.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from parley.cli.output import answer, facts, read_aloud
from parley.party.compose import found
from parley.store.settings import Settings, checked_store


def init(
    *,
    name: Annotated[
        str,
        typer.Option(
            "--name",
            metavar="NAME",
            help="Our name: a-z, 0-9 and '-', a letter first. Peers and plans use it.",
        ),
    ],
    listen: Annotated[
        str,
        typer.Option(
            "--listen",
            metavar="HOST:PORT",
            help="The one port. 127.0.0.1 is reached from this machine only, 0.0.0.0 from every network, "
            "'' opens none: we only dial out.",
        ),
    ] = "127.0.0.1:7443",
    threads: Annotated[
        int,
        typer.Option(
            "--threads", metavar="N", min=0, max=1024, help="Threads of computations; 0: one per core."
        ),
    ] = 0,
    minimum_rows: Annotated[
        int,
        typer.Option(
            "--minimum-rows",
            metavar="N",
            min=1,
            help="Smallest number of rows behind any sum that we give away.",
        ),
    ] = 10,
    store: Annotated[
        str,
        typer.Option(
            "--store",
            metavar="URL",
            help="PostgreSQL database for peers, tables and runs; left out: a file in the home.",
        ),
    ] = "",
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Make a party: home folder, key and certificate.

    \b
    Examples:
      parley init --name bank --listen 0.0.0.0:7443
      parley init --name operator --listen ''
      parley init --name bank --store 'postgresql://parley:${PARLEY_DB_PASSWORD}@db/parley'

    With --listen '' nobody dials us: we dial every peer whose address we know and keep that link, over
    which the peer reaches us too. Two such parties reach one another through a member with
    relay = true in its parley.toml, which cannot read what it passes on.

    The folder holds parley.toml (these settings, to be edited at will), identity/ (keys and
    certificates), party.db (peers, tables, runs) and models/. No key ever leaves it; back it up.
    With --store the database holds what party.db would, and `parley store move` moves it later.
    identity/ca.pem is the certificate for every peer: see `parley identity`. Its key, ca.key, may be
    kept elsewhere; then bring it back every 60 days for `parley identity rotate`.

    If the folder already is a party's home, nothing is changed: choose another one.
    """
    settings = Settings(
        party=name, listen=listen, threads=threads, minimum_rows=minimum_rows, store=checked_store(store)
    )
    record = described(found(home, settings), home, listen)

    def show(console: Console) -> None:
        console.print(f"{name} has a home in {home}", markup=False)
        facts(
            console,
            [
                ("listens on", f"{listen}, once `parley up` runs" if listen else "no port: it dials out"),
                ("certificate", f"{record['certificate']}, for your peers"),
                ("fingerprint", read_aloud(record["fingerprint"])),
            ],
        )

    answer(record, show, as_json=as_json)
