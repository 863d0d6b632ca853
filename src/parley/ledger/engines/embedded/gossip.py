"""Members compare what they hold, beside the sequencer's back, and help one another out.

    member (caller)                                      member (called)
                              ── Tip ─────────────────────▶ the checkpoint of its log, promises
                              ◀───────────────────── Tip ──
                              ── Waiting ─────────────────▶ transactions it wants in and does not see in
                              ◀───────────────── Waiting ──
      if its log is shorter  ── Ask … ───────────────────▶
                              ◀─────────────────── Piece … ─ block after block
                              ── Enough ─────────────────▶
                              ◀───────────────────── Ask … ─ if its log is shorter
      block after block      ── Piece … ─────────────────▶
                              ◀─────────────────── Enough ──

Two different checkpoints of one size, both signed by the sequencer, prove a fork. A block that another
member has is as good as the sequencer's own: it bears the sequencer's signature.
"""

from typing import Annotated, Final

import msgspec

from parley.core.conversation import Message, Repeat, Step, steps
from parley.ledger.block import LEAF_LIMIT
from parley.ledger.contract.fields import Party
from parley.ledger.encoding import MAX_INT
from parley.ledger.engines.embedded.replication import BLOCK_LEAVES, Envelope, Note, Size

CALLER: Final = "caller"
CALLED: Final = "called"
WAITING_LIMIT: Final = 32
PROMISES: Final = 64


class Promised(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A promise about who orders: its epoch, the successor, and the fields of `contract.takeover.Promise`."""

    epoch: Annotated[int, msgspec.Meta(ge=1, le=MAX_INT)]
    successor: Party
    member: Party
    era: Size
    size: Size
    root: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    signature: Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


class Tip(Message, frozen=True):
    """``note``: the checkpoint of the sender's log, empty before the genesis.

    ``epoch``, ``base``: of the last takeover in that log, see `contract.takeover.LastTakeover`; or zeros.
    ``promises``: the latest of every member that the sender knows.
    """

    note: Note
    epoch: Size
    base: Size
    promises: Annotated[tuple[Promised, ...], msgspec.Meta(max_length=PROMISES)]


class Waiting(Message, frozen=True):
    """``transactions``: signed envelopes that the sender wants in and does not see in the log."""

    transactions: Annotated[tuple[Envelope, ...], msgspec.Meta(max_length=WAITING_LIMIT)]


class Ask(Message, frozen=True):
    """``first``: number of the first leaf of the block that is wanted."""

    first: Size


class Piece(Message, frozen=True):
    """``leaves``: of the block asked for, none if there is no such; ``note``: the checkpoint behind them."""

    leaves: Annotated[
        tuple[Annotated[bytes, msgspec.Meta(max_length=LEAF_LIMIT)], ...],
        msgspec.Meta(max_length=BLOCK_LEAVES),
    ]
    note: Note


class Enough(Message, frozen=True):
    """The sender is done with asking."""


STEPS: Final = steps(
    "gossip",
    2,
    Step(CALLER, CALLED, Tip),
    Step(CALLED, CALLER, Tip),
    Step(CALLER, CALLED, Waiting),
    Step(CALLED, CALLER, Waiting),
    Repeat(Step(CALLER, CALLED, Ask), Step(CALLED, CALLER, Piece)),
    Step(CALLER, CALLED, Enough),
    Repeat(Step(CALLED, CALLER, Ask), Step(CALLER, CALLED, Piece)),
    Step(CALLED, CALLER, Enough),
)
