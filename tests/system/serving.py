"""Parties that serve in this process, on an event loop in a thread: cheaper than processes, and as real."""

import asyncio
import http.client
import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass

from parley.api.server import serving
from parley.core.log import Log
from parley.party.compose import serve

from tests.system.parties import Party, until


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    def start(self, coroutine):
        """A task on the loop."""

        async def started():
            return asyncio.ensure_future(coroutine)

        return asyncio.run_coroutine_threadsafe(started(), self.loop).result()

    def end(self, task):
        """Cancel a task and wait for its end."""

        async def ended():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(ended(), self.loop).result()

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@contextmanager
def looping():
    loop = Loop()
    try:
        yield loop
    finally:
        loop.close()


class ServedHere(Party):
    """A party with an API, on a loop of ours."""

    def __init__(self, folder, name, loop):
        super().__init__(folder, name, api="127.0.0.1:0")
        self._loop = loop
        self._lines = []
        self._log = Log(name, time.time, lambda record: self._lines.append(record.text))
        self._serving = None

    def up(self):
        self._serving = self._loop.start(serve(self.home, self._log, serving))
        until(lambda: self._serving.done() or any("its API answers" in line for line in self._lines))
        assert not self._serving.done(), self._serving.exception()
        return self

    def said(self):
        return "\n".join(self._lines)

    def stop(self):
        if self._serving is not None:
            self._loop.end(self._serving)


@dataclass(frozen=True)
class Answer:
    """What came back over HTTP."""

    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


def request(party, method, path, *, body=None, headers=None, token=None):
    """One request over a connection of its own; ``token``: by default the party's, "" for none."""
    address = (party.home / "api.address").read_text()
    shown = (party.home / "api.token").read_text() if token is None else token
    credentials = {"Authorization": f"Bearer {shown}"} if shown else {}
    connection = http.client.HTTPConnection(address, timeout=120)
    try:
        connection.request(method, path, body, credentials | (headers or {}))
        response = connection.getresponse()
        lowered = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, lowered, response.read())
    finally:
        connection.close()
