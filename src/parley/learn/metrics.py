"""Measures of a prediction against labels. All arrays are one-dimensional and of one length."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def auc(label: Floats, score: Floats) -> float:
    """Area under the ROC curve: the chance that a positive row outranks a negative one, ties half.

    Returns NaN when only one class is present.
    """
    positive = label > 0
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        return float("nan")
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2
    ranks = mean_rank[inverse]
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def ks(label: Floats, score: Floats) -> float:
    """Kolmogorov-Smirnov distance between the scores of positive and negative rows; NaN for one class."""
    positive = label > 0
    if positive.all() or not positive.any():
        return float("nan")
    _, inverse = np.unique(score, return_inverse=True)
    above = np.bincount(inverse, weights=positive) / positive.sum()
    below = np.bincount(inverse, weights=~positive) / (~positive).sum()
    return float(np.abs(np.cumsum(above) - np.cumsum(below)).max())


def log_loss(label: Floats, probability: Floats, weight: Floats | None = None) -> float:
    """Mean negative log likelihood of binary labels in natural logarithms."""
    clipped = np.clip(probability, 1e-15, 1 - 1e-15)
    losses = -np.where(label > 0, np.log(clipped), np.log1p(-clipped))
    return float(np.average(losses, weights=weight))


def rmse(label: Floats, value: Floats, weight: Floats | None = None) -> float:
    """Root of the mean squared error, in units of the label."""
    return float(np.sqrt(np.average((label - value) ** 2, weights=weight)))


def accuracy(label: Floats, predicted: Floats) -> float:
    """Share of rows whose predicted class is the label."""
    return float((label == predicted).mean())
