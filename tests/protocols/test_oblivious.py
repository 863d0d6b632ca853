"""An oblivious function, alike on both sides for common ids; matching: every equal pair, and no other."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley._native import AskerRows
from parley.protocols import oblivious
from parley.protocols.oblivious import Asker, Evaluator, Function, RepeatedId, match


class Ids:
    def __init__(self, texts):
        encoded = [text.encode() for text in texts]
        self.buffer = b"".join(encoded)
        self.offsets = np.cumsum([0, *map(len, encoded)], dtype=np.uint64)


def both_sides(ours, theirs, run="r"):
    """The digests of either side by id, and whether the check was passed."""
    evaluator = Evaluator(Ids(theirs), np.arange(len(theirs)), b"e" * 32, run, 1)
    asker = Asker(Ids(ours), np.arange(len(ours)), evaluator.offers, b"a" * 32, run, 2)
    size = evaluator.expect(asker.point, asker.salt, len(ours))
    assert size == asker.size
    for first in range(0, size, 1000):
        evaluator.take(first, asker.masked(first, first + 1000))
    agreed = evaluator.agrees(*asker.answer(evaluator.challenge))
    one = dict(zip(ours, map(bytes, asker.digests(0, len(ours))), strict=True))
    shuffled = [theirs[place] for place in evaluator.ids.order]
    other = dict(zip(shuffled, map(bytes, evaluator.digests(0, len(theirs))), strict=True))
    return one, other, agreed


texts = st.lists(st.text(max_size=3), min_size=1, max_size=30, unique=True)


@settings(max_examples=40, deadline=None)
@given(texts, texts)
def test_the_digests_of_two_sides_are_equal_for_equal_ids_only(ours, theirs):
    one, other, agreed = both_sides(ours, theirs)
    assert agreed
    for text, digest in one.items():
        assert [each for each, same in other.items() if same == digest] == [text] * (text in other)


def test_a_passive_party_enters_in_an_order_of_its_own():
    names = [f"id-{number}" for number in range(50)]
    evaluator = Evaluator(Ids(names), np.arange(50), b"e" * 32, "r", 1)
    assert sorted(evaluator.ids.order) == list(range(50))
    assert evaluator.ids.order.tolist() != list(range(50))
    other = Evaluator(Ids(names), np.arange(50), b"o" * 32, "r", 1)
    assert evaluator.ids.order.tolist() != other.ids.order.tolist()


def test_digests_of_two_runs_have_nothing_in_common():
    names = ["ann", "bob"]
    (one, *_), (other, *_) = both_sides(names, names), both_sides(names, names, run="s")
    assert not set(one.values()) & set(other.values())


def test_a_salt_under_which_there_is_no_store_is_replaced(monkeypatch):
    """Once in 2^41; here the first time."""
    tried = []

    class Unlucky:
        @staticmethod
        def build(data, spans, pair, *rest):
            tried.append(pair)
            return None if len(tried) == 1 else AskerRows.build(data, spans, pair, *rest)

    monkeypatch.setattr(oblivious, "AskerRows", Unlucky)
    one, other, agreed = both_sides(["ann", "bob"], ["bob"])
    assert len(set(tried)) == 2
    assert agreed
    assert one["bob"] == other["bob"]


def test_thousands_of_repeated_ids_are_named_and_not_tried_for_ever():
    names = [f"id-{number}" for number in range(8300)]
    offers = Function(b"e" * 32, "r", 1).offers
    with pytest.raises(RepeatedId, match="places 0 and 8300"):
        Asker(Ids(names * 2), np.arange(2 * 8300), offers, b"a" * 32, "r", 2)


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
