"""The conversation by which a member follows the sequencer, cosigns, and submits.

    sequencer (orders)                                   follower (executes and cosigns)
                              ◀──────────── Follow ──────── the size of its log
      block after block      ── Block ───────────────────▶ executes, compares, writes, signs
                              ◀──────────── Cosigned … ──── its signature under a checkpoint
      enough signatures      ── Sealed ──────────────────▶ final up to this size
                              ◀──────────── Offer … ─────── a transaction of anyone's
      queued, or why not     ── Taken ───────────────────▶

Both directions run freely beside each other for as long as both live. The follower dials, so a member
that can only dial out takes part.
"""

from typing import Annotated, Final

import msgspec

from parley.core.conversation import Choice, Message, Repeat, Step, steps

SEQUENCER: Final = "sequencer"
FOLLOWER: Final = "follower"
NOTE_LIMIT: Final = 64 * 1024

Size = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Note = Annotated[bytes, msgspec.Meta(max_length=NOTE_LIMIT)]


class Follow(Message, frozen=True):
    """``size``: leaves the follower has; the sequencer goes on from there."""

    size: Size


class Block(Message, frozen=True):
    """``leaves``: of one block, from number ``first`` on; ``note``: the checkpoint behind them."""

    first: Size
    leaves: tuple[bytes, ...]
    note: Note


class Cosigned(Message, frozen=True):
    """``note``: the checkpoint of the follower's log with its own signature."""

    note: Note


class Sealed(Message, frozen=True):
    """``note``: a checkpoint with signatures of a majority; everything up to it is final."""

    note: Note


class Offer(Message, frozen=True):
    """``transaction``: a signed envelope."""

    transaction: Annotated[bytes, msgspec.Meta(max_length=1 << 16)]


class Taken(Message, frozen=True):
    """Of the transaction with ``digest``: an empty ``code`` means queued, another why it was dropped."""

    digest: str
    code: str
    reason: str


STEPS: Final = steps(
    "replication",
    1,
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
