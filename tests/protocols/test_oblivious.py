"""Matching digests: every equal pair, and no other."""

from collections import Counter
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from parley.protocols.oblivious import match


def test_digests_that_share_a_half_are_told_apart():
    digests = np.zeros((5, 16), dtype=np.uint8)
    digests[:, 15] = [1, 2, 3, 3, 1]
    assert [each.tolist() for each in match(digests)] == [[0, 2], [4, 3]]
    digests[:, 7] = [5, 5, 4, 4, 6]
    assert [each.tolist() for each in match(digests)] == [[2], [3]]


@given(st.lists(st.integers(0, 30), max_size=40))
def test_matching_finds_neighbours_among_equals(values):
    digests = np.zeros((len(values), 16), dtype=np.uint8)
    digests[:, 0] = np.array(values, dtype=np.uint8) % 5
    digests[:, 9] = np.array(values, dtype=np.uint8) // 5
    found = list(zip(*(each.tolist() for each in match(digests)), strict=True))
    expected = [
        pair
        for value in set(values)
        for pair in pairwise(place for place, each in enumerate(values) if each == value)
    ]
    assert Counter(found) == Counter(expected)
