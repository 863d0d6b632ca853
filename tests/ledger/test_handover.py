"""Another member becomes the sequencer: by a vote on the ledger, or by promises when the old one is lost."""

import asyncio
import io
import time

import msgspec
import pytest

from parley.core.errors import PeerLost, UsageError
from parley.ledger.engines.cometbft.log import ChainLog
from parley.ledger.engines.cometbft.witnessing import Transactions, Witnessing
from parley.ledger.engines.embedded.prove import Snapshot
from parley.ledger.export import export
from parley.ledger.verifier import verify

from tests.ledger.members import Consortium, genesis_of, key, registration, transaction
from tests.ledger.test_embedded import equal_everywhere


async def voted(consortium, subject, voters=("operator",)):
    spec, members = consortium.spec, consortium.members
    proposal = transaction(
        spec, "bank", "vote.propose", {"subject": subject, "until": int(time.time()) + 3600}
    )
    assert (await members["bank"].submit(proposal)).accepted
    ballot = {"proposal": proposal.digest.hex(), "ballot": "yes"}
    for voter in voters:
        assert (await members[voter].submit(transaction(spec, voter, "vote.cast", ballot))).accepted


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)


async def test_a_vote_hands_the_sequencer_over(tmp_path):
    async with Consortium(tmp_path) as consortium:
        await voted(consortium, {"kind": "sequencer", "member": "operator"})
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


# ── between the vote for CometBFT and its first height ────────────────────────────────────────────────


async def lost_with_a_block(consortium, *away):
    """The sequencer has sealed a block that those who were away do not have, and is gone.

    Returns the transaction in it.
    """
    for name in away:
        await consortium.stop(name)
    unheard = registration(consortium.spec, "bank", "unheard")
    with pytest.raises(PeerLost, match="ledger-not-final"):
        await consortium.members["bank"].submit(unheard, patience=0.5)
    there = consortium.members.values()
    await until(lambda: all(member.log.number(unheard.digest) is not None for member in there))
    await consortium.stop("bank")
    consortium.cut |= {*consortium.members}
    for name in away:
        consortium.start(name)
    return unheard


async def all_closed(consortium):
    async with asyncio.timeout(20):
        await asyncio.gather(*(member.closed() for member in consortium.members.values()))


def checked(member):
    """What a verifier finds in the ledger that a member exports: leaves, final ones, blocks' last height."""
    file = io.BytesIO()
    export(Snapshot(member.log), file)
    found = verify(file.getvalue().splitlines(keepends=True))
    return found.leaves, found.final, member.log.replica.height


async def test_a_successor_fills_the_blocks_up_to_the_height_of_cometbft(tmp_path):
    async with Consortium(tmp_path) as consortium:
        members, spec = consortium.members, consortium.spec
        await voted(consortium, {"kind": "engine", "height": 6})
        await equal_everywhere(consortium, 3)
        unheard = await lost_with_a_block(consortium, "operator", "regulator")
        for name in ("operator", "regulator"):
            await members[name].promise("operator")
        await until(lambda: members["operator"].orders)
        for name in ("first", "second"):
            assert (await members["operator"].submit(registration(spec, "operator", name))).accepted
        await all_closed(consortium)
        assert [checked(member) for member in members.values()] == [(6, 6, 5)] * 2
        bank = consortium.start("bank")
        await all_closed(consortium)
        assert checked(bank) == (6, 6, 5)
        assert bank.log.store.pending() == {unheard.digest: unheard.data}  # for CometBFT to take
        assert {name: member.halted for name, member in members.items()} == dict.fromkeys(members, "")


async def test_a_takeover_can_be_the_last_block_before_cometbft(tmp_path):
    async with Consortium(tmp_path) as consortium:
        members = consortium.members
        await voted(consortium, {"kind": "engine", "height": 4})
        await equal_everywhere(consortium, 3)
        await lost_with_a_block(consortium, "operator", "regulator")  # which was the last one too
        for name in ("operator", "regulator"):
            await members[name].promise("regulator")
        await all_closed(consortium)
        consortium.start("bank")
        await all_closed(consortium)
        assert [checked(member) for member in members.values()] == [(4, 4, 3)] * 3
        assert len({member.log.replica.state.root for member in members.values()}) == 1


async def test_who_comes_back_after_all_others_have_gone_over_follows_their_log(tmp_path):
    async with Consortium(tmp_path) as consortium:
        await voted(consortium, {"kind": "engine", "height": 4})
        await equal_everywhere(consortium, 3)
        await lost_with_a_block(consortium, "operator", "regulator")
        for name in ("operator", "regulator"):
            await consortium.members[name].promise("operator")
        await all_closed(consortium)
        for name in ("operator", "regulator"):
            await consortium.stop(name)
        log = ChainLog(tmp_path / "operator", "operator", key("operator", "cosigning"))
        try:
            consortium.members["operator"] = GoneOver(log)
            bank = consortium.start("bank")
            async with asyncio.timeout(20):
                await bank.closed()
            assert checked(bank) == (4, 4, 3)
        finally:
            await consortium.stop("bank")
            log.store.close()


class GoneOver:
    """A member that CometBFT serves, as far as those behind it see."""

    def __init__(self, log):
        self._witnessing = Witnessing(log, Transactions(lambda: (), self._offer), print)

    async def _offer(self, data):
        pass

    async def gossip_as_called(self, channel):
        await self._witnessing.as_called(channel)


FOUR = ("bank", "operator", "regulator", "retailer")


@pytest.mark.parametrize("successor", ["regulator", "operator"])
async def test_a_last_block_that_half_of_the_members_have_signed_is_signed_by_the_rest(tmp_path, successor):
    async with Consortium(tmp_path, FOUR) as consortium:
        members = consortium.members
        await voted(consortium, {"kind": "engine", "height": 5}, ("operator", "retailer"))
        await equal_everywhere(consortium, 4)
        await lost_with_a_block(consortium, "regulator", "retailer")
        for name in ("regulator", "retailer"):
            await members[name].promise(successor)
            assert not members[name].log.may_sign()
        with pytest.raises(UsageError, match="no-sequencer"):
            await members["operator"].promise(successor)
        consortium.cut.clear()
        await all_closed(consortium)
        assert [checked(member) for member in members.values()] == [(5, 5, 4)] * 3
        assert {member.log.era for member in members.values()} == {0}


async def test_a_majority_that_promised_one_who_has_the_last_block_can_promise_another(tmp_path):
    async with Consortium(tmp_path, (*FOUR, "insurer")) as consortium:
        members, promising = consortium.members, ("regulator", "retailer", "insurer")
        await voted(consortium, {"kind": "engine", "height": 6}, ("operator", "retailer", "insurer"))
        await equal_everywhere(consortium, 5)
        await lost_with_a_block(consortium, *promising)
        for name in promising:
            await members[name].promise("operator")
        consortium.cut.clear()
        await until(lambda: all(members[name].log.size == 6 for name in promising))
        for name in promising:
            await members[name].promise("regulator")
        await all_closed(consortium)
        assert [checked(member) for member in members.values()] == [(6, 6, 5)] * 4
        assert {member.log.era for member in members.values()} == {2}


async def test_nothing_is_promised_where_the_contract_takes_no_takeover(tmp_path):
    third = msgspec.structs.replace(genesis_of(("bank", "operator", "regulator")), version=3)
    async with Consortium(tmp_path, spec=third) as consortium:
        members = consortium.members
        await voted(consortium, {"kind": "engine", "height": 90})
        await equal_everywhere(consortium, 3)
        with pytest.raises(UsageError, match="move-decided"):
            await members["regulator"].promise("operator")
        await consortium.stop("operator")
        assert (await members["bank"].submit(registration(third, "bank"))).accepted  # regulator signs


async def test_a_vote_hands_over_too_while_the_engine_ends(tmp_path):
    async with Consortium(tmp_path) as consortium:
        members, spec = consortium.members, consortium.spec
        await voted(consortium, {"kind": "engine", "height": 6})
        await voted(consortium, {"kind": "sequencer", "member": "regulator"})
        assert (await members["operator"].submit(registration(spec, "operator"))).accepted
        await all_closed(consortium)
        assert [checked(member) for member in members.values()] == [(6, 6, 5)] * 3
