"""An active party that cheats in joint boosting: every check of a passive party fires."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from parley.core.errors import PeerMisbehaved
from parley.protocols.boosting import active, passive
from parley.protocols.boosting.messages import (
    GradientBlock,
    Memberships,
    PublicKeyOffer,
    SplitNote,
    Splits,
    TrainingEnds,
    TreeBegins,
)

from tests.adversary.cheating import (
    BAD_POINT,
    POINT,
    ROWS,
    Cheat,
    bits_of,
    change,
    cheat_active,
    cut,
    first_point,
    flip,
    longer,
    settle,
    tables,
)
from tests.joint import problem, train

KEYS = [
    ({"key": cut}, "wrong-length"),
    ({"key": lambda key: key[:POINT] * 3}, "wrong-length"),
    ({"key": b""}, "wrong-length"),
    ({"key": lambda key: BAD_POINT + key[POINT:]}, "bad-point"),
    ({"key": lambda key: bytes(POINT) + key[POINT:]}, "bad-point"),
]


@pytest.mark.parametrize(("fields", "code"), KEYS)
async def test_keys_that_are_none(fields, code):
    await cheat_active(PublicKeyOffer, change(**fields), code)


TREES = [
    (0, {"round": 1}, "wrong-order"),
    (0, {"round": -1}, "wrong-order"),
    (0, {"output": 1}, "wrong-order"),
    (1, {"round": 0}, "wrong-order"),
    (1, {"round": 0, "output": 1}, "wrong-order"),
    (1, {"round": 2}, "wrong-order"),
    (0, {"columns": longer}, "wrong-length"),
    (0, {"columns": flip(5)}, "wrong-filling"),
    (0, {"columns": flip(0)}, "wrong-sample"),
    (0, {"sampled": flip(3)}, "wrong-sample"),
    (1, {"sampled": flip(ROWS - 1)}, "wrong-sample"),
    (0, {"sampled": cut}, "wrong-length"),
    (0, {"sampled": flip(ROWS + 1)}, "wrong-filling"),
]


@pytest.mark.parametrize(("number", "fields", "code"), TREES)
async def test_trees_out_of_order_or_shape(number, fields, code):
    await cheat_active(TreeBegins, change(**fields), code, number=number)


async def test_more_rounds_than_the_plan_has():
    blocks, label = tables()

    async def planned_less(channel, parameters, *rest):
        return await passive(channel, msgspec.structs.replace(parameters, n_estimators=1), *rest)

    results = await train(problem(label), blocks, following={1: planned_less})
    settle(results, 1, 0, "wrong-order")


async def test_a_round_with_other_trees_than_the_first():
    blocks, label = tables()
    label[:10] = 2
    cheats = []

    async def cheating(channels, *rest):
        # the fourth tree, the first of round 1, is called one more of round 0; then round 1 lacks a tree
        cheats.append(Cheat(channels[0], TreeBegins, change(round=2, output=0), 5))
        return await active([cheats[0], *channels[1:]], *rest)

    task = problem(label, objective="multiclass", n_estimators=3)
    settle(await train(task, blocks, leading=cheating), 1, 0, "wrong-order")


GRADIENTS = [
    ({"first": 1}, "wrong-order"),
    ({"ciphertexts": cut}, "wrong-length"),
    ({"ciphertexts": b""}, "wrong-length"),
    ({"ciphertexts": lambda data: data + data[: 3 * POINT]}, "too-many-rows"),
    ({"ciphertexts": first_point}, "bad-point"),
]


@pytest.mark.parametrize(("fields", "code"), GRADIENTS)
async def test_gradients_that_are_malformed(fields, code):
    await cheat_active(GradientBlock, change(**fields), code)


def own_left(changed):
    """Change the bins to the left of the first split on the receiver's columns."""

    def edited(message):
        note = message.own[0]
        return msgspec.structs.replace(
            message, own=(msgspec.structs.replace(note, left=changed(note.left)), *message.own[1:])
        )

    return edited


def own_column(column):
    def edited(message):
        note = message.own[0]
        return msgspec.structs.replace(message, own=(SplitNote(note.node, column, note.left),))

    return edited


SPLITS = [
    change(others=(7,)),
    change(others=(0, 0), own=()),
    change(others=(-1,), own=()),
    lambda message: msgspec.structs.replace(message, others=(message.own[0].node,)),
    lambda message: msgspec.structs.replace(message, own=message.own * 2),
    own_column(3),
    own_column(-1),
    own_left(lambda data: bytes(len(data))),
]


@pytest.mark.parametrize("changed", SPLITS)
async def test_splits_that_cannot_be(changed):
    await cheat_active_on_its_columns(changed, "bad-split")


@pytest.mark.parametrize(("changed", "code"), [(cut, "wrong-length"), (flip(15), "wrong-filling")])
async def test_bins_to_the_left_that_are_malformed(changed, code):
    await cheat_active_on_its_columns(own_left(changed), code)


async def cheat_active_on_its_columns(changed, code, **parameters):
    """The active party changes the root split of a table in which only party 1 has information."""
    blocks, label = tables()
    blocks[0], blocks[2] = (replace(each, codes=np.ones_like(each.codes)) for each in (blocks[0], blocks[2]))
    blocks[1].codes[0] = np.where(label > 0, 1, 4)
    blocks[1].bin_counts[0] = 9
    cheats = []

    async def cheating(channels, *rest):
        cheats.append(Cheat(channels[0], Splits, changed))
        return await active([cheats[0], *channels[1:]], *rest)

    results = await train(problem(label, min_child_samples=3, **parameters), blocks, leading=cheating)
    assert cheats[0].changed
    settle(results, 1, 0, code)


async def test_a_split_within_merged_bins():
    """Bins 1 and 2 hold too few rows each to be told apart, so the owner refuses to."""
    blocks, label = tables()
    blocks = [replace(each, codes=np.ones_like(each.codes)) for each in blocks]
    owner = blocks[1]
    owner.bin_counts[:] = 9
    owner.codes[:] = 3 + (label > 0)
    owner.codes[0, :2] = (1, 2)

    def changed(message):
        note = message.own[0]
        return msgspec.structs.replace(message, own=(SplitNote(note.node, 0, bytes([0b11, 0])),))

    async def cheating(channels, *rest):
        return await active([Cheat(channels[0], Splits, changed), *channels[1:]], *rest)

    results = await train(problem(label, min_child_samples=1), blocks, leading=cheating)
    settle(results, 1, 0, "bad-split")
    assert "merged" in results[1].what


MEMBERSHIPS = [
    ({"left": lambda left: (*left, b"")}, "wrong-length"),
    ({"left": lambda left: left[1:]}, "wrong-length"),
    ({"left": bits_of(cut)}, "wrong-length"),
    ({"left": bits_of(flip(ROWS))}, "wrong-filling"),
    ({"left": bits_of(lambda bits: bytes(len(bits)))}, "bad-split"),
]


@pytest.mark.parametrize(("fields", "code"), MEMBERSHIPS)
async def test_memberships_that_cannot_be(fields, code):
    blocks, label = tables()
    blocks[1] = replace(blocks[1], codes=np.ones_like(blocks[1].codes))

    async def cheating(channels, *rest):
        return await active([Cheat(channels[0], Memberships, change(**fields)), *channels[1:]], *rest)

    results = await train(problem(label, min_child_samples=3), blocks, leading=cheating)
    settle(results, 1, 0, code)


async def test_memberships_after_the_last_level():
    await cheat_active(Memberships, change(left=(b"",)), "wrong-length", number=2)


@pytest.mark.parametrize("kept", [-1, 1000])
async def test_keeping_splits_that_are_not_there(kept):
    await cheat_active(TrainingEnds, change(kept=kept), "bad-count", ends=True)


async def test_ending_before_the_plan_does():
    blocks, label = tables()

    async def planned_more(channel, parameters, *rest):
        return await passive(channel, msgspec.structs.replace(parameters, n_estimators=9), *rest)

    results = await train(problem(label), blocks, following={1: planned_more})
    assert isinstance(results[1], PeerMisbehaved)
    assert results[1].code == "wrong-order"
    assert "2 rounds" in results[1].what
