"""Two connected ends for tests, in memory or over real TLS on this machine."""

import asyncio
import functools
import time
from contextlib import asynccontextmanager

from parley.core.trace import Trace
from parley.net.certificates import create_identity
from parley.net.channel import CheckedChannel, Setting
from parley.net.memory import memory_pair
from parley.net.websocket import PeerListener, PeerPin, dial

CARRIERS = ("memory", "tls")
"""What every conversation is to be tested over: ``@pytest.mark.parametrize("carrier", CARRIERS)``."""

identity_of = functools.cache(create_identity)


def pin_of(name):
    return PeerPin(name, identity_of(name).certificate_pem)


@asynccontextmanager
async def transports(carrier, names=("left", "right")):
    """Two connected transports: the first held by ``names[0]``, the second by ``names[1]``.

    Over TLS the first has dialled the second.
    """
    left, right = names
    if carrier == "memory":
        yield memory_pair(left, right)
        return
    arrived = asyncio.get_running_loop().create_future()
    done = asyncio.Event()

    async def hold(_peer, _path, transport):
        arrived.set_result(transport)
        await done.wait()

    async with PeerListener("127.0.0.1", 0, identity_of(right), {left: pin_of(left)}, hold) as listener:
        near = await dial(listener.address, identity_of(left), pin_of(right), "/test")
        try:
            yield near, await arrived
        finally:
            await near.close()
            done.set()


@asynccontextmanager
async def connected(
    carrier, steps, left_role, right_role, *, names=("left", "right"), patience=5.0, sinks=((), ())
):
    """Two channels, not yet entered: each role's coroutine enters its own.

    Use it as ``async with connected("tls", STEPS, "active", "passive") as (active, passive)`` and
    then ``await asyncio.gather(role_a(active), role_b(passive))``.
    """
    async with transports(carrier, names) as (left, right):
        yield tuple(
            CheckedChannel(end, Setting(steps, role, "test", Trace(time.monotonic, *heard), patience))
            for end, role, heard in ((left, left_role, sinks[0]), (right, right_role, sinks[1]))
        )


@asynccontextmanager
async def listening(on_connection, pins=None, **options):
    """The party ``right`` listening, by default for ``left``."""
    pins = {"left": pin_of("left")} if pins is None else pins
    async with PeerListener("127.0.0.1", 0, identity_of("right"), pins, on_connection, **options) as listener:
        yield listener
