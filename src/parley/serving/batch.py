"""Scoring a list of ids, however long: in chunks that are kept, so that a job can be gone on with.

Beside the output lies a folder ``OUTPUT.parts`` while it is not whole: ``job.json`` says what is done there,
and a part ``NUMBER-PAGE.parquet`` holds the scores of one chunk, whose page of predictions is PAGE. A part is
written before its page is published and entered on the ledger; who goes on with the job has the pages of
the parts that are there entered, which the ledger takes once, and scores the chunks that are not. Before a
page is written ``NUMBER-PAGE.begun`` is there, so that a page without a part is known to have been given out
to nobody: it is dropped, and no other program enters it meanwhile. The folder is locked while somebody works
in it.
"""

import asyncio
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import polars as pl

from parley.core.errors import ParleyError, PeerError, UsageError
from parley.core.files import no_room, room_for, write_atomically
from parley.data.cells import rows_text, text
from parley.data.ids import are_distinct
from parley.data.sources import parse_source, read
from parley.ledger.predictions import BASES
from parley.protocols.asking import AT_ONCE
from parley.serving.engine import Engine, Outcome, asked_of, predictions_of
from parley.serving.features.coded import Listed
from parley.serving.pages import MOST, Page
from parley.serving.program import AtWork
from parley.serving.scores import Fallback

CHUNK: Final = MOST
"""Ids in a chunk, which make one page and one batch on the ledger."""
_AHEAD: Final = 6
"""Chunks that may be under way, scored or on their way to the ledger."""
_AGAIN: Final = 1.0
_LEAST_ROOM: Final = 1 << 20
"""Bytes; where fewer are free, what could not be written could not for want of them."""
_LEVEL: Final = 1
"""Of zstd for the output: higher ones take longer and make it hardly smaller."""
_JOB: Final = "job.json"
_BEGUN: Final = ".begun"
_END: Final = "\0"
_ENDINGS: Final = (".parquet", ".csv")

Tell = Callable[[int, int, str], None]
"""Takes progress: ids done, of how many, and what is waited for."""


class _Job(msgspec.Struct, frozen=True):
    """What a folder of parts is of: the model, the ids, and what is done about those that a party lacks."""

    model: str
    ids: str
    count: int
    chunk: int
    fallback: Fallback


class Predicted(msgspec.Struct, frozen=True):
    """What became of a job.

    Attributes:
        model: identifier.
        out: where the scores are.
        ids: how many.
        repeated: ids that were in the list before, and are in the output once.
        basis: how many scores rest on what.
        resumed: ids that an earlier attempt had scored.
        seconds: of this attempt.
    """

    model: str
    out: str
    ids: int
    repeated: int
    basis: dict[str, int]
    resumed: int
    seconds: float


def read_ids(source: str, column: str | None) -> tuple[pl.Series, int]:
    """The distinct ids of a file, as text, in its order; and how many were there before.

    Args:
        source: as tables are named.
        column: of the ids; needed unless there is one.

    Raises:
        UsageError: the file cannot be read, has no such column, or a row without an id.
    """
    frame = read(parse_source(source, None), columns=None if column is None else (column,))
    if column is None and frame.width != 1:
        raise UsageError(
            "id-column-unsaid",
            f"{source} has {frame.width} columns: {', '.join(frame.columns[:8])}",
            remedy="name the column of the ids with --column",
        )
    ids = text(frame[column or frame.columns[0]])
    if ids.null_count():
        rows = ids.is_null().arg_true().to_numpy().astype(np.int64)
        raise UsageError(
            "id-missing",
            f"{len(rows)} rows of {source} have no id: {rows_text(rows)}",
            remedy="leave those rows out",
        )
    distinct = (ids if are_distinct(ids) else ids.unique(maintain_order=True)).alias("id")
    return distinct, len(ids) - len(distinct)


@dataclass
class Batch:
    """One job.

    Args:
        out: where the scores go, ``.parquet`` or ``.csv``.
        ids: distinct, as text.
        program: scores and accounts.
        patience: seconds for which a passive party may be away.
        tell: takes progress.

    Raises:
        UsageError: ``bad-output``; or another job's parts lie there.
    """

    out: Path
    ids: pl.Series
    program: AtWork
    patience: float
    tell: Tell
    _basis: Counter[str] = field(default_factory=Counter)
    _resumed: int = 0
    _done: int = 0

    def __post_init__(self) -> None:
        if self.out.suffix not in _ENDINGS:
            raise UsageError(
                "bad-output",
                f"{self.out} is neither .parquet nor .csv",
                remedy="name the output so that it ends in one of them",
            )
        self._engine: Engine = self.program.engine
        self._folder = self.out.with_name(f"{self.out.name}.parts")
        share = self._engine.share
        self._job = _Job(share.model, _digest(self.ids), len(self.ids), CHUNK, self._engine.fallback)

    async def run(self, repeated: int) -> Predicted:
        """Score what is not scored yet, and write the output.

        Args:
            repeated: to be reported.

        Raises:
            ParleyError: whatever ended it; what was scored is kept, and another `run` goes on.
        """
        began = time.monotonic()
        with _locked(self._folder), _room(self._folder):
            await self._work()
        basis = {str(each): self._basis[each] for each in BASES}
        seconds = time.monotonic() - began
        model = self._engine.share.model
        return Predicted(model, str(self.out), len(self.ids), repeated, basis, self._resumed, seconds)

    async def _work(self) -> None:
        self._prepare()
        parts = self._parts()
        entering: set[asyncio.Task[None]] = set()
        scoring = asyncio.Semaphore(AT_ONCE)  # while we walk for one chunk, the others look the next up
        try:
            for number, first in enumerate(range(0, len(self.ids), CHUNK)):
                chunk = self.ids[first : first + CHUNK]
                work = self._chunk(number, chunk, parts.get(number), scoring)
                entering = await _at_most({*entering, asyncio.create_task(work)}, _AHEAD)
            await _at_most(entering, 0)
        finally:
            for task in entering:
                task.cancel()
            await asyncio.gather(*entering, return_exceptions=True)
        await asyncio.to_thread(self._join)

    async def _chunk(
        self, number: int, chunk: pl.Series, part: Path | None, scoring: asyncio.Semaphore
    ) -> None:
        """Have a chunk scored, if it is not, and on the ledger."""
        async with scoring:
            page = await (self._score(number, chunk) if part is None else self._resume(part))
        self._done += len(chunk)
        self.tell(self._done, len(self.ids), "")
        if page is not None:
            await self.program.accountant.enter(page)

    def _prepare(self) -> None:
        path = self._folder / _JOB
        if not path.exists():
            write_atomically(path, msgspec.json.encode(self._job))
        elif msgspec.json.decode(path.read_bytes(), type=_Job) != self._job:
            raise UsageError(
                "other-job",
                f"{self._folder} holds the parts of another job: other ids, model or fallback",
                remedy="finish that one, or remove the folder, or choose another output",
            )
        for begun in self._folder.glob(f"*{_BEGUN}"):
            if not begun.with_suffix(".parquet").exists():
                self.program.book.forget(begun.stem.split("-")[1])
            begun.unlink()

    def _parts(self) -> dict[int, Path]:
        """The chunks that are scored, by number."""
        return {int(path.name.split("-")[0]): path for path in self._folder.glob("*-*.parquet")}

    async def _resume(self, part: Path) -> Page | None:
        """Count a part that is there; its page, if nobody else has it entered on the ledger."""
        basis = pl.read_parquet(part, columns=["basis"])["basis"]
        self._basis.update(basis.to_list())
        self._resumed += len(basis)
        name = part.stem.split("-")[1]
        book = self.program.book
        while book.batch_of(name) is None:
            page = await asyncio.to_thread(book.take, name)
            if page is not None:
                book.publish(page)
                return page
            book.page(name)  # it is there
            self.tell(self._done, len(self.ids), "waits for another program")
            await asyncio.sleep(_AGAIN)
        return None

    async def _score(self, number: int, chunk: pl.Series) -> Page:
        """Score a chunk and keep its part."""
        ids = Listed(chunk)
        accountant = self.program.accountant
        await accountant.reserve(len(ids))
        outcome = await self._checked(ids)
        try:
            page = accountant.hold()
            (self._folder / f"{number:06}-{page.name}{_BEGUN}").touch()
            accountant.fill(page, predictions_of(ids, outcome))
        except BaseException:
            accountant.release(len(ids))
            raise
        part = self._folder / f"{number:06}-{page.name}.parquet"
        await asyncio.to_thread(lambda: _write(part, self._frame(chunk, outcome, page)))
        self.program.book.publish(page)
        self._basis.update(outcome.counted())
        return page

    async def _checked(self, ids: Listed) -> Outcome:
        """Scores that may be given out; what was set aside is free again if there are none."""
        accountant = self.program.accountant
        try:
            outcome = await self._outcome(ids)
        except BaseException:
            accountant.release(len(ids))
            raise
        try:
            self._engine.check(ids, outcome)
        except UsageError:
            accountant.withhold(len(ids), asked_of(ids, outcome))
            raise
        return outcome

    async def _outcome(self, ids: Listed) -> Outcome:
        """Scores, once every passive party is there."""
        until = time.monotonic() + self.patience
        while True:
            try:
                return await self._engine.outcome(ids)
            except PeerError as error:
                if time.monotonic() > until:
                    raise
                self.tell(self._done, len(self.ids), f"waits for {error.peer}")
                await asyncio.sleep(_AGAIN)

    def _frame(self, chunk: pl.Series, outcome: Outcome, page: Page) -> pl.DataFrame:
        predicted, share = self._engine.objective.predict(outcome.margins), self._engine.share
        columns = {"id": chunk}
        if share.outputs == 1:
            columns["score"] = _known(predicted if predicted.ndim == 1 else predicted[:, 1])
            columns["margin"] = _known(outcome.margins[0])
        else:
            for place, name in enumerate(share.classes):
                columns[f"score_{name}"] = _known(predicted[:, place])
            for place, name in enumerate(share.classes):
                columns[f"margin_{name}"] = _known(outcome.margins[place])
        columns["basis"] = pl.Series(BASES)[outcome.basis]
        columns["receipt"] = page.receipts_column()
        return pl.DataFrame(columns)

    def _join(self) -> None:
        """All parts in order as one file, and then no parts."""
        parts = [path for _, path in sorted(self._parts().items())]
        rough = self._folder / f"whole{self.out.suffix}"
        whole = pl.scan_parquet(parts)
        if self.out.suffix == ".csv":
            whole.sink_csv(rough)
        else:
            whole.sink_parquet(rough, compression_level=_LEVEL)
        _onto_disk(rough)
        rough.replace(self.out)
        done = self._folder.rename(self._folder.with_suffix(f".{secrets.token_hex(4)}.done"))
        shutil.rmtree(done)  # in one step before: half of the parts must not look like a job to go on with


def _digest(ids: pl.Series) -> str:
    """Of all ids in their order."""
    found = hashlib.sha256()
    for first in range(0, len(ids), CHUNK):
        found.update(f"{ids[first : first + CHUNK].str.join(_END).item()}{_END}".encode())
    return found.hexdigest()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Two that work on one output would score everything twice.

    Raises:
        UsageError: ``job-running``.
    """
    with room_for(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise UsageError(
            "job-running",
            f"somebody works in {folder} already",
            remedy="wait for that `parley predict`, or choose another output",
        ) from None
    finally:
        os.close(handle)


@contextmanager
def _room(folder: Path) -> Iterator[None]:
    """Says in our own words that the disk is full; not every library keeps the system's."""
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or shutil.disk_usage(folder).free < _LEAST_ROOM:
            raise no_room(folder) from error
        raise


def _known(values: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> pl.Series:
    return pl.Series(np.ascontiguousarray(values)).fill_nan(None)


def _write(part: Path, frame: pl.DataFrame) -> None:
    """So that it is there whole, or not at all, whatever happens."""
    rough = part.with_suffix(".rough")
    frame.write_parquet(rough, compression="lz4")
    _onto_disk(rough)
    rough.replace(part)


def _onto_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


async def _at_most(tasks: "set[asyncio.Task[None]]", count: int) -> "set[asyncio.Task[None]]":
    """Wait until no more than so many are under way; raises what one of them raised."""
    while len(tasks) > count:
        done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for each in done:
            error = each.exception()
            if isinstance(error, ParleyError):
                raise error
            each.result()
    return tasks
