"""Pages of predictions: what was answered, kept at home so that each prediction can be proven later.

A page is a file that only grows: a header, then blocks of predictions as they were answered, each written
before its scores are given out. What is torn at its end was never given out. The root over a page's
predictions goes to the ledger; what a prediction's leaf is made of says `ledger.predictions`.
"""

import fcntl
import os
import re
import secrets
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from parley import _native
from parley.core.errors import UsageError
from parley.core.files import room_for
from parley.ledger.predictions import BASES
from parley.store.predictions import PAGE, entered_folder, let_go_before

MOST: Final = 1 << 16
"""Predictions on one page."""

_KEY: Final = 32
_NAME: Final = 8
_LENGTH: Final = struct.Struct(">I")
_HELD: Final = ".held"
_CLOSED: Final = -1
_IS_NAME: Final = re.compile(r"[0-9a-f]{16}")

Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]


class _Header(msgspec.Struct, frozen=True, array_like=True):
    """How a page begins: whose it is, the secret of its salts, margins per prediction, batches before it."""

    model: str
    key: bytes
    outputs: int
    batches: int = 0


class _Block(msgspec.Struct, frozen=True, array_like=True):
    """Predictions: ids end to end, bytes of each as uint32, basis of each, float64[outputs, n] margins."""

    ids: bytes
    lengths: bytes
    basis: bytes
    margins: bytes


@dataclass(frozen=True)
class Predictions:
    """Some predictions.

    Attributes:
        ids: as asked, UTF-8, end to end.
        lengths: bytes of each, uint32[n].
        basis: place in `BASES` of each, uint8[n].
        margins: float64[outputs, n]; NaN where there is no score.
    """

    ids: bytes
    lengths: NDArray[np.uint32]
    basis: Bytes
    margins: Floats

    @classmethod
    def of(cls, ids: Sequence[str], basis: Bytes, margins: Floats) -> Self:
        """Of ids as text."""
        text = "".join(ids)
        written = ids if text.isascii() else [each.encode() for each in ids]
        lengths = np.fromiter(map(len, written), np.uint32, len(ids))
        return cls(text.encode(), lengths, basis, margins)

    def __len__(self) -> int:
        return len(self.basis)

    def leaves(self, key: bytes, first: int, threads: int) -> Bytes:
        """Leaf hashes uint8[n, 32] of these as the predictions of a page from number ``first`` on."""
        ends = np.cumsum(self.lengths, dtype=np.uint64)
        spans = np.stack([ends - self.lengths, ends], axis=1)
        return _native.prediction_leaves(
            self.ids, spans, self.basis, np.ascontiguousarray(self.margins), key, first, threads
        )


@dataclass(eq=False)
class Page:
    """A page: being written by us, or taken over from a program that has ended, or merely read.

    Whoever writes or enters a page holds its file locked (``flock``), so that nobody else enters what is
    not finished; a program that is killed lets go of it by that.

    Attributes:
        path: of its file.
        model: whose predictions these are.
        key: secret from which salts are made.
        outputs: margins per prediction.
        batches: of the model that the ledger had when the page was begun; its own cannot be an earlier one.
        count: predictions so far.
    """

    path: Path
    model: str
    key: bytes = field(repr=False)
    outputs: int
    batches: int = 0
    count: int = 0
    _file: int = field(default=_CLOSED, repr=False)
    _size: int = field(default=0, repr=False)
    _fresh: list[Predictions] = field(default_factory=list, repr=False)
    _leaves: list[Bytes] = field(default_factory=list, repr=False)

    @property
    def name(self) -> str:
        """Random, of this page."""
        return self.path.stem.partition("-")[0]

    def receipts(self, first: int, count: int) -> list[str]:
        """By which predictions of the page can be asked for later."""
        name = self.name
        return [f"{name}.{number}" for number in range(first, first + count)]

    def receipts_column(self) -> pl.Series:
        """Those of all its predictions so far."""
        numbers = pl.int_range(self.count)
        return pl.select(pl.format(f"{self.name}.{{}}", numbers).alias("receipt")).to_series()

    def append(self, predictions: Predictions) -> int:
        """Write predictions down; returns the number of the first. They outlive this process from then on.

        Raises:
            BudgetExhausted: the disk is full; the page is as it was.
        """
        first = self.count
        block = _Block(
            predictions.ids,
            predictions.lengths.astype("<u4").tobytes(),
            predictions.basis.tobytes(),
            np.ascontiguousarray(predictions.margins, dtype="<f8").tobytes(),
        )
        self._write(msgspec.msgpack.encode(block))
        self._read(predictions)
        return first

    def leaves(self, threads: int = 1) -> Bytes:
        """Leaf hashes of all predictions, uint8[count, 32]; computed here, not while it is written."""
        done = sum(map(len, self._leaves))
        while self._fresh:
            self._leaves.append(self._fresh.pop(0).leaves(self.key, done, threads))
            done += len(self._leaves[-1])
        return np.concatenate(self._leaves) if self._leaves else np.empty((0, 32), dtype=np.uint8)

    def root(self, threads: int = 1) -> bytes:
        """The Merkle root over all predictions."""
        return _native.merkle_root(self.leaves(threads), threads)

    def sealed(self, threads: int = 1) -> bytes:
        """The same, once the page is on the disk: what the ledger has outlives a loss of power."""
        if self._file != _CLOSED:
            os.fsync(self._file)
        return self.root(threads)

    def close(self) -> None:
        """Let others have it."""
        if self._file != _CLOSED:
            os.close(self._file)
            self._file = _CLOSED

    def _write(self, piece: bytes) -> None:
        """All of it, or nothing."""
        data = memoryview(_LENGTH.pack(len(piece)) + piece)
        done = 0
        try:
            with room_for(self.path):
                while done < len(data):
                    done += os.pwrite(self._file, data[done:], self._size + done)
        except BaseException:
            with suppress(OSError):  # what stays is torn, and this page is written to no more
                os.ftruncate(self._file, self._size)
            raise
        self._size += done

    def _read(self, predictions: Predictions) -> None:
        self._fresh.append(predictions)
        self.count += len(predictions)


class Book:
    """The pages of one model in a home.

    In the model's folder lie pages that the ledger does not have: ``NAME.page``, which any program may take
    over that finds them unlocked, and ``NAME.held``, whose predictions were given out to nobody yet. Those
    that it has lie in ``entered/NA/NAME-BATCH.page``: what goes there goes in one step, and the party lets go
    of it when it is old.

    Args:
        folder: for all models' pages.
        model: whose.
        outputs: margins per prediction, of pages to be begun.
    """

    def __init__(self, folder: Path, model: str, outputs: int = 1) -> None:
        self.folder = folder / model
        self._model, self._outputs = model, outputs

    def begin(self, batches: int = 0) -> Page:
        """A new page, for predictions that are given out as soon as they are on it.

        Raises:
            BudgetExhausted: the disk is full.
        """
        return self._begun(PAGE, batches)

    def hold(self, batches: int = 0) -> Page:
        """A new page, for predictions that are given out once it is published."""
        return self._begun(_HELD, batches)

    def publish(self, page: Page) -> None:
        """From now on the predictions of a held page count as given out."""
        page.path = page.path.replace(page.path.with_suffix(PAGE))

    def entered(self, page: Page, batch: int) -> None:
        """The ledger has a page as a batch of the model."""
        place = self._entered_folder(page.name)
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        page.path = page.path.replace(place / f"{page.name}-{batch}{PAGE}")
        page.close()

    def batch_of(self, name: str) -> int | None:
        """The batch that a page is on the ledger; nothing if it is not there as far as we know."""
        path = self._path_entered(name)
        return None if path is None else int(path.stem.partition("-")[2])

    def waiting(self) -> list[str]:
        """Names of pages that the ledger does not have, oldest first, also of those that others write."""
        found = []
        for path in self.folder.glob(f"*{PAGE}"):
            with suppress(FileNotFoundError):  # another program entered it just now
                found.append((path.stat().st_mtime_ns, path.stem))
        return [name for _, name in sorted(found)]

    def take(self, name: str) -> Page | None:
        """Take a waiting page over from a program that has ended; nothing if another has it, or it is gone.

        A page with nothing on it goes.

        Raises:
            UsageError: ``page-damaged``.
        """
        for ending in (PAGE, _HELD):
            path = self.folder / f"{name}{ending}"
            with suppress(FileNotFoundError):
                return self._taken(path)
        return None

    def drop(self, page: Page) -> None:
        """Drop a page with nothing on it."""
        page.path.unlink(missing_ok=True)
        page.close()

    def forget(self, name: str) -> None:
        """Drop a held page, whose predictions were given out to nobody."""
        (self.folder / f"{name}{_HELD}").unlink(missing_ok=True)

    def page(self, name: str) -> Page:
        """A page as it was written, to read.

        Raises:
            UsageError: there is none, or it cannot be read.
        """
        path = self._path(name)
        return self._loaded(path, *_content(path))

    def prediction(self, name: str, number: int) -> tuple[str, str, tuple[float, ...]]:
        """Id, basis and margins of one prediction.

        Raises:
            UsageError: ``no-such-prediction``, or ``prediction-let-go`` where old pages are gone.
        """
        path = self._path(name)
        if not path.exists() and (before := let_go_before(self.folder)) is not None:
            raise _gone(name, before)
        header, pieces = _content(path)
        for each in _predictions(path, pieces, header.outputs) if number >= 0 else ():
            if number < len(each):
                ends = np.cumsum(each.lengths, dtype=np.int64)
                text = each.ids[ends[number] - each.lengths[number] : ends[number]].decode()
                return text, BASES[each.basis[number]], tuple(each.margins[:, number].tolist())
            number -= len(each)
        raise _no_receipt(name)

    # Inside

    def _begun(self, ending: str, batches: int) -> Page:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.folder / f"{secrets.token_hex(_NAME)}{ending}"
        page = Page(path, self._model, secrets.token_bytes(_KEY), self._outputs, batches)
        with room_for(path):
            page._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)  # noqa: SLF001 (it is one)
        fcntl.flock(page._file, fcntl.LOCK_EX)  # noqa: SLF001
        header = _Header(page.model, page.key, page.outputs, batches)
        try:
            page._write(msgspec.msgpack.encode(header))  # noqa: SLF001
        except BaseException:
            path.unlink()
            page.close()
            raise
        return page

    def _taken(self, path: Path) -> Page | None:
        handle = os.open(path, os.O_RDWR)
        page = None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and not _dropped(path):  # else it was entered between the two
                page = self._loaded(path, *_content(path))
                page._file = handle  # noqa: SLF001 (it is one)
        except BlockingIOError:
            pass
        finally:
            if page is None:
                os.close(handle)
        return page

    def _loaded(self, path: Path, header: _Header, pieces: Iterator[bytes]) -> Page:
        if header.model != self._model:
            raise _damaged(path)
        page = Page(path, header.model, header.key, header.outputs, header.batches)
        for each in _predictions(path, pieces, header.outputs):
            page._read(each)  # noqa: SLF001 (it is one)
        return page

    def _path(self, name: str) -> Path:
        if not _IS_NAME.fullmatch(name):
            raise _no_receipt(name)
        for ending in (PAGE, _HELD):
            path = self.folder / f"{name}{ending}"
            if path.exists():
                return path
        return self._path_entered(name) or self.folder / f"{name}{PAGE}"

    def _entered_folder(self, name: str) -> Path:
        return entered_folder(self.folder) / name[:2]

    def _path_entered(self, name: str) -> Path | None:
        return next(self._entered_folder(name).glob(f"{name}-*{PAGE}"), None)


def _content(path: Path) -> tuple[_Header, Iterator[bytes]]:
    pieces = _pieces(path)
    try:
        return msgspec.msgpack.decode(next(pieces), type=_Header), pieces
    except (StopIteration, msgspec.MsgspecError):
        raise _damaged(path) from None


def _dropped(path: Path) -> bool:
    """Drop a page if nothing whole stands behind its header."""
    pieces = _pieces(path)
    bare = next(pieces, None) is None or next(pieces, None) is None
    if bare:
        path.unlink()
    return bare


def _predictions(path: Path, pieces: Iterator[bytes], outputs: int) -> Iterator[Predictions]:
    for piece in pieces:
        try:
            block = msgspec.msgpack.decode(piece, type=_Block)
            basis = np.frombuffer(block.basis, dtype=np.uint8)
            margins = np.frombuffer(block.margins, dtype="<f8").reshape(outputs, len(basis))
            lengths = np.frombuffer(block.lengths, dtype="<u4")
        except (msgspec.MsgspecError, ValueError):
            raise _damaged(path) from None
        if len(lengths) != len(basis) or int(lengths.sum(dtype=np.uint64)) != len(block.ids):
            raise _damaged(path)
        yield Predictions(block.ids, lengths, basis, margins)


def _pieces(path: Path) -> Iterator[bytes]:
    """What was written whole; what is torn at the end was given out to nobody."""
    try:
        data = path.read_bytes()
    except OSError:
        raise _no_receipt(path.stem) from None
    at = 0
    while at + _LENGTH.size <= len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if at + length > len(data):
            return
        yield data[at : at + length]
        at += length


def _damaged(path: Path) -> UsageError:
    return UsageError(
        "page-damaged",
        f"{path} is not as it was written",
        remedy="restore it from a backup; until then its predictions cannot be accounted for, nor proven",
    )


def _gone(name: str, before: int) -> UsageError:
    day = datetime.fromtimestamp(before, UTC)
    return UsageError(
        "prediction-let-go",
        f"no page here has the name {name[:32]!r}, and pages from before {day:%Y-%m-%d} were let go of",
        remedy="if the receipt is older, put its page back from a backup; `keep_predictions` in parley.toml "
        "says for how many days pages are kept",
    )


def _no_receipt(name: str) -> UsageError:
    return UsageError(
        "no-such-prediction",
        f"no prediction here has a receipt that begins with {name[:32]!r}",
        remedy="take the receipt from the answer, or from the column `receipt` of a batch",
    )
