"""What is computed ahead of a tree changes no ciphertext, however much of it was ready."""

import asyncio

import numpy as np
import pytest

from parley._native import SecretKey
from parley.protocols.boosting import ACTIVE, PASSIVE, STEPS
from parley.protocols.boosting.ahead import PIECE, Ahead

from tests.channels import connected

KEY = SecretKey.from_seed(2, b"k" * 32)
SEED, OTHER = b"s" * 32, b"o" * 32
ROWS = 2 * PIECE + 100


def messages():
    return np.random.default_rng(0).integers(-127, 128, (ROWS, 2)).astype(np.int32)


async def encrypted_after(prepare):
    """Ciphertexts of all rows after ``prepare`` had its way with the worker."""
    async with connected("memory", STEPS, ACTIVE, PASSIVE) as (channel, _):
        with Ahead(channel, KEY, 1) as ahead:
            await prepare(ahead)
            return ahead.encrypt(messages(), SEED, 0, 127)


async def whole(ahead, seed=SEED, rows=ROWS):
    ahead.begin(seed, rows)
    await ahead._work


async def interrupted(ahead):
    ahead.begin(SEED, ROWS)
    await asyncio.sleep(0)
    ahead.stop()


async def nothing(_ahead):
    pass


async def of_another_tree(ahead):
    await whole(ahead, OTHER)


async def of_fewer_rows(ahead):
    await whole(ahead, SEED, PIECE + 7)


@pytest.mark.parametrize("prepare", [nothing, whole, interrupted, of_another_tree, of_fewer_rows])
async def test_ciphertexts_are_the_same(prepare):
    wanted = KEY.encrypt(messages(), SEED, 0, 1).tobytes()
    assert await encrypted_after(prepare) == wanted
