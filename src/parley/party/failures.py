"""What ended a run, as one of our errors, and in words for our own log."""

import asyncio
import traceback
from typing import Final

from parley.core.errors import ParleyError, PeerAborted, PeerLost, PolicyRefused, ProtocolBug
from parley.core.files import DISK_FULL
from parley.net.channel import STOPPED

CANCELLED: Final = "run-cancelled"
"""The code by which everyone hears that a party no longer wants a run."""


def known(error: BaseException) -> ParleyError:
    """The error as one of ours."""
    if isinstance(error, ParleyError):
        return error
    if isinstance(error, asyncio.CancelledError):
        return stopped()
    return ProtocolBug(
        "internal", f"{type(error).__name__}: {error}", remedy="report it with the party's log"
    )


def stopped() -> ParleyError:
    """The error of a run whose party was stopped."""
    return ParleyError(
        STOPPED,
        "the party was stopped while the run was under way",
        remedy="start the party with `parley up`: the run goes on by itself",
    )


def interrupts(error: BaseException) -> bool:
    """Whether a run can go on after an error, once somebody is back; else it has failed."""
    if isinstance(error, ParleyError) and error.code == DISK_FULL:
        return True
    if isinstance(error, PeerAborted):
        return error.cause == PeerLost.family
    return isinstance(error, PeerLost | asyncio.CancelledError)


def cancels(error: BaseException) -> bool:
    """Whether an error says that a party cancelled the run."""
    return isinstance(error, ParleyError) and error.code == CANCELLED


def cancelled(party: str, run: str) -> ParleyError:
    """The error of a run that a party no longer wants."""
    return PolicyRefused(
        CANCELLED,
        f"{party} cancelled {run}",
        remedy="run the plan again if it was not meant",
        public=f"{party} cancelled the run",
    )


def lines_of(error: BaseException) -> str:
    """An error for our own log; one that nobody foresaw, with where it happened."""
    if isinstance(error, ParleyError | asyncio.CancelledError):
        return str(known(error))
    return "".join(traceback.format_exception(error))
