"""What a checked channel needs from whatever carries its frames."""

from typing import Final, Protocol

MAX_FRAME: Final = 4 * 1024 * 1024
"""Largest frame in bytes that is sent or accepted; protocols cut their arrays into blocks well below it."""


class Transport(Protocol):
    """An ordered, reliable carrier of frames between two parties."""

    @property
    def peer(self) -> str:
        """The name of the party at the other end."""

    async def send(self, frame: bytes) -> None:
        """Hand over one frame; waits while the receiver's buffer is full.

        A cancelled call has not handed the frame over.

        Raises:
            PeerLost: the connection is gone.

        """

    async def recv(self) -> bytes:
        """The next frame.

        Raises:
            PeerLost: the connection is gone and no frame is left.
            PeerMisbehaved: the frame was larger than ``MAX_FRAME``.

        """

    async def close(self) -> None:
        """Let go of the connection; frames already handed over are still delivered."""
