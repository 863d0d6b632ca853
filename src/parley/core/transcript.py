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
"""Bytes from which a frame is hashed at once, beside the conversation; others are kept for `Stretch.said`."""
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
    """As `Said`, with a short frame itself in place of its digest, or a digest that is under way."""

    conversation: str
    sender: str
    receiver: str
    number: int
    content: bytes | Future[bytes]

    def said(self) -> Said:
        content = self.content
        digest = _sha256(content) if isinstance(content, bytes) else content.result()
        return Said(self.conversation, self.sender, self.receiver, self.number, digest)


@dataclass(frozen=True, slots=True)
class Stretch:
    """What was said between two cuts, not all of it hashed yet."""

    _frames: tuple[_Frame, ...]

    def said(self) -> tuple[Said, ...]:
        """The messages, in the order both ends agree on; hashes what is left, so better beside the run."""
        return tuple(sorted(frame.said() for frame in self._frames))


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
        self._said.append(_Frame(conversation, self._party, peer, number, _content(frame)))

    def received(self, conversation: str, peer: str, number: int, frame: bytes) -> None:
        """Take down a frame that a peer sent and we took up."""
        self._said.append(_Frame(conversation, peer, self._party, number, _content(frame)))

    def cut(self, *, before_last: bool = False) -> Stretch:
        """All that was said since the last cut.

        ``before_last`` leaves the last message to the next stretch: it began what comes now.
        """
        last = self._said[-1:] if before_last else []
        said, self._said = self._said[: len(self._said) - len(last)], last
        return Stretch(tuple(said))


def _content(frame: bytes) -> bytes | Future[bytes]:
    """A frame that is short, or the SHA-256 of a long one in a moment, so that it is not kept."""
    return _BESIDE.submit(_sha256, frame) if len(frame) >= _LONG else frame


def _sha256(frame: bytes) -> bytes:
    return hashlib.sha256(frame).digest()
