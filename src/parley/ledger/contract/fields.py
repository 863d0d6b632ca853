"""The bounded types of which bodies and records are made.

Every bound is part of the rules: a body that does not fit is refused with ``body-invalid``. Times are whole
seconds since 1970, rates are parts per million, digests are SHA-256 in lower-case hexadecimal.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta

LARGEST: Final = (1 << 53) - 1
"""The largest integer that has an encoding."""

Party: TypeAlias = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,31}\Z")]
"""A member's name, as in its certificate."""
Name: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
"""The name of a table, an algorithm, a metric or a run."""
Column: TypeAlias = Annotated[str, Meta(min_length=1, max_length=128)]
Text: TypeAlias = Annotated[str, Meta(min_length=1, max_length=2000)]
"""Words for people."""
Digest: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
PublicKey: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
"""The 32 bytes of an Ed25519 public key."""
Count: TypeAlias = Annotated[int, Meta(ge=0, le=LARGEST)]
Positive: TypeAlias = Annotated[int, Meta(ge=1, le=LARGEST)]
Height: TypeAlias = Annotated[int, Meta(ge=0, le=LARGEST)]
Time: TypeAlias = Annotated[int, Meta(ge=0, le=LARGEST)]
Signed: TypeAlias = Annotated[int, Meta(ge=-LARGEST, le=LARGEST)]
Patience: TypeAlias = Annotated[int, Meta(ge=60, le=90 * 86_400)]
"""Seconds that a run may stand still before anyone may declare it failed."""
RowBucket: TypeAlias = Annotated[int, Meta(ge=0, le=40)]
"""b says that a table has at least 2^b and fewer than 2^(b+1) rows."""

Algorithm: TypeAlias = Literal["ed25519"]
Role: TypeAlias = Literal["holder", "observer"]
"""A holder may register tables and take part in runs; an observer cosigns and votes, and holds no data."""
KeyKind: TypeAlias = Literal["signing", "cosigning", "recovery", "invitation"]
EngineKind: TypeAlias = Literal["embedded", "cometbft"]


def ascending(names: Sequence[str]) -> bool:
    """Whether names stand in ascending order, each once."""
    return all(before < after for before, after in pairwise(names))
