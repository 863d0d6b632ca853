"""Both directions side by side: one result, one error, nothing left running."""

import asyncio

import pytest

from parley.core.errors import PeerAborted, PeerLost
from parley.protocols.together import together


async def returns(value, seconds=0.0):
    await asyncio.sleep(seconds)
    return value


async def raises(error, seconds=0.0):
    await asyncio.sleep(seconds)
    raise error


def lost():
    return PeerLost("connection-closed", "gone", peer="p", remedy="look")


def aborted():
    return PeerAborted("no-ids", "stopped", peer="p", remedy="ask")


async def test_it_waits_for_all_and_returns_the_first():
    finished = asyncio.Event()

    async def other():
        await asyncio.sleep(0.01)
        finished.set()

    assert await together(returns(3), other()) == 3
    assert finished.is_set()


async def test_the_first_failure_stops_the_rest():
    endless = asyncio.ensure_future(asyncio.Event().wait())
    with pytest.raises(ZeroDivisionError):
        await together(raises(ZeroDivisionError()), endless)
    assert endless.cancelled()


async def test_the_peers_reason_is_preferred_to_the_broken_connection():
    with pytest.raises(PeerAborted):
        await together(raises(lost()), raises(aborted(), 0.05))


async def test_a_broken_connection_without_a_reason_is_reported():
    with pytest.raises(PeerLost):
        await together(raises(lost()), returns(None, 0.05))


async def test_what_we_know_of_ourselves_is_told_at_once():
    halted = PeerLost("worker-halted", "stopped", peer="us", remedy="none")
    endless = asyncio.ensure_future(asyncio.Event().wait())
    with pytest.raises(PeerLost) as told:
        await asyncio.wait_for(together(raises(halted), endless), 1.0)
    assert told.value is halted


async def test_cancelling_it_cancels_its_parts():
    endless = asyncio.ensure_future(asyncio.Event().wait())
    whole = asyncio.ensure_future(together(returns(1), endless))
    await asyncio.sleep(0.01)
    whole.cancel()
    with pytest.raises(asyncio.CancelledError):
        await whole
    assert endless.cancelled()
