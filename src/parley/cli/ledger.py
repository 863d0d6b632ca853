"""The ledger: its history in words, where our copy stands, and proofs for others."""

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated, BinaryIO, Final

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from parley.cli.asking import ask, read
from parley.cli.files import contents, not_readable, not_writable
from parley.cli.options import DEFAULT_HOME, HomeOption, JsonOption, group
from parley.cli.output import Failure, Problem, answer, columns, facts
from parley.core.errors import UsageError
from parley.ledger.engines.evidence import convictions
from parley.ledger.export import export
from parley.ledger.verifier import Difference, Verified, verify
from parley.party.chronicle import Chronicle, Entry
from parley.party.compose import look
from parley.party.proving import Snapshot, Standing, standing
from parley.party.shown.records import record_shown
from parley.party.words import deed, moment
from parley.protocols.control import Condition
from parley.store.home import Home

app = group("The ledger: what happened, as all members agree on it.")


@app.command("show")
def show_history(
    *,
    last: Annotated[
        int | None, typer.Option("--last", metavar="N", min=1, help="Only the last records; all by default.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Tell the history, one line for each record.

    \b
    Examples:
      parley ledger show --last 20
      parley ledger show --json

    Refused requests are part of it: a refusal has a number and a reason like everything else. What
    is marked as pending has not been signed by a majority yet. Works while the party is down too.
    """
    entries = read(home, lambda ledger: ledger.entries(last))

    def show(console: Console) -> None:
        table = columns("", "time", "who", "what", right=("",))
        for each in entries:
            table.add_row(str(each.number), moment(each.time), each.sender, _told(each))
        console.print(table)

    answer({"records": [record_shown(each) for each in entries]}, show, as_json=as_json)


def _told(entry: Entry) -> Text:
    text = Text(deed(entry))
    if not entry.accepted:
        text.append(f"  refused: {entry.reason}", style="red")
    if not entry.final:
        text.append("  pending", style="dim")
    return text


@app.command("status")
def status(*, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Say where our copy of the ledger stands.

    \b
    Example:
      parley ledger status

    Records are final when more than half of the active members have signed for them. If a member
    "signs nothing any more", it has seen something that must not happen, such as two histories.
    While the party runs, the engine that orders is shown with its last block and its connections;
    "connected" are the members whose machines ours talks to for that just now.
    """
    condition = asyncio.run(look(home))
    stands = _stands(home, condition)
    halted = None if condition is None else condition.halted

    def show(console: Console) -> None:
        behind = stands.size - stands.final
        pairs = [
            ("consortium", f"{stands.name}  {stands.consortium}"),
            ("records", f"{stands.size:,}, of which {stands.final:,} final"),
            ("orders", stands.sequencer or "CometBFT, on the machines of all members"),
            ("signed for all", ", ".join(stands.signed) or "nobody yet"),
        ]
        if behind and stands.unsigned:
            pairs.append(("not yet", ", ".join(stands.unsigned)))
        if stands.moves_at > stands.height + 1:
            pairs.append(("decided", f"CometBFT orders from height {stands.moves_at}; now {stands.height}"))
        if condition is not None:
            pairs += _engine(condition)
        pairs.append(("our party", _condition(halted)))
        facts(console, pairs)

    engine = None if condition is None else msgspec.to_builtins(condition)
    record = {"running": condition is not None, "halted": halted, "engine": engine}
    record |= msgspec.to_builtins(stands)
    answer(record, show, as_json=as_json)


def _stands(home: Path, condition: Condition | None) -> Standing:
    """Where our copy stands; if nothing of it is here, whom our running party asks for it."""
    try:
        return read(home, standing)
    except UsageError as error:
        if error.code != "ledger-not-fetched" or condition is None:
            raise
        raise UsageError(
            "ledger-not-fetched",
            f"{error.what}; {condition.trouble}",
            remedy="leave the party running, and see that one of the other members runs and can be reached",
        ) from None


def _engine(condition: Condition) -> list[tuple[str, str]]:
    """The engine in words."""
    made = moment(condition.last_block) if condition.last_block else "none yet"
    lines = [
        ("engine", _ENGINES[condition.engine]),
        ("last block", f"{condition.height:,}, made {made}"),
        ("made by", ", ".join(condition.voters) or "nobody"),
        ("connected", ", ".join(condition.connected) or "nobody"),
    ]
    return [*lines, ("trouble", condition.trouble)] if condition.trouble else lines


_ENGINES: Final = {"embedded": "embedded: one member's machine orders, all sign", "cometbft": "CometBFT"}


def _condition(halted: str | None) -> str:
    if halted is None:
        return "is not running, so this is how it was when it stopped"
    return f"signs nothing any more: {halted}" if halted else "runs"


@app.command("accuse")
def accuse(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An evidence-….json of the ledger's folder.")],
    *,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Prove on the ledger that a member has signed two histories.

    \b
    Example:
      parley ledger accuse parley-home/ledger/evidence-5e24....json

    A party that is shown another ledger of the size of its own keeps both signed pages in such a
    file. Where one key has signed both, the ledger suspends its member at once, without a vote; how
    it came about is for the members to find out. Needs our running party.
    """
    data = contents(file)
    proofs = read(home, lambda ledger: convictions(ledger.view, data))
    records = {
        member: ask(home, "evidence.submit", {"proof": msgspec.to_builtins(proof)}).number
        for member, proof in proofs.items()
    }

    def show(console: Console) -> None:
        for member, number in records.items():
            console.print(Text(f"{member} is convicted, and suspended, as of record {number}"))

    answer({"records": records}, show, as_json=as_json)


@app.command("export")
def export_ledger(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The copy; overwritten if it is there.")],
    *,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Copy the whole ledger into one file that anyone can verify.

    \b
    Example:
      parley ledger export credit.ledger

    JSON lines: every transaction, and every checkpoint with the members' signatures. No secret is
    in it, but everything that the members said on the ledger.
    """
    partial = file.with_name(f"{file.name}.partial")
    try:
        with partial.open("wb") as target:
            size = read(home, lambda ledger: _exported(ledger, target))
        partial.replace(file)
    except OSError as error:
        raise not_writable(file, error) from None

    def show(console: Console) -> None:
        console.print(Text(f"{file} holds {size:,} records; anyone can check it with `parley ledger verify`"))

    answer({"file": str(file), "records": size}, show, as_json=as_json)


def _exported(ledger: Chronicle, target: BinaryIO) -> int:
    snapshot = Snapshot(ledger)
    export(snapshot, target)
    return snapshot.size


@app.command("verify")
def verify_ledger(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="From `parley ledger export`; else our own copy.")
    ] = None,
    *,
    consortium: Annotated[
        str,
        typer.Option(
            "--consortium", metavar="ID", help="The ledger it must be; by default that of our home."
        ),
    ] = "",
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Replay the ledger and check every signature, offline.

    \b
    Examples:
      parley ledger verify
      parley ledger verify credit.ledger --consortium 5e24...

    Nothing is believed: the contract is executed anew from the foundation on, and the first
    difference is named with its line. For a file, --consortium says which ledger it must be;
    without it and without a home of ours, the file only proves itself consistent.
    """
    origin = _origin(home, consortium)
    try:
        if file is None:
            found = read(home, lambda ledger: _verified_copy(ledger, origin))
        else:
            with file.open("rb") as lines:
                found = verify(lines, consortium=origin)
    except Difference as error:
        problem = Problem("refused", "ledger-differs", f"the ledger does not hold: {error}", _COMPARE)
        raise Failure(problem) from None
    except OSError as error:
        raise not_readable(file or home, error) from None

    def show(console: Console) -> None:
        console.print(Text(f"all of it holds: {found.leaves:,} records, {found.refused:,} refused"))
        facts(console, _findings(found))

    record = msgspec.to_builtins(found) | {"root": found.root.hex(), "state_root": found.state_root.hex()}
    answer(record, show, as_json=as_json)


_COMPARE = "do not rely on this copy; compare with another member's `parley ledger export`"


def _origin(home: Path, consortium: str) -> str:
    """The ledger it must be: the one named, or that of our home if there is one."""
    if consortium:
        return f"parley/{consortium}"
    try:
        membership = Home.open(home).membership
    except UsageError:
        return ""
    return "" if membership is None else f"parley/{membership.consortium}"


def _verified_copy(ledger: Chronicle, origin: str) -> Verified:
    with tempfile.TemporaryFile() as copy:
        _exported(ledger, copy)
        copy.seek(0)
        return verify(copy, consortium=origin)


def _findings(found: Verified) -> list[tuple[str, str]]:
    return [
        ("ledger", found.origin.removeprefix("parley/")),
        ("final", f"{found.final:,} records, signed for by more than half of the members"),
        ("signed at the end", ", ".join(found.cosigners) or "nobody yet"),
        ("root of the log", found.root.hex()),
        ("root of the state", found.state_root.hex()),
    ]
