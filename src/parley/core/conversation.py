"""How a conversation between two parties is described: messages, the table of steps, and its check.

A protocol module states its messages as frozen records and its order as a table::

    STEPS = steps(
        Step(ACTIVE, PASSIVE, Keys),
        Repeat(
            Step(ACTIVE, PASSIVE, TreeBegins),
            Repeat(Step(ACTIVE, PASSIVE, GradientBlock)),
            ...
        ),
    )

Both ends check every message against the table. The check is made per direction: the two
directions of a streaming protocol may interleave freely, the order within a direction may not vary.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, overload

import msgspec

from parley.core.errors import PeerMisbehaved
from parley.core.trace import Trace


class Message(msgspec.Struct, frozen=True, tag=True, array_like=True, forbid_unknown_fields=True):
    """The root of all protocol messages: a typed record, encoded as a tagged msgpack array."""


@dataclass(frozen=True, slots=True)
class Step:
    """One message from one role to the other."""

    sender: str
    receiver: str
    message: type[Message]


class Repeat:
    """Steps that follow one another zero or more times."""

    def __init__(self, *parts: "Step | Repeat | Choice") -> None:
        self.parts = parts


class Choice:
    """Exactly one of the given steps."""

    def __init__(self, *options: "Step | Repeat") -> None:
        self.options = options


Part = Step | Repeat | Choice


@dataclass(frozen=True)
class Steps:
    """A conversation: its name and version (peers must agree on both) and its table of steps."""

    protocol: str
    version: int
    parts: tuple[Part, ...]

    def messages(self) -> tuple[type[Message], ...]:
        """Every message type of the table, in order of first appearance."""
        return tuple(dict.fromkeys(step.message for step in flatten(self.parts)))

    def roles(self) -> tuple[str, ...]:
        """Every role of the table, in order of first appearance."""
        return tuple(
            dict.fromkeys(role for step in flatten(self.parts) for role in (step.sender, step.receiver))
        )

    def automaton(self, sender: str) -> "Automaton":
        """What ``sender`` may send, in order."""
        return Automaton.of(self.parts, sender)


def steps(protocol: str, version: int, *parts: Part) -> Steps:
    """Name a table of steps."""
    return Steps(protocol, version, parts)


def flatten(parts: Iterable[Part]) -> Iterable[Step]:
    """The steps of a table as written, without its loops."""
    for part in parts:
        if isinstance(part, Step):
            yield part
        else:
            yield from flatten(part.parts if isinstance(part, Repeat) else part.options)


@dataclass(frozen=True)
class Automaton:
    """The order of one sender's messages: for each message sent last, those that may follow.

    ``None`` as the last message stands for the beginning; ``None`` among the followers for the end.
    A message type that stands at two places of a table may be followed by what follows either.
    """

    followers: dict[type[Message] | None, frozenset[type[Message] | None]] = field(default_factory=dict)

    @classmethod
    def of(cls, parts: tuple[Part, ...], sender: str) -> "Automaton":
        """Project the table on one sender and compute who may follow whom."""
        first, last, pairs, empty = _follow(parts, sender)
        table: dict[type[Message] | None, set[type[Message] | None]] = {None: set(first)}
        if empty:
            table[None].add(None)
        for before, after in pairs:
            table.setdefault(before, set()).add(after)
        for message in last:
            table.setdefault(message, set()).add(None)
        return cls({message: frozenset(after) for message, after in table.items()})

    def allows(self, last: type[Message] | None, following: type[Message] | None) -> bool:
        """Whether ``following`` may be sent after ``last``."""
        return following in self.followers.get(last, frozenset())

    def allows_any(self, last: type[Message] | None, kinds: tuple[type[Message], ...]) -> bool:
        """Whether a message of one of ``kinds`` may be sent after ``last``."""
        following = self.followers.get(last, frozenset())
        return any(kind is not None and issubclass(kind, kinds) for kind in following)


_Messages = set[type[Message]]
_Followed = tuple[_Messages, _Messages, set[tuple[type[Message], type[Message]]], bool]


def _follow(parts: Iterable[Part], sender: str) -> _Followed:
    """First messages, last messages, adjacent pairs and whether nothing at all may be sent (Glushkov)."""
    first: _Messages = set()
    last: _Messages = set()
    pairs: set[tuple[type[Message], type[Message]]] = set()
    empty = True
    for part in parts:
        part_first, part_last, part_pairs, part_empty = _follow_part(part, sender)
        pairs |= part_pairs | {(before, after) for before in last for after in part_first}
        first |= part_first if empty else set()
        last = last | part_last if part_empty else part_last
        empty = empty and part_empty
    return first, last, pairs, empty


def _follow_part(part: Part, sender: str) -> _Followed:
    if isinstance(part, Step):
        mine = {part.message} if part.sender == sender else set()
        return mine, set(mine), set(), not mine
    if isinstance(part, Repeat):
        first, last, pairs, _ = _follow(part.parts, sender)
        return first, last, pairs | {(before, after) for before in last for after in first}, True
    options = [_follow_part(option, sender) for option in part.options]
    return (
        {message for option in options for message in option[0]},
        {message for option in options for message in option[1]},
        {pair for option in options for pair in option[2]},
        any(option[3] for option in options),
    )


M = TypeVar("M", bound=Message)
N = TypeVar("N", bound=Message)
L = TypeVar("L", bound=Message)
R = TypeVar("R")


class Channel(Protocol):
    """One end of a checked conversation with one peer; memory, TLS and tests are interchangeable."""

    @property
    def peer(self) -> str:
        """The name of the party at the other end."""

    @property
    def trace(self) -> Trace:
        """Where this end reports what it does."""

    async def send(self, message: Message) -> None:
        """Send one message; waits while the peer is slower than we are.

        Raises:
            PeerLost: the connection broke.
            PeerAborted: the peer has stopped.
            ProtocolBug: the message is out of turn.

        """

    @overload
    async def recv(self, kind: type[M], /) -> M: ...
    @overload
    async def recv(self, kind: type[M], other: type[N], /) -> M | N: ...
    @overload
    async def recv(self, kind: type[M], other: type[N], third: type[L], /) -> M | N | L: ...
    async def recv(self, *kinds: type[Any]) -> Any:
        """Wait for the next message, which must be of one of ``kinds``.

        Raises:
            PeerLost: nothing came within the deadline.
            PeerMisbehaved: something else came, or what came does not decode.
            PeerAborted: the peer has stopped.

        """

    async def compute(self, what: str, function: Callable[..., R], *arguments: object) -> R:
        """Run CPU work in a worker thread, so heartbeats never stop, and account its time."""

    def fault(self, code: str, what: str) -> PeerMisbehaved:
        """The error to raise when the peer's message does not pass a check."""
