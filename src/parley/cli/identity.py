"""Who we are, and certificates: showing, renewing and replacing them."""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from parley.cli.options import DEFAULT_HOME, HomeOption, JsonOption, group
from parley.cli.output import Failure, Problem, answer, facts, read_aloud
from parley.ledger.contract import Receipt
from parley.net.authority import CA_KEY_FILE
from parley.net.certificates import CA_FILE, SINGLE_FILE, Identity, grouped, valid_until
from parley.party import compose
from parley.party.credentials import next_identity, rotate_leaf
from parley.protocols import control
from parley.store.home import Home


class _Identity(TyperGroup):
    """`parley identity` means `parley identity show`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 (typer has its own click)
        """Put the command in where it was left out."""
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["show", *args]
        return super().parse_args(ctx, args)


_TEXT: Final = """Who we are: show, renew, replace our certificates.

\b
Example:
  parley identity

That is short for `parley identity show`; see its help.
"""

app = group(_TEXT, cls=_Identity)


@app.command("show")
def show(*, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Say who we are: name, fingerprints, certificates and their last days.

    \b
    Example:
      parley identity show

    Send the certificate file to the peer by any means; it is not secret. Then read the
    fingerprint to one another by telephone. Whoever has the same sixteen groups on the screen
    has the right file.

    It is the certificate of our authority, which lasts ten years and signs the one that TLS uses.
    That one is renewed by our running party when a third of its 90 days is left, and nobody has to
    be told. ca.key of the folder identity/ is needed for that and for nothing else: whoever keeps
    it elsewhere brings it back for `parley identity rotate`.

    A home made by an earlier release has one certificate that signs itself, until `parley identity
    replace`.
    """
    opened = Home.open(home)
    record = described(Identity.load(opened.identity_folder), home, opened.settings.listen)
    leaf, authority = record["leaf"], record["authority"]

    def tell(console: Console) -> None:
        lines = [
            ("party", record["party"]),
            ("listens on", record["listen"] or "no port: it dials out"),
            ("certificate", record["certificate"]),
            ("fingerprint", read_aloud(record["fingerprint"])),
        ]
        if authority is None:
            lines.append(("valid until", _days(leaf)))
        else:
            lines += [
                ("valid until", _days(authority)),
                ("its key", "in ca.key" if authority["key"] else f"kept elsewhere: no {CA_KEY_FILE} here"),
                ("TLS", f"a certificate valid until {_days(leaf)}"),
                ("", read_aloud(leaf["fingerprint"])),
            ]
        if record["replacing"]:
            lines.append(("replaced by", read_aloud(record["replacing"])))
        facts(console, lines)

    answer(record, tell, as_json=as_json)


@app.command("rotate")
def rotate(
    *,
    ca_key: Annotated[
        Path | None,
        typer.Option("--ca-key", metavar="FILE", help="Where ca.key is, if not in identity/ of the home."),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Make a new key and certificate for TLS, signed by our authority.

    \b
    Examples:
      parley identity rotate
      parley identity rotate --ca-key /media/safe/ca.key

    Our running party uses it for new connections within a second; links that stand go on, and no
    run notices. Peers need not be told: they pin our authority, which stays. The old certificate
    counts until it ends, so if its key was stolen, run `parley identity replace` instead.

    \b
    Remedies:
      authority-key-missing  bring ca.key back from where it is kept, or name it with --ca-key
      authority-key-wrong    it is the key of another authority, maybe of one that was replaced
      no-authority           a home made by an earlier release: run `parley identity replace`
    """
    opened = Home.open(home)
    rotate_leaf(opened.identity_folder, key=ca_key)
    record = described(Identity.load(opened.identity_folder), home, opened.settings.listen)

    def tell(console: Console) -> None:
        console.print(Text("TLS has a new certificate; our peers need not be told"))
        facts(console, [("valid until", _days(record["leaf"]))])

    answer(record, tell, as_json=as_json)


@app.command("replace")
def replace(
    *,
    at_once: Annotated[
        bool,
        typer.Option(
            "--at-once", help="Do not wait for the ledger; peers let us in after `parley peer add` there."
        ),
    ] = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Replace our authority and certificate, because a key was stolen or lost.

    \b
    Example:
      parley identity replace

    In a consortium our running party announces the new authority on the ledger, signed with our
    signing key, and uses it from then on. Every member whose ledger has it refuses the old one and
    ends links under it, and new links come up; runs go on by themselves. If our party is not
    running, that happens when it is started.

    Peers without a ledger have to be told: send them the new certificate, compare fingerprints by
    telephone, and have them run `parley peer add NAME --certificate FILE --replace`. With --at-once
    members whose ledger does not have it yet have to do that too; it is for an old certificate
    that is lost, or has ended. See docs/certificates.md.

    \b
    Remedies:
      ledger-not-final  the other members do not answer; it is announced as soon as they do
    """
    before = Home.open(home)
    said = asyncio.run(compose.replace_identity(home, at_once=at_once))
    if isinstance(said, control.Failed):
        raise Failure(Problem(said.family, said.code, said.what, said.remedy))
    receipt = None if said is None else msgspec.json.decode(said.report, type=Receipt | None)
    folder = before.identity_folder
    record = described(Identity.load(folder), home, before.settings.listen)
    record["record"] = None if receipt is None else receipt.number

    def tell(console: Console) -> None:
        if record["replacing"] and not at_once:
            console.print(Text("a new authority is ready; `parley up` announces it and then uses it"))
        else:
            console.print(Text("we have a new authority and certificate; the old ones do not count any more"))
        lines = [("fingerprint", read_aloud(record["replacing"] or record["fingerprint"]))]
        if receipt is not None:
            lines.append(("announced", f"as record {receipt.number}"))
        if before.membership is None or at_once:
            lines.append(("next", f"have every peer pin {record['certificate']}, with --replace"))
        facts(console, lines)

    answer(record, tell, as_json=as_json)


def described(identity: Identity, home: Path, listen: str) -> dict[str, Any]:
    """Who we are, as commands print it."""
    folder = home / "identity"
    pinned = CA_FILE if identity.has_authority else SINGLE_FILE
    following = next_identity(folder)
    authority = None
    if identity.has_authority:
        ends = valid_until(identity.certificate_pem)
        authority = {"until": _stamp(ends), "days_left": _left(ends), "key": (folder / CA_KEY_FILE).exists()}
    return {
        "party": identity.party,
        "home": str(home),
        "listen": listen,
        "certificate": str(folder / pinned),
        "fingerprint": grouped(identity.fingerprint),
        "authority": authority,
        "leaf": {
            "fingerprint": grouped(identity.leaf_fingerprint),
            "until": _stamp(identity.ends),
            "days_left": _left(identity.ends),
        },
        "replacing": None if following is None else grouped(following.fingerprint),
    }


def _days(record: dict[str, Any]) -> str:
    return f"{record['until'][:10]}, {record['days_left']} days"


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _left(ends: datetime) -> int:
    return (ends - datetime.fromtimestamp(time.time(), UTC)).days
