"""Whom we know."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from parley.cli.options import DEFAULT_HOME, HomeOption, JsonOption, group
from parley.cli.output import answer, columns, facts, read_aloud
from parley.core.errors import UsageError
from parley.net.certificates import fingerprint_of, grouped
from parley.party.peers import register_peer
from parley.store.catalogue import Peer
from parley.store.home import Home

app = group("Our peers, each known by the certificate of its authority.")


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The peer's own name, as in its certificate.")],
    *,
    certificate: Annotated[
        Path, typer.Option("--certificate", metavar="FILE", help="The certificate that the peer handed over.")
    ],
    address: Annotated[
        str,
        typer.Option(
            "--address", metavar="HOST:PORT", help="Where it listens; left out if only the peer dials us."
        ),
    ] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="Accept another certificate than the one pinned before.")
    ] = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Get to know a peer by its certificate.

    \b
    Example:
      parley peer add operator --address operator.example:7443 --certificate operator.pem

    The certificate is that of the peer's own authority. From now on the peer is accepted by what
    this very authority signs, and by no other. The party that holds the label dials the others, so
    it needs their addresses; they need no address of it.

    Adding a peer again changes its address. If its certificate differs from the pinned one, this
    is refused until you have compared fingerprints and say --replace. That goes before what our
    copy of the ledger has of a member now, and links under the old certificate end at once.
    """
    try:
        pem = certificate.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            "certificate-unreadable",
            f"{certificate} cannot be read as a certificate: {getattr(error, 'strerror', 'it is not text')}",
            remedy="name the file that `parley identity` shows at the peer",
        ) from error
    register_peer(Home.open(home), Peer(name, address, pem), replace=replace)
    record = {"peer": name, "address": address, "fingerprint": grouped(fingerprint_of(pem))}

    def show(console: Console) -> None:
        console.print(Text(f"{name} is known now; compare its fingerprint by telephone"))
        facts(
            console,
            [
                ("address", address or "none: it dials us"),
                ("fingerprint", read_aloud(record["fingerprint"])),
            ],
        )

    answer(record, show, as_json=as_json)


@app.command("list")
def list_peers(*, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List the peers, addresses and fingerprints.

    \b
    Example:
      parley peer list
    """
    peers = [
        {
            "peer": peer.name,
            "address": peer.address,
            "fingerprint": grouped(fingerprint_of(peer.certificate)),
        }
        for peer in Home.open(home).catalogue.peers().values()
    ]

    def show(console: Console) -> None:
        if not peers:
            console.print("no peers yet; add one with `parley peer add`")
            return
        table = columns("peer", "address", "fingerprint")
        for each in peers:
            table.add_row(
                each["peer"], each["address"] or "none: it dials us", read_aloud(each["fingerprint"])
            )
        console.print(table)

    answer({"peers": peers}, show, as_json=as_json)
