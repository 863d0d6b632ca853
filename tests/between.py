"""A network between two parties, for tests: passes TCP on, and can cut, slow, stall or swallow it."""

import asyncio
from contextlib import suppress

PIECE = 16 * 1024


class Network:
    """Passes connections on to an address; use it as an asynchronous context.

    Attributes:
        address: where it takes connections.
        connections: how many came.
        passed: bytes passed on so far, both ways.
    """

    def __init__(self, target):
        host, _, port = target.rpartition(":")
        self._target = host, int(port)
        self._writers = set()
        self._tasks = set()
        self._open = asyncio.Event()
        self._open.set()
        self._refuses = False
        self.rate = None
        self.swallows = False
        self.cut_after = None
        self.connections = 0
        self.passed = 0

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=PIECE)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
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
        self._writers.clear()

    def refuse(self, *, refuses=True):
        """Whether new connections break at once."""
        self._refuses = refuses

    def stall(self):
        """Hold everything back, until `go_on`."""
        self._open.clear()

    def go_on(self):
        self._open.set()

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
        for source, sink in ((reader, back), (onward, writer)):
            task = asyncio.create_task(self._pass_on(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, source, sink):
        with suppress(OSError, asyncio.IncompleteReadError):
            while data := await source.read(PIECE):
                await self._open.wait()
                if self.swallows:
                    continue
                if self.rate is not None:
                    await asyncio.sleep(len(data) / self.rate)
                self.passed += len(data)
                if self.cut_after is not None and self.passed >= self.cut_after:
                    self.cut_after = None
                    self.cut()
                    return
                sink.write(data)
                await sink.drain()
        sink.close()
