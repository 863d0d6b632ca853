"""Receipts: proving single records of the ledger to others."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from parley.cli.asking import read
from parley.cli.files import contents, write
from parley.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from parley.cli.output import Failure, Problem, answer
from parley.core.errors import UsageError
from parley.ledger.block import Leaf
from parley.ledger.notes import NoteError, NoteKey
from parley.ledger.proof import Proven, Receipt, ReceiptRefused, Trust, verify_receipt
from parley.party.chronicle import Entry
from parley.party.proving import prove as make_receipt
from parley.party.proving import trust as trust_in
from parley.party.words import deed, moment
from parley.serving.proof import Prediction, is_proof
from parley.serving.proof import verify as verify_prediction


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
    receipt = read(home, lambda ledger: make_receipt(ledger, number))
    path = out or Path(f"record-{number}.receipt")
    write(path, receipt.encoded())

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
    trust, quorum = read(home, trust_in)
    logs, cosigners = (tuple(key.text for key in each) for each in (trust.log, trust.cosigners))
    path = out or Path("ledger.keys")
    write(path, msgspec.json.encode(_Keys(trust.consortium, trust.origin, quorum, logs, cosigners)))
    members = [key.name for key in trust.cosigners]

    def show(console: Console) -> None:
        words = f"{path} holds the keys of {', '.join(members)}; {quorum} of them must have signed a receipt"
        console.print(Text(words))

    answer({"file": str(path), "members": members, "quorum": quorum}, show, as_json=as_json)


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
    """Check a receipt, or the proof of a prediction: who did what, and that the members signed for it.

    \b
    Examples:
      parley ledger check-proof approval.receipt
      parley ledger check-proof approval.receipt --keys credit.keys

    With --keys no home is needed. A receipt proves that the request stands in the agreed history;
    whether the contract accepted it is told by a member's `parley ledger show`, and follows from a
    replay of the whole ledger. A file from `parley model prove` is checked in the same way.
    """
    data = contents(file)
    trust, quorum = read(home, trust_in) if keys is None else _trusted(keys)
    try:
        if is_proof(data):
            _show_prediction(verify_prediction(data, trust, quorum), as_json=as_json)
            return
        proven = verify_receipt(data, trust, quorum)
    except ReceiptRefused as error:
        problem = Problem("refused", "receipt-refused", f"{file} proves nothing: {error}", _GET_ANOTHER)
        raise Failure(problem) from None
    _show_record(data, proven, as_json=as_json)


def _show_prediction(found: Prediction, *, as_json: bool) -> None:
    proven = found.committed
    sender, time = proven.signed.transaction.sender, proven.time
    record = {
        "model": found.model,
        "batch": found.batch,
        "record": proven.index,
        "sender": sender,
        "id": found.id,
        "basis": found.basis,
        "margins": found.margins,
        "cosigners": proven.cosigners,
        "time": time,
    }

    def show(console: Console) -> None:
        margins = ", ".join(f"{each:.10g}" for each in found.margins)
        console.print(Text(f"{sender} answered for id {found.id} with margin {margins} ({found.basis})"))
        at = "" if time is None else f", signed at {moment(time)} by {', '.join(proven.cosigners)}"
        console.print(Text(f"  by model {found.model}, batch {found.batch}, record {proven.index}{at}"))

    answer(record, show, as_json=as_json)


def _show_record(data: bytes, proven: Proven, *, as_json: bool) -> None:
    asked = proven.signed.transaction
    leaf = Leaf.decoded(Receipt.decoded(data).leaf)
    entry = Entry(
        number=proven.index,
        height=leaf.height,
        time=leaf.time,
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
        known = msgspec.json.decode(contents(path), type=_Keys)
        return known.trust(), known.quorum
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, NoteError) as error:
        raise UsageError(
            "keys-unreadable",
            f"{path} holds no members' keys: {error}",
            remedy="get a file that `parley ledger keys` wrote",
        ) from None
