"""What ended a run, as one of our errors, and in words for our own log."""

import asyncio
import traceback

from parley.core.errors import ParleyError, ProtocolBug


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
        "party-stopped",
        "the party was stopped while the run was under way",
        remedy="start the party with `parley up` and run the plan again",
    )


def lines_of(error: BaseException) -> str:
    """An error for our own log; one that nobody foresaw, with where it happened."""
    if isinstance(error, ParleyError | asyncio.CancelledError):
        return str(known(error))
    return "".join(traceback.format_exception(error))
