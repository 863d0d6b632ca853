"""A member that has lost its whole ledger, mark and all: filled up by the others, and careful afterwards."""

import asyncio
import time

import pytest

from parley.core.errors import PeerLost, UsageError
from parley.ledger.electorate import origin, proving_keys
from parley.ledger.engines.cometbft.log import ChainLog
from parley.ledger.engines.cometbft.store import Position
from parley.ledger.engines.embedded import cosigner
from parley.ledger.engines.embedded.log import MemberLog
from parley.ledger.engines.embedded.prove import Snapshot
from parley.ledger.engines.embedded.workbench import Surroundings, Workbench
from parley.ledger.engines.evidence import disagreement

from tests.ledger.members import Consortium, genesis_of, key, registration, transaction


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


async def taken_over(consortium):
    """Operator and regulator have replaced the sequencer, which is lost."""
    for name in ("operator", "regulator"):
        await consortium.members[name].promise("operator")
    await of_the_takeover(*consortium.members.values())


async def of_the_takeover(*members):
    """Wait until some have come over to the successor's log."""
    async with asyncio.timeout(60):
        while any(member.log.era != 1 for member in members):
            await asyncio.sleep(0.02)


async def tail_of_a_lost_sequencer(consortium, blocks):
    """Its last checkpoint, of blocks that nobody else has and a takeover has left out."""
    await grown(consortium, 2)
    await consortium.stop("operator")
    await consortium.stop("regulator")
    bank = consortium.members["bank"]
    for number in range(blocks):
        with pytest.raises(PeerLost):
            await bank.submit(registration(consortium.spec, "bank", f"tail{number}"), patience=0.3)
    tail = bank.log.note(bank.log.size)
    await consortium.stop("bank")
    consortium.start("operator")
    consortium.start("regulator")
    await taken_over(consortium)
    return tail


async def test_who_lost_its_ledger_does_not_sign_for_a_sequencer_it_has_helped_to_replace(tmp_path):
    """The mark lies with the key. Without it two logs would be final, and nobody would have lied."""
    async with Consortium(tmp_path) as consortium:
        await grown(consortium, 2)
        await consortium.stop("bank")
        await taken_over(consortium)
        size = await grown(consortium, 3)
        async with asyncio.timeout(60):
            while consortium.members["regulator"].log.final_size < size:
                await asyncio.sleep(0.02)
        await consortium.stop("regulator")
        await consortium.lose("operator", mark=False)
        bank = consortium.start("bank")
        operator = consortium.start("operator", lost=True, had=size)
        before = bank.log.final_size
        for number in range(4):
            with pytest.raises(PeerLost):
                await bank.submit(registration(consortium.spec, "bank", f"x{number}"), patience=1.0)
        assert (bank.log.era, bank.log.final_size) == (0, before)
        consortium.start("regulator")
        await of_the_takeover(bank, operator)
        await filled(consortium, size)


async def test_an_old_seal_of_a_sequencer_that_orders_again_halts_nobody(tmp_path):
    async with Consortium(tmp_path) as consortium:
        tail = await tail_of_a_lost_sequencer(consortium, 3)
        operator = consortium.members["operator"]
        many = [registration(consortium.spec, "operator", f"g{number}") for number in range(20)]
        await asyncio.gather(*map(operator.submit, many))
        await of_the_takeover(consortium.start("bank"))
        await filled(consortium, operator.log.size)
        subject = {"kind": "sequencer", "member": "bank"}
        proposal = transaction(
            consortium.spec,
            "operator",
            "vote.propose",
            {"subject": subject, "until": int(time.time()) + 10**6},
        )
        assert (await operator.submit(proposal)).accepted
        for name in ("bank", "regulator"):
            body = {"proposal": proposal.digest.hex(), "ballot": "yes"}
            await consortium.members[name].submit(transaction(consortium.spec, name, "vote.cast", body))
        async with asyncio.timeout(60):
            while operator.leader != "bank":
                await asyncio.sleep(0.02)
        for member in consortium.members.values():
            with pytest.raises(cosigner.Rejected):
                cosigner.compare(member.log, tail.encoded())


async def test_on_cometbft_nothing_is_signed_of_a_size_that_was_signed_before_a_takeover(tmp_path):
    """Two checkpoints of one size by one key convict its member, who has done no wrong here."""
    async with Consortium(tmp_path) as consortium:
        tail = await tail_of_a_lost_sequencer(consortium, 4)
        await consortium.stop("operator")
        bank = consortium.start("bank")
        await of_the_takeover(bank)
        await filled(consortium, consortium.members["regulator"].log.size)
        mark = bank.log.signed
        assert mark.size > bank.log.size
        await consortium.stop("bank")
    chains = [
        ChainLog(tmp_path / "bank", "bank", key("bank", "cosigning"), mark),
        ChainLog(tmp_path / "operator", "operator", key("operator", "cosigning")),
    ]
    for height in range(1, mark.size + 2 - chains[0].size):
        wanted = registration(consortium.spec, "operator", f"c{height}").data
        for chain in chains:
            executed, _ = chain.replica.prepare([wanted], int(time.time()) + height)
            chain.commit([executed], Position(height))
            chain.adopt([executed], Position(height))
    own, others = chains
    note = own.note(mark.size)
    keys = proving_keys(own.replica.state)
    assert disagreement(keys, tail, note) is None
    assert note.encoded() not in list(Snapshot(own).notes()), "what nobody has sealed is not exported"
    own.add_signatures(mark.size, others.note(mark.size).signatures)
    signed = own.note(mark.size)
    assert {line.name for line in signed.signatures} == {"operator", origin(own.replica.state)}
    assert disagreement(keys, tail, signed).convicted == ()
    assert signed.encoded() in list(Snapshot(own).notes())
    assert own.note(mark.size + 1).signatures[0].name != "unsigned"
    for chain in chains:
        chain.store.close()


def test_whoever_was_a_member_is_asked_until_the_ledger_is_whole_again(tmp_path):
    """Its beginning names the founder alone, who may be gone or send no more."""
    founder = MemberLog(tmp_path / "bank", "bank", key("bank", "cosigning"))
    founder.begin(genesis_of(("bank",)).value())
    log = MemberLog(tmp_path / "operator", "operator", key("operator", "cosigning"))
    around = Surroundings(
        open=None,
        wall=time.time,
        monotonic=time.monotonic,
        log=print,
        asked=lambda: ("holder", "regulator"),
        had=500,
    )
    bench = Workbench(log, around, "regulator")
    first = founder.store.block_from(0)
    cosigner.take(log, 0, tuple(leaf.data for leaf in first.leaves), first.note)
    assert bench.others() == ["bank", "holder", "regulator"]
    assert "of 500 leaves only 1" in bench.trouble()
    for each in (founder, log):
        each.store.close()
