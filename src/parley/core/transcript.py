"""What was said in a run, as digests: kept by both ends of every conversation, in the same order.

A message is known by conversation, sender, receiver and its number in that direction, so both ends
list the same digests without having to agree on how the two directions interleaved.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

_TAG: Final = b"parley/message/v1\0"


@dataclass(frozen=True, slots=True, order=True)
class Said:
    """One message: where it stands, and the SHA-256 of its frame."""

    conversation: str
    sender: str
    receiver: str
    number: int
    digest: bytes

    def leaf(self) -> bytes:
        """What stands for the message in the Merkle tree of its round."""
        place = "\0".join([self.conversation, self.sender, self.receiver, str(self.number)])
        return _TAG + place.encode() + b"\0" + self.digest


class Transcript:
    """Collects what one party sends and receives in a run, stretch by stretch.

    Args:
        party: who keeps it.
    """

    def __init__(self, party: str) -> None:
        self._party = party
        self._said: list[Said] = []

    def sent(self, conversation: str, peer: str, number: int, frame: bytes) -> None:
        """Take down a frame that a peer was sent."""
        self._note(Said(conversation, self._party, peer, number, hashlib.sha256(frame).digest()))

    def received(self, conversation: str, peer: str, number: int, frame: bytes) -> None:
        """Take down a frame that a peer sent and we took up."""
        self._note(Said(conversation, peer, self._party, number, hashlib.sha256(frame).digest()))

    def cut(self, *, before_last: bool = False) -> tuple[Said, ...]:
        """All that was said since the last cut, in the order both ends agree on.

        ``before_last`` leaves the last message to the next stretch: it began what comes now.
        """
        last = self._said[-1:] if before_last else []
        said, self._said = sorted(self._said[: len(self._said) - len(last)]), last
        return tuple(said)

    def _note(self, said: Said) -> None:
        self._said.append(said)
