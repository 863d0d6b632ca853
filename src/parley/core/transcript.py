"""What was said in a run, as digests: kept by both ends of every conversation, in the same order.

A message is known by conversation, sender, receiver and its number in that direction, so both ends
list the same digests without having to agree on how the two directions interleaved.
"""

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, NamedTuple

_TAG: Final = b"parley/message/v1\0"
_LONG: Final = 1 << 16
"""Bytes from which a frame is hashed beside the conversation, which goes on meanwhile."""
_BESIDE: Final = ThreadPoolExecutor(1, thread_name_prefix="transcript")


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


class _Frame(NamedTuple):
    """As `Said`, with a digest that may still be under way."""

    conversation: str
    sender: str
    receiver: str
    number: int
    digest: Future[bytes]

    def said(self) -> Said:
        return Said(self.conversation, self.sender, self.receiver, self.number, self.digest.result())


class Transcript:
    """Collects what one party sends and receives in a run, stretch by stretch.

    Args:
        party: who keeps it.
    """

    def __init__(self, party: str) -> None:
        self._party = party
        self._said: list[_Frame] = []

    def sent(self, conversation: str, peer: str, number: int, frame: bytes) -> None:
        """Take down a frame that a peer was sent."""
        self._said.append(_Frame(conversation, self._party, peer, number, _digest(frame)))

    def received(self, conversation: str, peer: str, number: int, frame: bytes) -> None:
        """Take down a frame that a peer sent and we took up."""
        self._said.append(_Frame(conversation, peer, self._party, number, _digest(frame)))

    def cut(self, *, before_last: bool = False) -> tuple[Said, ...]:
        """All that was said since the last cut, in the order both ends agree on.

        ``before_last`` leaves the last message to the next stretch: it began what comes now.
        """
        last = self._said[-1:] if before_last else []
        said, self._said = self._said[: len(self._said) - len(last)], last
        return tuple(sorted(frame.said() for frame in said))


def _digest(frame: bytes) -> Future[bytes]:
    """The SHA-256 of a frame, now or in a moment."""
    if len(frame) >= _LONG:
        return _BESIDE.submit(_sha256, frame)
    digest = Future[bytes]()
    digest.set_result(_sha256(frame))
    return digest


def _sha256(frame: bytes) -> bytes:
    return hashlib.sha256(frame).digest()
