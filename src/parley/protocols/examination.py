"""Two parties compare what must fit for them to work together: release, clock, ledger, and the way back.

    caller                                               called
                              ── About ───────────────────▶
                              ◀───────────────── About ──── at once, so that the clocks can be compared
                                                            dials the caller's address, if it knows one
                              ◀─────────────── WayBack ──── whether it came through

Any peer that is pinned may ask. Neither learns more of the other than `About` and `WayBack` say: no
names, addresses, paths, tables or plans. What is said here is believed by nobody but people.
"""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta

from parley.core.conversation import Channel, Message, Step, steps

CALLER: Final = "caller"
CALLED: Final = "called"
PATH: Final = "/doctor"

Reached: TypeAlias = Literal["reached", "not-reached", "no-address"]


class About(Message, frozen=True):
    """What a party says of itself.

    ``release``: of Parley; ``clock``: seconds since 1970; ``consortium``: the ledger's id, empty without
    one; ``height``: of its last block.
    """

    release: Annotated[str, Meta(pattern=r"^[0-9A-Za-z.+!-]{1,64}\Z")]
    clock: Annotated[float, Meta(ge=0, le=1e12)]
    consortium: Annotated[str, Meta(pattern=r"^[0-9a-f]{0,64}\Z")]
    height: Annotated[int, Meta(ge=0, le=2**63 - 1)]


class WayBack(Message, frozen=True):
    """``reached``: whether the called party came through when it dialled the caller.

    Not how far: a caller that announces addresses within the called party's network could look around there.
    """

    reached: Reached


STEPS: Final = steps(
    "examination",
    1,
    Step(CALLER, CALLED, About),
    Step(CALLED, CALLER, About),
    Step(CALLED, CALLER, WayBack),
)


@dataclass(frozen=True)
class Compared:
    """What the caller has heard.

    Attributes:
        ours, theirs: as exchanged.
        heard: our clock when theirs came, seconds since 1970.
        reached: whether the other party came through when it dialled us.
    """

    ours: About
    theirs: About
    heard: float
    reached: Reached

    @property
    def ahead(self) -> float:
        """Seconds that their clock is ahead of ours, if the two messages took equally long."""
        return self.theirs.clock - (self.ours.clock + self.heard) / 2

    @property
    def uncertain(self) -> float:
        """Seconds by which `ahead` may be wrong: half the round trip."""
        return abs(self.heard - self.ours.clock) / 2


async def call(channel: Channel, about: Callable[[], About]) -> Compared:
    """As the caller; ``about`` says what we are now."""
    ours = about()
    await channel.send(ours)
    theirs = _checked(channel, await channel.recv(About))
    heard = about().clock
    back = await channel.recv(WayBack)
    return Compared(ours, theirs, heard, back.reached)


async def be_called(
    channel: Channel, about: Callable[[], About], dial_back: Callable[[], Awaitable[Reached]]
) -> About:
    """As the called; ``dial_back`` says whether we come through when we dial the caller."""
    theirs = _checked(channel, await channel.recv(About))
    await channel.send(about())
    await channel.send(WayBack(await dial_back()))
    return theirs


def _checked(channel: Channel, about: About) -> About:
    """Numbers that compare as numbers."""
    if not math.isfinite(about.clock):
        raise channel.fault("malformed-clock", f"says that its clock shows {about.clock}")
    return about
