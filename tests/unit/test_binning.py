"""Bins: what a code means, how values are shared out, and how bins are said and stored."""

import datetime as dt

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from parley.core.errors import UsageError
from parley.data.binning import (
    CategoricalBins,
    ColumnBins,
    NumericBins,
    bin_columns,
    encode_columns,
    fit_categorical,
    fit_numeric,
)

FLOATS = st.floats(allow_nan=True, allow_infinity=True, width=64)
FEW = st.sampled_from([-np.inf, -2.0, -0.0, 0.0, 5e-324, 1.0, 1.0 + 2**-52, 3.5, 1e308, np.inf, np.nan])
COLUMN = arrays(np.float64, st.integers(0, 60), elements=st.one_of(FLOATS, FEW))
BIN_LIMIT = st.integers(2, 12)
WORDS = st.lists(st.one_of(st.none(), st.sampled_from("abcdefgh"), st.text(max_size=3)), max_size=60)


def words(values):
    return pl.Series("w", values, dtype=pl.String)


@settings(deadline=None)
@given(COLUMN, BIN_LIMIT, COLUMN)
def test_a_code_up_to_t_is_exactly_a_value_up_to_the_edge(values, max_bins, others):
    bins = fit_numeric(values, max_bins)
    for column in (values, others):
        codes = bins.codes(column)
        present = ~np.isnan(column)
        assert (codes[~present] == 0).all()
        assert (codes[present] >= 1).all()
        for t, edge in enumerate(bins.edges, start=1):
            assert ((codes[present] <= t) == (column[present] <= edge)).all()


@settings(deadline=None)
@given(COLUMN, BIN_LIMIT)
def test_codes_grow_with_values_and_fill_every_bin(values, max_bins):
    bins = fit_numeric(values, max_bins)
    present = np.sort(values[~np.isnan(values)])
    codes = bins.codes(present)
    assert (np.diff(codes.astype(int)) >= 0).all()
    assert bins.bin_count <= max_bins + 1
    assert codes.max(initial=0) < bins.bin_count
    if len(present):
        assert set(codes) == set(range(1, bins.bin_count))


@settings(deadline=None)
@given(COLUMN, BIN_LIMIT, st.randoms(use_true_random=False))
def test_fitting_depends_on_the_values_alone(values, max_bins, random):
    shuffled = values.copy()
    random.shuffle(shuffled)
    bins = fit_numeric(values, max_bins)
    assert fit_numeric(shuffled, max_bins) == bins
    codes = bins.codes(values).astype(np.float64)
    codes[codes == 0] = np.nan
    again = fit_numeric(codes, max_bins).codes(codes)
    assert (again == bins.codes(values)).all(), "codes binned again are the codes"


@settings(deadline=None)
@given(COLUMN, WORDS, BIN_LIMIT)
def test_bins_survive_json_exactly(values, texts, max_bins):
    for bins in (fit_numeric(values, max_bins), fit_categorical(words(texts), max_bins)):
        assert msgspec.json.decode(msgspec.json.encode(bins), type=ColumnBins) == bins


@settings(deadline=None)
@given(st.sets(st.floats(-1e300, 1e300), max_size=12))
def test_few_distinct_values_each_get_a_bin(values):
    column = np.array(sorted(values), dtype=np.float64)
    assert fit_numeric(column, 12).codes(column).tolist() == list(range(1, len(column) + 1))


def test_edges_stand_halfway_between_neighbours():
    assert fit_numeric(np.array([4.0, 1.0, np.nan, 2.0, 1.0]), 8).edges == (1.5, 3.0)


def test_an_edge_between_adjacent_floats_is_the_lower_one():
    low, high = 1.0 + 2**-52, 1.0 + 2**-51
    assert fit_numeric(np.array([low, high]), 2).edges == (low,)


def test_infinities_are_the_extreme_values():
    column = np.array([-np.inf, 0.0, np.inf])
    assert fit_numeric(column, 4).codes(column).tolist() == [1, 2, 3]


@pytest.mark.parametrize("column", [[], [np.nan, np.nan], [7.0, 7.0]])
def test_a_column_without_differences_has_one_value_bin(column):
    assert fit_numeric(np.array(column, dtype=np.float64), 8).bin_count == 2


def test_quantile_bins_carry_nearly_equal_weight():
    column = np.random.default_rng(1).lognormal(size=10_007)
    weights = np.bincount(fit_numeric(column, 32).codes(column))[1:]
    assert len(weights) == 32
    assert weights.max() - weights.min() <= 1


def test_a_heavy_value_keeps_a_bin_of_its_own_and_the_rest_is_even():
    generator = np.random.default_rng(2)
    column = np.where(generator.random(20_000) < 0.4, 0.0, generator.normal(size=20_000))
    codes = fit_numeric(column, 32).codes(column)
    zero = codes[column == 0.0]
    assert len(set(zero)) == 1
    assert (codes == zero[0]).sum() == len(zero)
    rest = np.bincount(codes[column != 0.0])
    rest = rest[rest > 0]
    assert len(rest) == 31
    assert rest.max() < 1.1 * rest.min()


@settings(deadline=None)
@given(st.lists(st.integers(1, 40), min_size=3, max_size=40), st.integers(2, 8))
def test_there_are_never_more_bins_than_asked_for_and_hardly_fewer(counts, max_bins):
    column = np.repeat(np.arange(float(len(counts))), counts)
    bins = fit_numeric(column, max_bins)
    assert bins.bin_count - 1 == min(max_bins, len(counts)) or max(counts) * max_bins >= sum(counts)
    assert bins.bin_count - 1 <= max_bins


@pytest.mark.parametrize("max_bins", [1, 255])
def test_an_impossible_number_of_bins_is_refused(max_bins):
    with pytest.raises(UsageError) as refused:
        fit_numeric(np.zeros(3), max_bins)
    assert refused.value.code == "max-bins-range"


@pytest.mark.parametrize("edges", [[2.0, 1.0], [1.0, 1.0], [1e999], list(range(254))])
def test_edges_that_cannot_be_are_refused_on_decoding(edges):
    text = msgspec.json.encode({"type": "numeric", "edges": edges})
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=ColumnBins)


@settings(deadline=None)
@given(WORDS, BIN_LIMIT, WORDS)
def test_categories_keep_their_codes_and_strangers_share_the_last(values, max_bins, others):
    bins = fit_categorical(words(values), max_bins)
    assert bins.bin_count <= max_bins + 1
    own = {category: code for code, category in enumerate(bins.categories, start=1)}
    stranger = bins.bin_count - 1 if bins.other else 0
    for column in (values, others):
        expected = [0 if value is None else own.get(value, stranger) for value in column]
        assert bins.codes(words(column)).tolist() == expected


def test_frequent_categories_come_first_and_ties_follow_the_alphabet():
    column = words(["c", "b", "b", "a", None, "d"])
    assert fit_categorical(column, 4) == CategoricalBins(("b", "a", "c", "d"))
    assert fit_categorical(column, 3) == CategoricalBins(("b", "a"), other=True)


@pytest.mark.parametrize(
    ("left", "said"),
    [
        ("0110", "x ≤ 3.5"),
        ("1110", "x ≤ 3.5 or missing"),
        ("0011", "x > 1"),
        ("0010", "1 < x ≤ 3.5"),
        ("0101", "x ≤ 1 or x > 3.5"),
        ("1000", "x is missing"),
        ("0111", "x is present"),
        ("1111", "x is anything"),
        ("0000", "x is nothing"),
    ],
)
def test_numeric_bins_are_said_as_inequalities(left, said):
    flags = np.array([flag == "1" for flag in left])
    assert NumericBins((1.0, 3.5)).describe("x", flags) == said


@pytest.mark.parametrize(
    ("left", "said"),
    [
        ("0110", "colour in {blue, red}"),
        ("1100", "colour in {blue} or missing"),
        ("0011", "colour in {red} or any other"),
        ("1001", "colour is any other or missing"),
        ("1000", "colour is missing"),
        ("0111", "colour is present"),
    ],
)
def test_categorical_bins_are_said_as_sets(left, said):
    flags = np.array([flag == "1" for flag in left])
    assert CategoricalBins(("blue", "red"), other=True).describe("colour", flags) == said


FRAME = pl.DataFrame(
    {
        "age": [31, 45, None, 52],
        "since": [dt.date(2020, 1, 1), None, dt.date(2021, 1, 1), dt.date(2022, 1, 1)],
        "city": ["Bonn", "Köln", "Bonn", None],
        "active": [True, False, None, True],
        "region": [1, 2, 2, 3],
    }
)


def binned(rows=(0, 1, 2, 3), **options):
    chosen = np.array(rows, dtype=np.int64)
    return bin_columns(FRAME, FRAME.columns, training_rows=chosen, max_bins=8, threads=2, **options)


def test_columns_of_every_type_are_binned():
    columns = binned(categorical=["region"])
    assert columns.codes.tolist() == [[1, 2, 0, 3], [1, 0, 2, 3], [1, 2, 1, 0], [1, 2, 0, 1], [2, 1, 1, 3]]
    assert columns.bin_counts.tolist() == [4, 4, 3, 3, 4]
    assert columns.categorical.tolist() == [False, False, True, True, True]


def test_bins_are_fitted_on_the_training_rows_alone():
    columns = binned(rows=(0, 1))
    assert columns.bins[0] == NumericBins((38.0,))
    assert columns.bins[2] == CategoricalBins(("Bonn", "Köln"))
    assert columns.codes[0].tolist() == [1, 2, 0, 2]


def test_new_rows_get_the_codes_of_training():
    columns = binned(categorical=["region"])
    again = encode_columns(FRAME, dict(zip(columns.names, columns.bins, strict=True)))
    assert again.names == columns.names
    assert (again.codes == columns.codes).all()


def test_text_that_holds_numbers_serves_a_numeric_column():
    frame = pl.DataFrame({"x": ["1.5", " 4 ", None, ""], "group": [1.0, 2.0, None, 7.0]})
    coded = encode_columns(frame, {"x": NumericBins((2.0,)), "group": CategoricalBins(("1", "2"))})
    assert coded.codes.tolist() == [[1, 2, 0, 0], [1, 2, 0, 0]]


@pytest.mark.parametrize(
    ("frame", "bins", "code"),
    [
        ({"y": [1.0]}, NumericBins((2.0,)), "column-unknown"),
        ({"x": ["tall"]}, NumericBins((2.0,)), "column-type"),
        ({"x": [[1.0]]}, NumericBins((2.0,)), "column-type"),
        ({"x": [1.0]}, CategoricalBins(("blue",)), "column-type"),
        ({"x": [b"\x00"]}, CategoricalBins(("blue",)), "column-type"),
    ],
)
def test_a_column_that_is_missing_or_of_another_type_is_named(frame, bins, code):
    with pytest.raises(UsageError, match="'x'") as refused:
        encode_columns(pl.DataFrame(frame), {"x": bins})
    assert refused.value.code == code


def test_a_column_without_any_value_is_all_missing_whatever_its_type():
    frame = pl.DataFrame({"x": [None, None], "c": pl.Series([None, None], dtype=pl.Float64)})
    coded = encode_columns(frame, {"x": NumericBins((2.0,)), "c": CategoricalBins(("blue",))})
    assert not coded.codes.any()
