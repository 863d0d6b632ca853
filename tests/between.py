"""A network between two parties, for tests: passes TCP on, and can cut, slow, stall or swallow it."""

import asyncio
import threading
from contextlib import suppress

PIECE = 16 * 1024


class Network:
    """Passes connections on to an address; use it as an asynchronous context.

    Attributes:
        address: where it takes connections.
        connections: how many came.
        passed: bytes passed on so far, both ways.
        rate: bytes per second and way; none means as fast as it goes.
        delay: seconds that every piece is on its way; set before the first connection.
        kept: what was passed on, every direction of a connection for itself; none unless it is to be kept.
    """

    def __init__(self, target, host="127.0.0.1", *, keeps=False):
        self._host = host
        self.kept = [] if keeps else None
        host, _, port = target.rpartition(":")
        self._target = host, int(port)
        self._writers = set()
        self._near = set()
        self._far = set()
        self._tasks = set()
        self._open = asyncio.Event()
        self._open.set()
        self._refuses = False
        self._orphans = set()
        self.rate = None
        self.delay = None
        self.swallows = False
        self.cut_after = None
        self.connections = 0
        self.passed = 0

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, self._host, 0, limit=PIECE)
        self.address = f"{self._host}:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *error):
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self):
        """Break every connection."""
        for writer in self._writers:
            writer.transport.abort()
        for known in (self._writers, self._near, self._far, self._orphans):
            known.clear()

    def half_open(self):
        """Break every connection at the far end only: the near end hears nothing of it."""
        self._orphans |= self._near
        for writer in self._far:
            writer.transport.abort()

    def refuse(self, *, refuses=True):
        """Whether new connections break at once."""
        self._refuses = refuses

    def stall(self):
        """Hold everything back, until `go_on`."""
        self._open.clear()

    def go_on(self):
        self._open.set()

    def pace(self, rate):
        """Bytes per second and way from now on, on every connection; none: as fast as it goes."""
        self.rate = rate

    async def _serve(self, reader, writer):
        self.connections += 1
        if self._refuses:
            writer.transport.abort()
            return
        try:
            onward, back = await asyncio.open_connection(*self._target, limit=PIECE)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        self._near.add(writer)
        self._far.add(back)
        for source, sink in ((reader, back), (onward, writer)):
            self._begin(self._pass_on(source, sink))

    def _begin(self, work):
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, source, sink):
        on_its_way = asyncio.Queue()
        if self.delay is not None:
            self._begin(self._arrive(on_its_way, sink))
        kept = bytearray()
        if self.kept is not None:
            self.kept.append(kept)
        with suppress(OSError, asyncio.IncompleteReadError):
            while data := await source.read(PIECE):
                await self._open.wait()
                if self.swallows or sink.is_closing():
                    continue
                if self.rate is not None:
                    await asyncio.sleep(len(data) / self.rate)
                self.passed += len(data)
                if self.kept is not None:
                    kept += data
                if self.cut_after is not None and self.passed >= self.cut_after:
                    self.cut_after = None
                    self.cut()
                    return
                if self.delay is not None:
                    on_its_way.put_nowait((asyncio.get_running_loop().time() + self.delay, data))
                    continue
                sink.write(data)
                await sink.drain()
        if sink not in self._orphans:
            sink.close()

    async def _arrive(self, on_its_way, sink):
        with suppress(OSError):
            while True:
                due, data = await on_its_way.get()
                await asyncio.sleep(due - asyncio.get_running_loop().time())
                sink.write(data)
                await sink.drain()


class Between:
    """A `Network` in a thread of its own, for tests that are not asynchronous; use it as a context."""

    def __init__(self, target, host="127.0.0.1", *, keeps=False):
        self._network = Network(target, host, keeps=keeps)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self):
        self._thread.start()
        self.address = self._do(self._network.__aenter__()).address
        return self

    def __exit__(self, *error):
        self._do(self._network.__aexit__(*error))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def tell(self, what, **how):
        """Call a method of the network."""

        async def call():
            getattr(self._network, what)(**how)

        self._do(call())

    @property
    def kept(self):
        """What was passed on so far, by connection and direction."""
        return [bytes(one) for one in self._network.kept]

    @property
    def passed(self):
        """Bytes passed on so far."""
        return self._network.passed

    def slow(self, rate, delay):
        """Bytes per second and seconds, from the next connection on."""
        self._network.rate, self._network.delay = rate, delay
