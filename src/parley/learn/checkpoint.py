"""What a party needs to go on with a training after a round, as bytes.

Not a format for others: only the party that wrote a checkpoint reads it again. Where a checkpoint is kept,
it is protected against damage.
"""

from typing import Final

import msgspec
import numpy as np

from parley.learn.boosting import BoostingState
from parley.learn.trees import SplitRule, Tree

VERSION: Final = 1


class PassiveState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that a round leaves to the next at a passive party.

    Attributes:
        round: rounds done.
        rules: what each of its splits so far tests.
    """

    round: int
    rules: tuple[SplitRule, ...]


BEGINNING: Final = PassiveState(0, ())


class _ActiveState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """As `BoostingState`; ``margins`` as little-endian float64, row by row of the outputs."""

    round: int
    initial: tuple[float, ...]
    trees: tuple[Tree, ...]
    margins: bytes
    splits: tuple[int, ...]
    losses: tuple[float, ...]
    exhausted: bool
    rules: tuple[SplitRule, ...]


def encode_active(state: BoostingState) -> bytes:
    """An active party's state between two rounds."""
    kept = _ActiveState(
        state.round,
        state.initial,
        state.trees,
        state.margins.astype("<f8").tobytes(),
        state.splits,
        state.losses,
        state.exhausted,
        state.rules,
    )
    return msgspec.msgpack.encode((VERSION, kept))


def decode_active(data: bytes) -> BoostingState:
    """Read what `encode_active` wrote.

    Raises:
        ValueError: it is of another release, or no checkpoint.
    """
    version, kept = msgspec.msgpack.decode(data, type=tuple[int, _ActiveState])
    _check(version)
    margins = np.frombuffer(kept.margins, dtype="<f8").reshape(len(kept.initial), -1).astype(np.float64)
    return BoostingState(
        kept.round,
        kept.initial,
        kept.trees,
        margins,
        kept.splits,
        kept.losses,
        exhausted=kept.exhausted,
        rules=kept.rules,
    )


def encode_passive(state: PassiveState) -> bytes:
    """A passive party's state between two rounds."""
    return msgspec.msgpack.encode((VERSION, state))


def decode_passive(data: bytes) -> PassiveState:
    """Read what `encode_passive` wrote.

    Raises:
        ValueError: it is of another release, or no checkpoint.
    """
    version, kept = msgspec.msgpack.decode(data, type=tuple[int, PassiveState])
    _check(version)
    return kept


def _check(version: int) -> None:
    if version != VERSION:
        raise ValueError(f"checkpoint of version {version}, this release reads {VERSION}")
