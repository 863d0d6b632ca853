"""A passive party that cheats in joint boosting: every check of the active party fires."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from parley._native import SecretKey
from parley.crypto.randomness import derive
from parley.protocols.boosting import passive
from parley.protocols.boosting.messages import ColumnsOffer, Directions, HistogramBlock

from tests.adversary.cheating import (
    POINT,
    ROWS,
    Cheat,
    bits_of,
    change,
    cheat_passive,
    cut,
    first_point,
    flip,
    longer,
    settle,
    tables,
    uint32,
)
from tests.joint import problem, resources, train

COLUMNS = [
    ({"rows": ROWS + 1}, "rows-differ"),
    ({"rows": -1}, "rows-differ"),
    ({"columns": 2}, "wrong-length"),
    ({"columns": -1}, "wrong-length"),
    ({"columns": 2**62}, "wrong-length"),
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
    secret = SecretKey.from_seed(2, derive(resources(0).seed, "key"))
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
    secret = SecretKey.from_seed(2, derive(resources(0).seed, "key"))
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


async def test_one_cheated_party_stops_the_innocent_third():
    """What `settle` asserts of party 2 in every test, seen over TLS as well."""
    blocks, label = tables()

    async def cheating(channel, *rest):
        return await passive(Cheat(channel, HistogramBlock, change(ciphertexts=first_point)), *rest)

    results = await train(problem(label), blocks, carrier="tls", following={2: cheating})
    settle(results, 0, 2, "bad-point")
