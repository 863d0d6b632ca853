"""How a program of a party that serves predictions hears the terms of its model, and accounts for them.

    program                                              party
                              ── Attend model ─────────▶
                              ◀────────────── Terms … ──  what the ledger says, again whenever it changes,
                                                          and every few seconds
                              ── Page … ───────────────▶  the root over some predictions, and how many
                              ◀── Entered | Refused … ──  its batch on the ledger, after terms that count
                                                          it; or why it has none

Both are programs of one organisation: nothing here crosses to a peer.
"""

from typing import Final

from parley.core.conversation import Choice, Message, Repeat, Step, steps

PROGRAM: Final = "program"
PARTY: Final = "party"


class Attend(Message, frozen=True):
    """``model``: whose terms are wanted."""

    model: str


class Terms(Message, frozen=True):
    """On which terms a model may be used.

    ``status``: as on the ledger, or ``unknown``; ``quota``: predictions that the release allows; ``used``:
    counted of them so far; ``until``: seconds since 1970; ``active``: the party that asks; ``peers``: the
    other owners, ascending; ``share``: hash of our own share that the ledger has; ``batches``: of predictions
    that it has.
    """

    status: str
    quota: int
    used: int
    until: int
    active: str
    peers: tuple[str, ...]
    share: str
    batches: int


class Page(Message, frozen=True):
    """``page``: its name; ``root``: Merkle root over its predictions; ``count``: how many.

    ``batches``: of the model that the ledger had when the page was begun, among which it cannot be.
    """

    page: str
    root: bytes
    count: int
    batches: int


class Entered(Message, frozen=True):
    """``page``: which; ``batch``: its number among the model's batches on the ledger."""

    page: str
    batch: int


class Refused(Message, frozen=True):
    """``page``: which; ``code``, ``what``, ``remedy``: why.

    ``final``: whether the contract says so; else it could not be asked now.
    """

    page: str
    code: str
    what: str
    remedy: str
    final: bool


STEPS: Final = steps(
    "attending",
    1,
    Step(PROGRAM, PARTY, Attend),
    Repeat(
        Choice(
            Step(PROGRAM, PARTY, Page),
            Step(PARTY, PROGRAM, Terms),
            Step(PARTY, PROGRAM, Entered),
            Step(PARTY, PROGRAM, Refused),
        )
    ),
)
