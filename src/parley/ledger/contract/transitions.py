"""The states of a run, as one table. Nothing else in the contract changes the state of a run.

    row: (in this state, when this happens, it goes to that state)

`move` applies the table; `diagram` draws it for the specification.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, get_args

State: TypeAlias = Literal[
    "proposed", "approved", "aligning", "training", "finishing", "paused", "finished", "cancelled", "failed"
]
Event: TypeAlias = Literal[
    "approve",
    "start",
    "aligned",
    "commit",
    "finish",
    "share",
    "finished",
    "pause",
    "resume",
    "cancel",
    "fail",
]

TRANSITIONS: Final[tuple[tuple[State, Event, State], ...]] = (
    ("proposed", "approve", "approved"),
    ("approved", "start", "aligning"),
    ("aligning", "commit", "aligning"),
    ("aligning", "aligned", "training"),
    ("training", "commit", "training"),
    ("training", "finish", "finishing"),
    ("finishing", "share", "finishing"),
    ("finishing", "finished", "finished"),
    ("approved", "pause", "paused"),
    ("aligning", "pause", "paused"),
    ("training", "pause", "paused"),
    ("finishing", "pause", "paused"),
    ("proposed", "cancel", "cancelled"),
    ("approved", "cancel", "cancelled"),
    ("aligning", "cancel", "cancelled"),
    ("training", "cancel", "cancelled"),
    ("finishing", "cancel", "cancelled"),
    ("paused", "cancel", "cancelled"),
    ("proposed", "fail", "failed"),
    ("approved", "fail", "failed"),
    ("aligning", "fail", "failed"),
    ("training", "fail", "failed"),
    ("finishing", "fail", "failed"),
    ("paused", "fail", "failed"),
)
"""Every move but ``resume``: that leads from ``paused`` back to the state that was left."""

TERMINAL: Final[tuple[State, ...]] = ("finished", "cancelled", "failed")
STATES: Final[tuple[State, ...]] = get_args(State)
_MOVES: Final[Mapping[tuple[str, str], State]] = MappingProxyType(
    {(source, event): target for source, event, target in TRANSITIONS}
)
RESUMABLE: Final[tuple[State, ...]] = tuple(source for source, event, _ in TRANSITIONS if event == "pause")


def move(state: State, event: Event, left: State | None) -> State | None:
    """Where a run goes from ``state``, or nothing if that cannot happen there.

    ``left`` is the state in which a paused run was.
    """
    if state == "paused" and event == "resume":
        return left if left in RESUMABLE else None
    return _MOVES.get((state, event))


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> proposed: propose"]
    lines += [f"    {source} --> {target}: {event}" for source, event, target in TRANSITIONS]
    lines += [f"    paused --> {state}: resume" for state in RESUMABLE]
    lines += [f"    {state} --> [*]" for state in TERMINAL]
    return "\n".join(lines) + "\n"
