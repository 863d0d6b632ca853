"""A member that has lost its whole ledger, mark and all: filled up by the others, and careful afterwards."""

import asyncio

import pytest

from parley.core.errors import PeerLost, UsageError

from tests.ledger.members import Consortium, registration


async def filled(consortium, size):
    """Wait until everybody has so many leaves."""
    async with asyncio.timeout(60):
        while any(member.log.size < size for member in consortium.members.values()):
            await asyncio.sleep(0.02)
    logs = [member.log for member in consortium.members.values()]
    assert len({log.root_at(size) for log in logs}) == 1


async def grown(consortium, by):
    """Everybody has so many leaves more; how many it has then."""
    submitting = consortium.members["operator"]
    for number in range(by):
        signed = registration(consortium.spec, "operator", f"t{submitting.log.size}-{number}")
        await submitting.submit(signed)
    size = submitting.log.size
    await filled(consortium, size)
    return size


async def trouble(member):
    return (await member.condition()).trouble


async def test_a_founder_that_nobody_answers_begins_no_ledger_and_says_so(tmp_path):
    async with Consortium(tmp_path) as consortium:
        await grown(consortium, 1)
        for name in ("operator", "regulator"):
            await consortium.stop(name)
        await consortium.lose("bank")
        bank = consortium.start("bank", lost=True)
        with pytest.raises(PeerLost, match="nothing of the ledger is here: no answer with it yet"):
            await bank.submit(registration(consortium.spec, "bank"), patience=1.0)
        with pytest.raises(UsageError, match="ledger-not-fetched"):
            await bank.promise("operator")
        assert (bank.log.size, bank.orders) == (0, False)
        assert await trouble(bank) == (
            "nothing of the ledger is here: no answer with it yet from operator, regulator"
        )


async def test_a_founder_orders_again_when_every_other_member_has_shown_its_log(tmp_path):
    async with Consortium(tmp_path) as consortium:
        size = await grown(consortium, 3)
        await consortium.stop("regulator")
        await consortium.lose("bank")
        bank = consortium.start("bank", lost=True)
        await filled(consortium, size)
        signed = registration(consortium.spec, "bank")
        with pytest.raises(PeerLost, match="nothing is ordered until regulator have shown"):
            await bank.submit(signed, patience=1.0)
        assert bank.log.size == size
        consortium.start("regulator")
        assert (await bank.submit(signed)).number == size
        await filled(consortium, size + 1)
        assert await trouble(bank) == ""


async def test_a_ledger_shorter_than_it_is_known_to_have_been_is_not_gone_on_with(tmp_path):
    async with Consortium(tmp_path) as consortium:
        size = await grown(consortium, 2)
        await consortium.lose("bank")
        bank = consortium.start("bank", lost=True, had=size + 1)
        await filled(consortium, size)
        with pytest.raises(PeerLost, match="nothing is ordered"):
            await bank.submit(registration(consortium.spec, "bank"), patience=2.0)
        assert bank.log.size == size


async def test_several_that_bring_the_same_blocks_do_no_harm(tmp_path):
    """Behind a takeover too: whoever comes second brings what is there already."""
    async with Consortium(tmp_path) as consortium:
        await grown(consortium, 2)
        await consortium.stop("bank")
        for name in ("operator", "regulator"):
            await consortium.members[name].promise("operator")
        async with asyncio.timeout(60):
            while consortium.members["regulator"].leader != "operator":
                await asyncio.sleep(0.02)
        size = await grown(consortium, 3)
        consortium.start("bank")
        await filled(consortium, size)
        await consortium.stop("operator")
        await consortium.lose("bank")
        bank = consortium.start("bank", lost=True)
        await filled(consortium, size)
        assert bank.leader == "operator"
        await consortium.lose("regulator")
        consortium.start("operator")
        consortium.start("regulator")
        assert await grown(consortium, 2) == size + 2
        assert not [line for _, line in consortium.lines if "takeover" in line or "broke" in line]


async def test_a_member_is_filled_up_while_the_one_it_followed_is_away(tmp_path):
    async with Consortium(tmp_path) as consortium:
        size = await grown(consortium, 2)
        await consortium.stop("bank")
        await consortium.lose("operator")
        consortium.start("operator")
        await filled(consortium, size)
