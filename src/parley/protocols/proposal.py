"""Proposing a run, and the line that stays open while it lasts.

    active                                               passive
                              ── Proposal ────────────────▶ the plan; its own rules decide
                              ◀──────────── Agreement ──── the digest of the plan it agreed to
      … the run's own conversations, over connections of their own …
                              ── RunEnds ─────────────────▶
                              ◀──────────────── Ended ────

If either end fails, the reason travels over this line; if it dies, this line breaks. So nobody waits
for a party that has stopped.
"""

from typing import Annotated, Final

import msgspec

from parley.core.conversation import Channel, Message, Step, steps
from parley.core.plan import Plan, decode_plan, encode_plan

ACTIVE: Final = "active"
PASSIVE: Final = "passive"


class Proposal(Message, frozen=True):
    """``plan``: JSON as `encode_plan` writes it."""

    plan: Annotated[bytes, msgspec.Meta(max_length=1 << 20)]


class Agreement(Message, frozen=True):
    """``digest``: of the plan agreed to."""

    digest: str


class RunEnds(Message, frozen=True):
    """The active party has what it wanted."""


class Ended(Message, frozen=True):
    """The passive party has finished too."""


STEPS: Final = steps(
    "proposal",
    1,
    Step(ACTIVE, PASSIVE, Proposal),
    Step(PASSIVE, ACTIVE, Agreement),
    Step(ACTIVE, PASSIVE, RunEnds),
    Step(PASSIVE, ACTIVE, Ended),
)


async def propose(channel: Channel, plan: Plan) -> None:
    """Ask a passive party to take part; returns when it agreed.

    Raises:
        PeerAborted: it refuses, with its reason.
    """
    await channel.send(Proposal(encode_plan(plan)))
    agreement = await channel.recv(Agreement)
    if agreement.digest != plan.digest:
        raise channel.fault("wrong-plan", "agreed to another plan than the one proposed")


async def receive(channel: Channel) -> Plan:
    """The plan that the active party proposes; answer it with `agree`, or raise why not."""
    proposal = await channel.recv(Proposal)
    return decode_plan(proposal.plan)


async def agree(channel: Channel, plan: Plan) -> None:
    """Agree to a plan."""
    await channel.send(Agreement(plan.digest))
