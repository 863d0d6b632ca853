"""Ticketing: how a program of the active party learns its way to what answers at a passive party.

    program            its own party                        passive party
                                                 ──────────►   (which model, which enrolment: the path)
                                     ◄── Ticket  ticket ──
       ◄── Way  address, certificate, ticket ──
       ── Left ──►                                             the program needs it no more; or the party
       ◄── Over ──                                             breaks off: it does not hold any more

With the way the program connects by itself (`net.handover`), so that its asks pass neither party's process.
The way holds until its party breaks off, because the peer or we are no longer who we were. The ticket says
nothing but where a connection goes; who may ask is checked as for every other connection.
"""

from typing import Annotated, Final

import msgspec

from parley.core.conversation import Message, Step, steps

ACTIVE: Final = "active"
PASSIVE: Final = "passive"
PROGRAM: Final = "program"
PARTY: Final = "party"


class Ticket(Message, frozen=True):
    """``ticket``: 32 hex digits."""

    ticket: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]


class Way(Message, frozen=True):
    """``address``: where the peer is dialled; empty if it cannot be, and then there is no ``ticket`` either.

    ``certificate``: that vouches for the peer, PEM.
    """

    address: str
    certificate: str
    ticket: str


class Left(Message, frozen=True):
    """The program needs the way no more."""


class Over(Message, frozen=True):
    """The reply."""


STEPS: Final = steps("ticketing", 1, Step(PASSIVE, ACTIVE, Ticket))
WAY_STEPS: Final = steps(
    "way", 1, Step(PARTY, PROGRAM, Way), Step(PROGRAM, PARTY, Left), Step(PARTY, PROGRAM, Over)
)
