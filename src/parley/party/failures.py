"""What ended a run, as one of our errors, and in words for our own log."""

import asyncio
import traceback
from typing import Final

from parley.core.errors import (
    BudgetExhausted,
    ParleyError,
    PeerAborted,
    PeerError,
    PeerLost,
    PeerMisbehaved,
    PolicyRefused,
    ProtocolBug,
    UsageError,
)
from parley.core.log import Level
from parley.net.channel import STOPPED
from parley.protocols import labour
from parley.store.database import PASSING

CANCELLED: Final = "run-cancelled"
"""The code by which everyone hears that a party no longer wants a run."""


LEDGER_STOPPED: Final = "ledger-stopped"
"""The code of what our ledger's engine leaves undone when it ends, as it does before its party does."""
NOT_FETCHED: Final = "ledger-not-fetched"
"""The code of what cannot be done while nothing of our ledger is here; the other members have it."""
BUSY: Final = "party-busy"
"""The code of a peer that takes part in as many runs as it can."""


def known(error: BaseException) -> ParleyError:
    """The error as one of ours."""
    if isinstance(error, ParleyError):
        return error
    if isinstance(error, asyncio.CancelledError):
        return stopped()
    return ProtocolBug(
        "internal", f"{type(error).__name__}: {error}", remedy="report it with the party's log"
    )


def told(error: BaseException) -> labour.Failed:
    """An error as a worker tells it to its party."""
    ours = known(error)
    if isinstance(ours, ProtocolBug) and not isinstance(error, ParleyError):
        ours.what = lines_of(error).strip()
    peer = ours.peer if isinstance(ours, PeerError) else ""
    cause = ours.cause if isinstance(ours, PeerAborted) else ""
    return labour.Failed(ours.family, ours.code, ours.what, ours.remedy, ours.public, peer, cause)


def raised(failed: labour.Failed) -> ParleyError:
    """The error that a worker told of."""
    code, what, remedy, public = failed.code, failed.what, failed.remedy, failed.public
    if failed.family == PeerAborted.family:
        return PeerAborted(code, what, peer=failed.peer, remedy=remedy, public=public, cause=failed.cause)
    for about_peer in (PeerLost, PeerMisbehaved):
        if failed.family == about_peer.family:
            return about_peer(code, what, peer=failed.peer, remedy=remedy, public=public)
    for kind in (UsageError, PolicyRefused, BudgetExhausted):
        if failed.family == kind.family:
            return kind(code, what, remedy=remedy, public=public)
    return ProtocolBug(code, what, remedy=remedy, public=public)


def stopped() -> ParleyError:
    """The error of a run whose party was stopped."""
    return ParleyError(
        STOPPED,
        "the party was stopped while the run was under way",
        remedy="start the party with `parley up`: the run goes on by itself",
    )


def interrupts(error: BaseException) -> bool:
    """Whether a run can go on after an error, once somebody is back; else it has failed."""
    if waits(error) or (isinstance(error, ParleyError) and error.code in (LEDGER_STOPPED, NOT_FETCHED)):
        return True
    if isinstance(error, PeerAborted):
        return error.cause == PeerLost.family
    return isinstance(error, PeerLost | asyncio.CancelledError)


def waits(error: BaseException) -> bool:
    """Whether somebody merely cannot take part now, even if not all have agreed to the run yet."""
    return isinstance(error, ParleyError) and error.code in (*PASSING, BUSY)


def cancels(error: BaseException) -> bool:
    """Whether an error says that a party cancelled the run."""
    return isinstance(error, ParleyError) and error.code == CANCELLED


def level_of(error: BaseException) -> Level:
    """How an error stands in a log: what goes on by itself, or what somebody wanted, is no failure."""
    ours = known(error)
    return "warning" if interrupts(ours) or cancels(ours) or ours.code == STOPPED else "error"


def cancelled(party: str, run: str) -> ParleyError:
    """The error of a run that a party no longer wants."""
    return PolicyRefused(
        CANCELLED,
        f"{party} cancelled {run}",
        remedy="run the plan again if it was not meant",
        public=f"{party} cancelled the run",
    )


def out_of_memory() -> ParleyError:
    """The error of a run that needs more memory than it gets."""
    return BudgetExhausted(
        "out-of-memory",
        "the run needs more memory than there is, or than `memory` of parley.toml allows it",
        remedy="use fewer rows or columns, fewer bins, or a larger machine; then run the plan again",
        public="the run needs more memory than there is here",
    )


def lines_of(error: BaseException) -> str:
    """An error for our own log; one that nobody foresaw, with where it happened."""
    if isinstance(error, ParleyError | asyncio.CancelledError):
        return str(known(error))
    return "".join(traceback.format_exception(error))
