"""What the running party does for its store by itself: hold it, note what is owed, let go of what is old.

The rules of what is kept for how long, all of them:

    records of runs       ``keep_runs`` days after the run has ended, and never less than the journal; of
                          one whose model we hold, for ever: its plan says how the model is used
    journals of runs      while the run lasts; how it ended, for ``keep_journals`` days more; one that
                          belongs to no run that is noted, so long too, as a backup may bring the run back
    logs of runs          ``keep_logs`` days after the last line
    logs of our node      the last one that was put aside, for ``keep_logs`` days
    pages of predictions  ``keep_predictions`` days after the last answer on them; for ever while the ledger
                          does not have them, or a majority has not signed for that
    models, the ledger    for ever
"""

import asyncio
from collections.abc import Awaitable, Callable, Container
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from parley.core.errors import ParleyError, UsageError
from parley.ledger.contract.predictions import Batch, batch_path
from parley.ledger.engines.cometbft.node import OLD_LOG
from parley.party.chronicle import Chronicle
from parley.party.failures import lines_of
from parley.party.office import Office
from parley.party.runstate import TERMINAL
from parley.store.catalogue import RunRecord
from parley.store.database import RUNNING
from parley.store.home import Home
from parley.store.journal import Journal
from parley.store.predictions import entered_pages, remember_let_go
from parley.store.runlog import run_logs

_DAY: Final = 86400.0
_LOOK_AFTER: Final = 5.0
"""Seconds between two looks at the store."""


@dataclass(frozen=True)
class Swept:
    """How much was let go of: records of runs, journals, logs, pages of predictions."""

    runs: int
    journals: int
    logs: int
    pages: int


async def until_either(*endless: Awaitable[None]) -> None:
    """Run several things side by side until one of them ends, for whatever reason."""
    tasks = [asyncio.ensure_future(each) for each in endless]
    try:
        over, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in over:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def keep_up(office: Office, make_sure: Callable[[], None]) -> None:
    """Keep at it until cancelled.

    Args:
        office: of our party.
        make_sure: that no other process runs this party.

    Raises:
        UsageError: ``party-running``: another one does.
    """
    monotonic = office.clocks.monotonic
    trouble, due = "", monotonic()
    while True:
        before = trouble
        try:
            await asyncio.to_thread(make_sure)
            office.settle()
            if monotonic() >= due:
                await _sweep(office)
                due = monotonic() + _DAY
            trouble = ""
        except ParleyError as error:
            if error.code == RUNNING:
                raise
            trouble = error.code
            if trouble != before:
                office.log(error.what)
        if before and not trouble:
            office.log("the store can be used again")
        await asyncio.sleep(_LOOK_AFTER)


async def _sweep(office: Office) -> None:
    """Let go of what is old, and say so; what nobody foresaw must not end the party."""
    try:
        swept = await asyncio.to_thread(sweep, office.home, office.clocks.wall())
    except ParleyError:
        raise
    except Exception as error:  # noqa: BLE001
        office.log(f"what is old could not be let go of: {lines_of(error)}")
        return
    counts = (
        (swept.runs, "records of runs"),
        (swept.journals, "journals"),
        (swept.logs, "logs"),
        (swept.pages, "pages of predictions"),
    )
    gone = ", ".join(f"{name}: {count}" for count, name in counts if count)
    if gone:
        office.log(f"let go of what was old, {gone}")


def sweep(home: Home, now: float) -> Swept:
    """Let go of what is older than the settings say; ``now``: seconds since 1970.

    Raises:
        ParleyError: the store cannot be used.
    """
    settings = home.settings
    known = home.catalogue.runs()
    over = [each for each in known if each.state in TERMINAL]
    earlier = now - settings.keep_journals * _DAY
    unneeded = {each.id for each in over if _ended(each) < earlier}
    noted = {each.id for each in known}
    journals = [
        run
        for run in home.journals()
        if run in unneeded or (run not in noted and _touched(home.journal_folder(run)) < earlier)
    ]
    for run in journals:
        Journal(home.journal_folder(run)).clear()
    days = max(settings.keep_runs, settings.keep_journals) if settings.keep_runs else 0
    models = set(home.models())
    runs = [each.id for each in over if days and each.id not in models and _ended(each) < now - days * _DAY]
    if runs:
        home.catalogue.forget_runs(runs)
    under_way = {each.id for each in known if each.state not in TERMINAL}
    logs = _drop_old_logs(home, now, under_way)
    return Swept(len(runs), len(journals), logs, _drop_old_pages(home, now))


def _ended(run: RunRecord) -> float:
    return run.since or run.began


def _touched(path: Path) -> float:
    return path.stat().st_mtime


def _drop_old_logs(home: Home, now: float, under_way: Container[str]) -> int:
    """Let go of the logs of runs that have ended and of our node's; returns how many."""
    days = home.settings.keep_logs
    logs = [home.node_folder / OLD_LOG, *(path for path in run_logs(home) if path.stem not in under_way)]
    old = [path for path in logs if days and path.exists() and _touched(path) < now - days * _DAY]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)


def _drop_old_pages(home: Home, now: float) -> int:
    """Let go of pages of predictions that the ledger has for good; returns how many."""
    before = now - home.settings.keep_predictions * _DAY
    if not home.settings.keep_predictions or home.membership is None:
        return 0
    old = [each for each in entered_pages(home.path) if each.written < before]
    if not old:
        return 0
    try:
        with Chronicle.open(home) as ledger:
            last = ledger.final_height
            batches = {each: ledger.draft.find(Batch, batch_path(each.model, each.batch)) for each in old}
    except UsageError:  # there is nothing of the ledger here just now; another day there is
        return 0
    final = [each for each, batch in batches.items() if batch is not None and batch.height <= last]
    for model in {each.model for each in final}:
        remember_let_go(home.path, model, before)
    for each in final:
        each.let_go()
    return len(final)
