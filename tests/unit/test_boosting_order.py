"""What a passive party takes for a possible course of a training."""

import time

import msgspec
import numpy as np
import pytest

from parley.core.errors import PeerMisbehaved
from parley.core.trace import Trace
from parley.learn.parameters import BoostingParameters
from parley.net.channel import CheckedChannel, Setting
from parley.net.memory import memory_pair
from parley.protocols.boosting import PASSIVE, STEPS
from parley.protocols.boosting.messages import Splits, TrainingEnds, TreeBegins
from parley.protocols.boosting.order import TreeOrder

SPLIT, NOTHING = Splits((), (0,)), Splits((), ())


def channel():
    end, _ = memory_pair("us", "them")
    return CheckedChannel(end, Setting(STEPS, PASSIVE, "r", Trace(time.monotonic)))


def follow(places, *, kept=None, last=SPLIT, rounds=0, held=0, **parameters):
    """Take trees, each with two splits of ours, then an end; returns what is kept."""
    plan = msgspec.structs.replace(BoostingParameters(n_estimators=5), **parameters)
    order = TreeOrder(channel(), plan, rounds, held)
    for index, place in enumerate(places):
        order.begin(TreeBegins(*place, b"", b""), held)
        order.split(last if index == len(places) - 1 else SPLIT)
        held += 2
    return order.end(TrainingEnds(held if kept is None else kept), held)


def single(count, first=0):
    return [(number, 0) for number in range(first, first + count)]


def classes(rounds, outputs=3):
    return [(number, output) for number in range(rounds) for output in range(outputs)]


def draw(samples, columns=(1, 1, 1, 1), **parameters):
    order = TreeOrder(channel(), msgspec.structs.replace(BoostingParameters(), **parameters), 0, 0)
    for sampled in samples:
        order.draw(np.array(columns, dtype=np.bool_), np.array(sampled, dtype=np.bool_))


def test_samples_that_a_plan_explains():
    draw([[1, 1, 1], [1, 1, 1]])
    draw([[1, 1, 0], [1, 1, 0]])
    draw([[1, 0, 1], [0, 1, 1]], subsample=0.6)
    draw([[1, 0, 1], [0, 1, 1]], data_sample_strategy="goss")
    draw([[1, 1, 1]], columns=(0, 1, 0, 1), colsample_bytree=0.5)
    draw([[1, 1, 1]], columns=())


@pytest.mark.parametrize(
    ("samples", "more"),
    [
        ([[1, 0, 1]], {}),
        ([[1, 1, 1], [1, 1, 0]], {}),
        ([[1, 1, 0], [1, 0, 0]], {"subsample": 0.6}),
        ([[1, 1, 1]], {"columns": (1, 0, 1, 1)}),
        ([[1, 1, 1]], {"columns": (1, 1, 1, 1), "colsample_bytree": 0.5}),
        ([[1, 1, 1]], {"columns": (0, 0, 0, 0), "colsample_bytree": 0.5}),
    ],
)
def test_samples_that_it_does_not(samples, more):
    with pytest.raises(PeerMisbehaved) as caught:
        draw(samples, **more)
    assert caught.value.code == "wrong-sample"


@pytest.mark.parametrize(
    ("places", "more"),
    [
        (single(5), {}),
        (single(2), {"last": NOTHING}),
        (single(4), {"early_stopping_rounds": 3}),
        (single(4), {"early_stopping_rounds": 3, "kept": 2}),
        (single(5), {"early_stopping_rounds": 9, "kept": 8}),
        (classes(5), {"objective": "multiclass"}),
        (classes(2), {"objective": "multiclass", "early_stopping_rounds": 1, "kept": 6}),
        (single(2, first=3), {"rounds": 3, "held": 4}),
        ([], {"rounds": 3, "held": 4}),
        (single(2, first=3), {"rounds": 3, "held": 4, "early_stopping_rounds": 2, "kept": 3}),
    ],
)
def test_courses_that_a_plan_explains(places, more):
    follow(places, **more)


@pytest.mark.parametrize(
    ("places", "more", "code"),
    [
        ([], {}, "wrong-order"),
        (single(4), {}, "wrong-order"),
        (single(6), {}, "wrong-order"),
        (single(3), {"early_stopping_rounds": 3}, "wrong-order"),
        ([(0, 0), (0, 1)], {}, "wrong-order"),
        (single(5, first=1), {}, "wrong-order"),
        ([*single(5)[:3], (2, 0)], {}, "wrong-order"),
        (classes(5)[:-1], {"objective": "multiclass"}, "wrong-order"),
        ([*classes(1), (1, 0), (2, 0)], {"objective": "multiclass"}, "wrong-order"),
        ([*classes(2), (1, 3)], {"objective": "multiclass"}, "wrong-order"),
        (single(2, first=2), {"rounds": 3}, "wrong-order"),
        (single(5), {"kept": 8}, "bad-count"),
        (single(5), {"kept": 11}, "bad-count"),
        (single(5), {"kept": -1}, "bad-count"),
        (single(5), {"kept": 3, "early_stopping_rounds": 2}, "bad-count"),
        (single(2, first=3), {"rounds": 3, "held": 4, "kept": 5, "early_stopping_rounds": 1}, "bad-count"),
    ],
)
def test_courses_that_it_does_not(places, more, code):
    with pytest.raises(PeerMisbehaved) as caught:
        follow(places, **more)
    assert caught.value.code == code
