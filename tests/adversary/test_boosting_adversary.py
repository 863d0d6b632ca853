"""Joint boosting with a party that sends what it should not: every check fires, at the right side.

One party runs the honest role, but its messages are changed on their way out. The tests know all
seeds, so a cheat may use what only the other side's key can make.
"""

from dataclasses import replace
from functools import partial

import msgspec
import numpy as np
import pytest

from parley._native import SecretKey
from parley.core.errors import PeerAborted, PeerMisbehaved
from parley.crypto.randomness import derive
from parley.protocols.boosting import active, passive
from parley.protocols.boosting.messages import (
    ColumnsOffer,
    Directions,
    GradientBlock,
    HistogramBlock,
    Memberships,
    PublicKeyOffer,
    SplitNote,
    Splits,
    TrainingEnds,
    TreeBegins,
)

from tests.joint import block, means, problem, train

ROWS = 90
POINT = 32
BAD_POINT = b"\xff" * POINT


class Cheat:
    """A channel whose messages of one kind are changed as they leave: the ``number``-th, from 0."""

    def __init__(self, channel, kind, change, number=0):
        self._channel, self._kind, self._change, self._number = channel, kind, change, number
        self._seen = 0
        self.changed = False

    def __getattr__(self, name):
        return getattr(self._channel, name)

    async def send(self, message):
        if isinstance(message, self._kind):
            if self._seen == self._number:
                message = self._change(message)
                self.changed = True
            self._seen += 1
        await self._channel.send(message)


def tables(minimum=6):
    """Three parties; the label follows the first passive one's columns, so its columns are split on."""
    random = np.random.default_rng(3)
    blocks = [block(random, ROWS, 2), *(block(random, ROWS, 3, minimum=minimum) for _ in range(2))]
    for each in blocks[1:]:
        each.codes[1] = random.integers(0, 4, ROWS)  # codes 4 and above are there but empty
        each.bin_counts[1] = 9
    label = (
        blocks[1].codes[0] + blocks[2].codes[0] + random.normal(size=ROWS)
        > np.median(blocks[1].codes[0] + blocks[2].codes[0])
    ).astype(float)
    return blocks, label


def settle(results, victim, cheat, code):
    """The victim names the cheat; everyone else hears no more than the code."""
    wrong = results[victim]
    assert isinstance(wrong, PeerMisbehaved), wrong
    assert wrong.code == code
    assert wrong.peer == f"p{cheat}"
    for index, result in enumerate(results):
        if index != victim:
            assert isinstance(result, PeerAborted), result
            assert result.code == code
            private = wrong.what.removeprefix(wrong.peer).strip()
            assert private not in str(result), "what the victim found is its own affair"
            assert result.what.endswith((f"peer-misbehaved: {code}", f"another party stopped: {code}"))


async def cheat_passive(kind, change, code, *, number=0, minimum=6, parameters=None):
    """Party 1 cheats the active party."""
    blocks, label = tables(minimum)
    cheats = []

    async def cheating(channel, *rest):
        cheats.append(Cheat(channel, kind, change, number))
        return await passive(cheats[0], *rest)

    task = problem(label, max_depth=3, min_child_samples=3, **(parameters or {}))
    results = await train(task, blocks, following={1: cheating})
    assert cheats[0].changed
    settle(results, 0, 1, code)


async def cheat_active(kind, change, code, *, number=0, parameters=None, ends=False):
    """The active party cheats party 1; ``ends``: it has nothing more to hear, so it leaves content."""
    blocks, label = tables()
    cheats = []

    async def cheating(channels, *rest):
        cheats.append(Cheat(channels[0], kind, change, number))
        return await active([cheats[0], *channels[1:]], *rest)

    task = problem(label, max_depth=3, min_child_samples=3, **(parameters or {}))
    results = await train(task, blocks, leading=cheating)
    assert cheats[0].changed
    if ends:
        assert isinstance(results[1], PeerMisbehaved)
        assert results[1].code == code
        return
    settle(results, 1, 0, code)


def change(**fields):
    """A change that sets fields, or maps them where a function is given."""

    def changed(message):
        values = {
            name: value(getattr(message, name)) if callable(value) else value
            for name, value in fields.items()
        }
        return msgspec.structs.replace(message, **values)

    return changed


def cut(data):
    return data[:-1]


def longer(data):
    return data + b"\0"


def flip(bit):
    """Flip one bit of a packed array."""

    def flipped(data):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << (bit % 8)
        return bytes(changed)

    return flipped


def uint32(values):
    return np.asarray(values, dtype="<u4").tobytes()


def first_point(data):
    return BAD_POINT + data[POINT:]


COLUMNS = [
    ({"rows": ROWS + 1}, "rows-differ"),
    ({"rows": -1}, "rows-differ"),
    ({"bin_counts": cut}, "wrong-length"),
    ({"bin_counts": uint32([4, 0, 5])}, "bin-counts"),
    ({"bin_counts": uint32([4, 257, 5])}, "bin-counts"),
    ({"categorical": longer}, "wrong-length"),
    ({"categorical": flip(7)}, "wrong-filling"),
]


@pytest.mark.parametrize(("fields", "code"), COLUMNS)
async def test_columns_that_cannot_be(fields, code):
    await cheat_passive(ColumnsOffer, change(**fields), code)


BLOCKS = [
    ({"pair": 1}, "wrong-order"),
    ({"first": 1}, "wrong-order"),
    ({"ends": cut}, "wrong-length"),
    ({"counts": longer}, "wrong-length"),
    ({"ciphertexts": cut}, "wrong-length"),
    ({"ciphertexts": first_point}, "bad-point"),
]


@pytest.mark.parametrize(("fields", "code"), BLOCKS)
async def test_histograms_that_are_malformed(fields, code):
    await cheat_passive(HistogramBlock, change(**fields), code)


def sums_of(message):
    """Group counts and the ciphertexts of the groups that hold rows, of a histogram block."""
    counts = np.frombuffer(message.counts, dtype="<u4").copy()
    return counts, np.frombuffer(message.ciphertexts, dtype=np.uint8).reshape(-1, 3, POINT).copy()


def encrypted(gradient, hessian):
    """What only the active party could make: an encryption of the two sums."""
    secret = SecretKey.from_seed(2, derive(means(0).seed, "key"))
    return secret.encrypt(np.array([[gradient, hessian]], dtype=np.int32), b"n" * 32, 0, 1)[0]


def with_sum(gradient, hessian):
    def changed(message):
        _, ciphertexts = sums_of(message)
        ciphertexts[0] = encrypted(gradient, hessian)
        return msgspec.structs.replace(message, ciphertexts=ciphertexts.tobytes())

    return changed


def repeated_sum(message):
    """The second group's sum in place of the first's."""
    _, ciphertexts = sums_of(message)
    ciphertexts[0] = ciphertexts[1]
    return msgspec.structs.replace(message, ciphertexts=ciphertexts.tobytes())


def moved_rows(message):
    """Rows of the first group claimed for the second."""
    counts, _ = sums_of(message)
    first, second = np.flatnonzero(counts)[:2]
    counts[first], counts[second] = 1, counts[first] + counts[second] - 1
    return msgspec.structs.replace(message, counts=counts.tobytes())


def lost_rows(message):
    counts, _ = sums_of(message)
    counts[np.flatnonzero(counts)[0]] += 1
    return msgspec.structs.replace(message, counts=counts.tobytes())


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        (with_sum(10**8, 0), "bad-sum"),
        (with_sum(0, -1), "bad-sum"),
        (with_sum(0, 0), "sums-differ"),
        (repeated_sum, "sums-differ"),
        (moved_rows, "bad-sum"),
        (lost_rows, "sums-differ"),
    ],
)
async def test_sums_that_do_not_add_up(changed, code):
    await cheat_passive(HistogramBlock, changed, code)


async def test_sums_that_the_parent_cannot_hold():
    """In a child, all rows of a column claimed for one group, of which its parent has fewer."""
    blocks, _ = tables()
    width = int(blocks[1].bin_counts[0])

    def changed(message):
        counts, ciphertexts = sums_of(message)
        first, *others = np.flatnonzero(counts[:width])
        counts[first] += counts[others].sum()
        counts[others] = 0
        merged = [encrypted_total(ciphertexts[: 1 + len(others)]), *ciphertexts[1 + len(others) :]]
        ciphertexts = np.stack(merged).tobytes()
        return msgspec.structs.replace(message, counts=counts.tobytes(), ciphertexts=ciphertexts)

    await cheat_passive(HistogramBlock, changed, "sums-differ", number=1, minimum=1)


def encrypted_total(ciphertexts):
    secret = SecretKey.from_seed(2, derive(means(0).seed, "key"))
    bounds = np.full((len(ciphertexts), 2), 10**5)
    return encrypted(*secret.decrypt(ciphertexts, bounds, 1).sum(axis=0))


async def test_a_column_without_an_end():
    """The last bin of the first column ends no group."""
    blocks, _ = tables()
    last = int(blocks[1].bin_counts[0]) - 1
    await cheat_passive(HistogramBlock, change(ends=flip(last)), "bad-groups")


async def test_groups_that_cut_through_the_parents():
    def changed(message):
        return msgspec.structs.replace(message, ends=b"\xff" * len(message.ends))

    blocks, _ = tables()
    filled = -int(blocks[1].bin_counts.sum()) % 8

    def all_ends(message):
        full = changed(message)
        ends = bytearray(full.ends)
        ends[-1] >>= filled
        return msgspec.structs.replace(full, ends=bytes(ends))

    await cheat_passive(HistogramBlock, all_ends, "bad-groups", number=1, minimum=15)


def bits_of(change_one):
    return lambda left: (change_one(left[0]), *left[1:])


DIRECTIONS = [
    ({"left": lambda left: (*left, b"")}, "wrong-length"),
    ({"left": lambda left: left[1:]}, "wrong-length"),
    ({"left": bits_of(cut)}, "wrong-length"),
    ({"left": bits_of(flip(ROWS))}, "wrong-filling"),
    ({"left": bits_of(flip(0))}, "directions-differ"),
]


@pytest.mark.parametrize(("fields", "code"), DIRECTIONS)
async def test_directions_that_contradict(fields, code):
    blocks, label = tables()
    blocks[0], blocks[2] = (replace(each, codes=np.ones_like(each.codes)) for each in (blocks[0], blocks[2]))
    cheats = []

    async def cheating(channel, *rest):
        cheats.append(Cheat(channel, Directions, change(**fields)))
        return await passive(cheats[0], *rest)

    results = await train(problem(label, min_child_samples=3), blocks, following={1: cheating})
    settle(results, 0, 1, code)


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


async def test_one_cheated_party_stops_the_innocent_third():
    """What `settle` asserts of party 2 in every test, seen over TLS as well."""
    blocks, label = tables()

    async def cheating(channel, *rest):
        return await passive(Cheat(channel, HistogramBlock, change(ciphertexts=first_point)), *rest)

    results = await train(problem(label), blocks, carrier="tls", following={2: partial(cheating)})
    settle(results, 0, 2, "bad-point")
