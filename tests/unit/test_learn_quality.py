"""The model is as good as LightGBM's on the joined table, and better than one party's alone.

`test_boosting` shows that the joint model equals this one, bit for bit.
"""

import lightgbm
import numpy as np
import polars as pl
import pytest

from parley.learn.boosting import Problem
from parley.learn.joined import fit_joined
from parley.learn.metrics import auc
from parley.learn.objectives import objective_for
from parley.learn.parameters import BoostingParameters

from tests.joint import PARTNER, SHOP, binned, credit, shoppers

TREES = 50
LIGHTGBM = {
    "objective": "binary",
    "num_leaves": 32,
    "max_depth": 5,
    "max_bin": 32,
    "learning_rate": 0.1,
    "min_data_in_leaf": 20,
    "lambda_l2": 1.0,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}


def table(name):
    """Rows in file order, label, both parties' columns, and which columns are categories."""
    if name == "credit":
        frame, label, own, theirs = credit()
        return frame, label, own, theirs, ("EDUCATION",)
    frame, label = shoppers()
    return frame, label, SHOP, PARTNER, ("Month", "VisitorType", "Weekend")


def ours(blocks, label, training, seed):
    parameters = BoostingParameters(n_estimators=TREES, random_state=seed)
    objective = objective_for("binary", label[:training])
    problem = Problem(parameters, objective, label, None, training)
    return auc(label[training:], fit_joined(problem, blocks, threads=2).state.margins[0, training:])


def theirs(frame, columns, kinds, label, training):
    numbers = [
        frame[name].cast(pl.String).cast(pl.Categorical).to_physical() if name in kinds else frame[name]
        for name in columns
    ]
    features = np.column_stack([each.cast(pl.Float64).fill_null(np.nan).to_numpy() for each in numbers])
    places = [columns.index(name) for name in kinds]
    data = lightgbm.Dataset(
        features[:training], label[:training], params=LIGHTGBM, categorical_feature=places
    )
    model = lightgbm.train(LIGHTGBM, data, TREES)
    return auc(label[training:], model.predict(features[training:], raw_score=True))


def compare(name, seeds):
    """Mean AUC on held-out rows over random divisions: active party alone, joint, LightGBM."""
    frame, label, own, other, kinds = table(name)
    results = []
    for seed in seeds:
        order = np.random.default_rng(seed).permutation(len(frame))
        training = int(0.7 * len(frame))
        rows, truth = frame[order], label[order]
        blocks = [
            binned(rows, columns, np.arange(training), categorical=kinds, minimum=minimum)
            for columns, minimum in ((own, 1), (other, 10))
        ]
        results.append(
            (
                ours(blocks[:1], truth, training, seed),
                ours(blocks, truth, training, seed),
                theirs(rows, (*own, *other), kinds, truth, training),
            )
        )
    return np.mean(results, axis=0)


@pytest.mark.parametrize(("name", "gained"), [("credit", 0.03), ("shoppers", 0.02)])
def test_as_good_as_lightgbm_and_better_than_alone(name, gained):
    alone, joint, reference = compare(name, seeds=(0, 1))
    assert joint >= reference - 0.003
    assert joint >= alone + gained


@pytest.mark.soak
@pytest.mark.parametrize("name", ["credit", "shoppers"])
def test_as_good_as_lightgbm_over_many_divisions(name):
    _, joint, reference = compare(name, seeds=range(10))
    assert joint >= reference - 0.003
