"""The states of a run at one party, as one table. Nothing else changes the state of a run here.

    row: (in this state, when this happens, it goes to that state)

The ledger has its own table of what all parties agree on; this one says what our program does about it.
`DEADLINES` says what ends each state that does not last; `diagram` draws the table for ``docs/runs.md``.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, get_args

from parley.core.errors import ProtocolBug

State: TypeAlias = Literal["queued", "awaiting", "running", "interrupted", "finished", "failed", "cancelled"]
Event: TypeAlias = Literal["begin", "approve", "interrupt", "resume", "finish", "fail", "cancel"]

TRANSITIONS: Final[tuple[tuple[State, Event, State], ...]] = (
    ("queued", "begin", "awaiting"),
    ("queued", "fail", "failed"),
    ("queued", "cancel", "cancelled"),
    ("awaiting", "approve", "running"),
    ("awaiting", "fail", "failed"),
    ("awaiting", "cancel", "cancelled"),
    ("running", "interrupt", "interrupted"),
    ("running", "finish", "finished"),
    ("running", "fail", "failed"),
    ("running", "cancel", "cancelled"),
    ("interrupted", "interrupt", "interrupted"),
    ("interrupted", "resume", "running"),
    ("interrupted", "finish", "finished"),
    ("interrupted", "fail", "failed"),
    ("interrupted", "cancel", "cancelled"),
)
TERMINAL: Final[tuple[State, ...]] = ("finished", "failed", "cancelled")
STATES: Final[tuple[State, ...]] = get_args(State)
DEADLINES: Final[Mapping[State, str]] = MappingProxyType(
    {
        "queued": "its turn: `runs_at_once` of parley.toml take place at a time; after a day it has failed",
        "awaiting": "`parley run --wait`: the owners have so long to approve the plan; then it has failed",
        "running": "`patience` of parley.toml: a peer that is silent for so long is lost; it is interrupted",
        "interrupted": "`patience` of the plan's limits: a run that has stood still for so long has failed",
    }
)
_MOVES: Final[Mapping[tuple[State, Event], State]] = MappingProxyType(
    {(source, event): target for source, event, target in TRANSITIONS}
)


def move(state: State, event: Event) -> State:
    """Where a run goes from ``state``.

    Raises:
        ProtocolBug: the table has no such move.
    """
    if (state, event) not in _MOVES:
        raise ProtocolBug(
            "run-state", f"a run cannot {event} while {state}", remedy="report it with the party's log"
        )
    return _MOVES[state, event]


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> queued: plan submitted", "    [*] --> running: plan agreed to"]
    lines += [f"    {source} --> {target}: {event}" for source, event, target in TRANSITIONS]
    lines += [f"    {state} --> [*]" for state in TERMINAL]
    return "\n".join(lines) + "\n"
