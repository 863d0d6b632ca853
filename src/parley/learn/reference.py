"""What the active party keeps of a training, beside its share, for when the model is used.

The distribution of the scores of the rows held out, to see by whether those given later are like them, and
the model of its own columns alone, for ids that a passive party lacks or while it is away.
"""

from typing import Final, Literal

import msgspec
from numpy.typing import ArrayLike

from parley.core.errors import UsageError
from parley.learn.objectives import Objective, Regression
from parley.learn.scoring import Floats
from parley.learn.shares import ActiveShare, check_share
from parley.learn.stability import Histogram

FORMAT: Final = "parley-model-reference"
VERSION: Final = 1


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Kept of a training; see ``docs/model-share.md``.

    Attributes:
        classes: how each class was written in the label column; none for a regression.
        baseline: distribution of the joint model's scores of the rows held out: one of the second class'
            probability, one for each of more than two classes, or one of a regression's values. None if
            no rows were held out.
        alone: the model of the active party's columns alone; its only owner is that party.
    """

    classes: tuple[str, ...]
    baseline: tuple[Histogram, ...]
    alone: ActiveShare


class _Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: Literal["parley-model-reference"]
    version: Literal[1]
    reference: Reference


def baseline_of(objective: Objective, margin: Floats) -> tuple[Histogram, ...]:
    """How the scores of rows are distributed.

    Args:
        objective: of the model.
        margin: ``float64[outputs, rows]``; of no rows there is no distribution.
    """
    if not margin.shape[1]:
        return ()
    return tuple(
        Histogram.of_values(each) if isinstance(objective, Regression) else Histogram.of_probabilities(each)
        for each in scores_of(objective, margin)
    )


def scores_of(objective: Objective, margin: Floats) -> tuple[ArrayLike, ...]:
    """What is watched of margins: a value, the second class' probability, or every class'; each [rows]."""
    predicted = objective.predict(margin)
    if isinstance(objective, Regression):
        return (predicted,)
    return tuple(predicted.T[1:] if predicted.shape[1] == 2 else predicted.T)  # noqa: PLR2004 (two classes)


def encode_reference(reference: Reference) -> bytes:
    """The reference as JSON text; floats keep every bit."""
    return msgspec.json.format(msgspec.json.encode(_Envelope(FORMAT, VERSION, reference)), indent=1)


def decode_reference(data: bytes, *, model: str) -> Reference:
    """Read what `encode_reference` wrote, and check that its parts fit together.

    Raises:
        UsageError: it is none, of another model, or inconsistent.
    """
    try:
        reference = msgspec.json.decode(data, type=_Envelope).reference
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(
            "share-malformed",
            f"what is kept of the training of model {model} cannot be read: {error}",
            remedy="restore the file from a copy, or train again",
        ) from None
    if reference.alone.model != model:
        raise UsageError(
            "share-of-another-model",
            f"what is kept of a training belongs to model {reference.alone.model}, not to {model}",
            remedy="put the file of the model back",
        )
    check_share(reference.alone)
    return reference
