"""Asking: which way the rows of asked tokens go at every split of a passive party, many asks at once.

    active (tokens of ids)                               passive (its tokens, columns and splits)
      │  Begin  model, splits                ──────────►   │   must be what it serves
      │                         ◄──────────  Ready         │
      │  Ask  number, tokens                 ──────────►   │   several may be under way …
      │  Ask                                 ──────────►   │
      │                    ◄──────────  Directions  known, left; or Refused  code
      │                    ◄──────────  Directions         │   … and are answered in order
      │  Alive                               ──────────►   │   when nothing was asked for a while
      │                         ◄──────────  StillAlive    │
      │  End                                 ──────────►   │
      │                         ◄──────────  Ended         │

Tokens are those of one `enrolment`; the conversation is held under an identifier (`Hello.run`) that
belongs to this enrolment alone, so that tokens of another are never asked about.

Who learns what: the active party for each token whether the passive party's table has its id, and for those
that it has the outcome of every split of that party. The passive party how much is asked and when, and
which of its own ids; of other ids a token, which it knows again if it comes again. Nobody but the active
party learns a score. What repeated asking reveals and what limits it: ``spec/prediction.md``.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Annotated, Final, Literal, Self, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from parley.core.conversation import Channel, Choice, Message, Repeat, Step, steps
from parley.core.errors import ParleyError, PeerLost, PolicyRefused
from parley.protocols.enrolment import TOKEN, ModelName
from parley.protocols.payload import array_of, bytes_of, pack_bits, unpack_bits
from parley.protocols.together import all_of, together

ACTIVE: Final = "active"
PASSIVE: Final = "passive"

MAX_TOKENS: Final = 65536
"""Most tokens in one ask; 1 MiB."""
MAX_DIRECTIONS: Final = 3 << 20
"""Most bytes of directions in one answer: with many splits fewer tokens are asked at once."""
MAX_SPLITS: Final = 1 << 20
"""Most splits of a party in one model."""
AT_ONCE: Final = 3
"""Asks of a list that are under way at the same time: if it is killed, nobody accounts for them."""
UNDER_WAY: Final = 64
"""Most asks that wait for their answers on one channel; further ones wait before they are sent."""

Bytes: TypeAlias = NDArray[np.uint8]
Bools: TypeAlias = NDArray[np.bool_]
Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Reason: TypeAlias = Literal[
    "model-not-released",
    "model-withdrawn",
    "release-expired",
    "quota-exceeded",
    "member-suspended",
    "unaccounted",
]
"""Why one ask is refused: all that the peer is told. All but the last are words of the contract."""


def most_tokens(splits: int) -> int:
    """How many tokens one message may ask about, by the splits of the passive party."""
    return max(1, min(MAX_TOKENS, MAX_DIRECTIONS // max(1, width_of(splits))))


def width_of(splits: int) -> int:
    """Bytes of the directions of one row."""
    return -(-splits // 8)


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What the passive party says about n tokens.

    Attributes:
        known: bool [n], whether its table has the id.
        left: uint8 [known rows, ceil(splits / 8)], in the order of the tokens; split s is bit s mod 8 (lowest
            first) of byte s div 8, and 1 says left.

    """

    known: Bools
    left: Bytes


Answering: TypeAlias = Callable[[Bytes], Awaitable[Answer | Reason]]
"""Answers 1 to ``most_tokens(splits)`` tokens, uint8 [n, 16], or says why it may not; many in a thread.

It counts every token against the quota of the release, also of ids that its table does not have."""


# The messages.


class Begin(Message, frozen=True):
    """``model``: whose splits are asked for; ``splits``: how many the receiver should have."""

    model: ModelName
    splits: Annotated[int, msgspec.Meta(ge=0, le=MAX_SPLITS)]


class Ready(Message, frozen=True):
    """The passive party serves that very model."""


class Ask(Message, frozen=True):
    """``number``: of this ask, from 0; ``tokens``: uint8 [n, 16], 1 to ``most_tokens(splits)`` of them."""

    number: Number
    tokens: Annotated[bytes, msgspec.Meta(max_length=MAX_TOKENS * TOKEN)]


class Alive(Message, frozen=True):
    """Nothing was asked for a while, and the sender is there."""


class End(Message, frozen=True):
    """There are no more asks."""


class Reply(Message, frozen=True):
    """What the passive party sends: a reply to every message of the active one, in their order."""


class Directions(Reply, frozen=True):
    """The answer to one ask.

    ``number``: of the ask; ``known``: a bit per token, the first in the lowest place; ``left``: uint8
    [known rows, ceil(splits / 8)].
    """

    number: Number
    known: Annotated[bytes, msgspec.Meta(max_length=MAX_TOKENS // 8)]
    left: Annotated[bytes, msgspec.Meta(max_length=MAX_DIRECTIONS)]


class Refused(Reply, frozen=True):
    """The ask may not be answered; ``code``: why. Later ones may again."""

    number: Number
    code: Reason


class StillAlive(Reply, frozen=True):
    """The reply to `Alive`."""


class Ended(Reply, frozen=True):
    """The reply to `End`: everything was answered."""


STEPS: Final = steps(
    "asking",
    1,
    Step(ACTIVE, PASSIVE, Begin),
    Step(PASSIVE, ACTIVE, Ready),
    Repeat(Choice(Step(ACTIVE, PASSIVE, Ask), Step(ACTIVE, PASSIVE, Alive))),
    Repeat(
        Choice(
            Step(PASSIVE, ACTIVE, Directions),
            Step(PASSIVE, ACTIVE, Refused),
            Step(PASSIVE, ACTIVE, StillAlive),
        )
    ),
    Step(ACTIVE, PASSIVE, End),
    Step(PASSIVE, ACTIVE, Ended),
)


# The active party.


@dataclass(eq=False, slots=True)
class _Asked:
    """One ask, from when somebody wants it until its reply has come."""

    tokens: Bytes
    answer: "asyncio.Future[Answer]"
    number: int = -1


_Due: TypeAlias = _Asked | Alive | End


class Inquiry:
    """The active party's side: any number of tasks ask over one channel; a context inside the channel's.

    Entering asks for the model; leaving waits for the answers that are still due. When the channel dies
    every ask that waits fails with its error, and so does every later one.

    Args:
        channel: entered, to the passive party.
        model: identifier.
        splits: of that party in the model.
        alive_seconds: the peer hears from us at least this often; well below both sides' patience.

    """

    def __init__(self, channel: Channel, model: str, splits: int, *, alive_seconds: float = 5.0) -> None:
        self._channel = channel
        self._model = model
        self._splits = splits
        self._alive_seconds = alive_seconds
        self._wanted: asyncio.Queue[_Asked | End] = asyncio.Queue()
        self._due: deque[_Due] = deque()
        self._places = asyncio.Semaphore(UNDER_WAY)
        self._error: ParleyError | None = None
        self._talking: asyncio.Task[None]

    async def ask(self, tokens: Bytes) -> Answer:
        """What the passive party says about tokens, uint8 [n, 16], n at most ``MAX_TOKENS``.

        A task that is cancelled meanwhile leaves the others' asks as they are.

        Raises:
            PolicyRefused: the passive party may not answer, with the code of the contract's reason.
            PeerLost, PeerAborted, PeerMisbehaved: the conversation has ended by this error.

        """
        if tokens.dtype != np.uint8 or tokens.shape[1:] != (TOKEN,) or len(tokens) > MAX_TOKENS:
            raise ValueError(
                f"tokens are {tokens.dtype} {list(tokens.shape)}, expected uint8 [≤ {MAX_TOKENS}, {TOKEN}]"
            )
        step = most_tokens(self._splits)
        parts = [tokens[first : first + step] for first in range(0, len(tokens), step)]
        if len(parts) == 1:
            return await self._ask(parts[0])
        answers = await all_of(self._ask(part) for part in parts)
        return _joined(answers, width_of(self._splits))

    async def over(self) -> None:
        """Wait until the conversation has ended; raises the error by which it has."""
        await asyncio.wait([self._talking])
        if not self._talking.cancelled():
            self._talking.result()

    async def __aenter__(self) -> Self:
        await self._channel.send(Begin(self._model, self._splits))
        await self._channel.recv(Ready)
        self._talking = asyncio.create_task(self._talk())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self._wanted.put_nowait(End())
            await self._talking
            self._fail(self._closed())
            return
        self._talking.cancel()
        await asyncio.gather(self._talking, return_exceptions=True)

    async def _ask(self, tokens: Bytes) -> Answer:
        if self._error is not None:
            raise self._error
        asked = _Asked(tokens, asyncio.get_running_loop().create_future())
        self._wanted.put_nowait(asked)
        return await asked.answer

    async def _talk(self) -> None:
        try:
            await together(self._read(), self._write())
        except ParleyError as error:
            self._fail(error)
            raise
        except BaseException:
            self._fail(self._closed())
            raise

    async def _write(self) -> None:
        """Send what is wanted, in its order. Only this task sends, so no cancelled ask can cut a message."""
        number = 0
        while True:
            wanted = await self._next()
            if isinstance(wanted, _Asked):
                if wanted.answer.done():
                    continue  # nobody waits for it any more
                wanted.number, number = number, number + 1
            await self._places.acquire()
            self._due.append(wanted)
            await self._channel.send(
                Ask(wanted.number, bytes_of(wanted.tokens)) if isinstance(wanted, _Asked) else wanted
            )
            if isinstance(wanted, End):
                return

    async def _next(self) -> _Due:
        try:
            async with asyncio.timeout(self._alive_seconds):
                return await self._wanted.get()
        except TimeoutError:
            return Alive()

    async def _read(self) -> None:
        """Take the replies; those who wait hear of an error at once."""
        try:
            while not isinstance(await self._reply(), Ended):
                pass
        except ParleyError as error:
            self._fail(error)
            raise

    async def _reply(self) -> Reply:
        """The next reply. Checks: 1 it is that to our oldest message, 2 it has the right shape."""
        reply = await self._channel.recv(Reply)
        due = self._due[0] if self._due else None  # stays there while a check may fail: `_fail` looks for it
        # 1
        if not _fits(due, reply):
            what = f" to ask {reply.number}" if isinstance(reply, Directions | Refused) else ""
            raise self._channel.fault("wrong-order", f"sent {type(reply).__name__}{what} out of turn")
        if isinstance(due, _Asked):
            # 2
            _settle(due.answer, self._channel, reply, len(due.tokens), self._splits)
        self._due.popleft()
        self._places.release()
        return reply

    def _fail(self, error: ParleyError) -> None:
        """Nothing is answered any more: tell all who wait."""
        if self._error is None:
            self._error = error
        waiting: list[_Due] = [*self._due]
        while not self._wanted.empty():
            waiting.append(self._wanted.get_nowait())
        for each in waiting:
            if isinstance(each, _Asked) and not each.answer.done():
                each.answer.set_exception(self._error)

    def _closed(self) -> PeerLost:
        return PeerLost(
            "connection-closed",
            f"the conversation with {self._channel.peer} about model {self._model} was ended here",
            peer=self._channel.peer,
            remedy="ask again when the model is served again",
        )


def _fits(due: _Due | None, reply: Reply) -> bool:
    if isinstance(due, _Asked):
        return isinstance(reply, Directions | Refused) and reply.number == due.number
    if isinstance(due, Alive):
        return isinstance(reply, StillAlive)
    return isinstance(due, End) and isinstance(reply, Ended)


def _settle(
    waiting: "asyncio.Future[Answer]", channel: Channel, reply: Reply, asked: int, splits: int
) -> None:
    """Give a reply to who waits for it, unless nobody does any more."""
    answer = answer_of(channel, reply, asked, splits) if isinstance(reply, Directions) else None
    if waiting.done():
        return
    if answer is not None:
        waiting.set_result(answer)
    elif isinstance(reply, Refused):
        waiting.set_exception(_refused(channel.peer, reply))


def _refused(peer: str, reply: Refused) -> PolicyRefused:
    if reply.code == "unaccounted":
        return PolicyRefused(
            "unaccounted",
            f"{peer} does not answer: too much of what it answered is not accounted for on the ledger",
            remedy=f"see the logs of `parley serve` and `parley predict`, and talk with {peer}",
        )
    return PolicyRefused(
        f"ledger-{reply.code}",
        f"{peer} does not answer for its rows: {reply.code}",
        remedy="see what the ledger says of the model's release, and ask its owners for another one",
    )


def _joined(answers: list[Answer], width: int) -> Answer:
    known = [np.zeros(0, dtype=np.bool_), *(each.known for each in answers)]
    left = [np.zeros((0, width), dtype=np.uint8), *(each.left for each in answers)]
    return Answer(np.concatenate(known), np.concatenate(left))


def answer_of(channel: Channel, reply: Directions, asked: int, splits: int) -> Answer:
    """What a reply to ``asked`` tokens says.

    Raises:
        PeerMisbehaved: it has another size, or a filling bit is set.

    """
    known = unpack_bits(channel, reply.known, asked, "known tokens")
    rows, width = int(np.count_nonzero(known)), width_of(splits)
    left = array_of(channel, reply.left, np.uint8, rows * width, "directions").reshape(rows, width)
    if splits % 8 and (left[:, -1] >> splits % 8).any():
        raise channel.fault("wrong-filling", f"set a bit of directions beyond the {splits} of a row")
    return Answer(known, left)


# The passive party.


async def passive(channel: Channel, model: str, splits: int, answering: Answering) -> int:
    """Answer asks, one at a time in their order, until the active party ends.

    Args:
        channel: entered, to the active party.
        model: identifier.
        splits: how many this party has in the model.
        answering: what answers.

    Returns:
        how many tokens were answered for.

    Raises:
        PolicyRefused: another model or another number of splits is asked for.
        PeerMisbehaved: an ask is out of order, or of a wrong size.

    """
    begin = await channel.recv(Begin)
    if (begin.model, begin.splits) != (model, splits):
        raise PolicyRefused(
            "wrong-model",
            f"{channel.peer} asks model {begin.model[:64]} with {begin.splits} splits; "
            f"we serve {model} with {splits}",
            remedy="use the shares of one training together",
            public="the model share here does not fit what was asked",
        )
    await channel.send(Ready())
    number = answered = 0
    while not isinstance(message := await channel.recv(Ask, Alive, End), End):
        if isinstance(message, Alive):
            await channel.send(StillAlive())
            continue
        tokens = tokens_of(channel, message, number, splits)
        with channel.trace.working("answer"):
            said = await answering(tokens)
        await channel.send(_message(number, said, len(tokens), splits))
        number += 1
        answered += len(tokens) if isinstance(said, Answer) else 0
    await channel.send(Ended())
    return answered


def tokens_of(channel: Channel, ask: Ask, number: int, splits: int) -> Bytes:
    """The tokens of an ask, uint8 [n, 16], a read-only view. Checks: 1 it is the next, 2 of a right size."""
    if ask.number != number:
        raise channel.fault("wrong-order", f"sent ask {ask.number} where {number} was due")
    rows, most = len(ask.tokens) // TOKEN, most_tokens(splits)
    if not 1 <= rows <= most:
        raise channel.fault("wrong-length", f"asks about {rows} tokens at once where 1 to {most} were due")
    return array_of(channel, ask.tokens, np.uint8, rows * TOKEN, "tokens").reshape(rows, TOKEN)


def _message(number: int, said: Answer | Reason, asked: int, splits: int) -> Directions | Refused:
    if not isinstance(said, Answer):
        return Refused(number, said)
    expected = (int(np.count_nonzero(said.known)), width_of(splits))
    if said.known.shape != (asked,) or said.left.shape != expected:
        raise ValueError(
            f"an answer to {asked} tokens has {list(said.known.shape)} known and {list(said.left.shape)} "
            f"directions, expected {list(expected)}"
        )
    return Directions(number, pack_bits(said.known), said.left.tobytes())
