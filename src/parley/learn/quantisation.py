"""Low-bit gradients for split finding (Shi et al., *Quantized Training of GBDT*, NeurIPS 2022).

Gradients and hessians are scaled and rounded stochastically to small integers. Sums of integers are
exact, so a histogram summed under encryption equals the one summed in the clear, bit for bit.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Quantised:
    """Integer gradients of the sampled rows.

    Attributes:
        messages: ``int32[rows, k]``; column 0 the gradients, column 1 the hessians. With a constant
            hessian k is 1: row counts stand for it.
        scales: what one unit of a gradient and of a hessian is worth.
        tops: per message the largest absolute value it may have.
    """

    messages: NDArray[np.int32]
    scales: tuple[float, float]
    tops: tuple[int, ...]


def quantise(
    gradient: Floats, hessian: Floats | None, *, bits: tuple[int, int], noise: np.random.Generator
) -> Quantised:
    """Round to ``bits`` (gradient, hessian) with an unbiased coin; ``hessian`` None means one for each row.

    Gradients become integers in ±(2^(bits−1) − 1), hessians in 0 … 2^bits − 1.
    """
    tops = (2 ** (bits[0] - 1) - 1, 2 ** bits[1] - 1)
    gradient_scale = float(np.abs(gradient).max(initial=0.0)) / tops[0] or 1.0
    rounded = [_round(gradient / gradient_scale, noise, -tops[0], tops[0])]
    hessian_scale = 1.0
    if hessian is not None:
        hessian_scale = float(hessian.max(initial=0.0)) / tops[1] or 1.0
        rounded.append(_round(hessian / hessian_scale, noise, 0, tops[1]))
    messages = np.ascontiguousarray(np.column_stack(rounded), dtype=np.int32)
    return Quantised(messages, (gradient_scale, hessian_scale), tops[: len(rounded)])


def _round(values: Floats, noise: np.random.Generator, low: int, high: int) -> Floats:
    return np.clip(np.floor(values + noise.random(len(values))), low, high)
