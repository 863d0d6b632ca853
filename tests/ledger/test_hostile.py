"""A member of bad faith speaks to an honest one: nothing it sends stops, misleads or fills the other."""

import asyncio

import pytest

from parley.core.errors import PeerAborted, PolicyRefused
from parley.ledger.checkpoint import Checkpoint
from parley.ledger.engines.embedded import gossip, replication
from parley.ledger.notes import NoteSignature, SignedNote, cosign
from parley.ledger.transaction import SignedTransaction

from tests.ledger.members import Consortium, key, registration
from tests.ledger.test_embedded import equal_everywhere


@pytest.fixture
async def consortium(tmp_path):
    async with Consortium(tmp_path) as consortium:
        await consortium.members["operator"].submit(registration(consortium.spec, "operator"))
        await equal_everywhere(consortium, 2)
        yield consortium


class Left(Exception):
    """Leaves a conversation that has no end of its own."""


def following(consortium, caller="regulator"):
    return consortium.opening(caller)("bank", replication.STEPS, replication.FOLLOWER)


def gossiping(consortium, callee="operator", caller="regulator"):
    return consortium.opening(caller)(callee, gossip.STEPS, gossip.CALLER)


def false_note(consortium, size, *signers):
    """A checkpoint of another log, signed as the log and as a cosigner by whoever takes part."""
    origin = consortium.members["bank"].log.note(2).text.split("\n")[0]
    head = Checkpoint.seal(origin, size, bytes(32), bytes(32))
    note = head.sign(key(signers[0], "cosigning"))
    return note.with_signatures(cosign(name, head.text, key(name, "cosigning"), 1) for name in signers)


async def still_works(consortium, size=3):
    assert not any(member.halted for member in consortium.members.values())
    receipt = await consortium.members["operator"].submit(
        registration(consortium.spec, "operator", f"table-{size}")
    )
    assert receipt.accepted
    await equal_everywhere(consortium, size)


async def test_a_follower_that_claims_a_longer_log_stops_nobody(consortium):
    for note in (false_note(consortium, 99, "regulator").encoded(), b"nonsense", b"a\n\n"):
        with pytest.raises(PeerAborted, match="checkpoint-bad"):  # noqa: PT012 (a conversation is one act)
            async with following(consortium) as channel:
                await channel.send(replication.Follow(note))
                await channel.recv(replication.Block)
    await still_works(consortium)


@pytest.mark.parametrize("size", [1, 2])
async def test_a_member_that_signs_another_log_stops_nobody(consortium, size):
    note = false_note(consortium, size, "regulator").encoded()
    with pytest.raises(PeerAborted, match="checkpoint-bad"):  # noqa: PT012 (a conversation is one act)
        async with gossiping(consortium) as channel:
            await channel.send(gossip.Tip(note, 0, 0, ()))
            await channel.recv(gossip.Tip)
            await channel.send(gossip.Waiting(()))
            await channel.recv(gossip.Waiting)
    await still_works(consortium)


async def test_a_takeover_that_nobody_promised_is_not_followed(consortium):
    tip = gossip.Tip(false_note(consortium, 3, "regulator").encoded(), 1, 1, ())
    log = consortium.members["regulator"].log
    block = log.store.block_from(1)
    with pytest.raises(PeerAborted, match="takeover-bad"):  # noqa: PT012 (a conversation is one act)
        async with gossiping(consortium) as channel:
            await channel.send(tip)
            await channel.recv(gossip.Tip)
            await channel.send(gossip.Waiting(()))
            await channel.recv(gossip.Waiting)
            await channel.send(gossip.Enough())
            asked = await channel.recv(gossip.Ask, gossip.Enough)
            assert asked == gossip.Ask(1)
            await channel.send(gossip.Piece(tuple(leaf.data for leaf in block.leaves), block.note))
            await channel.recv(gossip.Ask, gossip.Enough)
    await still_works(consortium)


async def test_signature_lines_that_do_not_count_are_not_kept(consortium):
    bank = consortium.members["bank"]
    before = bank.log.note(2)
    good = cosign("regulator", before.text, key("regulator", "cosigning"), 7)
    with pytest.raises(Left):  # noqa: PT012 (a conversation is one act)
        async with following(consortium) as channel:
            await channel.send(replication.Follow(before.encoded()))
            for start in range(0, 500, 50):
                junk = [
                    NoteSignature("regulator", number.to_bytes(4, "big"), bytes(72))
                    for number in range(start, start + 50)
                ]
                await channel.send(replication.Cosigned(SignedNote(before.text, (good, *junk)).encoded()))
            await channel.send(replication.Offer(registration(consortium.spec, "bank").data))
            while not isinstance(
                await channel.recv(replication.Block, replication.Sealed, replication.Taken),
                replication.Taken,
            ):
                pass
            raise Left
    lines = bank.log.note(2).signatures
    assert len(lines) == 4
    assert good in lines
    await still_works(consortium, 4)


async def test_a_copy_with_a_false_signature_takes_nobodys_place(consortium):
    true = registration(consortium.spec, "operator", "mine")
    forged = SignedTransaction.assemble(true.transaction, true.payload, bytes(64))
    with pytest.raises(Left):  # noqa: PT012 (a conversation is one act)
        async with following(consortium) as channel:
            await channel.send(replication.Follow(b""))
            await channel.send(replication.Offer(forged.data))
            assert (await consortium.members["operator"].submit(true)).accepted
            raise Left
    async with gossiping(consortium, "bank") as channel:
        await channel.send(gossip.Tip(b"", 0, 0, ()))
        await channel.recv(gossip.Tip)
        await channel.send(
            gossip.Waiting((forged.data, b"junk", registration(consortium.spec, "bank", "x").data))
        )
        await channel.recv(gossip.Waiting)
        await channel.send(gossip.Enough())
        await channel.recv(gossip.Ask, gossip.Enough)
    await equal_everywhere(consortium, 4)
    await still_works(consortium, 5)


async def test_a_sequencer_that_says_dropped_is_not_believed(consortium):
    bank, ordering = consortium.members["bank"], consortium.members["bank"]._ordering
    original, refused = ordering._offer, []

    async def lying(channel, data, replies):
        if not refused:
            refused.append(data)
            own = consortium.members["operator"]._bench.watch.wanted()
            for each in own:
                await channel.send(replication.Taken(each, "expired", "no"))
            return
        await original(channel, data, replies)

    ordering._offer = lying
    await still_works(consortium)
    assert refused
    assert not bank.halted


async def test_the_code_of_a_peers_abort_stops_nothing(consortium):
    bank = consortium.members["bank"]
    original = bank._ordering.serve

    async def aborting(_channel):
        raise PolicyRefused("ledger-stopped", "x", remedy="y")

    bank._ordering.serve = aborting
    await consortium.stop("operator")
    consortium.start("operator")
    await asyncio.sleep(0.3)
    assert not consortium.tasks["operator"].done()
    bank._ordering.serve = original
    await still_works(consortium)


async def test_members_stopped_in_the_middle_of_work_leave_whole_files(tmp_path):
    async with Consortium(tmp_path) as consortium:
        for turn in range(4):
            works = [
                asyncio.create_task(
                    consortium.members[name].submit(registration(consortium.spec, name, f"{turn}-{number}"))
                )
                for number in range(20)
                for name in ("bank", "operator")
            ]
            await asyncio.sleep(0.02 * turn)
            for name in consortium.names:
                await consortium.stop(name)
            for work in works:
                work.cancel()
            await asyncio.gather(*works, return_exceptions=True)
            for name in consortium.names:
                consortium.start(name)
        await asyncio.sleep(0.3)
        async with asyncio.timeout(20):
            while any(member.log.store.pending() for member in consortium.members.values()):
                await asyncio.sleep(0.05)
        await equal_everywhere(consortium, consortium.members["bank"].log.size)
