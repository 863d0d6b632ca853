"""Which rows and columns a tree looks at."""

import numpy as np
from numpy.typing import NDArray

from parley.learn.parameters import BoostingParameters

Floats = NDArray[np.float64]


def sample_rows(
    parameters: BoostingParameters, gradient: Floats, hessian: Floats, draw: np.random.Generator
) -> tuple[NDArray[np.int64], Floats | None]:
    """Choose the training rows of one tree.

    Args:
        parameters: names the strategy and its rates.
        gradient: ``float64[rows]`` of the training rows, sample weights included.
        hessian: likewise; GOSS ranks rows by ``|g · h|``.
        draw: source of the choice.

    Returns:
        The chosen rows, ascending, and a factor for their gradients and hessians (None: all one).
    """
    rows = len(gradient)
    if parameters.data_sample_strategy == "goss":
        return _goss(parameters, np.abs(gradient * hessian), draw)
    if parameters.subsample >= 1:
        return np.arange(rows), None
    keep = max(1, round(parameters.subsample * rows))
    return np.sort(draw.permutation(rows)[:keep]), None


def _goss(
    parameters: BoostingParameters, weight: Floats, draw: np.random.Generator
) -> tuple[NDArray[np.int64], Floats]:
    """Gradient-based one-side sampling (Ke et al., *LightGBM*, NeurIPS 2017, algorithm 2)."""
    rows = len(weight)
    top = max(1, round(parameters.top_rate * rows))
    other = min(rows - top, max(1, round(parameters.other_rate * rows)))
    order = np.argsort(-weight, kind="stable")
    drawn = top + draw.permutation(rows - top)[:other]
    factor = np.ones(rows)
    factor[order[drawn]] = (rows - top) / max(other, 1)
    chosen = np.sort(np.concatenate([order[:top], order[drawn]]))
    return chosen, factor[chosen]


def sample_columns(share: float, count: int, draw: np.random.Generator) -> NDArray[np.int64]:
    """Choose ``share`` of ``count`` columns, at least one if there is one; ascending."""
    if share >= 1:
        return np.arange(count)
    return np.sort(draw.permutation(count)[: columns_drawn(share, count)])


def columns_drawn(share: float, count: int) -> int:
    """How many columns `sample_columns` chooses."""
    return min(count, max(1, round(share * count)))
