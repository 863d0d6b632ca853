"""What a user may set about boosted trees; names follow scikit-learn and LightGBM."""

import math
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from parley.core.errors import BudgetExhausted, UsageError

MOST_SUMS: Final = 1 << 27
"""Sums of one level over all nodes, columns and bins: at eight bytes, a gibibyte for each thing summed."""
ObjectiveName = Literal["binary", "regression", "multiclass"]


class BoostingParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of one boosted model.

    Attributes:
        objective: what is learnt: a probability, a number, or a probability per class.
        n_estimators: rounds; a round is one tree (one per class for ``multiclass``).
        learning_rate: factor on every leaf value.
        max_depth: levels of splits in a tree.
        max_bins: value bins per column; missing values have a bin of their own besides.
        min_child_samples: training rows that each side of a split must keep.
        min_child_weight: sum of hessians that each side of a split must keep.
        min_split_gain: gain a split must exceed.
        reg_lambda: L2 penalty on leaf values.
        cat_smooth: added to the hessian where categories are sorted by gradient statistics.
        cat_l2: additional L2 penalty in the gain of a categorical split.
        subsample: share of the training rows drawn afresh for each tree.
        colsample_bytree: share of each party's columns drawn afresh for each tree.
        data_sample_strategy: ``bagging`` draws ``subsample`` of the rows; ``goss`` keeps the rows with
            the largest gradients and draws from the rest.
        top_rate: share of rows that GOSS keeps for their large gradients.
        other_rate: share of rows that GOSS draws from the rest, and scales up.
        early_stopping_rounds: stop after so many rounds without a better loss on the validation rows.
        gradient_bits: bits of a gradient in split finding, sign included.
        hessian_bits: bits of a hessian in split finding.
        random_state: seed of sampling and rounding; equal seeds give equal models.
    """

    objective: ObjectiveName = "binary"
    n_estimators: Annotated[int, Meta(ge=1, le=100_000)] = 100
    learning_rate: Annotated[float, Meta(gt=0, le=10)] = 0.1
    max_depth: Annotated[int, Meta(ge=1, le=16)] = 5
    max_bins: Annotated[int, Meta(ge=2, le=254)] = 32
    min_child_samples: Annotated[int, Meta(ge=1, le=2**31 - 1)] = 20
    min_child_weight: Annotated[float, Meta(ge=0)] = 1e-3
    min_split_gain: Annotated[float, Meta(ge=0)] = 0.0
    reg_lambda: Annotated[float, Meta(ge=0)] = 1.0
    cat_smooth: Annotated[float, Meta(ge=0)] = 10.0
    cat_l2: Annotated[float, Meta(ge=0)] = 10.0
    subsample: Annotated[float, Meta(gt=0, le=1)] = 1.0
    colsample_bytree: Annotated[float, Meta(gt=0, le=1)] = 1.0
    data_sample_strategy: Literal["bagging", "goss"] = "bagging"
    top_rate: Annotated[float, Meta(gt=0, lt=1)] = 0.2
    other_rate: Annotated[float, Meta(gt=0, lt=1)] = 0.1
    early_stopping_rounds: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    gradient_bits: Annotated[int, Meta(ge=2, le=16)] = 8
    hessian_bits: Annotated[int, Meta(ge=1, le=16)] = 7
    random_state: Annotated[int, Meta(ge=0, le=2**53 - 1)] = 0

    def __post_init__(self) -> None:
        """Refuse what no single bound can express."""
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{name} must be a finite number")
        if self.top_rate + self.other_rate > 1:
            raise ValueError("top_rate + other_rate must not exceed 1")

    def check_level(self, rows: int, columns: int, bins: int) -> None:
        """Refuse a training whose largest level would not fit into a machine: others chose its figures.

        Args:
            rows: training rows.
            columns: of one party.
            bins: of the column that has most.

        Raises:
            BudgetExhausted: more than `MOST_SUMS` sums in a level.
        """
        pairs = max(1, min(2 ** (self.max_depth - 1), rows // (2 * self.min_child_samples)))
        if pairs * columns * bins > MOST_SUMS:
            raise BudgetExhausted(
                "level-too-large",
                f"a level of the trees has up to {pairs} pairs of nodes over {columns} columns of {bins} "
                f"bins, more than {MOST_SUMS} sums",
                remedy="propose smaller max_depth or max_bins, fewer columns, or larger min_child_samples",
                public="max_depth, max_bins, min_child_samples and the columns make a level too large for us",
            )


def boosting_parameters(values: dict[str, object]) -> BoostingParameters:
    """Validate parameters given by a user.

    Raises:
        UsageError: an unknown name or a value out of its range; the text names it.
    """
    try:
        return msgspec.convert(values, BoostingParameters)
    except msgspec.ValidationError as error:
        known = ", ".join(field.name for field in msgspec.structs.fields(BoostingParameters))
        raise UsageError(
            "bad-parameter",
            f"a parameter of the boosted trees is not valid: {error}",
            remedy=f"correct it; the parameters are {known}",
        ) from None
