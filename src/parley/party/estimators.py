"""Estimators in the manner of scikit-learn over the aligned rows of a simulated consortium."""

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Self

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from parley.core.conversation import Channel
from parley.core.errors import UsageError
from parley.data.cells import numbers
from parley.data.preflight import IdColumn, Label, preflight
from parley.learn.labels import encode_label
from parley.learn.parameters import BoostingParameters, boosting_parameters
from parley.learn.shares import ActiveShare, Feature, ModelShare, PassiveShare
from parley.party.simulation import AlignedRows
from parley.party.stages import (
    Means,
    TrainingRows,
    problem_of,
    score_active,
    score_passive,
    train_active,
    train_passive,
)
from parley.protocols import boosting, prediction

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Fit:
    """One party's view of a fit."""

    rows: AlignedRows
    party: str
    training: int
    excluded: Collection[str]

    def frame(self) -> pl.DataFrame:
        """The party's rows, training rows first."""
        table = self.rows.consortium.tables[self.party]
        return table.frame[self.rows.positions[self.party]]

    def training_rows(self) -> TrainingRows:
        """What the party trains on: every column that is not excluded."""
        table = self.rows.consortium.tables[self.party]
        features = tuple(name for name in table.frame.columns if name not in self.excluded)
        return TrainingRows(self.frame(), features, self.training, table.schema.names("categorical"))


class BoostedTrees:
    """Gradient-boosted trees over columns of several parties.

    The parameters are those of `BoostingParameters`, by the names scikit-learn and LightGBM users know.

    Attributes:
        shares_: each party's piece of the model.
        classes_: labels by class number; empty for a regression.
        losses_: validation loss after each round, if validation rows were given.
        n_rounds_: rounds the model keeps.
    """

    def __init__(self, *, minimum_rows: int = 10, **parameters: Any) -> None:  # noqa: ANN401 (checked in fit)
        self.minimum_rows = minimum_rows
        self.parameters = parameters

    def fit(
        self,
        rows: AlignedRows,
        label: str,
        *,
        validation: AlignedRows | None = None,
        sample_weight: str | None = None,
        exclude: Collection[str] = (),
    ) -> Self:
        """Train.

        Args:
            rows: to train on.
            label: ``party.column``; that party leads.
            validation: rows for early stopping.
            sample_weight: ``party.column`` of the same party.
            exclude: ``party.column`` of columns to leave out; ids, label and weights are left out anyway.

        Raises:
            UsageError: a parameter, a column or the label cannot be used.
        """
        parameters = boosting_parameters(dict(self.parameters))
        party, column = rows.owner_of(label)
        weight = None if sample_weight is None else rows.owner_of(sample_weight)
        if weight is not None and weight[0] != party:
            raise UsageError(
                "weight-elsewhere",
                f"sample weights {sample_weight!r} are not held by {party}, who has the label",
                remedy=f"use a column of {party}",
            )
        fitted = rows if validation is None else _joined(rows, validation)
        views = self._views(rows, fitted, [label, *([sample_weight] if sample_weight else []), *exclude])
        for name, view in views.items():
            goal = Label(column, parameters.objective) if name == party else None
            features = view.training_rows().features
            if features or name != party:
                preflight(rows.consortium.tables[name], IdColumn(rows.ids[name]), goal, features)
        frame = views[party].frame()
        target, classes = encode_label(frame[column], parameters.objective)
        weights = None if weight is None else numbers(frame[weight[1]])
        problem = problem_of(parameters, target, weights, len(rows))
        model = f"model-{secrets.token_hex(8)}"
        losses: tuple[float, ...] = ()

        def means(name: str) -> Means:
            seed = secrets.token_bytes(32)
            return Means(name, model, seed, None, self.minimum_rows, rows.consortium.threads)

        async def lead(channels: list[Channel]) -> ModelShare:
            nonlocal losses
            mine = views[party].training_rows()
            share, losses = await train_active(channels, mine, problem, classes, means(party))
            return share

        async def follow(name: str, channel: Channel) -> ModelShare:
            return await train_passive(channel, views[name].training_rows(), parameters, means(name))

        self.shares_ = rows.consortium.converse(boosting.STEPS, party, lead, follow)
        self.losses_ = losses
        self.active_ = party
        self.classes_ = _classes(classes)
        self.n_rounds_ = len(self._share.trees) // self._share.outputs
        return self

    def decision_function(self, rows: AlignedRows) -> Floats:
        """Margins ``float64[outputs, rows]``, in the order of ``rows``."""
        share = self._share
        consortium = rows.consortium

        def frame(party: str) -> pl.DataFrame:
            return consortium.tables[party].frame[rows.positions[party]]

        async def lead(channels: list[Channel]) -> Floats | int:
            return await score_active(channels, share, frame(self.active_), consortium.threads)

        async def follow(party: str, channel: Channel) -> Floats | int:
            held = self.shares_[party]
            assert isinstance(held, PassiveShare)  # noqa: S101 (all but the active party's are)
            return await score_passive(channel, held, frame(party), consortium.threads)

        return np.asarray(consortium.converse(prediction.STEPS, self.active_, lead, follow)[self.active_])

    def predict_proba(self, rows: AlignedRows) -> Floats:
        """``float64[rows, classes]``, in the order of ``rows``.

        Raises:
            UsageError: the model is a regression, or not fitted.
        """
        if self._share.parameters.objective == "regression":
            raise UsageError(
                "no-probabilities", "a regression has no probabilities", remedy="call predict instead"
            )
        return self._share.objective.predict(self.decision_function(rows))

    def predict(self, rows: AlignedRows) -> NDArray[Any]:
        """Values of a regression, or the most probable class of each row."""
        predicted = self._share.objective.predict(self.decision_function(rows))
        return (
            predicted
            if self._share.parameters.objective == "regression"
            else self.classes_[predicted.argmax(1)]
        )

    @property
    def feature_importances_(self) -> tuple[Feature, ...]:
        """Columns by gain: the active party's by name, others' by party and handle."""
        return self._share.importances()

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002, FBT001, FBT002 (scikit-learn's form)
        """Every parameter, defaults included."""
        defaults = msgspec.structs.asdict(BoostingParameters())
        return defaults | self.parameters | {"minimum_rows": self.minimum_rows}

    def __repr__(self) -> str:
        """The parameters that were set."""
        return f"BoostedTrees({', '.join(f'{name}={value!r}' for name, value in self.parameters.items())})"

    @property
    def _share(self) -> ActiveShare:
        share = getattr(self, "shares_", {}).get(getattr(self, "active_", ""))
        if not isinstance(share, ActiveShare):
            raise UsageError("not-fitted", "the model is not trained yet", remedy="call fit first")
        return share

    def _views(self, rows: AlignedRows, fitted: AlignedRows, names: list[str]) -> dict[str, _Fit]:
        excluded: dict[str, set[str]] = {party: {rows.ids[party]} for party in rows.positions}
        for name in names:
            party, column = rows.owner_of(name)
            excluded[party].add(column)
        return {party: _Fit(fitted, party, len(rows), excluded[party]) for party in rows.positions}


def _joined(rows: AlignedRows, others: AlignedRows) -> AlignedRows:
    positions = {
        party: np.concatenate([place, others.positions[party]]) for party, place in rows.positions.items()
    }
    return AlignedRows(rows.consortium, rows.ids, positions)


def _classes(written: tuple[str, ...]) -> NDArray[Any]:
    """Class labels as numbers where they were numbers."""
    try:
        return np.array([int(value) for value in written])
    except ValueError:
        return np.array(written)
