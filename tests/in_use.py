"""Models in use, in tests: a ledger of one model's batches, and an engine over two parties' columns."""

import asyncio
import time
from contextlib import asynccontextmanager
from itertools import pairwise

import numpy as np
import polars as pl

from parley.core.errors import PeerLost
from parley.core.trace import Trace
from parley.data.binning import encode_columns
from parley.learn.forest import Tests
from parley.net.channel import CheckedChannel, Setting
from parley.net.memory import memory_pair
from parley.protocols import asking, attending
from parley.serving.attendance import Attendance
from parley.serving.engine import Engine
from parley.serving.features.coded import Coded
from parley.serving.pages import Predictions

from tests.joint import pieces

FAR = 4_000_000_000


def predictions(*ids, basis=0, margin=0.5):
    """Answers about some ids."""
    count = len(ids)
    return Predictions.of(ids, np.full(count, basis, np.uint8), np.full((1, count), margin))


class Ledger:
    """What the contract does with batches of one model, and a party's side of attending to it."""

    def __init__(self, quota=1000):
        self.quota, self.used, self.status, self.until = quota, 0, "released", FAR
        self.batches = []
        self.refusing = ""
        self.away = False

    def terms(self):
        return attending.Terms(
            self.status, self.quota, self.used, self.until, "bank", ("operator",), "", len(self.batches)
        )

    def enter(self, page):
        """What is said to a page."""
        if self.away:
            return attending.Refused(page.page, "ledger-not-final", "it is away", "wait", final=False)
        roots = [root for root, _ in self.batches]
        if page.root in roots:
            return attending.Entered(page.page, roots.index(page.root))
        over = "quota-exceeded" if self.used + page.count > self.quota else ""
        if code := self.refusing or over:
            return attending.Refused(page.page, f"ledger-{code}", "it may not", "none", final=True)
        self.batches.append((page.root, page.count))
        self.used += page.count
        return attending.Entered(page.page, len(self.batches) - 1)

    @asynccontextmanager
    async def attended(self):
        """A program's attendance."""
        near, far = memory_pair("program", "party")
        serving = asyncio.create_task(self._serve(far))
        async with Attendance(near, "m", Trace(time.monotonic)) as attendance:
            try:
                yield attendance
            finally:
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)

    async def _serve(self, transport):
        setting = Setting(attending.STEPS, attending.PARTY, "attending", Trace(time.monotonic), 60.0)
        async with CheckedChannel(transport, setting) as channel:
            await channel.recv(attending.Attend)
            await channel.send(self.terms())
            while True:
                said = self.enter(await channel.recv(attending.Page))
                await channel.send(self.terms())
                await channel.send(said)


async def until(condition, patience=60.0):
    """Wait until something holds."""
    async with asyncio.timeout(patience):
        while not condition():
            await asyncio.sleep(0.01)


class Columns:
    """Features out of a frame, by its column ``id``."""

    def __init__(self, frame, share):
        self._rows = {each: row for row, each in enumerate(frame["id"].to_list())}
        bins = {column.name: column.bins for column in share.columns}
        self._codes = encode_columns(frame, bins, threads=1).codes
        self.error = {}
        self.asked = []

    async def codes(self, ids):
        self.asked.append(list(ids))
        for each in ids:
            if each in self.error:
                raise self.error[each]
        rows = np.array([self._rows.get(each, -1) for each in ids], dtype=np.int64)
        return Coded(rows >= 0, np.take(self._codes, rows[rows >= 0], axis=1))


class Other:
    """A passive party that is asked in this process, as `Partner` is asked."""

    def __init__(self, frame, share):
        self._columns = Columns(frame, share)
        self._tests = Tests.of(share.rules, [column.bins.bin_count for column in share.columns])
        self.error = None
        self.asked = []

    def check_ready(self):
        if isinstance(self.error, PeerLost):
            raise self.error

    def peerage(self):
        raise NotImplementedError

    async def ask(self, asked, _count, _deadline):
        if self.error is not None:
            raise self.error
        texts = asked.buffer.decode()
        ends = asked.offsets.tolist()
        ids = [texts[begin:end] for begin, end in pairwise(ends)]
        self.asked.append(ids)
        coded = await self._columns.codes(ids)
        every = np.arange(coded.codes.shape[1])
        return asking.Answer(coded.known, self._tests.directions(coded.codes, every, 1))


def model(rows=60, seed=5):
    """Two shares of a small model, ids and columns that it was trained on, and the margins of training."""
    random = np.random.default_rng(seed)
    frame = pl.DataFrame({f"x{place}": random.normal(size=rows) for place in range(4)})
    label = (frame["x0"] + frame["x2"] > 0).cast(pl.Float64).to_numpy()
    shares, margins = pieces(frame, label, {"bank": ("x0", "x1"), "operator": ("x2", "x3")})
    ids = [f"id-{row}" for row in range(rows)]
    return shares, frame.with_columns(pl.Series("id", ids)), margins


def engine(shares, frame, *, theirs=None, fallback="refuse", alone=None, degraded=None):
    """An engine over both parties' columns; ``theirs`` is the other party's frame."""
    columns = Columns(frame, shares[0])
    other = Other(frame if theirs is None else theirs, shares[1])
    made = Engine(
        shares[0],
        alone,
        columns,
        {1: other},
        rule="as-is",
        fallback=fallback,
        deadline=5.0,
        threads=1,
        degraded=degraded,
    )
    return made, columns, other
