"""The adversary against a small honest protocol, and against protocols that deserve to fall."""

import asyncio
import hashlib

import pytest

from parley.core.conversation import Message, Step, steps
from parley.core.errors import PeerError

from tests import echo
from tests.adversary.harness import cases, outcome, rehearsal, sweep
from tests.channels import CARRIERS

ROLES = {"left": echo.ask, "right": echo.answer}


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_nobody_is_fooled_hung_or_surprised(carrier):
    outcomes = await sweep(cases(echo.STEPS), echo.STEPS, ROLES, carrier=carrier)
    bad = {str(case): verdict for case, verdict in outcomes.items() if not verdict.acceptable}
    assert not bad
    assert {verdict.verdict for verdict in outcomes.values()} >= {"correct", "PeerMisbehaved", "PeerLost"}


async def test_every_case_reaches_its_message():
    outcomes = await sweep(cases(echo.STEPS), echo.STEPS, ROLES)
    idle = [str(case) for case, verdict in outcomes.items() if not verdict.applied]
    # right sends Hello, 3 blocks and Done; left has but Hello, Ask
    assert all(name.startswith("left-frame-2") for name in idle)


def test_the_cases_are_all_rules_on_all_messages_in_a_fixed_order():
    names = [str(case) for case in cases(echo.STEPS)]
    assert names == [str(case) for case in cases(echo.STEPS)]
    assert len(set(names)) == len(names) > 100
    for expected in (
        "left-Hello-0-drop",
        "left-Ask-0-number-huge",
        "right-Block-1-data-bytes-halved",
        "right-Block-0-as-Done",
        "right-Done-0-swap",
        "right-frame-2-number-ahead",
    ):
        assert expected in names


async def ask_unchecked(channel):
    async with channel:
        await channel.send(echo.Ask(3))
        received = []
        while isinstance(message := await channel.recv(echo.Block, echo.Done), echo.Block):
            received.append(message.data)
        return received


async def verdict_of(wanted, roles, table=echo.STEPS, **options):
    [case] = [case for case in cases(table) if str(case) == wanted]
    patient = {"patience": 3.0} | options
    return await outcome(case, table, roles, await rehearsal(table, roles), **patient)


@pytest.mark.parametrize(
    "wanted",
    [
        "right-Block-0-drop",
        "right-Block-0-repeat",
        "right-Block-0-swap",
        "right-Block-1-data-bytes-halved",
        "right-Block-1-as-Done",
    ],
)
async def test_a_protocol_without_checks_is_reported_wrong(wanted):
    verdict = await verdict_of(wanted, ROLES | {"left": ask_unchecked})
    assert verdict.verdict == "WRONG"
    assert not verdict.acceptable


async def test_a_changed_value_alone_is_not_judged():
    verdict = await verdict_of("right-Block-1-data-first-bit", ROLES | {"left": ask_unchecked})
    assert verdict.verdict == "WRONG"
    assert verdict.acceptable


class Key(Message, frozen=True):
    name: str


async def test_a_foreign_exception_is_reported():
    async def looks_up(channel):
        async with channel:
            return {"known": 1}[(await channel.recv(Key)).name]

    async def names(channel):
        async with channel:
            await channel.send(Key("known"))

    table = steps("lookup", 1, Step("left", "right", Key))
    verdict = await verdict_of("left-Key-0-name-text-changed", {"left": names, "right": looks_up}, table)
    assert verdict.verdict == "OTHER"
    assert not verdict.acceptable


async def test_a_role_that_never_gives_up_is_reported():
    async def stubborn(channel):
        try:
            return await echo.ask(channel)
        except PeerError:
            await asyncio.sleep(3600)

    verdict = await verdict_of("right-Done-0-drop", ROLES | {"left": stubborn}, limit=2.0)
    assert verdict.verdict == "HANG"
    assert not verdict.acceptable


async def test_the_honest_run_is_what_the_rules_start_from():
    blocks = [echo.block(index) for index in range(3)]
    assert await rehearsal(echo.STEPS, ROLES) == {"left": blocks, "right": 3}
    assert len(hashlib.sha256(b"".join(blocks)).digest()) == 32
