"""What `parley serve` and `parley predict` stand on: a process of the active party that uses one model.

Its accounts go through our own running party, and so do its conversations with the passive parties where
they cannot be reached directly.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from parley.core.errors import ParleyError, PolicyRefused, UsageError
from parley.core.log import Log
from parley.core.trace import Trace
from parley.learn.shares import ActiveShare
from parley.net.certificates import Identity
from parley.party.failures import lines_of
from parley.serving.accounting import Accountant, check_released
from parley.serving.attendance import Attendance
from parley.serving.engine import Engine
from parley.serving.features.coded import Features
from parley.serving.features.opening import open_features
from parley.serving.monitor import Monitor
from parley.serving.pages import Book
from parley.serving.partner import Partner, Served
from parley.serving.scores import Fallback
from parley.serving.subject import Subject
from parley.serving.ways import Own, Ways
from parley.store.predictions import FOLDER

_AGAIN: Final = 1.0
"""Seconds between two attempts to reach our own party."""

Work = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Choices:
    """How a model is to be used.

    Attributes:
        fallback: what is done about ids that a party lacks.
        deadline: seconds in which a passive party must answer.
        degrades: whether the fallback holds while a passive party is away, too.
    """

    fallback: Fallback
    deadline: float
    degrades: bool


@dataclass(frozen=True)
class AtWork:
    """A program at work.

    Attributes:
        engine: scores.
        accountant: keeps the accounts.
        book: of the model's pages.
    """

    engine: Engine
    accountant: Accountant
    book: Book

    async def met(self) -> None:
        """Wait until every passive party was reached once, or could not be."""
        for each in self.engine.partners.values():
            await each.settled()


@asynccontextmanager
async def at_work(
    subject: Subject,
    choices: Choices,
    own: Own,
    log: Log,
    monitor: Monitor,
) -> AsyncIterator[AtWork]:
    """Use a model while entered.

    Numbered checks:
        1. the label is ours;
        2. our party runs, and the ledger has our very piece of the model;
        3. the model is released.

    Raises:
        UsageError: ``not-active``, ``party-not-running``, ``no-fallback-model``, or our table cannot be read.
        PolicyRefused: the ledger does not allow it.
    """
    # 1
    share = subject.share
    if not isinstance(share, ActiveShare):
        raise UsageError(
            "not-active",
            f"the label of model {share.model} is held by {subject.plan.active}, not by {share.party}",
            remedy=f"use the model at {subject.plan.active}; here `parley up` answers for our columns",
        )
    trace = Trace(time.perf_counter)
    # 2, 3
    async with Attendance(await own("/attend"), share.model, trace) as attendance:
        subject.check_committed(attendance.terms)
        check_released(attendance.terms, time.time())
    partners = _partners(subject, share, own, trace, monitor, log)
    async with _beside(log, *(each.run for each in partners.values())), _opened(subject, log) as features:
        # they are enrolled while we read our own columns
        reference = subject.home.reference(share.model)
        if reference is not None and len(reference.baseline) == 1:
            monitor.baseline(reference.baseline[0])
        engine = Engine(
            share,
            None if reference is None else reference.alone,
            features,
            partners,
            rule=subject.rule,
            fallback=choices.fallback,
            deadline=choices.deadline,
            threads=subject.threads,
            degraded=(lambda _error: None) if choices.degrades else None,
        )
        book = Book(subject.home.path / FOLDER, share.model, share.outputs)
        accountant = Accountant(book, threads=subject.threads)
        attending = partial(_attending, accountant, own, share.model, trace, log)
        async with _beside(log, attending):
            await accountant.attended()
            async with _beside(log, partial(accountant.run, partial(_not_accounted, log))):
                try:
                    yield AtWork(engine, accountant, book)
                finally:
                    await accountant.close()


@asynccontextmanager
async def _opened(subject: Subject, log: Log) -> AsyncIterator[Features]:
    """Our columns."""
    features = await open_features(subject.table, subject.share, subject.rule, log)
    try:
        yield features
    finally:
        await features.close()


def _partners(
    subject: Subject, share: ActiveShare, own: Own, trace: Trace, monitor: Monitor, log: Log
) -> dict[int, Partner]:
    """The passive parties that have a split in the model; of the others nothing is to be asked."""
    reach = Ways(own, partial(Identity.load, subject.home.identity_folder), trace, log)
    found = {}
    for owner, peer in enumerate(share.owners[1:], start=1):
        if splits := share.splits_of(owner):
            served = Served(share.model, splits, subject.rule, subject.threads)
            found[owner] = Partner(peer, served, reach, trace, monitor, log)
    return found


async def _attending(accountant: Accountant, own: Own, model: str, trace: Trace, log: Log) -> None:
    """Attend at our own party, and again when it was away; for ever."""
    said = False
    while True:
        try:
            async with Attendance(await own("/attend"), model, trace) as attendance:
                accountant.attend(attendance)
                if said:
                    log("our party runs again")
                said = False
                while attendance.gone is None:
                    await attendance.changed()
        except (ParleyError, TimeoutError) as error:
            if isinstance(error, PolicyRefused):
                log.because(error).say("error", error.what)
        accountant.attend(None)
        if not said:
            log.say("warning", "our own party is away: nothing is answered until it runs again")
        said = True
        await asyncio.sleep(_AGAIN)


def _not_accounted(log: Log, error: ParleyError) -> None:
    log.because(error).say("error", f"predictions that were given out are not accounted for: {error.what}")


@asynccontextmanager
async def _beside(log: Log, *work: Work) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(_lasting(log, each)) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _lasting(log: Log, work: Work) -> None:
    """Do what must not end; if something that nobody foresaw ends it, that is told, and it begins anew."""
    while True:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 (told)
            log.say("error", f"something ended that must not: {lines_of(error)}")
        await asyncio.sleep(_AGAIN)
