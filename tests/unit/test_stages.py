"""What a party refuses before it begins to train."""

import numpy as np
import pytest

from parley.core.errors import BudgetExhausted
from parley.learn.columns import ColumnBlock
from parley.learn.parameters import BoostingParameters
from parley.party.stages import check_size


def columns(count, bins):
    codes = np.zeros((count, 1), dtype=np.uint8)
    return ColumnBlock(codes, np.full(count, bins, dtype=np.uint32), np.zeros(count, dtype=np.bool_))


def test_a_plan_cannot_demand_a_level_that_fits_into_no_machine():
    deep = BoostingParameters(max_depth=16, max_bins=254, min_child_samples=1)
    with pytest.raises(BudgetExhausted) as caught:
        check_size(deep, columns(25, 255), 1_000_000)
    assert caught.value.code == "level-too-large"


def test_few_rows_or_the_usual_figures_make_no_large_level():
    check_size(BoostingParameters(max_depth=16, min_child_samples=1), columns(25, 255), 10_000)
    check_size(BoostingParameters(), columns(1000, 33), 10_000_000)
    check_size(BoostingParameters(), columns(0, 0), 100)
