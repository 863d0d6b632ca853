"""Proposing a run, or to go on with one that was interrupted; the line stays open while it lasts.

    active                                               passive
                              ── Proposal ────────────────▶ the plan; its own rules decide
                              ◀──────────── Agreement ──── the plan's digest, and the places that it keeps
      the latest place that all keep
                              ── GoOn ────────────────────▶ it must be one that it keeps
      … the run's own conversations, over connections of their own …
                              ── RunEnds ─────────────────▶
                              ◀──────────────── Ended ────

A place is where a run can be gone on from: how many rounds are done, with the alignment as round 0; a new
run goes on from 0. If either end fails, the reason travels over this line; if it dies, this line breaks.
So nobody waits for a party that has stopped.
"""

from typing import Annotated, Final

import msgspec

from parley.core.conversation import Channel, Message, Step, steps
from parley.core.plan import Plan, decode_plan, encode_plan

ACTIVE: Final = "active"
PASSIVE: Final = "passive"
MOST_PLACES: Final = 64
Place = Annotated[int, msgspec.Meta(ge=0, le=2**31)]


class Proposal(Message, frozen=True):
    """``plan``: JSON as `encode_plan` writes it."""

    plan: Annotated[bytes, msgspec.Meta(max_length=1 << 20)]


class Agreement(Message, frozen=True):
    """``digest``: of the plan agreed to; ``places``: that the run can be gone on from, besides 0."""

    digest: str
    places: Annotated[tuple[Place, ...], msgspec.Meta(max_length=MOST_PLACES)]


class GoOn(Message, frozen=True):
    """``place``: the latest that all parties keep; 0 is the beginning."""

    place: Place


class RunEnds(Message, frozen=True):
    """The active party has what it wanted."""


class Ended(Message, frozen=True):
    """The passive party has finished too."""


STEPS: Final = steps(
    "proposal",
    2,
    Step(ACTIVE, PASSIVE, Proposal),
    Step(PASSIVE, ACTIVE, Agreement),
    Step(ACTIVE, PASSIVE, GoOn),
    Step(ACTIVE, PASSIVE, RunEnds),
    Step(PASSIVE, ACTIVE, Ended),
)


async def propose(channel: Channel, plan: Plan) -> frozenset[int]:
    """Ask a passive party to take part; returns the places it keeps, when it agreed.

    Raises:
        PeerAborted: it refuses, with its reason.
    """
    await channel.send(Proposal(encode_plan(plan)))
    agreement = await channel.recv(Agreement)
    if agreement.digest != plan.digest:
        raise channel.fault("wrong-plan", "agreed to another plan than the one proposed")
    return frozenset(agreement.places)


async def receive(channel: Channel) -> Plan:
    """The plan that the active party proposes; answer it with `agree`, or raise why not."""
    proposal = await channel.recv(Proposal)
    return decode_plan(proposal.plan)


async def agree(channel: Channel, plan: Plan, places: tuple[int, ...]) -> None:
    """Agree to a plan, and say from which places the run can be gone on with; `hear_place` follows."""
    await channel.send(Agreement(plan.digest, places))


async def hear_place(channel: Channel, places: tuple[int, ...]) -> int:
    """The place from which to go on, once all have agreed.

    Raises:
        PeerMisbehaved: it is none that we keep.
    """
    chosen = await channel.recv(GoOn)
    if chosen.place not in (0, *places):
        raise channel.fault("wrong-place", f"goes on from place {chosen.place}, which we do not keep")
    return chosen.place
