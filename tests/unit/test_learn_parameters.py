"""What parameters may not say."""

import pytest

from parley.core.errors import BudgetExhausted
from parley.learn.parameters import BoostingParameters


@pytest.mark.parametrize(
    ("figures", "rows", "columns", "bins"),
    [
        ({"max_depth": 16, "min_child_samples": 1}, 1_000_000, 25, 255),
        ({}, 1000, 1_000_000, 256),
    ],
)
def test_nobody_can_demand_a_level_that_fits_into_no_machine(figures, rows, columns, bins):
    with pytest.raises(BudgetExhausted) as caught:
        BoostingParameters(**figures).check_level(rows, columns, bins)
    assert caught.value.code == "level-too-large"


def test_few_rows_or_the_usual_figures_make_no_large_level():
    BoostingParameters(max_depth=16, min_child_samples=1).check_level(10_000, 25, 255)
    BoostingParameters().check_level(10_000_000, 1000, 33)
    BoostingParameters().check_level(100, 0, 0)
