"""An owner of a model gives its piece to the party that may hold the whole forest.

    receiver                                             owner
                              ── AskPiece ────────────────▶ its own copy of the ledger decides
                              ◀────────────────── Piece ──── how many bytes come
      SHA-256 as committed    ◀─────────── PieceBlock … ────

What is learnt: the receiver learns all of the owner's piece: which of its columns the splits test, by name,
and for which values. The owner learns nothing. ``spec/merging.md``.
"""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Annotated, Final

from msgspec import Meta

from parley.core.conversation import Channel, Message, Repeat, Step, steps
from parley.core.errors import UsageError
from parley.learn.shares import ModelShare, decode_share

RECEIVER: Final = "receiver"
OWNER: Final = "owner"
BLOCK_BYTES: Final = 1 << 20
MOST_BYTES: Final = 1 << 28
"""Bytes of a piece: a million splits take some 60 MB."""


class AskPiece(Message, frozen=True):
    """``model``: whose piece is wanted."""

    model: Annotated[str, Meta(max_length=64)]


class Piece(Message, frozen=True):
    """``size``: bytes of the piece's file."""

    size: Annotated[int, Meta(ge=1, le=MOST_BYTES)]


class PieceBlock(Message, frozen=True):
    """``data``: the next bytes, `BLOCK_BYTES` of them but in the last."""

    data: Annotated[bytes, Meta(min_length=1, max_length=BLOCK_BYTES)]


STEPS: Final = steps(
    "merging",
    1,
    Step(RECEIVER, OWNER, AskPiece),
    Step(OWNER, RECEIVER, Piece),
    Repeat(Step(OWNER, RECEIVER, PieceBlock)),
)


async def fetch(channel: Channel, model: str, committed: str) -> tuple[bytes, ModelShare]:
    """As the receiver.

    Args:
        channel: to the owner.
        model: whose piece.
        committed: its SHA-256 as it stands on the ledger, hexadecimal.

    Returns:
        The piece as its owner's file has it, and what it says.

    Raises:
        PeerMisbehaved: what came is not what the owner committed to, or that is no piece of the model.
    """
    await channel.send(AskPiece(model))
    size = (await channel.recv(Piece)).size
    data = bytearray()
    while len(data) < size:
        data += (await channel.recv(PieceBlock)).data
    digest = await channel.compute("hash", lambda: hashlib.sha256(data).hexdigest())
    if len(data) != size or digest != committed:
        raise channel.fault("piece-differs", f"sent {len(data)} bytes that are not its piece of {model}")
    try:
        share = await channel.compute("decode", lambda: decode_share(bytes(data), model=model))
    except UsageError as error:
        raise channel.fault("piece-differs", f"committed to no piece of {model}: {error.code}") from None
    if share.party != channel.peer:
        raise channel.fault("piece-differs", f"committed to the piece of {share.party} in {model}")
    return bytes(data), share


async def give(channel: Channel, piece_of: Callable[[str], Awaitable[bytes]]) -> int:
    """As an owner.

    Args:
        channel: to the receiver.
        piece_of: our piece of a model for that very peer, or an error.

    Returns:
        How many bytes it took.
    """
    data = await piece_of((await channel.recv(AskPiece)).model)
    await channel.send(Piece(len(data)))
    for first in range(0, len(data), BLOCK_BYTES):
        await channel.send(PieceBlock(data[first : first + BLOCK_BYTES]))
    return len(data)
