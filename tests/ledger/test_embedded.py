"""The embedded engine: order, finality, restarts, and a sequencer that must not be trusted."""

import asyncio

import pytest

from parley.core.errors import PeerLost, PolicyRefused, UsageError

from tests.ledger.members import Consortium, registration, transaction


async def equal_everywhere(consortium, size):
    async with asyncio.timeout(20):
        while any(member.log.final_size < size for member in consortium.members.values()):
            await asyncio.sleep(0.02)
    roots = {
        (member.log.root_at(size), member.log.replica.state.root) for member in consortium.members.values()
    }
    assert len(roots) == 1


async def test_what_one_member_submits_is_final_at_all(tmp_path):
    async with Consortium(tmp_path) as consortium:
        for sender in ("bank", "operator"):
            receipt = await consortium.members[sender].submit(registration(consortium.spec, sender))
            assert receipt.accepted, receipt
        await equal_everywhere(consortium, 3)


async def test_a_refusal_is_in_the_log_with_its_number(tmp_path):
    async with Consortium(tmp_path) as consortium:
        receipt = await consortium.members["regulator"].submit(registration(consortium.spec, "regulator"))
        assert (receipt.status, receipt.number) == ("refused", 1)
        await equal_everywhere(consortium, 2)


async def test_what_is_replayed_or_expired_is_dropped_and_nothing_else_harmed(tmp_path):
    async with Consortium(tmp_path) as consortium:
        first = registration(consortium.spec, "operator")
        operator = consortium.members["operator"]
        await operator.submit(first)
        assert (await operator.submit(first)).number == 1  # it is in already: the same receipt
        with pytest.raises(PolicyRefused) as raised:
            await operator.submit(
                transaction(consortium.spec, "operator", "table.withdraw", {"name": "x"}, expires=0)
            )
        assert raised.value.code == "dropped-expired"
        await equal_everywhere(consortium, 2)


async def test_one_of_three_members_away_changes_nothing(tmp_path):
    async with Consortium(tmp_path) as consortium:
        await consortium.stop("regulator")
        assert (
            await consortium.members["operator"].submit(registration(consortium.spec, "operator"))
        ).accepted
        consortium.start("regulator")
        await equal_everywhere(consortium, 2)


async def test_without_a_majority_nothing_is_final_until_it_is_back(tmp_path):
    async with Consortium(tmp_path) as consortium:
        await consortium.members["bank"].submit(registration(consortium.spec, "bank"))
        await consortium.stop("regulator")
        await consortium.stop("operator")
        with pytest.raises(PeerLost, match="ledger-not-final"):
            await consortium.members["bank"].submit(
                registration(consortium.spec, "bank", "more"), patience=0.5
            )
        consortium.start("operator")
        consortium.start("regulator")
        await equal_everywhere(consortium, 3)


async def test_members_that_restart_go_on_where_they_were(tmp_path):
    async with Consortium(tmp_path) as consortium:
        for number in range(3):
            await consortium.members["operator"].submit(
                registration(consortium.spec, "operator", f"t{number}")
            )
        for name in consortium.names:
            await consortium.stop(name)
        for name in consortium.names:
            consortium.start(name)
        await consortium.members["operator"].submit(registration(consortium.spec, "operator", "after"))
        await equal_everywhere(consortium, 5)


async def test_many_submissions_at_once_are_each_in_exactly_once(tmp_path):
    async with Consortium(tmp_path) as consortium:
        works = [
            consortium.members[name].submit(registration(consortium.spec, name, f"t{number}"))
            for number in range(60)
            for name in ("bank", "operator")
        ]
        receipts = await asyncio.gather(*works)
        assert sorted(receipt.number for receipt in receipts) == list(range(1, 121))
        await equal_everywhere(consortium, 121)


class Stopping(Consortium):
    """The sequencer says to each follower that its engine has ended."""

    async def serve(self, _callee, _table, channel):
        async with channel:
            raise UsageError("ledger-stopped", "its engine has ended", remedy="start the party again")


async def test_a_sequencer_that_stops_does_not_stop_its_followers(tmp_path):
    async with Stopping(tmp_path) as consortium:
        await asyncio.sleep(0.5)
        assert [name for name, task in consortium.tasks.items() if task.done()] == []


async def test_what_belongs_to_a_step_is_done_even_if_its_conversation_is_cut(tmp_path):
    async with Consortium(tmp_path) as consortium:
        bench, begun, done = consortium.members["bank"]._bench, asyncio.Event(), asyncio.Event()

        async def work():
            begun.set()
            await bench.step(lambda: None)
            done.set()

        conversation = asyncio.create_task(bench.carry(work()))
        await begun.wait()
        conversation.cancel()
        await asyncio.wait_for(done.wait(), 10)
        assert conversation.cancelled()
