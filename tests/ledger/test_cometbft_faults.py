"""Four members on CometBFT, real processes and nodes: partitions, a full disk, a wrong clock, all again."""

import asyncio
import contextlib
import random
import resource
import signal
import time

import pytest

from parley.ledger.engines.cometbft.binary import SETTING

from tests.comet import skip_without_binary, until
from tests.ledger import comet_clock
from tests.ledger.comet_processes import PATIENCE, consortium
from tests.ledger.comet_runner import MEMBERS

pytestmark = pytest.mark.cometbft
FULL = 64 * 1024
"""Bytes beyond which no file grows on a disk that is full; the ledger and the node's journal are longer."""


@pytest.fixture(autouse=True)
def _binary():
    skip_without_binary()


async def assert_still(running):
    """What was under way comes in; after that nobody writes, though one may still catch up with its half."""
    await asyncio.sleep(2)
    before = max(map(running.size, MEMBERS))
    await asyncio.sleep(3)
    assert max(map(running.size, MEMBERS)) == before


def limit_files(process, length):
    """Let a process write no file beyond a length, nor those that it starts."""
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(process, resource.RLIMIT_FSIZE, (length, resource.RLIM_INFINITY))


async def fill_disk(running, victim):
    """No room at one member; wait until the others have left it behind.

    Its ledger halts, its node ends, or the node stays and takes no part any more, whichever writes first.
    """
    for process in (running.running[victim].pid, running.status(victim)[2]):
        limit_files(process, FULL)
    others = set(MEMBERS) - {victim}
    await until(lambda: min(map(running.size, others)) >= running.size(victim) + 20, PATIENCE)


async def free_disk(running, victim):
    """Room again; the operator starts the party again."""
    await running.stop(victim)
    await running.start(victim)


@pytest.mark.soak
async def test_a_member_that_is_cut_off_catches_up_and_two_halves_stop_until_they_are_one_again():
    async with consortium() as running:
        running.part({"bank", "insurer", "operator"}, {"retailer"})
        await asyncio.sleep(1)
        alone = running.size("retailer")
        await running.grown("bank", "insurer", "operator")
        assert running.size("retailer") <= alone + 1
        running.part(set())
        await running.grown(*MEMBERS)

        halves = {"bank", "insurer"}, {"operator", "retailer"}
        running.part(*halves)
        await assert_still(running)
        running.part(set())
        await running.grown(*MEMBERS)
        await running.settled()
        assert running.agreed()


@pytest.mark.soak
async def test_a_node_that_stays_without_taking_part_is_started_again():
    async with consortium() as running:
        node = running.status("operator")[2]
        limit_files(node, FULL // 16)
        await until(lambda: running.status("operator")[2] not in (0, node), PATIENCE)
        await running.grown(*MEMBERS)
        await running.settled()
        assert running.agreed()


@pytest.mark.soak
@pytest.mark.parametrize("victim", ["bank", "operator"])
async def test_a_full_disk_stops_one_member_and_loses_nothing(victim):
    async with consortium() as running:
        await fill_disk(running, victim)
        await free_disk(running, victim)
        await running.grown(*MEMBERS)
        await running.settled()
        assert running.agreed()


@pytest.mark.soak
@pytest.mark.go
@pytest.mark.timeout(900)
@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_node_whose_clock_is_an_hour_off_loses_nothing(hours):
    """Ahead it takes part as before; behind it refuses blocks from its future, until its clock is right."""
    wrong = {SETTING: str(comet_clock.binary()), comet_clock.CLOCK: str(hours * 3600)}
    async with consortium() as running:
        await running.stop("operator")
        await running.start("operator", **wrong)
        await running.grown("bank", "insurer", "retailer")
        if hours > 0:
            await until(lambda: running.size("operator") + 2 > running.size("bank"), PATIENCE)
            await running.stop("bank")  # now the three that are left need the one with the wrong clock
            await running.grown("insurer", "operator", "retailer")
            await running.start("bank")
        else:
            await running.stop("operator")
            await running.start("operator")
        before = running.size("insurer")
        await until(lambda: min(map(running.size, MEMBERS)) > before + 4, PATIENCE)
        await running.settled()
        assert running.agreed()
        assert abs(running.time_of_last_block() - time.time()) < 600


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_faults_again_and_again_end_in_one_ledger_with_everything_acknowledged():
    chance = random.Random(5)
    async with consortium() as running:
        for _ in range(8):
            names = chance.sample(sorted(MEMBERS), 4)
            match chance.choice(("one", "halves", "full", "killed")):
                case "one":
                    running.part(set(names[1:]), set(names[:1]))
                    await running.grown(*names[1:])
                case "halves":
                    running.part(set(names[:2]), set(names[2:]))
                    await assert_still(running)
                case "full":
                    await fill_disk(running, names[0])
                    await free_disk(running, names[0])
                case "killed":
                    await running.stop(names[0], signal.SIGKILL)
                    await running.grown(*names[1:])
                    await running.start(names[0])
            running.part(set())
            await running.grown(*MEMBERS)
        await running.settled()
        assert len(running.agreed()) > 100
