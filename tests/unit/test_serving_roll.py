"""Rows are found by their tokens, and by nothing else."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from parley.serving.roll import Roll

HALF = st.integers(0, 3)
"""So few that first and second halves often agree."""


@given(
    st.lists(st.tuples(HALF, HALF), min_size=1, max_size=16, unique=True),
    st.lists(st.tuples(HALF, HALF), min_size=1, max_size=30),
)
def test_a_row_is_found_by_its_own_token_only(kept, asked):
    as_tokens = lambda pairs: np.array(pairs, dtype="<u8").view(np.uint8).reshape(-1, 16)  # noqa: E731
    rows = Roll.of(as_tokens(kept), enrolled=None).find(as_tokens(asked))
    assert rows.tolist() == [kept.index(each) if each in kept else -1 for each in asked]


def test_many_tokens_are_found_as_few_are():
    random = np.random.default_rng(3)
    kept, others = (random.integers(0, 256, (5000, 16), dtype=np.uint8) for _ in range(2))
    asked = np.concatenate([kept, others])[random.permutation(10_000)]
    roll = Roll.of(kept, enrolled=None)
    few = [roll.find(asked[first : first + 100]) for first in range(0, len(asked), 100)]
    assert np.array_equal(roll.find(asked), np.concatenate(few))
    assert np.array_equal(roll.find(kept), np.arange(5000))
