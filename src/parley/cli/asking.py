"""Asking our running party to put something on the ledger, and reading what the ledger holds."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from parley.cli.output import Failure, Problem
from parley.ledger.contract import Receipt
from parley.ledger.encoding import Value
from parley.party.chronicle import Chronicle
from parley.party.compose import transact
from parley.party.ledger import READ_HISTORY, REMEDIES
from parley.protocols import control
from parley.store.home import Home

R = TypeVar("R")


def read(home: Path, question: Callable[[Chronicle], R]) -> R:
    """Ask our own copy of the ledger something."""
    with Chronicle.open(Home.open(home)) as chronicle:
        return question(chronicle)


def ask(home: Path, act: str, body: Mapping[str, Value]) -> Receipt:
    """Have our running party sign and submit a transaction; its receipt, once it is final and accepted.

    Raises:
        Failure: it was refused or dropped.
        UsageError: the party is not running.
    """
    return settled(act, asyncio.run(transact(home, act, dict(body))))


def settled(act: str, answer: control.Done | control.Failed) -> Receipt:
    """The receipt in the party's answer, if it is one of an acceptance.

    Raises:
        Failure: it is not.
    """
    if isinstance(answer, control.Failed):
        raise Failure(Problem(answer.family, answer.code, answer.what, answer.remedy))
    receipt = msgspec.json.decode(answer.report, type=Receipt)
    if not receipt.accepted:
        remedy = REMEDIES.get(receipt.code, READ_HISTORY)
        what = f"the ledger refused {act} as receipt {receipt.number}: {receipt.reason}"
        raise Failure(Problem("refused", f"ledger-{receipt.code}", what, remedy))
    return receipt
