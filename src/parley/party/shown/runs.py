"""Runs as they are shown."""

from typing import Literal

import msgspec

from parley.core.errors import UsageError
from parley.core.plan import decode_plan
from parley.store.catalogue import RunRecord, RunState
from parley.store.home import Home


class RunShown(msgspec.Struct, frozen=True):
    """A run at our party.

    Attributes:
        run: identifier; the model it makes has the same.
        began: seconds since 1970.
        plan: the plan's name.
        role: ours in it.
        state: where it stands here.
        priority: among the runs that wait for their turn; the higher, the sooner.
        since: when it came to stand there, seconds since 1970.
        outcome: the report of a finished run, the error of any other that does not go on.
    """

    run: str
    began: float
    plan: str
    role: Literal["active", "passive"]
    state: RunState
    priority: int
    since: float
    outcome: msgspec.Raw


def run_shown(record: RunRecord) -> RunShown:
    """A run of the catalogue."""
    return RunShown(
        run=record.id,
        began=record.began,
        plan=decode_plan(record.plan.encode()).name,
        role="active" if record.role == "active" else "passive",
        state=record.state,
        priority=record.priority,
        since=record.since or record.began,
        outcome=record.outcome,
    )


def known_run(home: Home, run: str) -> RunRecord:
    """A run that the catalogue has.

    Raises:
        UsageError: ``unknown-run``.
    """
    record = home.catalogue.run(run)
    if record is None:
        raise UsageError("unknown-run", f"no run {run!r} is known here", remedy="see `parley runs`")
    return record
