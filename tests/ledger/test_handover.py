"""Another member becomes the sequencer: by a vote on the ledger, or by promises when the old one is lost."""

import asyncio
import time

import pytest

from parley.core.errors import PeerLost, UsageError

from tests.ledger.members import Consortium, registration, transaction
from tests.ledger.test_embedded import equal_everywhere


async def voted(consortium, successor):
    spec, members = consortium.spec, consortium.members
    subject = {"kind": "sequencer", "member": successor}
    proposal = transaction(
        spec, "bank", "vote.propose", {"subject": subject, "until": int(time.time()) + 3600}
    )
    assert (await members["bank"].submit(proposal)).accepted
    ballot = {"proposal": proposal.digest.hex(), "ballot": "yes"}
    assert (await members["operator"].submit(transaction(spec, "operator", "vote.cast", ballot))).accepted


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)


async def test_a_vote_hands_the_sequencer_over(tmp_path):
    async with Consortium(tmp_path) as consortium:
        await voted(consortium, "operator")
        for sender in ("bank", "operator"):
            assert (await consortium.members[sender].submit(registration(consortium.spec, sender))).accepted
        assert consortium.members["operator"].orders
        assert not consortium.members["bank"].orders
        await equal_everywhere(consortium, 5)
        for name in consortium.names:
            await consortium.stop(name)
        for name in consortium.names:
            consortium.start(name)
        assert (
            await consortium.members["bank"].submit(registration(consortium.spec, "bank", "more"))
        ).accepted
        await equal_everywhere(consortium, 6)


async def test_a_majority_replaces_a_lost_sequencer_and_it_comes_back_as_a_follower(tmp_path):
    async with Consortium(tmp_path) as consortium:
        members, spec = consortium.members, consortium.spec
        await members["operator"].submit(registration(spec, "operator", "before"))
        consortium.cut |= {"bank"}
        await consortium.stop("operator")
        await consortium.stop("regulator")
        unfinal = registration(spec, "bank", "unfinal")
        with pytest.raises(PeerLost, match="ledger-not-final"):
            await members["bank"].submit(unfinal, patience=0.5)
        assert members["bank"].log.size == 3
        await consortium.stop("bank")
        consortium.start("operator")
        consortium.start("regulator")

        assert await members["operator"].promise("operator") == 1
        await asyncio.sleep(0.5)
        assert not members["operator"].orders
        assert await members["regulator"].promise("operator") == 1
        await until(lambda: members["operator"].orders)
        assert (await members["operator"].submit(registration(spec, "operator", "after"))).accepted
        await equal_everywhere(consortium, 4)

        consortium.cut.clear()
        consortium.start("bank")
        await until(lambda: members["bank"].leader == "operator")
        assert (await members["bank"].submit(unfinal)).number == 4
        await equal_everywhere(consortium, 5)
        assert {name: member.halted for name, member in members.items()} == dict.fromkeys(members, "")


async def test_who_has_promised_signs_nothing_of_the_old_sequencer(tmp_path):
    async with Consortium(tmp_path) as consortium:
        members, spec = consortium.members, consortium.spec
        await members["bank"].submit(registration(spec, "bank"))
        await equal_everywhere(consortium, 2)
        await members["regulator"].promise("operator")
        await consortium.stop("operator")
        with pytest.raises(PeerLost, match="ledger-not-final"):
            await members["bank"].submit(registration(spec, "bank", "more"), patience=0.5)
        assert not members["regulator"].log.may_sign()
        await consortium.stop("regulator")
        consortium.start("regulator")
        assert not members["regulator"].log.may_sign()  # after a restart too
        consortium.start("operator")
        await equal_everywhere(consortium, 3)


async def test_a_sequencer_that_forked_is_replaced_and_members_sign_again(tmp_path):
    async with Consortium(tmp_path) as consortium:
        members = consortium.members
        await equal_everywhere(consortium, 1)
        for name in ("operator", "regulator"):
            members[name]._bench.halt("the sequencer has forked the log")
            await members[name].promise("regulator")
        await until(lambda: members["bank"].leader == "regulator")
        assert (await members["bank"].submit(registration(consortium.spec, "bank"))).accepted
        await equal_everywhere(consortium, 3)


async def test_only_another_active_member_can_be_promised(tmp_path):
    async with Consortium(tmp_path) as consortium:
        await equal_everywhere(consortium, 1)
        for name in ("bank", "nobody"):
            with pytest.raises(UsageError, match="not-a-successor"):
                await consortium.members["operator"].promise(name)
