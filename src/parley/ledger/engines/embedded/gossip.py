"""Members compare what they hold, beside the sequencer's back.

    member                                               member
                              ── Tip ─────────────────────▶ the checkpoint of its log
                              ◀───────────────────── Tip ──
                              ── Waiting ─────────────────▶ transactions it wants in and does not see in
                              ◀───────────────── Waiting ──

Whoever has the longer log computes the root it had at the other's size. Two roots for one size, both
signed by the sequencer, prove a fork.
"""

from typing import Annotated, Final

import msgspec

from parley.core.conversation import Message, Step, steps
from parley.ledger.engines.embedded.replication import Note

CALLER: Final = "caller"
CALLED: Final = "called"


class Tip(Message, frozen=True):
    """``note``: the checkpoint of the sender's log; empty before the genesis."""

    note: Note


class Waiting(Message, frozen=True):
    """``transactions``: signed envelopes that the sender submitted and does not see in the log."""

    transactions: Annotated[
        tuple[Annotated[bytes, msgspec.Meta(max_length=1 << 16)], ...], msgspec.Meta(max_length=32)
    ]


STEPS: Final = steps(
    "gossip",
    1,
    Step(CALLER, CALLED, Tip),
    Step(CALLED, CALLER, Tip),
    Step(CALLER, CALLED, Waiting),
    Step(CALLED, CALLER, Waiting),
)
