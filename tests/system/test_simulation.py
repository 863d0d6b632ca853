"""Several parties in one process, as a notebook uses them."""

import asyncio

import numpy as np
import polars as pl
import pytest

import parley
from parley.core.errors import UsageError


def people(rows=600, seed=1):
    """Two tables about overlapping people, in different orders, with gaps and a categorical column."""
    draw = np.random.default_rng(seed)
    income, age = draw.normal(size=rows), draw.normal(size=rows)
    job = draw.choice(["cook", "driver", "teacher"], rows)
    y = (income - age + (job == "cook") + draw.normal(size=rows) / 2 > 0).astype(int)
    income[draw.random(rows) < 0.05] = np.nan
    ids = np.array([f"p{number}" for number in range(rows)])
    bank = pl.DataFrame(
        {"id": ids, "income": income, "y": y, "w": draw.random(rows) + 0.5, "spend": income * 3 + y}
    )
    operator = pl.DataFrame({"id": ids, "age": age, "job": job})
    mixed = draw.permutation(rows)[: rows - 50]
    return bank[50:], operator[np.sort(mixed)[::-1].copy()]


def small(**parameters):
    return parley.BoostedTrees(n_estimators=4, max_depth=3, max_bins=16, **parameters)


def test_the_snippet_of_the_readme():
    bank, operator = people()
    with parley.simulate(bank=bank, operator=operator) as consortium:
        rows = consortium.align(on="id")
        train, test = rows.split(test_size=0.3, seed=7)
        model = small().fit(train, label="bank.y")
        scores = model.predict_proba(test)
        labels = test.column("bank.y")
    common = set(bank["id"]) & set(operator["id"])
    assert len(rows) == len(common) == len(train) + len(test)
    assert scores.shape == (len(test), 2)
    assert np.allclose(scores.sum(axis=1), 1)
    assert scores[labels == 1, 1].mean() > scores[labels == 0, 1].mean() + 0.1


def test_rows_stand_in_one_order_at_all_parties():
    bank, operator = people()
    with parley.simulate(bank=bank, operator=operator) as consortium:
        rows = consortium.align(on="id")
        assert (rows.column("bank.id") == rows.column("operator.id")).all()


@pytest.mark.parametrize("kind", ["pandas", "arrow", "dictionary"])
def test_tables_of_any_kind(kind):
    bank, operator = people(200)
    convert = {
        "pandas": pl.DataFrame.to_pandas,
        "arrow": pl.DataFrame.to_arrow,
        "dictionary": pl.DataFrame.to_dict,
    }
    with parley.simulate(bank=convert[kind](bank), operator=convert[kind](operator)) as consortium:
        rows = consortium.align(on="id")
        assert small(min_child_samples=5).fit(rows, "bank.y").predict(rows).shape == (len(rows),)


def test_equal_seeds_give_equal_models():
    bank, operator = people()
    with parley.simulate(bank=bank, operator=operator) as consortium:
        rows = consortium.align(on="id")
        order = np.argsort(rows.column("bank.id"))
        rows = rows.take(order)  # the common order itself is fresh in each alignment
        first, second = (small(subsample=0.7, random_state=5).fit(rows, "bank.y") for _ in range(2))
        other = small(subsample=0.7, random_state=6).fit(rows, "bank.y")
        assert (first.predict_proba(rows) == second.predict_proba(rows)).all()
        assert (first.predict_proba(rows) != other.predict_proba(rows)).any()


def test_it_works_where_a_loop_is_already_running():
    bank, operator = people(200)

    async def notebook():
        with parley.simulate(bank=bank, operator=operator) as consortium:
            return len(consortium.align(on="id"))

    assert asyncio.run(notebook()) > 0


def test_three_parties_and_a_party_that_only_has_the_label():
    bank, operator = people()
    shop = operator.select("id", (pl.col("age") ** 2).alias("visits"))
    with parley.simulate(registry=bank.select("id", "y"), operator=operator, shop=shop) as consortium:
        rows = consortium.align(on="id")
        model = small().fit(rows, label="registry.y")
        assert {feature.party for feature in model.feature_importances_} <= {"operator", "shop"}
        assert model.predict_proba(rows).shape == (len(rows), 2)


def test_regression_early_stopping_and_weights():
    bank, operator = people()
    with parley.simulate(
        bank=bank.drop_nulls().filter(pl.col("spend").is_not_nan()), operator=operator
    ) as consortium:
        rows = consortium.align(on="id")
        train, validation = rows.split(test_size=0.3)
        model = parley.BoostedTrees(
            objective="regression", n_estimators=60, max_depth=2, early_stopping_rounds=2
        )
        model.fit(train, "bank.spend", validation=validation, sample_weight="bank.w", exclude=["bank.y"])
        assert len(model.losses_) >= model.n_rounds_
        assert model.losses_[model.n_rounds_ - 1] == min(model.losses_)
        assert np.corrcoef(model.predict(validation), validation.column("bank.spend"))[0, 1] > 0.5
        with pytest.raises(UsageError, match="no-probabilities"):
            model.predict_proba(validation)


def test_labels_may_be_words():
    bank, operator = people()
    worded = bank.with_columns(
        pl.when(pl.col("y") == 1).then(pl.lit("bad")).otherwise(pl.lit("good")).alias("y")
    )
    with parley.simulate(bank=worded, operator=operator) as consortium:
        rows = consortium.align(on="id")
        model = small().fit(rows, "bank.y")
        assert model.classes_.tolist() == ["bad", "good"]
        assert set(model.predict(rows)) <= {"bad", "good"}


def test_three_classes():
    bank, operator = people()
    with parley.simulate(bank=operator, operator=bank.drop("y")) as consortium:
        rows = consortium.align(on="id")
        model = small(objective="multiclass").fit(rows, "bank.job")
        assert np.allclose(model.predict_proba(rows).sum(axis=1), 1)
        assert model.classes_.tolist() == ["cook", "driver", "teacher"]


@pytest.mark.parametrize(
    ("code", "action"),
    [
        ("column-unknown", lambda rows: small().fit(rows, "bank.z")),
        ("unknown-party", lambda rows: small().fit(rows, "shop.y")),
        ("bad-parameter", lambda rows: parley.BoostedTrees(depth=3).fit(rows, "bank.y")),
        ("bad-parameter", lambda rows: small(learning_rate=-1).fit(rows, "bank.y")),
        ("label-not-binary", lambda rows: small().fit(rows, "operator.job")),
        ("too-few-rows", lambda rows: small(min_child_samples=10_000).fit(rows, "bank.y")),
        ("no-validation-rows", lambda rows: small(early_stopping_rounds=3).fit(rows, "bank.y")),
        ("weight-elsewhere", lambda rows: small().fit(rows, "bank.y", sample_weight="operator.age")),
        ("not-fitted", lambda rows: small().predict(rows)),
    ],
)
def test_mistakes_are_named(code, action):
    bank, operator = people(200)
    with parley.simulate(bank=bank, operator=operator) as consortium:
        rows = consortium.align(on="id")
        with pytest.raises(UsageError) as raised:
            action(rows)
    assert raised.value.code == code


def test_mistakes_before_alignment_are_named():
    bank, operator = people(200)
    with pytest.raises(UsageError, match="too-few-parties"):
        parley.simulate(bank=bank)
    with parley.simulate(bank=bank, operator=operator) as consortium:
        with pytest.raises(UsageError, match="column-unknown"):
            consortium.align(on="customer")
        with pytest.raises(UsageError, match="id-duplicate"):
            consortium.align(on={"bank": "y", "operator": "id"})
        rows = consortium.align(on="id")
    with pytest.raises(UsageError, match="consortium-closed"):
        small().fit(rows, "bank.y")
    with (
        parley.simulate(
            bank=bank[:50], operator=operator.filter(~pl.col("id").is_in(bank["id"][:50].implode()))
        ) as apart,
        pytest.raises(UsageError, match="no-common-ids"),
    ):
        apart.align(on="id")
