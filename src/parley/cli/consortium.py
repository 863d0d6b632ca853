"""Founding a consortium, inviting, joining, and who belongs to it."""

import asyncio
from typing import Annotated, Final, Literal

import typer
from rich.console import Console
from rich.text import Text

from parley.cli.asking import read, settled
from parley.cli.options import DEFAULT_HOME, HomeOption, JsonOption, group
from parley.cli.output import Failure, Problem, answer, columns, facts
from parley.ledger.contract.votes import Proposal
from parley.party import compose
from parley.party.words import SHORT, moment
from parley.protocols import control
from parley.store.home import Home

app = group("The consortium: the organisations that share one ledger.")

RoleOption = Annotated[
    Literal["holder", "observer"],
    typer.Option(
        "--role", help="A holder has tables and takes part in runs; an observer only votes and cosigns."
    ),
]
_DAY: Final = 24


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of the consortium, for people.")],
    *,
    role: RoleOption = "holder",
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Found a consortium, with us as its first member.

    \b
    Example:
      parley consortium create "credit scoring"

    Afterwards start the party with `parley up` and invite the others with `parley invite`. Our
    machine orders the transactions from then on; every member checks and signs what it orders.
    The keys of our membership are in keys/ of the home folder. Put recovery.key into a safe: it
    replaces the others when they are lost or stolen.

    \b
    Remedies:
      address-unknown    say in parley.toml how others reach us: address = "bank.example:7443"
      consortium-exists  a home belongs to one consortium; make another home
    """
    identifier = compose.create_consortium(home, name, role)
    party = Home.open(home).settings.party

    def show(console: Console) -> None:
        console.print(Text(f"{party} has founded {name!r} and is its only member so far"))
        facts(
            console,
            [
                ("ledger", identifier),
                ("keys", f"{home / 'keys'}; put recovery.key into a safe"),
                ("next", "parley up, then parley invite NAME"),
            ],
        )

    record = {"consortium": identifier, "name": name, "party": party, "role": role}
    answer(record, show, as_json=as_json)


@app.command("node")
def node(
    *,
    listen: Annotated[
        str,
        typer.Option(
            "--listen", metavar="HOST:PORT", help="Where our node listens for the nodes of the others."
        ),
    ],
    address: Annotated[
        str,
        typer.Option(
            "--address", metavar="HOST:PORT", help="Where they reach it; by default that is --listen itself."
        ),
    ] = "",
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Prepare our CometBFT node, and announce it on the ledger.

    \b
    Examples:
      parley consortium node --listen 127.0.0.1:26656
      parley consortium node --listen 0.0.0.0:26656 --address bank.example:26656

    A consortium of four or more can leave the embedded engine for CometBFT, which no single member
    can stop. First every member runs this command; then `parley propose engine cometbft` puts the
    move to the vote. `parley up` starts the node when CometBFT orders, and not before. Its files are
    in node/ of the home folder; the key that signs its votes is our cosigning key.

    If our party is not running, the announcement is made when it starts; if it belongs to no
    consortium yet, when it joins one. Who joins where CometBFT orders prepares its node before. A
    node that has been moved listens at the new place after the next start of the party.

    \b
    Remedies:
      cometbft-missing  install CometBFT as the message says, or name the binary in PARLEY_COMETBFT
      address-unknown   name with --address where the others reach us
      socket-path-long  move the home folder to a shorter path
    """
    said = asyncio.run(compose.prepare_node(home, listen, address))
    receipt = None if said is None else settled("member.announce-node", said)
    opened = Home.open(home)
    where = address or listen

    def show(console: Console) -> None:
        console.print(Text(f"{opened.settings.party} has a CometBFT node, reached at {where}"))
        announced = "when the party joins or starts" if receipt is None else f"as record {receipt.number}"
        facts(
            console,
            [
                ("listens on", f"{listen}, once CometBFT orders"),
                ("announced", announced),
                ("next", "when all members have done so: parley propose engine cometbft"),
            ],
        )

    record = {"listen": listen, "address": where, "record": None if receipt is None else receipt.number}
    answer(record, show, as_json=as_json)


@app.command("rotate")
def rotate(
    _kind: Annotated[Literal["cosigning"], typer.Argument(metavar="cosigning", help="Which key.")],
    *,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Replace our cosigning key by a new one.

    \b
    Example:
      parley consortium rotate cosigning

    The key signs checkpoints and, with CometBFT, the votes of our node. The new one is made in keys/
    of the home folder and holds from the record on that says so. A CometBFT node, which votes with
    the old one on one block more, is then started anew by itself. The old key stays beside it as
    cosigning.key.old until you delete it. Needs our running party.
    """
    receipt = settled("key.rotate", asyncio.run(compose.rotate_key(home)))

    def show(console: Console) -> None:
        console.print(Text(f"our cosigning key is a new one, as of record {receipt.number}"))
        facts(console, [("keys", f"{home / 'keys'}; make a new copy of cosigning.key")])

    answer({"record": receipt.number}, show, as_json=as_json)


@app.command("promise")
def promise(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The member that is to order.")],
    *,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Promise that another member orders, because the sequencer is lost.

    \b
    Example:
      parley consortium promise operator

    Only for a sequencer that does not come back: while it runs, `parley propose sequencer` hands its
    task over. When the operators of more than half of the members, the lost one counted, have
    promised the same name, that member orders from then on, and nothing that was final is lost.
    Until then our party signs nothing more for the old one, after a restart neither; a promise is
    taken back only by a promise of another name. See docs/handover.md. Needs our running party.

    \b
    Remedies:
      not-a-successor  name an active member that does not order already
      no-sequencer     CometBFT orders, or is about to; see `parley ledger status` for who is missing
      move-decided     the members have voted for CometBFT: start the sequencer again, or a copy of it
    """
    said = asyncio.run(compose.promise(home, name))
    if isinstance(said, control.Failed):
        raise Failure(Problem(said.family, said.code, said.what, said.remedy))
    epoch = int(said.report)

    def show(console: Console) -> None:
        console.print(Text(f"promised that {name} orders from now on, in epoch {epoch}"))
        facts(console, [("next", f"the other members do the same; then {name} orders by itself")])

    answer({"successor": name, "epoch": epoch}, show, as_json=as_json)


def invite(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The newcomer's own name, as in its `init`.")],
    *,
    role: RoleOption = "holder",
    hours: Annotated[
        int, typer.Option("--hours", metavar="N", min=1, max=2000, help="Hours until the string expires.")
    ] = _DAY,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Invite an organisation: prints one string for it.

    \b
    Example:
      parley invite operator
      parley invite regulator --role observer --hours 72

    Send the string over a channel that you trust: whoever has it can join in the newcomer's name,
    once, until it expires. It holds our address, the fingerprint of our certificate, and a secret.
    The members vote on every newcomer; we vote yes by inviting. Needs our running party.

    \b
    Remedies:
      party-not-running    start ours: `parley up`
      ledger-member-known  the name is or was a member's; the newcomer needs another
    """
    invitation, said = asyncio.run(compose.invite(home, name, role, hours))
    receipt = settled("vote.propose", said)
    proposal = read(home, lambda ledger: ledger.draft.known(Proposal, f"proposal/{receipt.transaction}"))
    missing = [voter for voter in proposal.electorate if voter not in proposal.ballots]
    if proposal.status != "open":
        missing = []
    record = {
        "invitation": invitation.text,
        "name": name,
        "role": role,
        "until": invitation.until,
        "proposal": proposal.id,
        "status": proposal.status,
        "needed": proposal.needed,
        "missing": missing,
    }

    def show(console: Console) -> None:
        console.print(Text(f"{name} joins as {role} until {moment(invitation.until)} with"))
        console.print()
        console.print(Text(f"parley join {invitation.text}"), soft_wrap=True)
        console.print()
        console.print(Text(_still_needed(proposal, missing)))

    answer(record, show, as_json=as_json)


def _still_needed(proposal: Proposal, missing: list[str]) -> str:
    if not missing:
        return "no further vote is needed"
    count = proposal.needed - proposal.count("yes")
    votes = "vote is" if count == 1 else "votes are"
    whose = ", ".join(missing)
    return f"{count} more yes {votes} needed before, of {whose}: parley vote {proposal.id[:SHORT]} yes"


def join(
    invitation: Annotated[
        str, typer.Argument(metavar="STRING", help="What `parley invite` printed at a member.")
    ],
    *,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Join a consortium with an invitation.

    \b
    Example:
      parley join parley1.lqhvcGVyYXRvcq4x...

    The inviting party must be running. We check its certificate against the string, make our keys,
    and learn where everybody is; nothing else is needed. Then start our party with `parley up`:
    it fetches and checks the whole ledger, and with its signature our membership becomes final.

    \b
    Remedies:
      bad-invitation          copy the whole line; no letter may be missing
      invitation-for-another  it names another party than ours; ask for one in our name
      invitation-expired      ask for a new one
      invitation-not-open     it was used or replaced; ask for a new one
      not-invited             the members have not voted for us yet
      node-not-prepared       CometBFT orders there: run `parley consortium node` first
    """
    came = asyncio.run(compose.join(home, invitation))

    def show(console: Console) -> None:
        console.print(Text(f"{came.name} has joined, by invitation of {came.inviter}"))
        facts(
            console,
            [
                ("ledger", came.consortium),
                ("keys", f"{home / 'keys'}; put recovery.key into a safe"),
                ("next", "parley up"),
            ],
        )

    record = {"party": came.name, "inviter": came.inviter, "consortium": came.consortium}
    answer(record, show, as_json=as_json)


def members(*, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List the members of the consortium.

    \b
    Example:
      parley members

    The sequencer's machine orders the transactions. It can delay, but neither invent nor change:
    every other member executes all of it before it signs. Where CometBFT orders there is none; the
    nodes that members have announced for it are listed. Works while the party is down too.
    """
    known = read(home, lambda ledger: ledger.members())

    def show(console: Console) -> None:
        nodes = ["node"] if any(each.node for each in known) else []
        table = columns("member", "role", "standing", "since", "address", "", *nodes)
        for each in known:
            style = {"active": "green", "suspended": "red", "removed": "dim"}.get(each.standing, "cyan")
            table.add_row(
                each.name,
                each.role,
                Text(each.standing, style=style),
                moment(each.since),
                each.address or "unknown",
                "sequencer" if each.sequencer else "",
                *([each.node.partition("@")[2] or "none"] if nodes else []),
            )
        console.print(table)

    answer({"members": known}, show, as_json=as_json)
