"""How a newcomer with an invitation becomes a member.

    newcomer (invitation's certificate)                  inviter (any member)
                              ── Arrival ─────────────────▶ its name
                              ◀────────────── Welcome ──── the ledger's id, height, and where everybody is
      makes its keys, signs   ── Entry ───────────────────▶ submits the transactions
                              ◀────────────── Entered ──── once they are final

The newcomer proves that it knows the invitation's secret twice: its certificate here is made of it, and
its transaction is signed with a key made of it. The inviter learns neither of the newcomer's new keys.
"""

from typing import Annotated, Final

import msgspec

from parley.core.conversation import Message, Step, steps

NEWCOMER: Final = "newcomer"
INVITER: Final = "inviter"

Envelope = Annotated[bytes, msgspec.Meta(max_length=1 << 16)]
Text = Annotated[str, msgspec.Meta(max_length=8192)]


class Neighbour(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A member and how it is reached; ``certificate`` is PEM."""

    name: Text
    address: Text
    certificate: Text


class Arrival(Message, frozen=True):
    """``name``: as the invitation has it."""

    name: Text


class Welcome(Message, frozen=True):
    """``height``: of the ledger now; ``sequencer``: who orders, if one does; ``members``: everybody."""

    consortium: Text
    height: int
    sequencer: Text
    members: Annotated[tuple[Neighbour, ...], msgspec.Meta(max_length=256)]


class Entry(Message, frozen=True):
    """Signed transactions: joining, the newcomer's endpoint, and its CometBFT node; empty if it has none."""

    join: Envelope
    announce: Envelope
    node: Envelope


class Entered(Message, frozen=True):
    """The newcomer is a member."""


STEPS: Final = steps(
    "joining",
    2,
    Step(NEWCOMER, INVITER, Arrival),
    Step(INVITER, NEWCOMER, Welcome),
    Step(NEWCOMER, INVITER, Entry),
    Step(INVITER, NEWCOMER, Entered),
)
