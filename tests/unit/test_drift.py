"""Drift: what a table was like when it was registered, and what is said when it is no longer that."""

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley.core.errors import UsageError
from parley.data.drift import Limits, drift, schema_changes, shifts
from parley.data.profile import TableProfile
from parley.data.table import Table
from parley.learn.stability import by_chance, population_stability_index

LIMITS = Limits(psi=0.25, missing=0.1, rows=0.5)

SOME_COUNTS = st.lists(st.integers(0, 10_000), min_size=8, max_size=8).filter(any)


@given(SOME_COUNTS, SOME_COUNTS)
def test_the_index_is_symmetric_and_never_negative(before, after):
    index = population_stability_index(before, after)
    assert index >= 0
    assert index == pytest.approx(population_stability_index(after, before))


@given(
    st.lists(st.integers(1, 10_000), min_size=8, max_size=8), st.integers(1, 50), st.permutations(range(8))
)
def test_the_index_knows_neither_size_nor_order(counts, times, order):
    assert population_stability_index(counts, [each * times for each in counts]) == pytest.approx(
        0, abs=1e-12
    )
    turned = [counts[at] for at in order]
    uniform = [1] * 8
    assert population_stability_index(uniform, counts) == pytest.approx(
        population_stability_index(uniform, turned)
    )


def test_the_index_of_a_known_case():
    found = population_stability_index([50, 50], [60, 40])
    assert found == pytest.approx(0.1 * np.log(0.6 / 0.5) - 0.1 * np.log(0.4 / 0.5))
    assert np.isnan(population_stability_index([0, 0], [1, 1]))


def test_chance_alone_hardly_exceeds_what_is_reckoned():
    draw = np.random.default_rng(7)
    bounds, over = by_chance(10, 400, 300), 0
    for _ in range(400):
        one, other = draw.multinomial(400, [0.1] * 10), draw.multinomial(300, [0.1] * 10)
        over += population_stability_index(one, other) > bounds
    assert over < 12


def table(rows=4_000, seed=1, **columns):
    draw = np.random.default_rng(seed)
    frame = pl.DataFrame(
        {
            "id": [f"c{at:05d}" for at in range(rows)],
            "age": draw.normal(40, 10, rows),
            "arrears": draw.poisson(0.3, rows),
            "town": draw.choice(["Bonn", "Köln", "Trier"], rows, p=[0.5, 0.3, 0.2]),
            "joined": pl.Series(draw.integers(10_000, 19_000, rows)).cast(pl.Int32).cast(pl.Date),
        }
    )
    return Table.of(frame.with_columns(**columns), ids=("id",))


BEFORE = TableProfile.of(table())


def test_another_sample_of_the_same_is_no_drift():
    for seed in range(2, 8):
        assert drift(BEFORE, table(rows=3_000, seed=seed), LIMITS) == ()


def test_a_small_sample_does_not_drift_by_chance():
    small = TableProfile.of(table(rows=60))
    for seed in range(2, 12):
        assert not drift(small, table(rows=60, seed=seed), LIMITS)


@pytest.mark.parametrize(
    ("columns", "column"),
    [
        ({"age": pl.col("age") + 12}, "age"),
        ({"arrears": pl.col("arrears") + 1}, "arrears"),
        ({"town": pl.lit("Ulm")}, "town"),
        ({"joined": pl.col("joined") + pl.duration(days=4_000)}, "joined"),
    ],
)
def test_values_that_moved_are_found(columns, column):
    found = drift(BEFORE, table(**columns), LIMITS)
    assert [(each.code, each.column) for each in found] == [("drift-values", column)]


def test_rows_and_gaps_that_came_or_went_are_found():
    gaps = pl.when(pl.col("age") > 40).then(pl.col("arrears"))
    codes = [each.code for each in drift(BEFORE, table(rows=900, arrears=gaps), LIMITS)]
    assert codes == ["drift-rows", "drift-missing"]
    assert drift(BEFORE, table(rows=900, arrears=gaps), Limits(9, 1, 1)) == ()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda frame: frame.drop("town"), "drift-column-gone"),
        (lambda frame: frame.with_columns(pl.col("age").cast(pl.String)), "drift-type-changed"),
        (lambda frame: frame.with_columns(pl.col("joined").cast(pl.Int32)), "drift-type-changed"),
    ],
)
def test_another_schema_is_an_error(change, code):
    now = Table.of(change(table().frame), ids=("id",))
    assert [each.code for each in schema_changes(BEFORE, now)] == [code]
    with pytest.raises(UsageError) as caught:
        drift(BEFORE, now, LIMITS)
    assert caught.value.code == code


def test_a_type_within_its_family_and_a_column_without_values_are_no_other_schema():
    now = table(arrears=pl.col("arrears").cast(pl.Float64), town=pl.lit(None, dtype=pl.Int64))
    assert schema_changes(BEFORE, now) == ()
    assert [each.code for each in drift(BEFORE, now, LIMITS)] == ["drift-missing"]


def test_a_profile_survives_the_catalogue_and_says_where_each_column_stands():
    kept = msgspec.json.decode(msgspec.json.encode(BEFORE), type=TableProfile)
    assert kept == BEFORE
    moved = {each.column: each.psi for each in shifts(kept.only(["age", "id"]), table())}
    assert moved == {"id": None, "age": 0.0}
