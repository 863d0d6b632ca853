"""What a run goes on after, and what ends it."""

import asyncio

import pytest

from parley.core.errors import (
    BudgetExhausted,
    PeerAborted,
    PeerLost,
    PeerMisbehaved,
    PolicyRefused,
    UsageError,
)
from parley.party.failures import interrupts, waits


def aborted(code, cause):
    return PeerAborted(code, "the peer stopped", peer="operator", remedy="ask it", cause=cause)


@pytest.mark.parametrize(
    "error",
    [
        PeerLost("silent-peer", "silent", peer="operator", remedy="wait"),
        asyncio.CancelledError(),
        BudgetExhausted("disk-full", "no room", remedy="make some"),
        UsageError("ledger-stopped", "our party is stopping, its ledger first", remedy="start it again"),
        aborted("connection-closed", "peer-lost"),
        aborted("ledger-stopped", "usage"),
        aborted("party-busy", "refused"),
        aborted("disk-full", "budget"),
    ],
)
def test_what_passes_interrupts_a_run(error):
    assert interrupts(error)


@pytest.mark.parametrize(
    "error",
    [
        PolicyRefused("run-cancelled", "no longer wanted", remedy="run it again"),
        PeerMisbehaved("wrong-place", "out of turn", peer="operator", remedy="ask it"),
        BudgetExhausted("out-of-memory", "too large", remedy="use less"),
        aborted("table-changed", "usage"),
        ValueError("nobody foresaw it"),
    ],
)
def test_what_stays_ends_it(error):
    assert not interrupts(error)


def test_only_want_of_room_lets_a_run_wait_to_which_not_all_have_agreed():
    assert waits(aborted("party-busy", "refused"))
    assert not waits(PeerLost("peer-unreachable", "not there", peer="operator", remedy="wait"))
