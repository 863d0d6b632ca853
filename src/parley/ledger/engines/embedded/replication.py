"""The conversation by which a member follows the sequencer, cosigns, and submits.

    sequencer (orders)                                   follower (executes and cosigns)
                              ◀──────────── Follow ──────── the checkpoint of its log
      block after block      ── Block ───────────────────▶ executes, compares, writes, signs
                              ◀──────────── Cosigned … ──── its signature under a checkpoint
      enough signatures      ── Sealed ──────────────────▶ final up to this size
                              ◀──────────── Offer … ─────── a transaction of anyone's
      queued, or why not     ── Taken ───────────────────▶

Both directions run freely beside each other for as long as both live; an empty note in `Sealed` and in
`Cosigned` is a sign of life. The follower dials, so a member that can only dial out takes part.
"""

from typing import Annotated, Final

import msgspec

from parley.core.conversation import Choice, Message, Repeat, Step, steps
from parley.ledger.block import LEAF_LIMIT
from parley.ledger.encoding import MAX_INT

SEQUENCER: Final = "sequencer"
FOLLOWER: Final = "follower"
NOTE_LIMIT: Final = 64 * 1024
BLOCK_LEAVES: Final = 4096
ENVELOPE_LIMIT: Final = 1 << 16

Size = Annotated[int, msgspec.Meta(ge=0, le=MAX_INT)]
Note = Annotated[bytes, msgspec.Meta(max_length=NOTE_LIMIT)]
Envelope = Annotated[bytes, msgspec.Meta(max_length=ENVELOPE_LIMIT)]
Leaves = Annotated[
    tuple[Annotated[bytes, msgspec.Meta(max_length=LEAF_LIMIT)], ...],
    msgspec.Meta(min_length=1, max_length=BLOCK_LEAVES),
]
Digest = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class Follow(Message, frozen=True):
    """``note``: the checkpoint of the follower's log, empty before the genesis; we go on from there."""

    note: Note


class Block(Message, frozen=True):
    """``leaves``: of one block, from number ``first`` on; ``note``: the checkpoint behind them."""

    first: Size
    leaves: Leaves
    note: Note


class Cosigned(Message, frozen=True):
    """``note``: the checkpoint of the follower's log with its own signature; empty as a sign of life."""

    note: Note


class Sealed(Message, frozen=True):
    """``note``: a checkpoint with signatures of a majority; everything up to it is final. Or empty."""

    note: Note


class Offer(Message, frozen=True):
    """``transaction``: a signed envelope."""

    transaction: Envelope


class Taken(Message, frozen=True):
    """Of the transaction with ``digest``: an empty ``code`` means queued, another why it was dropped."""

    digest: Digest
    code: Annotated[str, msgspec.Meta(max_length=64)]
    reason: Annotated[str, msgspec.Meta(max_length=1000)]


STEPS: Final = steps(
    "replication",
    2,
    Step(FOLLOWER, SEQUENCER, Follow),
    Repeat(
        Choice(
            Step(SEQUENCER, FOLLOWER, Block),
            Step(SEQUENCER, FOLLOWER, Sealed),
            Step(SEQUENCER, FOLLOWER, Taken),
            Step(FOLLOWER, SEQUENCER, Cosigned),
            Step(FOLLOWER, SEQUENCER, Offer),
        )
    ),
)
