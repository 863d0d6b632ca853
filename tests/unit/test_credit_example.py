"""The credit example holds what its SOURCE.md says, and passes the checks that users' tables must pass."""

from functools import cache
from pathlib import Path

import numpy as np

from parley.data.binning import bin_columns
from parley.data.ids import normalise
from parley.data.preflight import IdColumn, Label, preflight
from parley.data.sources import parse_source, read
from parley.data.table import Table

EXAMPLE = Path(__file__).parents[2] / "examples" / "credit"
ID = IdColumn("id", "digits")


@cache
def table(name):
    return Table.of(read(parse_source(str(EXAMPLE / f"{name}.csv.gz"))))


def features(held):
    return [column.name for column in held.schema if column.name not in {"id", "default"}]


def test_both_tables_are_ready_for_a_run():
    bank, operator = table("bank"), table("operator")
    assert (len(bank), len(features(bank))) == (26_000, 13)
    assert (len(operator), len(features(operator))) == (25_000, 8)
    assert preflight(bank, ID, Label("default", "binary"), features(bank)) == []
    assert preflight(operator, ID, None, features(operator)) == []
    for held in (bank, operator):
        for name in features(held):
            assert 0.02 < held.schema[name].missing / len(held) < 0.04


def test_the_rule_digits_finds_the_people_in_common():
    shared = [{ids[index] for index in range(len(ids))} for ids in (written("bank"), written("operator"))]
    assert len(shared[0] & shared[1]) == 21_665
    assert not set(table("bank").text("id")) & set(table("operator").text("id"))


def written(name):
    return normalise(table(name).frame["id"], "digits")


def test_education_is_words_and_repayment_numbers():
    operator = table("operator")
    binned = bin_columns(
        operator.frame, features(operator), training_rows=np.arange(len(operator)), max_bins=32, threads=2
    )
    assert dict(zip(binned.names, binned.categorical.tolist(), strict=True)) == {
        name: name == "EDUCATION" for name in features(operator)
    }
    education = operator.schema["EDUCATION"]
    assert {name for name, _ in education.values.categories} == {
        "graduate school",
        "university",
        "high school",
        "other",
    }
