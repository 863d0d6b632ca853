"""Two connected ends for tests, in memory or over real TLS on this machine, by a connection or by a link."""

import asyncio
import functools
import time
from contextlib import AsyncExitStack, asynccontextmanager

from parley.core.errors import UsageError
from parley.core.trace import Trace
from parley.net.authority import create_identity
from parley.net.channel import CheckedChannel, Setting
from parley.net.links import LINK, Contact, Links
from parley.net.memory import memory_pair
from parley.net.websocket import PeerListener, PeerPin, dial

CARRIERS = ("memory", "tls", "link")
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
    if carrier == "link":
        async with linked(left, right) as (ours, theirs), stream_between(ours, theirs) as ends:
            yield ends
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


# ── links ─────────────────────────────────────────────────────────────────────────────────────────────


class Linked:
    """One party with its links, for tests: it listens, if it is to, and keeps what arrives.

    Args:
        name: of the party.
        peers: names of those it knows; `pins` says by what, where that is not usual.
        on_connection: serves what arrives; by default it is put into `arrived` and held.
        listens: whether it has a port.
        options: for `Links`.
    """

    def __init__(self, name, peers, on_connection=None, *, listens=True, **options):
        self.name = name
        self.addresses = dict.fromkeys(peers, "")
        self.arrived = asyncio.Queue()
        self._serve = on_connection or self._hold
        self.log = []
        self.identity = identity_of(name)
        self.pins = {}
        self.links = Links(lambda: self.identity, self.known, self._serve, log=self.log.append, **options)
        self._listens = listens
        self._stack = AsyncExitStack()
        self.address = ""

    def known(self, peer):
        if peer not in self.addresses:
            raise UsageError("stranger", peer, remedy="none")
        return Contact(self.pins.get(peer) or pin_of(peer), self.addresses[peer])

    def _all_pins(self):
        return {peer: self.known(peer).pin for peer in self.addresses}

    async def _hold(self, _peer, path, transport):
        over = asyncio.Event()
        self.arrived.put_nowait((path, transport, over))
        await over.wait()

    async def _accept(self, peer, path, transport):
        assert path == LINK
        await self.links.accept(peer, transport)

    async def __aenter__(self):
        if self._listens:
            listener = PeerListener("127.0.0.1", 0, lambda: self.identity, self._all_pins, self._accept)
            await self._stack.enter_async_context(listener)
            self.address = listener.address
        await self._stack.enter_async_context(self.links)
        return self

    async def __aexit__(self, *error):
        await self._stack.aclose()


@asynccontextmanager
async def linked(left="left", right="right", *, reached=lambda address: address, **options):
    """Two parties, of which the first dials the second at what ``reached`` makes of its address."""
    async with Linked(right, [left]) as theirs, Linked(left, [right], listens=False, **options) as ours:
        ours.addresses[right] = reached(theirs.address)
        yield ours, theirs


@asynccontextmanager
async def stream_between(ours, theirs, path="/test"):
    """A stream from one party to another: both ends."""
    near = await ours.links.open(theirs.name, path)
    _, far, over = await theirs.arrived.get()
    try:
        yield near, far
    finally:
        await near.close()
        over.set()
