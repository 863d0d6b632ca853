"""What a party tells its operator: records with a level, and what each is about.

A record never holds a value of a table, nor a secret: it names codes, counts, parties and steps.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

import msgspec

from parley.core.errors import ParleyError, PeerError

Level = Literal["info", "warning", "error"]
Kind = Literal[
    "", "state", "attempt", "step", "phase", "waits", "ledger", "worker", "traffic", "left-out", "end"
]
"""What a record of a run is about; empty for any other line."""


class Figures(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What of a record is a number.

    Attributes:
        seconds: how long it took, or has lasted.
        done: units of the phase that are done.
        total: units expected in it.
        unit: what they are.
        rate: units per second, lately.
        remaining: seconds to the phase's end at that rate.
        sent: bytes to the peer, in this attempt.
        received: bytes from it.
        memory: bytes that the worker held at its most.
        place: in the journal, from which an attempt goes on.
        records: how many were left out.
    """

    seconds: float | None = None
    done: int | None = None
    total: int | None = None
    unit: str = ""
    rate: float | None = None
    remaining: float | None = None
    sent: int | None = None
    received: int | None = None
    memory: int | None = None
    place: int | None = None
    records: int | None = None


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that happened; what is empty does not apply.

    Attributes:
        time: UTC, ISO 8601 with milliseconds.
        level: whether somebody has to look.
        party: whose log it is.
        text: in words, without a value of any table.
        run: identifier.
        role: ours in the run.
        attempt: at the run, counted from 1.
        step: of the run.
        peer: which party it is about.
        code: of the error.
        kind: of a record of a run.
        figures: its numbers.
        number: in the log of a run, counted from 1; 0 elsewhere.
    """

    time: str
    level: Level
    party: str
    text: str
    run: str = ""
    role: str = ""
    attempt: int = 0
    step: str = ""
    peer: str = ""
    code: str = ""
    kind: Kind = ""
    figures: Figures | None = None
    number: int = 0


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What all records of one place have in common; see `Record`."""

    run: str = ""
    role: str = ""
    attempt: int = 0
    step: str = ""
    peer: str = ""
    code: str = ""


class Log:
    """Makes records, and hands them on.

    Called with a line, it is the place where that is said at level ``info``.

    Args:
        party: whose log it is.
        wall: seconds since 1970.
        take: takes each record; must be quick and must not raise.
        about: what they have in common.
    """

    def __init__(
        self,
        party: str,
        wall: Callable[[], float],
        take: Callable[[Record], None],
        about: About | None = None,
    ) -> None:
        self._party = party
        self._wall = wall
        self._take = take
        self._about = about or About()

    def __call__(self, text: str) -> None:
        """Say a line."""
        self.say("info", text)

    def about(
        self,
        *,
        run: str = "",
        role: str = "",
        attempt: int = 0,
        step: str = "",
        peer: str = "",
        code: str = "",
    ) -> "Log":
        """The same log for records about something; what is not named stays as it is."""
        named = {"run": run, "role": role, "attempt": attempt, "step": step, "peer": peer, "code": code}
        changed = {name: value for name, value in named.items() if value}
        return Log(self._party, self._wall, self._take, msgspec.structs.replace(self._about, **changed))

    def to(self, take: Callable[[Record], None]) -> "Log":
        """The same log, handed on elsewhere."""
        return Log(self._party, self._wall, take, self._about)

    def say(self, level: Level, text: str, kind: Kind = "", figures: Figures | None = None) -> None:
        """Make a record of now."""
        about = self._about
        self._take(
            Record(
                time=moment(self._wall()),
                level=level,
                party=self._party,
                text=text,
                run=about.run,
                role=about.role,
                attempt=about.attempt,
                step=about.step,
                peer=about.peer,
                code=about.code,
                kind=kind,
                figures=figures,
            )
        )

    def because(self, error: ParleyError) -> "Log":
        """The same log for records about an error: its code, and the peer that it names."""
        return self.about(code=error.code, peer=error.peer if isinstance(error, PeerError) else "")


def moment(seconds: float) -> str:
    """A time in seconds since 1970, as records have it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
