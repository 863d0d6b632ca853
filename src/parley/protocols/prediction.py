"""Scoring rows that all parties have aligned, in one exchange for the whole forest.

    active (trees, leaf values)                          passive (what its splits test)
                              ── Ask ─────────────────────▶ model, rows, splits: must be what it has
      margins of the block   ◀──────── DirectionBlock … ── a bit per split and row, all splits

What is learnt: the active party learns, for each asked row, the outcome of every split of the passive
party (more than the path the row takes; the leaf alone would need interaction per level). The passive
party learns that the rows were asked about, and nothing of the scores. ``spec/prediction.md``.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from parley.core.conversation import Channel, Message, Repeat, Step, steps
from parley.core.errors import PolicyRefused, UsageError
from parley.learn.scoring import Packed, directions, margins
from parley.learn.shares import ActiveShare, PassiveShare
from parley.protocols.payload import array_of
from parley.protocols.together import all_of

ACTIVE: Final = "active"
PASSIVE: Final = "passive"
BLOCK_BYTES: Final = 1 << 20
"""Bytes of directions per block, about."""

Floats = NDArray[np.float64]


class Ask(Message, frozen=True):
    """``model``: whose; ``rows``: how many aligned rows; ``splits``: how many the receiver should have."""

    model: str
    rows: int
    splits: int


class DirectionBlock(Message, frozen=True):
    """``left``: uint8[splits, ceil(rows of the block / 8)], for rows from ``first`` on."""

    first: int
    left: bytes


STEPS: Final = steps(
    "prediction", 1, Step(ACTIVE, PASSIVE, Ask), Repeat(Step(PASSIVE, ACTIVE, DirectionBlock))
)


def block_rows(splits: int) -> int:
    """Rows per block: a multiple of eight, so that blocks fall on whole bytes."""
    return max(1, min(1 << 16, BLOCK_BYTES * 8 // max(splits, 1)) // 8) * 8


async def active(channels: Sequence[Channel], share: ActiveShare, codes: NDArray[np.uint8]) -> Floats:
    """Score rows.

    Args:
        channels: to the passive parties, in the order of ``share.owners`` after the first.
        share: our piece of the model.
        codes: ``uint8[columns, rows]`` of our columns, in the order of ``share.columns``.

    Returns:
        Margins, ``float64[outputs, rows]``.

    Raises:
        UsageError: the channels do not fit the share.
        PeerMisbehaved: an answer has the wrong shape.
    """
    if [channel.peer for channel in channels] != list(share.owners[1:]):
        raise UsageError(
            "wrong-parties",
            f"model {share.model} needs {', '.join(share.owners[1:])}",
            remedy="connect to the parties that trained it",
        )
    rows = codes.shape[1]
    own = directions(share.rules, codes)
    theirs = await all_of(
        _directions(channel, share.model, rows, share.splits_of(owner))
        for owner, channel in enumerate(channels, start=1)
    )
    return await channels[0].compute("score", margins, share.trees, share.initial, [own, *theirs], rows)


async def _directions(channel: Channel, model: str, rows: int, splits: int) -> Packed:
    """``uint8[splits, ceil(rows / 8)]`` of one passive party."""
    await channel.send(Ask(model, rows, splits))
    left = np.zeros((splits, -(-rows // 8)), dtype=np.uint8)
    with channel.trace.phase("predict", rows, "rows") as phase:
        for first, count in _blocks(rows, splits):
            block = await channel.recv(DirectionBlock)
            if block.first != first:
                raise channel.fault("wrong-order", f"sent directions from row {block.first}, not {first}")
            width = -(-count // 8)
            bits = array_of(channel, block.left, np.uint8, splits * width, "directions")
            left[:, first // 8 : first // 8 + width] = bits.reshape(splits, width)
            phase.advance(count)
    return left


async def passive(channel: Channel, share: PassiveShare, codes: NDArray[np.uint8]) -> int:
    """Answer for rows.

    Args:
        channel: to the active party.
        share: our piece of the model.
        codes: ``uint8[columns, rows]`` of our columns, in the order of ``share.columns``.

    Returns:
        The number of rows answered for.

    Raises:
        PolicyRefused: another model, other rows or splits are asked about than we have.
    """
    ask = await channel.recv(Ask)
    rows, splits = int(codes.shape[1]), len(share.rules)
    if (ask.model, ask.rows, ask.splits) != (share.model, rows, splits):
        raise PolicyRefused(
            "wrong-model",
            f"{channel.peer} asks model {ask.model[:64]} for {ask.rows} rows and {ask.splits} splits; "
            f"we hold {share.model} with {rows} rows and {splits} splits",
            remedy="use the shares of one training together",
            public="the model share here does not fit what was asked",
        )
    with channel.trace.phase("predict", rows, "rows") as phase:
        for first, count in _blocks(rows, splits):
            left = await channel.compute(
                "directions", directions, share.rules, codes[:, first : first + count]
            )
            await channel.send(DirectionBlock(first, left.tobytes()))
            phase.advance(count)
    return rows


def _blocks(rows: int, splits: int) -> list[tuple[int, int]]:
    """First row and number of rows of each block; none where the party has no split."""
    step = block_rows(splits)
    return [(first, min(step, rows - first)) for first in range(0, rows, step)] if splits else []
