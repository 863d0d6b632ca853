"""Objectives: from margins and labels to gradients and hessians of second-order boosting.

Margins are ``float64[outputs, rows]``: the sum of leaf values per row before the link function.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from parley.core.errors import UsageError
from parley.learn.metrics import log_loss, rmse
from parley.learn.parameters import ObjectiveName

Floats = NDArray[np.float64]


class Objective(Protocol):
    """What boosting needs to know of a loss."""

    @property
    def outputs(self) -> int:
        """Trees per round."""

    def initial(self, label: Floats, weight: Floats | None) -> Floats:
        """``float64[outputs]``: the best constant margins."""

    def gradients(self, margins: Floats, label: Floats) -> tuple[Floats, Floats]:
        """First and second derivative of the loss by the margins, each ``float64[outputs, rows]``."""

    def predict(self, margins: Floats) -> Floats:
        """``float64[rows, …]``: probabilities per class, or values."""

    def loss(self, margins: Floats, label: Floats, weight: Floats | None) -> float:
        """What early stopping watches; smaller is better."""

    @property
    def constant_hessian(self) -> bool:
        """Whether every unweighted row has hessian one."""


@dataclass(frozen=True)
class Binary:
    """Logistic loss on labels 0 and 1."""

    outputs: int = 1
    constant_hessian: bool = False

    def initial(self, label: Floats, weight: Floats | None) -> Floats:
        """The log odds of the positive class."""
        share = float(np.average(label, weights=weight))
        return np.array([np.log(share / (1 - share))])

    def gradients(self, margins: Floats, label: Floats) -> tuple[Floats, Floats]:
        """``p − y`` and ``p (1 − p)``."""
        probability = sigmoid(margins)
        return probability - label, probability * (1 - probability)

    def predict(self, margins: Floats) -> Floats:
        """``float64[rows, 2]``: probability of class 0 and of class 1."""
        positive = sigmoid(margins[0])
        return np.column_stack([1 - positive, positive])

    def loss(self, margins: Floats, label: Floats, weight: Floats | None) -> float:
        """Mean log loss."""
        return log_loss(label, sigmoid(margins[0]), weight)


@dataclass(frozen=True)
class Regression:
    """Half the squared error."""

    outputs: int = 1
    constant_hessian: bool = True

    def initial(self, label: Floats, weight: Floats | None) -> Floats:
        """The mean label."""
        return np.array([np.average(label, weights=weight)])

    def gradients(self, margins: Floats, label: Floats) -> tuple[Floats, Floats]:
        """``value − y`` and 1."""
        return margins - label, np.ones_like(margins)

    def predict(self, margins: Floats) -> Floats:
        """``float64[rows]``: the values."""
        return np.array(margins[0], dtype=np.float64)

    def loss(self, margins: Floats, label: Floats, weight: Floats | None) -> float:
        """Root mean squared error."""
        return rmse(label, margins[0], weight)


@dataclass(frozen=True)
class Multiclass:
    """Softmax over ``outputs`` classes; labels are class numbers from 0."""

    outputs: int
    constant_hessian: bool = False

    def initial(self, label: Floats, weight: Floats | None) -> Floats:
        """The log share of each class."""
        share = np.bincount(label.astype(np.int64), weights=weight, minlength=self.outputs)
        return np.asarray(np.log(np.maximum(share / share.sum(), 1e-15)), dtype=np.float64)

    def gradients(self, margins: Floats, label: Floats) -> tuple[Floats, Floats]:
        """``p − [y = class]`` and ``C/(C − 1) · p (1 − p)`` (Friedman 2001, §4.6)."""
        probability = softmax(margins)
        hit = label[None, :] == np.arange(self.outputs)[:, None]
        factor = self.outputs / (self.outputs - 1)
        return probability - hit, factor * probability * (1 - probability)

    def predict(self, margins: Floats) -> Floats:
        """``float64[rows, outputs]``: probability of each class."""
        return softmax(margins).T.copy()

    def loss(self, margins: Floats, label: Floats, weight: Floats | None) -> float:
        """Mean negative log likelihood."""
        chosen = softmax(margins)[label.astype(np.int64), np.arange(len(label))]
        return float(np.average(-np.log(np.maximum(chosen, 1e-15)), weights=weight))


def sigmoid(margin: Floats) -> Floats:
    """The logistic function, without overflow for large margins of either sign."""
    small = np.exp(-np.abs(margin))
    return np.asarray(np.where(margin >= 0, 1, small) / (1 + small), dtype=np.float64)


def softmax(margins: Floats) -> Floats:
    """Probabilities per column of ``float64[classes, rows]``."""
    raised = np.exp(margins - margins.max(axis=0))
    return np.asarray(raised / raised.sum(axis=0), dtype=np.float64)


def objective_for(name: ObjectiveName, label: Floats) -> Objective:
    """The objective of that name, for labels that fit it.

    Raises:
        UsageError: the labels do not fit: missing, constant, or not of the objective's kind.
    """
    if not np.isfinite(label).all():
        raise UsageError(
            "label-missing",
            f"{int((~np.isfinite(label)).sum())} of {len(label)} labels are missing or infinite",
            remedy="give every row a label, or leave those rows out of the table",
        )
    values = np.unique(label)
    if len(values) < 2:  # noqa: PLR2004
        raise UsageError(
            "label-constant",
            f"the label has the single value {values[0]:g} in the {len(label)} training rows"
            if len(values)
            else "there are no training rows",
            remedy="choose a label that varies, or more rows",
        )
    if name == "regression":
        return Regression()
    expected = np.arange(2 if name == "binary" else len(values))
    if not np.array_equal(values, expected):
        wanted = "0 and 1" if name == "binary" else "0, 1, 2, …"
        shown = ", ".join(f"{value:g}" for value in values[:5])
        raise UsageError(
            "label-kind",
            f"objective {name!r} needs labels {wanted}; found {shown}",
            remedy="recode the label, or choose another objective",
        )
    return Binary() if name == "binary" else Multiclass(len(values))
