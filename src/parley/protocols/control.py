"""How a party's own command line asks its running party for a run.

    client (same certificate)                            party
                              ── Submit | Cancel | … ──────────▶  a plan, a run, a transaction, …
                              ◀───────────── Progress … ──
                              ◀────────── Done | Failed ──

Only who holds the party's own key gets here; nothing of it crosses to a peer. A client that goes away
does not harm the run.
"""

from typing import Annotated, Final, TypeAlias, get_args

import msgspec

from parley.core.conversation import Choice, Message, Repeat, Step, steps

CLIENT: Final = "client"
PARTY: Final = "party"
_LARGEST: Final = (1 << 53) - 1


class Submit(Message, frozen=True):
    """``plan``: TOML text; ``wait``: seconds that its approval may take; ``priority``: in the queue."""

    plan: str
    wait: float
    priority: Annotated[int, msgspec.Meta(ge=-100, le=100)]


class Transact(Message, frozen=True):
    """``act``: type of a transaction for the party to sign and submit; ``body``: its body as JSON."""

    act: str
    body: bytes


class Look(Message, frozen=True):
    """How does our ledger member stand?"""


class Promise(Message, frozen=True):
    """``successor``: the member that is to order, the sequencer being lost."""

    successor: str


class Rotate(Message, frozen=True):
    """Replace our cosigning key by a new one."""


class Replace(Message, frozen=True):
    """Take up the identity that was drawn to replace ours."""


class Cancel(Message, frozen=True):
    """``run``: that our people no longer want."""

    run: str


class Resume(Message, frozen=True):
    """``run``: that stands still, and is to go on at once."""

    run: str


class Examine(Message, frozen=True):
    """``peer``: with which something may be wrong; empty: any, to compare the clock with."""

    peer: str


class Release(Message, frozen=True):
    """``model``: to which our people consent, ``predictions`` and ``until`` (seconds since 1970).

    0 leaves one of these to the plan.
    """

    model: str
    predictions: Annotated[int, msgspec.Meta(ge=0, le=_LARGEST)]
    until: Annotated[int, msgspec.Meta(ge=0, le=_LARGEST)]


class Fetch(Message, frozen=True):
    """``model``: of which we may hold the whole forest; the pieces of the others are to be here."""

    model: str


class Progress(Message, frozen=True):
    """Where a phase stands: ``done`` of ``total`` units; ``seconds`` is negative while it runs."""

    phase: str
    done: int
    total: int
    unit: str
    detail: str
    seconds: float


class Done(Message, frozen=True):
    """``report``: JSON of what was asked for: a run's report, a receipt, a `Condition`, and so on."""

    report: bytes


class Failed(Message, frozen=True):
    """The error as its own party may see it."""

    family: str
    code: str
    what: str
    remedy: str


class Condition(msgspec.Struct, frozen=True):
    """How a ledger member stands.

    Attributes:
        leader: whom it follows; itself if it orders.
        halted: why it signs nothing any more; empty while it does.
        engine: which it runs.
        height: of that engine's last block.
        last_block: when it was made, seconds since 1970; 0 if there was none.
        voters: members whose machines make blocks.
        connected: members whose machines ours is connected to.
        trouble: why no blocks come, and who has signed another ledger than ours; empty while all is well.
    """

    leader: str
    halted: str
    engine: str
    height: int
    last_block: float
    voters: tuple[str, ...]
    connected: tuple[str, ...]
    trouble: str


Request: TypeAlias = (
    Submit | Cancel | Resume | Transact | Release | Fetch | Look | Promise | Rotate | Replace | Examine
)
REQUESTS: Final = get_args(Request)

STEPS: Final = steps(
    "control",
    7,
    Choice(*(Step(CLIENT, PARTY, request) for request in REQUESTS)),
    Repeat(Step(PARTY, CLIENT, Progress)),
    Choice(Step(PARTY, CLIENT, Done), Step(PARTY, CLIENT, Failed)),
)
