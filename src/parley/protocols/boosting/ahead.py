"""What of an encryption does not depend on the messages, computed while the active party waits."""

import asyncio
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from parley._native import Masks, SecretKey
from parley.core.conversation import Channel

PIECE: Final = 2048
"""Rows whose masks are made at a time; a divisor of `GRADIENT_BLOCK`."""
_MOST_BYTES: Final = 256 << 20
"""Memory for masks at most; rows beyond are encrypted when they are due."""
_POINT_BYTES: Final = 160


class Ahead:
    """Encrypts, and uses idle time to make masks for the tree after the one at hand.

    A row's masks are r·G and r·P_j. r follows from the tree's seed and the row's place, so that the
    ciphertexts are the same whether masks were ready or not; whoever has other work for the processor
    goes first, and a piece that is not finished when the gradients are there is not waited for. Use it
    as a context, which ends the work left.

    Args:
        channel: whose worker threads and trace it uses.
        secret: the key.
        threads: for the kernels.
    """

    def __init__(self, channel: Channel, secret: SecretKey, threads: int) -> None:
        self._channel = channel
        self._secret = secret
        self._threads = threads
        self._made: dict[tuple[bytes, int], Masks] = {}
        self._work: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def begin(self, seed: bytes, rows: int) -> None:
        """Make masks for a tree of so many rows, in the background, in place of any made before."""
        self.stop()
        self._made.clear()
        self._work = asyncio.create_task(self._make(seed, rows))

    def stop(self) -> None:
        """Make no more masks; those that are ready remain."""
        if self._work is not None:
            self._work.cancel()
            self._work = None

    def encrypt(self, messages: NDArray[np.int32], seed: bytes, first: int, bound: int) -> bytes:
        """Ciphertexts of ``int32[rows, k]`` for the rows from ``first`` on.

        Args:
            messages: none larger than ``bound`` in absolute value.
            seed: of the tree.
            first: place of the first row.
            bound: what the time may depend on.
        """
        parts = []
        done = 0
        while done < len(messages):
            rows = messages[done : done + PIECE]
            masks = self._made.pop((seed, first + done), None)
            if masks is None or len(masks) != len(rows):
                break
            parts.append(masks.encrypt(rows, bound, self._threads).tobytes())
            done += len(rows)
        if done < len(messages):
            rest = self._secret.encrypt(messages[done:], seed, first + done, self._threads)
            parts.append(rest.tobytes())
        return b"".join(parts)

    async def _make(self, seed: bytes, rows: int) -> None:
        most = min(rows, _MOST_BYTES // (_POINT_BYTES * (self._secret.k + 1)))
        for first in range(0, most, PIECE):
            count = min(PIECE, rows - first)
            masks = await self._channel.compute(
                "encrypt ahead", self._secret.masks, count, seed, first, self._threads
            )
            self._made[seed, first] = masks
