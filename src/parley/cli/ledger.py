"""The ledger: its history in words, where our copy stands, and proofs for others."""

import asyncio
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from parley.cli.asking import read
from parley.cli.options import DEFAULT_HOME, HomeOption, JsonOption, group
from parley.cli.output import Failure, Problem, answer, columns, facts
from parley.cli.words import deed, moment
from parley.core.errors import UsageError
from parley.core.files import write_atomically
from parley.ledger.notes import NoteError, NoteKey
from parley.ledger.proof import ReceiptRefused, Trust, verify_receipt
from parley.party.chronicle import Entry
from parley.party.compose import look

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

    answer({"records": [_record(each) for each in entries]}, show, as_json=as_json)


def _told(entry: Entry) -> Text:
    text = Text(deed(entry))
    if not entry.accepted:
        text.append(f"  refused: {entry.reason}", style="red")
    if not entry.final:
        text.append("  pending", style="dim")
    return text


def _record(entry: Entry) -> dict[str, object]:
    return {
        "number": entry.number,
        "height": entry.height,
        "time": entry.time,
        "sender": entry.sender,
        "type": entry.type,
        "words": deed(entry),
        "body": entry.body,
        "digest": entry.digest,
        "code": entry.code,
        "reason": entry.reason,
        "final": entry.final,
    }


@app.command("status")
def status(*, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Say where our copy of the ledger stands.

    \b
    Example:
      parley ledger status

    Records are final when more than half of the active members have signed for them. If a member
    "signs nothing any more", it has seen something that must not happen, such as two histories.
    """
    standing = read(home, lambda ledger: ledger.standing())
    condition = asyncio.run(look(home))
    halted = None if condition is None else condition.halted

    def show(console: Console) -> None:
        behind = standing.size - standing.final
        pairs = [
            ("consortium", f"{standing.name}  {standing.consortium}"),
            ("records", f"{standing.size:,}, of which {standing.final:,} final"),
            ("sequencer", standing.sequencer or "none: CometBFT orders"),
            ("signed for all", ", ".join(standing.signed) or "nobody yet"),
        ]
        if behind and standing.unsigned:
            pairs.append(("not yet", ", ".join(standing.unsigned)))
        pairs.append(("our party", _condition(halted)))
        facts(console, pairs)

    record = {"running": condition is not None, "halted": halted} | msgspec.to_builtins(standing)
    answer(record, show, as_json=as_json)


def _condition(halted: str | None) -> str:
    if halted is None:
        return "is not running, so this is how it was when it stopped"
    return f"signs nothing any more: {halted}" if halted else "runs"


@app.command("prove")
def prove(
    number: Annotated[int, typer.Argument(metavar="RECORD", min=0, help="Its number in the history.")],
    *,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The receipt; record-N.receipt by default.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Write a receipt that proves one record to others.

    \b
    Example:
      parley ledger prove 17 --out approval.receipt

    It holds the signed request, its place in the log, and the members' signatures under the log.
    Who checks it needs the members' keys, from `parley ledger keys`, and nothing else of ours.
    """
    receipt = read(home, lambda ledger: ledger.prove(number))
    path = out or Path(f"record-{number}.receipt")
    _write(path, receipt.encoded())

    def show(console: Console) -> None:
        console.print(Text(f"{path} proves record {number}; check it with `parley ledger check-proof`"))

    answer({"record": number, "file": str(path)}, show, as_json=as_json)


class _Keys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one who checks receipts knows beforehand: whose keys, and how many of them must have signed."""

    consortium: str
    origin: str
    quorum: int
    log: tuple[str, ...]
    cosigners: tuple[str, ...]

    def trust(self) -> Trust:
        """For `verify_receipt`."""
        logs, cosigners = (tuple(NoteKey.parse(each) for each in keys) for keys in (self.log, self.cosigners))
        return Trust(self.consortium, self.origin, logs, cosigners)


@app.command("keys")
def keys(
    *,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The keys; ledger.keys by default.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Write the members' public keys for somebody who checks receipts.

    \b
    Example:
      parley ledger keys --out credit.keys

    Not secret, but whoever checks must have them from somebody it trusts.
    """
    trust, quorum = read(home, lambda ledger: ledger.trust())
    logs, cosigners = (tuple(key.text for key in each) for each in (trust.log, trust.cosigners))
    path = out or Path("ledger.keys")
    _write(path, msgspec.json.encode(_Keys(trust.consortium, trust.origin, quorum, logs, cosigners)))
    members = [key.name for key in trust.cosigners]

    def show(console: Console) -> None:
        words = f"{path} holds the keys of {', '.join(members)}; {quorum} of them must have signed a receipt"
        console.print(Text(words))

    answer({"file": str(path), "members": members, "quorum": quorum}, show, as_json=as_json)


@app.command("check-proof")
def check_proof(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A receipt from `parley ledger prove`.")],
    *,
    keys: Annotated[
        Path | None,
        typer.Option(
            "--keys", metavar="FILE", help="Keys from `parley ledger keys`; else those our ledger has."
        ),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Check a receipt: who asked for what, and that the members signed for it.

    \b
    Examples:
      parley ledger check-proof approval.receipt
      parley ledger check-proof approval.receipt --keys credit.keys

    With --keys no home is needed. A receipt proves that the request stands in the agreed history;
    whether the contract accepted it is told by a member's `parley ledger show`, and follows from a
    replay of the whole ledger.
    """
    data = _read(file)
    if keys is None:
        trust, quorum = read(home, lambda ledger: ledger.trust())
    else:
        trust, quorum = _trusted(keys)
    try:
        proven = verify_receipt(data, trust, quorum)
    except ReceiptRefused as error:
        problem = Problem("refused", "receipt-refused", f"{file} proves nothing: {error}", _GET_ANOTHER)
        raise Failure(problem) from None
    asked = proven.signed.transaction
    entry = Entry(
        number=proven.index,
        height=proven.leaf.height,
        time=proven.leaf.time,
        sender=asked.sender,
        type=asked.type,
        body=dict(asked.body),
        digest=proven.signed.digest.hex(),
        code="accepted",
        reason="",
        final=True,
    )
    record = {
        "record": entry.number,
        "time": entry.time,
        "sender": entry.sender,
        "type": entry.type,
        "words": deed(entry),
        "body": entry.body,
        "cosigners": proven.cosigners,
        "size": proven.checkpoint.size,
    }

    def show(console: Console) -> None:
        console.print(Text(f"{entry.sender} asked, as record {entry.number}: {deed(entry)}"))
        at = f"at {moment(entry.time)}, in a log of {proven.checkpoint.size:,} records"
        console.print(Text(f"  {at} that {', '.join(proven.cosigners)} have signed"))

    answer(record, show, as_json=as_json)


_GET_ANOTHER = "have it made again with `parley ledger prove`, and compare whose keys you trust"


def _trusted(path: Path) -> tuple[Trust, int]:
    try:
        known = msgspec.json.decode(_read(path), type=_Keys)
        return known.trust(), known.quorum
    except (msgspec.MsgspecError, NoteError) as error:
        raise UsageError(
            "keys-unreadable",
            f"{path} holds no members' keys: {error}",
            remedy="get a file that `parley ledger keys` wrote",
        ) from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(
            "file-unreadable", f"{path} cannot be read: {error.strerror}", remedy="name a file that is there"
        ) from None


def _write(path: Path, data: bytes) -> None:
    try:
        write_atomically(path, data)
    except OSError as error:
        raise UsageError(
            "file-not-writable",
            f"{path} cannot be written: {error.strerror}",
            remedy="name a file in a folder that you may write to",
        ) from None
