"""The messages of joint boosting and their order. Symbols: k messages a ciphertext, C columns, P pairs."""

from dataclasses import dataclass, field
from typing import Final

import msgspec

from parley.core.conversation import Message, Repeat, Step, steps
from parley.learn.histograms import BinLayout

ACTIVE: Final = "active"
PASSIVE: Final = "passive"
POINT: Final = 32
"""Bytes of an encoded point."""
GRADIENT_BLOCK: Final = 8192
"""Rows per `GradientBlock`."""
HISTOGRAM_BLOCK: Final = 2048
"""Bins per `HistogramBlock` at most (unless one column has more), so that both sides work at once."""


class PublicKeyOffer(Message, frozen=True):
    """``key``: P_1 … P_k, 32 bytes each; k is 1 where every hessian is one, else 2."""

    key: bytes


class ColumnsOffer(Message, frozen=True):
    """The passive party's C columns.

    ``rows``: rows aligned; ``columns``: C; ``bin_counts``: uint32[C]; ``categorical``: C bits.
    """

    rows: int
    columns: int
    bin_counts: bytes
    categorical: bytes


class TreeBegins(Message, frozen=True):
    """``columns``: C bits, the columns drawn; ``sampled``: a bit per aligned row, the rows drawn."""

    round: int
    output: int
    columns: bytes
    sampled: bytes


class GradientBlock(Message, frozen=True):
    """``ciphertexts``: uint8[rows, k + 1, 32] of the sampled rows from ``first`` on."""

    first: int
    ciphertexts: bytes


class HistogramBlock(Message, frozen=True):
    """Sums of the small node of one pair, for some of the drawn columns (see `column_blocks`).

    ``first``: the first of the columns; ``ends``: a bit per bin, where groups end; ``counts``: uint32 rows
    of each group; ``ciphertexts``: uint8[groups that hold rows, k + 1, 32].
    """

    pair: int
    first: int
    ends: bytes
    counts: bytes
    ciphertexts: bytes


class SplitNote(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A split of one of the receiver's columns; ``left``: a bit per bin of the column."""

    node: int
    column: int
    left: bytes


class Splits(Message, frozen=True):
    """``own``: splits on the receiver's columns; ``others``: nodes split on anyone else's; both ascending."""

    own: tuple[SplitNote, ...]
    others: tuple[int, ...]


class Directions(Message, frozen=True):
    """``left``: per split of ``Splits.own`` a bit per row of the node, in row order."""

    left: tuple[bytes, ...]


class Memberships(Message, frozen=True):
    """``left``: per node of ``Splits.others`` a bit per row; empty after the last level."""

    left: tuple[bytes, ...]


class TrainingEnds(Message, frozen=True):
    """``kept``: how many of the receiver's splits belong to the model; later ones are forgotten."""

    kept: int


STEPS = steps(
    "boosting",
    1,
    Step(ACTIVE, PASSIVE, PublicKeyOffer),
    Step(PASSIVE, ACTIVE, ColumnsOffer),
    Repeat(
        Step(ACTIVE, PASSIVE, TreeBegins),
        Repeat(Step(ACTIVE, PASSIVE, GradientBlock)),
        Repeat(
            Repeat(Step(PASSIVE, ACTIVE, HistogramBlock)),
            Step(ACTIVE, PASSIVE, Splits),
            Step(PASSIVE, ACTIVE, Directions),
            Step(ACTIVE, PASSIVE, Memberships),
        ),
    ),
    Step(ACTIVE, PASSIVE, TrainingEnds),
)


@dataclass(frozen=True)
class Resources:
    """What a role computes with.

    Attributes:
        seed: 32 secret bytes, fresh for each conversation, a resumed one included; all of the role's
            cryptographic randomness follows. The model does not depend on it.
        threads: how many a kernel may use.
    """

    seed: bytes = field(repr=False)
    threads: int = 1


def column_blocks(layout: BinLayout) -> list[tuple[int, int]]:
    """Cut columns into runs ``first … last − 1`` of at most `HISTOGRAM_BLOCK` bins, or a single column."""
    blocks, first, held = [], 0, 0
    for column, bins in enumerate(layout.bin_counts.tolist()):
        if held and held + bins > HISTOGRAM_BLOCK:
            blocks.append((first, column))
            first, held = column, 0
        held += bins
    return [*blocks, (first, layout.columns)] if layout.columns else []
