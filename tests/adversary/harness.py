"""An adversary for any conversation that has a table of steps.

One role stays honest code but its outgoing traffic passes a rule that edits the n-th message of one
type (renumbered, so that the checks above the sequence number are exercised) or the n-th raw frame
(below it). `cases` enumerates rules by messages, `outcome` runs both roles and says how it ended for
the other role, the victim::

    async def test_nobody_is_fooled():
        for case, verdict in (await sweep(cases(STEPS), STEPS, roles)).items():
            assert verdict.acceptable, f"{case}: {verdict}"

``structure`` and ``frame`` rules may never lead the victim to a different result. ``value`` rules
make a well-formed message that says something else, which a party of the semi-honest model may be
free to say: there the result is not judged, but hangs and foreign exceptions are.

A rule cannot interrupt a computation: a role that blocks the event loop is caught by the timeout of
the test, not by this harness.
"""

import asyncio
import functools
import time
import types
import typing
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from parley.core.conversation import Message, Repeat, Step, Steps, flatten
from parley.core.errors import PeerAborted, PeerError, PeerLost, PeerMisbehaved, PolicyRefused
from parley.core.trace import Trace
from parley.net.channel import CheckedChannel, Hello, Setting
from parley.net.transport import Transport

from tests.adversary.rules import FIELD_RULES, FRAME_RULES, MESSAGE_RULES, Flow, Rule, retyped
from tests.channels import transports

Family = Literal["structure", "value", "frame"]
Role = Callable[[CheckedChannel], Awaitable[Any]]

_SEQUENCE_BYTES = 8
_PEER_ERRORS = (PeerMisbehaved, PeerLost, PeerAborted, PolicyRefused)


@dataclass(frozen=True)
class Case:
    """One edit: of the ``nth`` message called ``message`` (or frame, if empty) that ``sender`` sends."""

    sender: str
    message: str
    nth: int
    name: str
    family: Family
    rule: Rule

    def __str__(self) -> str:
        return f"{self.sender}-{self.message or 'frame'}-{self.nth}-{self.name}"


@dataclass(frozen=True)
class Outcome:
    """How a case ended.

    Attributes:
        verdict: what the victim got: ``correct``, ``PeerMisbehaved``, ``PeerLost``, ``PeerAborted``,
            ``PolicyRefused``, ``WRONG`` (another result), ``HANG``, or ``OTHER`` (either role raised
            what is not an error about a peer).
        detail: the result or error of each role.
        applied: whether the message to be edited was sent at all.
        judged: whether the victim's result counts.

    """

    verdict: str
    detail: str
    applied: bool
    judged: bool

    @property
    def acceptable(self) -> bool:
        """Neither fooled, nor hung, nor hit by a foreign exception."""
        return self.verdict not in {"HANG", "OTHER"} and (self.verdict != "WRONG" or not self.judged)


def cases(steps: Steps, nths: Sequence[int] = (0, 1)) -> Iterator[Case]:
    """Every rule on every message type of the table and on `Hello`, then every rule on raw frames.

    A message inside a `Repeat` is edited at each of ``nths``, any other at its first sending.
    """
    repeated = set(_repeated(steps.parts))
    sendings = dict.fromkeys((step.sender, step.message) for step in flatten(steps.parts))
    kinds = (Hello, *steps.messages())
    for sender in steps.roles():
        sent = [Hello, *(message for role, message in sendings if role == sender)]
        for message in sent:
            for nth in nths if message in repeated else nths[:1]:
                place = functools.partial(Case, sender, message.__name__, nth)
                for name, rule in MESSAGE_RULES.items():
                    yield place(name, "structure", rule)
                for other in kinds:
                    if other is not message:
                        yield place(f"as-{other.__name__}", "structure", retyped(other))
                yield from _field_cases(message, place)
        for nth in (0, 1, 2):
            for name, rule in FRAME_RULES.items():
                yield Case(sender, "", nth, name, "frame", rule)


async def sweep(
    every: Iterator[Case], steps: Steps, roles: Mapping[str, Role], *, at_once: int = 16, **options: Any
) -> dict[Case, Outcome]:
    """The outcome of each case, several at a time; ``options`` as for `outcome`."""
    expected = await rehearsal(steps, roles, carrier=options.get("carrier", "memory"))
    gate = asyncio.Semaphore(at_once)

    async def one(case: Case) -> Outcome:
        async with gate:
            return await outcome(case, steps, roles, expected, **options)

    listed = list(every)
    return dict(zip(listed, await asyncio.gather(*map(one, listed)), strict=True))


async def rehearsal(steps: Steps, roles: Mapping[str, Role], *, carrier: str = "memory") -> dict[str, Any]:
    """The results of an honest run, by role."""
    return await _run(steps, roles, carrier, 30.0, lambda _role, transport: transport)


async def outcome(
    case: Case,
    steps: Steps,
    roles: Mapping[str, Role],
    expected: Mapping[str, Any],
    *,
    patience: float = 0.3,
    limit: float = 10.0,
    carrier: str = "memory",
    same: Callable[[Any, Any], bool] = lambda ours, theirs: bool(ours == theirs),
) -> Outcome:
    """Run both roles with the case's rule in between and classify the end.

    Args:
        case: what is edited.
        steps: the table.
        roles: a coroutine function of one channel for each of the two roles.
        expected: the results of an honest run, see `rehearsal`.
        patience: seconds after which a silent peer counts as lost.
        limit: seconds after which the run counts as hung.
        carrier: ``memory`` or ``tls``.
        same: whether a result is the expected one.

    """
    flow = Flow(patience)
    judged = case.family != "value"

    def between(role: str, transport: Transport) -> Transport:
        return Tampering(transport, case, flow) if role == case.sender else transport

    try:
        async with asyncio.timeout(limit):
            ends = await _run(steps, roles, carrier, patience, between)
    except TimeoutError:
        return Outcome("HANG", f"still running after {limit:g} s", flow.applied, judged)
    [victim] = [role for role in roles if role != case.sender]
    detail = "; ".join(f"{role}: {end!r}" for role, end in ends.items())
    return Outcome(_verdict(ends, victim, expected, same), detail, flow.applied, judged)


class Tampering:
    """A transport that applies one case's rule to what its holder sends.

    Like a network it takes frames at once and delivers them in its own time, so that its holder
    notices nothing but the victim's answer.
    """

    def __init__(self, inner: Transport, case: Case, flow: Flow) -> None:
        self._inner = inner
        self._case = case
        self._flow = flow
        self._seen = 0
        self._number = 0
        self._frames: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._delivering = asyncio.ensure_future(self._deliver())
        self._broken: PeerError | None = None

    @property
    def peer(self) -> str:
        return self._inner.peer

    async def recv(self) -> bytes:
        return await self._inner.recv()

    async def send(self, frame: bytes) -> None:
        await asyncio.sleep(0)
        if self._broken is not None:
            raise self._broken
        self._frames.put_nowait(frame)

    async def close(self) -> None:
        self._frames.put_nowait(None)
        await self._delivering
        await self._inner.close()

    async def _deliver(self) -> None:
        try:
            while (frame := await self._frames.get()) is not None:
                for each in await self._replaced(frame):
                    await self._inner.send(each)
        except PeerError as error:
            self._broken = error

    async def _replaced(self, frame: bytes) -> list[bytes]:
        if not self._case.message:
            return await self._edited(frame)
        numbered = []
        for body in await self._edited(frame[_SEQUENCE_BYTES:]):
            numbered.append(self._number.to_bytes(_SEQUENCE_BYTES, "big") + body)
            self._number += 1
        return numbered

    async def _edited(self, data: bytes) -> list[bytes]:
        counts = not self._case.message or msgspec.msgpack.decode(data)[0] == self._case.message
        now = counts and self._seen == self._case.nth
        self._seen += counts
        if now:
            self._flow.applied = True
            return await self._case.rule(data, self._flow)
        held, self._flow.held = self._flow.held, []
        return [data, *held]


async def _run(
    steps: Steps,
    roles: Mapping[str, Role],
    carrier: str,
    patience: float,
    between: Callable[[str, Transport], Transport],
) -> dict[str, Any]:
    names = tuple(roles)
    async with transports(carrier, names) as ends:
        channels = (
            CheckedChannel(between(role, end), Setting(steps, role, "run", Trace(time.monotonic), patience))
            for role, end in zip(names, ends, strict=True)
        )
        talks = (roles[role](channel) for role, channel in zip(names, channels, strict=True))
        results = await asyncio.gather(*talks, return_exceptions=True)
    return dict(zip(names, results, strict=True))


def _verdict(
    ends: Mapping[str, Any], victim: str, expected: Mapping[str, Any], same: Callable[[Any, Any], bool]
) -> str:
    foreign = [
        end for end in ends.values() if isinstance(end, BaseException) and not isinstance(end, _PEER_ERRORS)
    ]
    if foreign:
        return "OTHER"
    end = ends[victim]
    if isinstance(end, BaseException):
        return type(end).__name__
    return "correct" if same(end, expected[victim]) else "WRONG"


def _field_cases(message: type[Message], place: Callable[[str, Family, Rule], Case]) -> Iterator[Case]:
    for position, field in enumerate(msgspec.structs.fields(message), start=1):
        held = set(_leaf_types(field.type))
        for name, (leaf, family, make) in FIELD_RULES.items():
            if leaf in held:
                yield place(f"{field.name}-{name}", family, make(position))


def _leaf_types(annotation: Any) -> Iterator[type]:
    """The plain types that occur in an annotation, ``list`` included."""
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    origin = typing.get_origin(annotation)
    if origin in {typing.Union, types.UnionType}:
        for argument in typing.get_args(annotation):
            yield from _leaf_types(argument)
    elif origin in {list, tuple, dict} or annotation in {list, tuple}:
        yield list
        for argument in typing.get_args(annotation):
            yield from _leaf_types(argument)
    elif isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        for field in msgspec.structs.fields(annotation):
            yield from _leaf_types(field.type)
    elif isinstance(annotation, type):
        yield annotation


def _repeated(parts: Sequence[Any]) -> Iterator[type[Message]]:
    for part in parts:
        if isinstance(part, Repeat):
            yield from (step.message for step in flatten(part.parts))
        elif not isinstance(part, Step):
            yield from _repeated(part.options)
