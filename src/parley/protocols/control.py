"""How a party's own command line asks its running party for a run.

    client (same certificate)                            party
                              ── Submit | Transact ───────▶ a plan, or a transaction for the ledger
                              ◀───────────── Progress … ──
                              ◀────────── Done | Failed ──

Only who holds the party's own key gets here; nothing of it crosses to a peer. A client that goes away
does not harm the run.
"""

from typing import Final

from parley.core.conversation import Choice, Message, Repeat, Step, steps

CLIENT: Final = "client"
PARTY: Final = "party"


class Submit(Message, frozen=True):
    """``plan``: TOML text."""

    plan: str


class Transact(Message, frozen=True):
    """``act``: type of a transaction for the party to sign and submit; ``body``: its body as JSON."""

    act: str
    body: bytes


class Progress(Message, frozen=True):
    """Where a phase stands: ``done`` of ``total`` units; ``seconds`` is negative while it runs."""

    phase: str
    done: int
    total: int
    unit: str
    detail: str
    seconds: float


class Done(Message, frozen=True):
    """``report``: JSON of the run's report, or of the transaction's receipt."""

    report: bytes


class Failed(Message, frozen=True):
    """The error as its own party may see it."""

    family: str
    code: str
    what: str
    remedy: str


STEPS: Final = steps(
    "control",
    1,
    Choice(Step(CLIENT, PARTY, Submit), Step(CLIENT, PARTY, Transact)),
    Repeat(Step(PARTY, CLIENT, Progress)),
    Choice(Step(PARTY, CLIENT, Done), Step(PARTY, CLIENT, Failed)),
)
