"""Labels as numbers."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from parley.core.errors import UsageError
from parley.data.cells import numbers, text
from parley.learn.parameters import ObjectiveName

Floats = NDArray[np.float64]


def encode_label(label: pl.Series, objective: ObjectiveName) -> tuple[Floats, tuple[str, ...]]:
    """A label column as numbers.

    Returns:
        ``float64[rows]`` and the classes: class ``i`` is written ``classes[i]``. Numbers are ordered by
        size, text alphabetically. A regression has no classes.

    Raises:
        UsageError: a class is missing.
    """
    if objective == "regression":
        return numbers(label), ()
    if label.is_null().any():
        raise UsageError(
            "label-missing",
            f"{label.is_null().sum()} of {len(label)} labels in column {label.name!r} are missing",
            remedy="give every row a label, or leave those rows out of the table",
        )
    ordered = label.unique().sort()
    written = text(ordered).to_list()
    codes = dict(zip(written, range(len(written)), strict=True))
    return np.array([codes[value] for value in text(label)], dtype=np.float64), tuple(written)
