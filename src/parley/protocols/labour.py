"""How a party has a worker, a process of its own, do one attempt at a run.

    party                                                worker
                              ── Task ────────────────────▶ it reads our table, and looks at it
                              ◀────────────────── Ready ─── what it would learn from
                              ── Begin ───────────────────▶ from which place
      … the attempt's conversations with the peers, passed on by the party …
                              ◀───── Happened | Said | Kept  events; a round's root; that it is kept
                              ── Noted ───────────────────▶ what was said is on the disk
                              ◀──── Finished | Failed ─────

Both are programs of one organisation: nothing here crosses to a peer.
"""

from typing import Final

import msgspec

from parley.core.conversation import Choice, Message, Repeat, Step, steps

PARTY: Final = "party"
WORKER: Final = "worker"


class Task(Message, frozen=True):
    """What is to be done.

    ``home``: the party's folder; ``run``; ``plan``: JSON as `encode_plan` writes it; ``threads``;
    ``witnessed``: whether rounds are committed to on a ledger.
    """

    home: str
    run: str
    plan: bytes
    threads: int
    witnessed: bool


class Ready(Message, frozen=True):
    """``features``: our columns to learn from."""

    features: tuple[str, ...]


class Begin(Message, frozen=True):
    """``place``: in the journal, from which to go on."""

    place: int


class Happened(Message, frozen=True):
    """``events``: names and fields of trace events, in order."""

    events: tuple[tuple[str, msgspec.Raw], ...]


class Said(Message, frozen=True):
    """A round was said: the Merkle root over its messages, how many; common rows if it is the alignment."""

    root: str
    messages: int
    rows: int


class Noted(Message, frozen=True):
    """The commitment to what was said is on the disk."""


class Kept(Message, frozen=True):
    """What the last round leaves is on the disk."""


class Finished(Message, frozen=True):
    """What the attempt leaves is in the journal, at ``place``."""

    place: int


class Failed(Message, frozen=True):
    """An error as our own people may see it; ``peer`` and ``cause`` are empty where they do not apply."""

    family: str
    code: str
    what: str
    remedy: str
    public: str
    peer: str
    cause: str


STEPS: Final = steps(
    "labour",
    1,
    Step(PARTY, WORKER, Task),
    Repeat(
        Choice(
            Step(WORKER, PARTY, Ready),
            Step(PARTY, WORKER, Begin),
            Step(WORKER, PARTY, Happened),
            Step(WORKER, PARTY, Said),
            Step(PARTY, WORKER, Noted),
            Step(WORKER, PARTY, Kept),
            Step(WORKER, PARTY, Finished),
            Step(WORKER, PARTY, Failed),
        )
    ),
)
