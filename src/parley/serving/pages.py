"""Pages of predictions: what was answered, kept at home so that each prediction can be proven later.

A page is a file that only grows: a header, then blocks of predictions as they were answered, each written
before its scores are given out. What is torn at its end was never given out. The root over a page's
predictions goes to the ledger; what a prediction's leaf is made of says `ledger.predictions`.
"""

import os
import secrets
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from parley import _native
from parley.core.errors import UsageError
from parley.core.files import write_atomically
from parley.ledger.predictions import BASES

MOST: Final = 1 << 16
"""Predictions on one page."""

_KEY: Final = 32
_NAME: Final = 8
_LENGTH: Final = struct.Struct(">I")
_PAGE: Final = ".page"
_ENTERED: Final = ".batch"

Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]


class _Header(msgspec.Struct, frozen=True, array_like=True):
    """How a page begins: whose it is, the secret of its salts, margins per prediction."""

    model: str
    key: bytes
    outputs: int


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
        written = [each.encode() for each in ids]
        return cls(b"".join(written), np.fromiter(map(len, written), np.uint32, len(ids)), basis, margins)

    def __len__(self) -> int:
        return len(self.basis)

    def leaves(self, key: bytes, first: int, threads: int) -> Bytes:
        """Leaf hashes uint8[n, 32] of these as the predictions of a page from number ``first`` on."""
        ends = np.cumsum(self.lengths, dtype=np.uint64)
        spans = np.stack([ends - self.lengths, ends], axis=1)
        return _native.prediction_leaves(
            self.ids, spans, self.basis, np.ascontiguousarray(self.margins), key, first, threads
        )


@dataclass
class Page:
    """A page that is being written, or was.

    Attributes:
        path: of its file.
        model: whose predictions these are.
        key: secret from which salts are made.
        outputs: margins per prediction.
        count: predictions so far.
    """

    path: Path
    model: str
    key: bytes = field(repr=False)
    outputs: int
    count: int = 0
    _leaves: list[Bytes] = field(default_factory=list, repr=False)

    @property
    def name(self) -> str:
        """Random, of this page."""
        return self.path.stem

    def receipts(self, first: int, count: int) -> list[str]:
        """By which predictions of the page can be asked for later."""
        return [f"{self.name}.{number}" for number in range(first, first + count)]

    def append(self, predictions: Predictions, threads: int = 1) -> int:
        """Write predictions down; returns the number of the first. They outlive this process from then on."""
        first = self.count
        block = _Block(
            predictions.ids,
            predictions.lengths.astype("<u4").tobytes(),
            predictions.basis.tobytes(),
            np.ascontiguousarray(predictions.margins, dtype="<f8").tobytes(),
        )
        data = msgspec.msgpack.encode(block)
        with self.path.open("ab", buffering=0) as file:
            file.write(_LENGTH.pack(len(data)) + data)
        self._leaves.append(predictions.leaves(self.key, first, threads))
        self.count += len(predictions)
        return first

    def leaves(self) -> Bytes:
        """Leaf hashes of all predictions, uint8[count, 32]."""
        return np.concatenate(self._leaves) if self._leaves else np.empty((0, 32), dtype=np.uint8)

    def root(self, threads: int = 1) -> bytes:
        """The Merkle root over all predictions."""
        return _native.merkle_root(self.leaves(), threads)


class Book:
    """The pages of one model in a home.

    Args:
        folder: for all models' pages.
        model: whose.
        outputs: margins per prediction, of pages to be begun.
    """

    def __init__(self, folder: Path, model: str, outputs: int = 1) -> None:
        self._folder = folder / model
        self._model, self._outputs = model, outputs

    def begin(self) -> Page:
        """A new page; its file is there once something is on it."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._folder / f"{secrets.token_hex(_NAME)}{_PAGE}"
        page = Page(path, self._model, secrets.token_bytes(_KEY), self._outputs)
        header = msgspec.msgpack.encode(_Header(page.model, page.key, page.outputs))
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb", buffering=0) as file:
            file.write(_LENGTH.pack(len(header)) + header)
        return page

    def entered(self, page: Page, batch: int) -> None:
        """Note that the ledger has a page."""
        write_atomically(page.path.with_suffix(_ENTERED), str(batch).encode())

    def batch_of(self, name: str) -> int | None:
        """The batch that a page is on the ledger; nothing if it is not there."""
        path = self._folder / f"{name}{_ENTERED}"
        return int(path.read_text()) if path.exists() else None

    def waiting(self) -> list[Page]:
        """Pages that the ledger does not have, oldest first; such as have nothing on them go."""
        found = sorted(self._folder.glob(f"*{_PAGE}"), key=lambda path: path.stat().st_mtime_ns)
        pages = [self.page(path.stem) for path in found if not path.with_suffix(_ENTERED).exists()]
        for page in pages:
            if not page.count:
                page.path.unlink()
        return [page for page in pages if page.count]

    def forget(self, name: str) -> None:
        """Drop a page none of whose predictions was given out."""
        (self._folder / f"{name}{_PAGE}").unlink(missing_ok=True)

    def page(self, name: str) -> Page:
        """A page as it was written.

        Raises:
            UsageError: there is none, or it cannot be read.
        """
        path = self._folder / f"{name}{_PAGE}"
        pieces = _pieces(path)
        try:
            header = msgspec.msgpack.decode(next(pieces), type=_Header)
        except (StopIteration, msgspec.MsgspecError):
            header = _Header("", bytes(_KEY), self._outputs)
        if header.model != self._model:
            return Page(path, self._model, header.key, self._outputs)
        page = Page(path, header.model, header.key, header.outputs)
        for each in _predictions(pieces, header.outputs):
            page._leaves.append(each.leaves(page.key, page.count, 1))  # noqa: SLF001 (it is one)
            page.count += len(each)
        return page

    def prediction(self, name: str, number: int) -> tuple[str, str, tuple[float, ...]]:
        """Id, basis and margins of one prediction.

        Raises:
            UsageError: there is no such page, or no such prediction on it.
        """
        pieces = _pieces(self._folder / f"{name}{_PAGE}")
        header = msgspec.msgpack.decode(next(pieces), type=_Header)
        for each in _predictions(pieces, header.outputs):
            if number < len(each):
                ends = np.cumsum(each.lengths, dtype=np.int64)
                text = each.ids[ends[number] - each.lengths[number] : ends[number]].decode()
                return text, BASES[each.basis[number]], tuple(each.margins[:, number].tolist())
            number -= len(each)
        raise _no_receipt(name)


def _predictions(pieces: Iterator[bytes], outputs: int) -> Iterator[Predictions]:
    for piece in pieces:
        block = msgspec.msgpack.decode(piece, type=_Block)
        margins = np.frombuffer(block.margins, dtype="<f8").reshape(outputs, -1)
        lengths = np.frombuffer(block.lengths, dtype="<u4")
        yield Predictions(block.ids, lengths, np.frombuffer(block.basis, dtype=np.uint8), margins)


def _pieces(path: Path) -> Iterator[bytes]:
    """What was written whole."""
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


def _no_receipt(name: str) -> UsageError:
    return UsageError(
        "no-such-prediction",
        f"no prediction here has a receipt that begins with {name[:32]!r}",
        remedy="take the receipt from the answer, or from the column `receipt` of a batch",
    )
