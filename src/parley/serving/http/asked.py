"""What the front of a served model is asked, and answers."""

from collections.abc import Sequence
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from parley.serving.scores import Score

LONGEST_ID: Final = 256
Id: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=LONGEST_ID, description="as the active party's table has it")
]
ModelName: TypeAlias = Annotated[str, Meta(max_length=64, description="the model that is served")]


class Nothing(msgspec.Struct, frozen=True):
    """A request that needs no particulars."""


class OneModel(msgspec.Struct, frozen=True):
    """A question about the model that is served."""

    model: ModelName


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whose scores are wanted: either of the two fields."""

    ids: (
        Annotated[
            list[Id],
            Meta(
                min_length=1, description="whose scores are wanted; one that stands twice is answered twice"
            ),
        ]
        | UnsetType
    ) = UNSET
    id: Id | UnsetType = UNSET


class Predict(Wanted, frozen=True, kw_only=True):
    """Whose scores are wanted, of which model: either ``ids`` or ``id``."""

    model: ModelName


class Predictions(msgspec.Struct, frozen=True):
    """What a model says.

    Attributes:
        model: that says it.
        predictions: of each id that was asked for, in their order.
    """

    model: str
    predictions: Sequence[Score]


Reason: TypeAlias = Literal["", "over", "quota", "peers"]


class Health(msgspec.Struct, frozen=True):
    """Whether a request could be answered now.

    Attributes:
        well: it could.
        reason: why not: ``over``, the release has ended; ``quota``, it is used up; ``peers``, one is away
            and the fallback is to refuse.
    """

    well: bool
    reason: Reason
