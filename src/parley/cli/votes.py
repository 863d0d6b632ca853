"""Votes: what is open, casting a ballot, and putting a sanction to the vote."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import typer
from rich.console import Console
from rich.text import Text

from parley.cli.asking import ask, read
from parley.cli.options import DEFAULT_HOME, HomeOption, JsonOption, group
from parley.cli.output import answer
from parley.core.errors import UsageError
from parley.ledger.contract.consortium import VoteKind
from parley.ledger.contract.rules import VERSIONS
from parley.ledger.contract.votes import Proposal
from parley.ledger.encoding import Value
from parley.party.compose import CLOCKS
from parley.party.node import without_node
from parley.party.words import SHORT, moment, subject_in_words

app = group("Put something to the vote of the members.")

MemberArgument = Annotated[str, typer.Argument(metavar="NAME", help="The member in question.")]
WhyOption = Annotated[str, typer.Option("--why", metavar="TEXT", help="The reason, for the other members.")]
DaysOption = Annotated[
    int, typer.Option("--days", metavar="N", min=1, max=90, help="Days until the vote ends.")
]
_DAY: Final = 86_400
_WEEK: Final = 7
_BLOCKS_AHEAD: Final = 50
"""Blocks that there is time for between the proposal of another engine and its beginning."""


def votes(
    *,
    everything: Annotated[bool, typer.Option("--all", help="Decided votes too.")] = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """List what the members vote on.

    \b
    Example:
      parley votes
      parley votes --all

    Two thirds of the members that were active when a vote was opened must say yes, unless they have
    agreed on another threshold; the member in question has no vote. The deciding ballot carries the
    decision out.
    """
    found = read(home, lambda ledger: ledger.proposals())
    shown = [each for each in found if everything or each.status == "open"]

    def show(console: Console) -> None:
        if not shown:
            console.print("no open votes" if not everything else "no votes yet")
        for each in shown:
            _show(console, each)

    answer({"votes": [_record(each) for each in shown]}, show, as_json=as_json)


def vote(
    proposal: Annotated[str, typer.Argument(metavar="ID", help="Of the vote; its beginning will do.")],
    ballot: Annotated[Literal["yes", "no"], typer.Argument(help="What we say; final.")],
    *,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Cast our ballot.

    \b
    Example:
      parley vote 3f9ac2 yes

    `parley votes` shows the ids. A ballot is final. Needs our running party.
    """
    identifier = read(home, lambda ledger: ledger.identify("proposal", proposal))
    receipt = ask(home, "vote.cast", {"proposal": identifier, "ballot": ballot})
    _report(home, identifier, receipt.number, as_json=as_json)


@app.command("suspend")
def suspend(
    name: MemberArgument,
    *,
    why: WhyOption,
    days: DaysOption = _WEEK,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Propose that a member may start nothing until reinstated.

    \b
    Example:
      parley propose suspend operator --why "uses scores outside the agreed purpose"
    """
    _propose(Sanction("suspend", name, why, days), home, as_json=as_json)


@app.command("reinstate")
def reinstate(
    name: MemberArgument,
    *,
    why: WhyOption,
    days: DaysOption = _WEEK,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Propose to end a member's suspension.

    \b
    Example:
      parley propose reinstate operator --why "settled in the meeting of 3 May"
    """
    _propose(Sanction("reinstate", name, why, days), home, as_json=as_json)


@app.command("remove")
def remove(
    name: MemberArgument,
    *,
    why: WhyOption,
    days: DaysOption = _WEEK,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Propose to end a membership for good.

    \b
    Example:
      parley propose remove operator --why "has left the market"

    Its keys are revoked and its name is never given again. The sequencer cannot be removed before
    the members have handed its task over.
    """
    _propose(Sanction("remove", name, why, days), home, as_json=as_json)


@app.command("threshold")
def threshold(
    kind: Annotated[VoteKind, typer.Argument(metavar="KIND", help="Of vote.")],
    yes: Annotated[int, typer.Argument(metavar="YES", min=1, max=1000, help="So many must say yes …")],
    out_of: Annotated[int, typer.Argument(metavar="OUT_OF", min=1, max=1000, help="… out of so many.")],
    *,
    days: DaysOption = _WEEK,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Propose how many must say yes in votes of a kind.

    \b
    Examples:
      parley propose threshold admit 3 4
      parley propose threshold engine 1 1

    Kinds: admit, remove, suspend, reinstate, threshold, version, sequencer, engine. At the beginning
    each needs two thirds of those who may vote; less than a majority is not possible. It holds for
    votes that are opened afterwards.

    \b
    Remedies:
      ledger-threshold-invalid  more than one half, and at most all, must say yes
    """
    subject: dict[str, Value] = {
        "kind": "threshold",
        "vote": kind,
        "threshold": {"yes": yes, "out_of": out_of},
    }
    _put(subject, days, home, as_json=as_json)


@app.command("sequencer")
def sequencer(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The member that is to order.")],
    *,
    days: DaysOption = _WEEK,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Propose that another member's machine orders the transactions.

    \b
    Example:
      parley propose sequencer operator

    The old sequencer seals the deciding vote, the new one everything after it. If the old one is
    lost and cannot do that, see `parley consortium promise`.
    """
    _put({"kind": "sequencer", "member": name}, days, home, as_json=as_json)


@app.command("engine")
def engine(
    _kind: Annotated[Literal["cometbft"], typer.Argument(metavar="cometbft", help="What is to order.")],
    *,
    after: Annotated[
        int,
        typer.Option(
            "--after", metavar="N", min=2, max=100_000, help="So many more blocks are the embedded engine's."
        ),
    ] = _BLOCKS_AHEAD,
    days: DaysOption = _WEEK,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Propose to leave the embedded engine for CometBFT.

    \b
    Examples:
      parley propose engine cometbft
      parley propose engine cometbft --after 500

    Before, every active member prepares its node with `parley consortium node`. The votes must be in
    before --after more blocks are made, otherwise the proposal is void and is made again. When it is
    accepted, the embedded engine goes on up to that block; then every running party goes over by
    itself, with the whole history, and the others do when they start. There is no way back.

    A consortium that an earlier release founded agrees on `parley propose version 4` first: from that
    version on another member goes on to that block if the sequencer is lost before it.

    \b
    Remedies:
      nodes-missing  those members have not announced a node: `parley consortium node` there
    """
    missing = read(home, lambda ledger: without_node(ledger.view))
    if missing:
        raise UsageError(
            "nodes-missing",
            f"{', '.join(missing)} announced no CometBFT node; it could make no blocks after the move",
            remedy="run `parley consortium node --listen HOST:PORT` at each of them first",
        )
    height = read(home, lambda ledger: ledger.height) + after
    _put({"kind": "engine", "height": height}, days, home, as_json=as_json)


@app.command("version")
def version(
    number: Annotated[int, typer.Argument(metavar="VERSION", min=2, help="Of the contract.")],
    *,
    after: Annotated[
        int,
        typer.Option(
            "--after", metavar="N", min=2, max=100_000, help="So many more blocks follow the rules of today."
        ),
    ] = _BLOCKS_AHEAD,
    days: DaysOption = _WEEK,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Propose to follow the rules of a later version of the contract.

    \b
    Example:
      parley propose version 4

    By then every member must run a release of Parley that knows that version; one that does not stops
    before the first block under its rules, and goes on when it has been brought up to date.

    \b
    Remedies:
      version-unknown         this release does not know it: bring Parley up to date first
      ledger-proposal-moot    the ledger follows it already
    """
    if number not in VERSIONS:
        raise UsageError(
            "version-unknown",
            f"this release of Parley knows the contract up to version {max(VERSIONS)}, not {number}",
            remedy="install a release that knows it, here and at every other member, and propose it then",
        )
    height = read(home, lambda ledger: ledger.height) + after
    _put({"kind": "version", "version": number, "height": height}, days, home, as_json=as_json)


@dataclass(frozen=True)
class Sanction:
    """What is put to the vote about a member's standing, and for how many days."""

    kind: str
    member: str
    why: str
    days: int


def _propose(sanction: Sanction, home: Path, *, as_json: bool) -> None:
    subject: dict[str, Value] = {"kind": sanction.kind, "member": sanction.member, "why": sanction.why}
    _put(subject, sanction.days, home, as_json=as_json)


def _put(subject: dict[str, Value], days: int, home: Path, *, as_json: bool) -> None:
    body: dict[str, Value] = {"subject": subject, "until": int(CLOCKS.wall()) + days * _DAY}
    receipt = ask(home, "vote.propose", body)
    _report(home, receipt.transaction, receipt.number, as_json=as_json)


def _report(home: Path, identifier: str, number: int, *, as_json: bool) -> None:
    """Show how a vote stands after what we did."""
    proposal = read(home, lambda ledger: ledger.draft.known(Proposal, f"proposal/{identifier}"))

    def show(console: Console) -> None:
        console.print(Text(f"on the ledger as record {number}"))
        _show(console, proposal)

    answer({"record": number} | _record(proposal), show, as_json=as_json)


def _missing(proposal: Proposal) -> list[str]:
    """Who may still vote."""
    if proposal.status != "open":
        return []
    return [voter for voter in proposal.electorate if voter not in proposal.ballots]


def _record(proposal: Proposal) -> dict[str, object]:
    return {
        "id": proposal.id,
        "subject": subject_in_words(proposal.subject.value()),
        "by": proposal.by,
        "status": proposal.status,
        "needed": proposal.needed,
        "ballots": proposal.ballots,
        "missing": _missing(proposal),
        "until": proposal.until,
    }


def _show(console: Console, proposal: Proposal) -> None:
    style = {"accepted": "green", "rejected": "red"}.get(proposal.status, "cyan")
    console.print(
        Text.assemble(
            (proposal.id[:SHORT], "bold"),
            f"  {subject_in_words(proposal.subject.value())}  ",
            (proposal.status, style),
        )
    )
    cast = (
        ", ".join(f"{voter} {ballot}" for voter, ballot in sorted(proposal.ballots.items())) or "nobody yet"
    )
    console.print(
        Text(f"  proposed by {proposal.by}; yes needed: {proposal.needed} of {_electorate(proposal)}")
    )
    console.print(Text(f"  said so far: {cast}"))
    missing = _missing(proposal)
    if missing:
        console.print(Text(f"  not yet: {', '.join(missing)}, until {moment(proposal.until)}"))


def _electorate(proposal: Proposal) -> str:
    return f"{len(proposal.electorate)} ({', '.join(proposal.electorate)})"
