"""Members on CometBFT sign one another's checkpoints, so that whoever has no chain sees what is final."""

import asyncio
import io
import json
import time
from pathlib import Path

import msgspec
import pytest

from parley.core.errors import ParleyError
from parley.core.trace import Trace
from parley.ledger.block import Leaf
from parley.ledger.checkpoint import Checkpoint, fork_evidence
from parley.ledger.electorate import origin, proving_keys
from parley.ledger.engines.cometbft.witnessing import KEPT_OF_ONE, Transactions, Witnessing
from parley.ledger.engines.embedded import gossip
from parley.ledger.engines.embedded.prove import Snapshot
from parley.ledger.engines.evidence import convictions
from parley.ledger.export import export
from parley.ledger.notes import SignedNote, parse_note
from parley.ledger.verifier import verify
from parley.net.channel import CheckedChannel, Setting
from parley.net.memory import memory_pair
from parley.protocols.together import together

from tests.contract import key, spec
from tests.contract_moves import MEMBERS
from tests.ledger.chains import founded
from tests.ledger.liars import two_faced
from tests.ledger.test_contract_application import Signing

COMET = {"engine": "cometbft", "sequencer": None}
THREE = ("bank", "operator", "regulator")


class Member:
    """A member's ledger as the chain made it, and its side of the conversations."""

    def __init__(self, folder, name):
        self.name = name
        self.chain = founded(folder / name, spec(MEMBERS, **COMET), name)
        self.log, self.waiting, self.taken, self.lines = self.chain.log, (), [], []
        transactions = Transactions(lambda: self.waiting, self._take)
        self.witnessing = Witnessing(self.log, transactions, self.lines.append)

    async def _take(self, data):
        self.taken.append(data)

    async def call(self, other):
        near, far = memory_pair(self.name, other.name)
        async with asyncio.timeout(20):
            await together(
                _talk(near, gossip.CALLER, self.witnessing.as_caller),
                _talk(far, gossip.CALLED, other.witnessing.as_called),
            )


async def _talk(end, role, side):
    setting = Setting(gossip.STEPS, role, "ledger", Trace(time.monotonic), 20.0)
    async with CheckedChannel(end, setting) as channel:
        await side(channel)


@pytest.fixture
def members(tmp_path):
    three = [Member(tmp_path, name) for name in THREE]
    yield three
    for member in three:
        member.log.store.close()


def decide(members, *txs):
    for member in members:
        member.chain.decide(list(txs))


def exported(member):
    file = io.BytesIO()
    export(Snapshot(member.log), file)
    return verify(file.getvalue().splitlines(keepends=True))


async def test_a_checkpoint_gathers_signatures_until_a_majority_has_signed(members):
    bank, operator, regulator = members
    decide(members, Signing().table())
    assert (bank.log.size, exported(bank).final) == (2, 0)
    await bank.call(operator)
    assert (bank.log.cosigned_size, operator.log.cosigned_size) == (0, 0)  # two of four are no majority
    await bank.call(regulator)
    assert bank.log.cosigned_size == regulator.log.cosigned_size == 2
    found = exported(bank)
    assert (found.final, found.cosigners) == (2, THREE)
    bank.chain.reopen()
    assert bank.chain.log.cosigned_size == 2


async def test_a_member_that_is_further_on_signs_what_the_other_has(members):
    bank, operator, regulator = members
    ledger = Signing()
    decide(members, ledger.table())
    decide((operator, regulator), ledger.table(name="more"))
    for other in (operator, regulator):
        await bank.call(other)
    assert bank.log.cosigned_size == 2
    assert operator.log.cosigned_size == 0


# Another ledger than ours


def evidence(member):
    """What every file of evidence says, and its two notes."""
    files = sorted(member.chain.folder.glob("evidence-*.json"))
    return [(kept["what"], *kept["notes"]) for kept in map(json.loads, map(Path.read_bytes, files))]


def cosigners(member, size):
    return {line.name for line in member.log.note(size).signatures} - {origin(member.log.replica.state)}


async def test_a_member_with_another_ledger_stops_nobody_and_is_named_until_it_agrees(members, tmp_path):
    bank, operator, regulator = members
    ledger = Signing()
    decide((bank, regulator), ledger.table())
    operator.chain.decide([ledger.table(name="other")])
    for _ in range(2):
        with pytest.raises(ParleyError, match="log-differs"):
            await operator.call(bank)
    what = "operator signed another ledger of 2 leaves than ours"
    [(said, ours, theirs)] = evidence(bank)
    for data in (json.dumps({"what": said, "notes": [ours, theirs]}).encode(), b"{}", ours.encode()):
        with pytest.raises(ParleyError, match="evidence-proves-nothing"):
            convictions(bank.log.replica.state, data)
    assert (said, parse_note(ours.encode()).text) == (what, bank.log.note(2).text)
    assert parse_note(theirs.encode()).text == operator.log.note(2).text
    assert bank.lines == [bank.witnessing.trouble]
    assert bank.witnessing.trouble.startswith(what)
    assert bank.log.cosigned_size == 0

    decide((bank, regulator), ledger.table(name="more"))
    await bank.call(regulator)
    assert cosigners(bank, 3) == {"bank", "regulator"}

    again = Member(tmp_path / "again", "operator")  # it has fetched the ledger anew
    for leaf in bank.chain.leaves[1:]:
        again.chain.decide([Leaf.decoded(leaf).signed], Leaf.decoded(leaf).time)
    await again.call(bank)
    again.log.store.close()
    assert (bank.witnessing.trouble, bank.log.cosigned_size) == ("", 3)


async def test_who_has_signed_two_ledgers_is_convicted_on_the_ledger(members):
    bank, operator, _ = members
    ledger = Signing()
    decide(members, ledger.table())
    await bank.call(operator)
    junk = [line._replace(signature=bytes(72)) for line in bank.log.note(2).signatures if line.name == "bank"]
    two_faced(operator.log, junk)  # one bad line beside its own would spoil the proof
    with pytest.raises(ParleyError, match="member-equivocates"):
        await operator.call(bank)
    [(what, ours, theirs)] = evidence(bank)
    assert what == "operator signed two ledgers of 2 leaves"
    fork = fork_evidence(ours.encode(), theirs.encode(), [*proving_keys(bank.log.replica.state)])
    assert {signer.public for signer in fork.signers} == {key("operator", "cosigning").public}
    [file] = bank.chain.folder.glob("evidence-*.json")
    proofs = convictions(bank.log.replica.state, file.read_bytes())
    assert [*proofs] == ["operator"]
    body = {"proof": msgspec.to_builtins(proofs["operator"])}
    bank.chain.decide([ledger.tx("bank", "evidence.submit", body)])
    assert bank.log.replica.state.get("member/operator")["standing"] == "suspended"


async def test_who_lies_to_one_member_first_is_convicted_when_its_other_signature_comes_round(members):
    bank, operator, regulator = members
    ledger = Signing()
    decide(members, ledger.table())
    await operator.call(regulator)
    two_faced(operator.log)
    with pytest.raises(ParleyError, match="log-differs"):
        await operator.call(bank)
    await bank.call(regulator)
    what = "operator signed two ledgers of 2 leaves"
    assert what in [what for what, *_ in evidence(bank)]
    decide(members, ledger.table(name="more"))
    with pytest.raises(ParleyError, match="log-differs"):
        await operator.call(bank)
    assert len(evidence(bank)) == 2, "a convicted member needs no more proof"
    assert bank.witnessing.trouble.startswith(what)  # it stays convicted, whatever it signs after that
    assert not bank.log.withholds


async def test_a_checkpoint_that_nobody_has_signed_proves_nothing(members):
    bank, operator, regulator = members
    decide(members, Signing().table())
    two_faced(operator.log)
    lie = operator.log.note(2)
    for shown in (
        SignedNote(lie.text, ()),
        SignedNote(lie.text, tuple(line._replace(signature=line.signature[::-1]) for line in lie.signatures)),
        SignedNote(lie.text, bank.log.note(2).signatures),
        SignedNote(lie.text.replace(origin(bank.log.replica.state), "parley/else"), lie.signatures),
    ):
        operator.log.note = lambda _size, shown=shown: shown
        with pytest.raises(ParleyError, match="checkpoint-bad"):
            await operator.call(bank)
    assert (evidence(bank), bank.witnessing.trouble, bank.lines) == ([], "", [])
    await bank.call(regulator)
    assert cosigners(bank, 2) == {"bank", "regulator"}


async def test_a_member_from_whom_a_majority_differs_cosigns_no_more(members, tmp_path):
    bank, operator, regulator = members
    retailer = Member(tmp_path, "retailer")
    ledger = Signing()
    bank.chain.decide([ledger.table()])
    decide((operator, regulator, retailer), ledger.table(name="other"))
    await operator.call(regulator)
    with pytest.raises(ParleyError, match="log-differs"):
        await operator.call(bank)
    assert not bank.log.withholds  # two of four
    await operator.call(retailer)
    with pytest.raises(ParleyError, match="log-differs"):
        await operator.call(bank)
    retailer.log.store.close()
    who = "operator and regulator and retailer"
    assert f"{who} signed another ledger of 2 leaves than ours" in bank.witnessing.trouble
    assert bank.witnessing.trouble.endswith("this member cosigns no more")
    bank.chain.decide([ledger.table(name="more")])
    assert (bank.log.size, cosigners(bank, 3)) == (3, set())
    assert exported(bank).leaves == 3


# Transactions


async def test_a_transaction_that_does_not_come_in_is_given_to_the_other(members):
    bank, operator, _ = members
    bank.waiting = (Signing().table(),)
    await operator.call(bank)
    assert operator.taken == list(bank.waiting)


async def test_one_liar_fills_no_room_that_the_evidence_against_others_needs(members):
    bank, operator, regulator = members
    decide(members, Signing().table())
    true = bank.log.checkpoint()

    def lies(member, number):
        lie = Checkpoint.seal(true.origin, true.size, bytes([number]) * 32, true.state_root)
        note = lie.sign(key(member.name, "cosigning"))
        member.log.note = lambda _size: note

    for number in range(20):
        lies(operator, number)
        with pytest.raises(ParleyError):
            await operator.call(bank)
    assert len(evidence(bank)) == KEPT_OF_ONE
    lies(regulator, 99)
    with pytest.raises(ParleyError):
        await regulator.call(bank)
    assert len(evidence(bank)) == KEPT_OF_ONE + 1
