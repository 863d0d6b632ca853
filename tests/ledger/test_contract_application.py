"""The contract behind CometBFT, without a node: blocks, empty ones, crashes, validators, peers."""

import contextlib
import itertools
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from parley.core.errors import UsageError
from parley.ledger.block import Leaf
from parley.ledger.checkpoint import Checkpoint
from parley.ledger.engines.cometbft.application import ACCEPTED, Offence, ValidatorPower
from parley.ledger.engines.cometbft.arrivals import COMPANY, Arrivals
from parley.ledger.engines.cometbft.contract_application import DROPPED, REFUSED, STATE
from parley.ledger.engines.cometbft.files import BLOCK_BYTES, Pace
from parley.ledger.engines.cometbft.keys import address
from parley.ledger.engines.cometbft.log import app_hash
from parley.ledger.engines.cometbft.parts import MisbehaviourKind
from parley.ledger.engines.embedded.log import MemberLog
from parley.ledger.merkle import Frontier
from parley.ledger.replica import Replica

from tests.contract import Ledger, digest, key
from tests.contract_moves import MEMBERS
from tests.ledger.chains import NEWCOMER, NODES, founded
from tests.ledger.histories import History

ROOT = Path(__file__).parents[2]


class Signing(Ledger):
    """Signs transactions for a chain; what it executes itself is only there to know what to sign."""

    def __init__(self, engine="cometbft", sequencer=None):
        super().__init__(MEMBERS, engine=engine, sequencer=sequencer)
        self.numbers = itertools.count()

    def tx(self, sender, kind, body, **options):
        return self.signed(sender, kind, body, nonce=f"{next(self.numbers)}", **options).data

    def table(self, owner="bank", name="table"):
        body = {"name": name, "schema": digest("s"), "rows": 10, "root": digest("r")}
        return self.tx(owner, "table.register", body)

    def voted(self, chain, subject, *voters):
        """Decide blocks in which the voters accept a subject; the result of the last one."""
        proposer, *others = voters
        proposed = self.signed(proposer, "vote.propose", {"subject": subject, "until": 1_790_050_000})
        result = chain.decide([proposed.data])
        for voter in others:
            ballot = {"proposal": proposed.digest.hex(), "ballot": "yes"}
            result = chain.decide([self.tx(voter, "vote.cast", ballot)])
        return result


@pytest.fixture
def ledger():
    return Signing()


@pytest.fixture
def chain(tmp_path, ledger):
    chain = founded(tmp_path, ledger.spec)
    yield chain
    chain.log.store.close()


# Blocks


def test_a_transaction_gets_a_leaf_and_a_receipt(chain, ledger):
    tx, refused = ledger.table(), ledger.table("regulator")
    result = chain.decide([tx, refused])
    assert [one.code for one in result.tx_results] == [ACCEPTED, REFUSED]
    assert json.loads(result.tx_results[1].data)["code"] == "role-not-allowed"
    assert [Leaf.decoded(leaf).signed for leaf in chain.leaves[1:]] == [tx, refused]
    assert (chain.height, chain.log.replica.height) == (1, 1)


def test_words_of_a_receipt_are_not_agreed_on(chain, ledger):
    [result] = chain.decide([ledger.table("regulator")]).tx_results
    assert "reason" not in json.loads(result.data)
    assert "role" in result.log


def test_a_block_without_effect_changes_neither_app_hash_nor_height_of_the_ledger(chain, ledger):
    first = chain.decide([ledger.table()])
    assert chain.decide([]).app_hash == first.app_hash
    assert (chain.height, chain.log.replica.height, chain.log.size) == (2, 1, 2)
    assert chain.decide([ledger.table(name="other")]).app_hash != first.app_hash
    assert chain.log.replica.height == 2


def test_the_app_hash_is_that_of_the_checkpoint(chain, ledger):
    result = chain.decide([ledger.table()])
    note = chain.log.note(chain.log.size)
    assert app_hash(Checkpoint.parse(note.text)) == result.app_hash


def test_the_time_of_a_block_is_whole_seconds_and_never_goes_back(chain, ledger):
    chain.decide([ledger.table(name="a")], 1_800_000_000)
    chain.decide([ledger.table(name="b")], 1_700_000_000)
    assert [Leaf.decoded(leaf).time for leaf in chain.leaves[1:]] == [1_800_000_000] * 2


def test_a_proposal_leaves_out_what_may_not_be_executed(chain, ledger):
    good, twice = ledger.table(name="a"), ledger.table(name="b")
    strange = Signing(sequencer="bank", engine="embedded").table()
    assert list(chain.propose([b"{", good, twice, strange, twice])) == [good, twice]
    for bad in ([b"{"], [good, strange], [good, good]):
        assert not chain.application.process(bad, 1, 0)


def test_a_proposal_has_what_fits(chain, ledger):
    txs = [ledger.table(name=f"t{number}") for number in range(20)]
    chosen = chain.propose(txs, 3 * len(txs[0]) + 20)
    assert list(chosen) == txs[:3]


def test_a_proposal_of_commitments_waits_and_takes_along_what_has_come_in_since(chain, ledger):
    kinds = ("run.align", "round.commit", "rounds.commit")
    first, second, third = commitments = [ledger.tx("bank", kind, {"run": "r"}) for kind in kinds]
    urgent = ledger.table()
    application = chain.application
    for tx in commitments:
        assert application.pause([tx]) == 0  # of what it does not know somebody may be waiting for
        assert application.check_tx(tx).code == ACCEPTED
        assert application.pause([tx]) == COMPANY
    assert application.pause([]) == 0
    assert list(chain.propose([first])) == commitments
    assert list(chain.propose([first], len(first) + len(second) + 10)) == [first, second]
    assert application.check_tx(urgent).code == ACCEPTED
    assert application.pause([first]) == 0
    assert list(chain.propose([third])) == [third, first, second, urgent]
    chain.decide([first])
    assert list(chain.propose([])) == []
    assert Pace().propose / 1000 > 5 * COMPANY


def test_what_waits_for_a_proposal_is_no_more_than_a_block_holds():
    arrivals = Arrivals()
    size = BLOCK_BYTES // 4
    for number in range(6):
        arrivals.add(bytes([number]) * size, "rounds.commit")
    assert [tx[0] for tx in arrivals] == [0, 1, 2, 3]
    assert arrivals.pause([bytes([5]) * size]) == 0
    arrivals.clear()
    assert list(arrivals) == []


def test_the_door_of_the_mempool_is_that_of_the_contract(chain, ledger):
    check = chain.application.check_tx
    good = ledger.table()
    assert check(good).code == ACCEPTED
    assert check(b"nonsense").log.startswith("malformed: ")
    assert check(ledger.table() + b" ").code == DROPPED
    chain.decide([good])
    assert check(good).log.startswith("replayed: ")
    assert check(ledger.tx("bank", "no.such", {}, expires=0)).log.startswith("expired: ")


def test_a_decided_block_with_what_may_not_be_executed_gives_it_no_leaf(chain, ledger):
    good = ledger.table()
    result = chain.decide([b"{", good, good])
    assert [one.code for one in result.tx_results] == [DROPPED, ACCEPTED, DROPPED]
    assert chain.log.size == 2


# Crashes


def test_nothing_is_kept_before_commit(chain, ledger):
    chain.finalize([ledger.table()])
    chain.reopen()
    assert (chain.height, chain.log.store.size) == (0, 0)


def test_a_block_comes_again_after_a_crash_between_finalize_and_commit(chain, ledger):
    chain.decide([ledger.table(name="a")])
    again = [ledger.table(name="b")]
    first = chain.finalize(again)
    chain.reopen()
    assert chain.height == 1
    assert chain.decide(again) == first


def test_a_genesis_that_comes_again_begins_again(chain):
    assert chain.begin() == chain.begin()
    chain.decide([])
    assert (chain.height, chain.log.store.size) == (1, 1)


def test_a_disk_that_fails_in_commit_halts_and_the_block_comes_again(chain, ledger):
    chain.decide([])
    txs = [ledger.table()]
    chain.finalize(txs)
    chain.log.store._database.execute("PRAGMA query_only = ON")
    with pytest.raises(Exception, match="readonly"):
        chain.application.commit()
    assert "readonly" in chain.application.halted
    chain.reopen()
    assert (chain.height, chain.log.size) == (1, 1)
    chain.decide(txs)
    assert chain.log.size == 2


def test_a_changed_leaf_is_noticed(chain, ledger):
    chain.decide([ledger.table()])
    chain.log.store._database.execute("UPDATE leaf SET data = X'78' WHERE number = 1")
    with pytest.raises(UsageError, match="another hash"):
        chain.reopen()


def test_a_changed_state_is_noticed(chain, ledger):
    chain.decide([ledger.table()])
    chain.log.store._database.execute("DELETE FROM state WHERE key = 'member/operator'")
    with pytest.raises(UsageError, match="does not match"):
        chain.reopen()


# Members, validators, peers


def test_the_genesis_must_name_the_members_keys(chain):
    wrong = [ValidatorPower(key("bank", "cosigning").public, 10)]
    with pytest.raises(UsageError, match="not the active members with a node"):
        chain.begin(wrong)


def powers(result):
    return {one.public_key: one.power for one in result.validator_updates}


def test_a_removed_member_loses_its_vote_and_a_rotated_key_takes_over(chain, ledger):
    gone = ledger.voted(chain, {"kind": "remove", "member": "operator", "why": "left"}, "bank", "regulator")
    assert powers(gone) == {key("operator", "cosigning").public: 0}
    new = {"kind": "cosigning", "public": key("bank", "cosigning", 1).public.hex()}
    rotated = chain.decide([ledger.tx("bank", "key.rotate", new, signer=key("bank", "cosigning"))])
    assert powers(rotated) == {key("bank", "cosigning").public: 0, key("bank", "cosigning", 1).public: 10}


def test_behind_a_rotation_the_old_key_votes_for_one_block_more_whatever_is_killed_in_between(chain, ledger):
    old, new, last = (key("bank", "cosigning", generation).public for generation in range(3))

    def voting():
        before = chain.log.voting_key
        chain.reopen()
        assert chain.log.voting_key == before
        return before

    def rotate(signer, public):
        body = {"kind": "cosigning", "public": public.hex()}
        chain.decide([ledger.tx("bank", "key.rotate", body, signer=key("bank", "cosigning", signer))])

    assert voting() == old
    chain.decide([ledger.table()])
    assert voting() == old
    rotate(0, new)
    assert voting() == old
    rotate(1, last)
    assert voting() == new
    chain.decide([])
    assert voting() == last


def test_a_database_that_does_not_say_which_key_votes_goes_by_the_ledger(chain, ledger):
    new = {"kind": "cosigning", "public": key("bank", "cosigning", 1).public.hex()}
    chain.decide([ledger.tx("bank", "key.rotate", new, signer=key("bank", "cosigning"))])
    with contextlib.closing(sqlite3.connect(chain.log.store.path)) as database, database:
        database.execute("DROP TABLE voting")
    chain.reopen()
    assert chain.log.voting_key == key("bank", "cosigning", 1).public


def test_a_newcomer_votes_once_it_has_joined_and_announced_its_node_and_not_while_suspended(chain, ledger):
    public = key("insurer", "invitation").public.hex()
    admit = {
        "kind": "admit",
        "member": "insurer",
        "role": "holder",
        "invitation": public,
        "until": 1_790_050_000,
    }
    assert powers(ledger.voted(chain, admit, "bank", "operator", "regulator")) == {}
    keys = {kind: key("insurer", kind).public.hex() for kind in ("signing", "cosigning", "recovery")}
    joined = chain.decide([ledger.tx("insurer", "member.join", keys, signer=key("insurer", "invitation"))])
    assert powers(joined) == {}
    ready = chain.decide([ledger.tx("insurer", "member.announce-node", {"node": NEWCOMER, "address": ""})])
    assert powers(ready) == {key("insurer", "cosigning").public: 10}
    assert connects(chain, NEWCOMER)
    subject = {"kind": "suspend", "member": "insurer", "why": "x"}
    suspended = ledger.voted(chain, subject, "bank", "operator", "regulator")
    assert powers(suspended) == {key("insurer", "cosigning").public: 0}


def test_misbehaviour_is_noted_with_the_member(chain):
    offender = address(key("operator", "cosigning").public)
    offence = Offence(MisbehaviourKind.DUPLICATE_VOTE, offender, 10, 1, 0)
    before = chain.decide([]).app_hash
    assert chain.application.finalize([], 2, 0, [offence], b"").app_hash == before
    assert chain.application.offences == [("operator", offence)]


def connects(chain, node):
    return chain.application.query(f"/p2p/filter/id/{node}", b"", 0).code == ACCEPTED


def test_members_nodes_may_connect_until_another_is_announced_or_they_are_removed(chain, ledger):
    assert chain.application.query("/p2p/filter/addr/127.0.0.1:1", b"", 0).code == ACCEPTED
    assert all(connects(chain, NODES[name]) for name in MEMBERS)
    assert not connects(chain, NEWCOMER)
    assert not connects(chain, "00" * 20)
    chain.decide([ledger.tx("bank", "member.announce-node", {"node": "ab" * 20, "address": ""})])
    assert (connects(chain, "ab" * 20), connects(chain, NODES["bank"])) == (True, False)
    ledger.voted(chain, {"kind": "remove", "member": "operator", "why": "left"}, "bank", "regulator")
    assert not connects(chain, NODES["operator"])
    chain.reopen()
    assert connects(chain, NODES["regulator"])


def test_the_state_answers_questions(chain, ledger):
    chain.decide([ledger.table()])
    ask = chain.application.query
    assert json.loads(ask(STATE, b"table/bank/table", 0).value)["rows"] == 10
    assert (ask(STATE, b"table/bank/none", 0).code, ask("/other", b"", 0).code) == (REFUSED, REFUSED)


# The same everywhere


def fed(history, folder, *, crash_every=0):
    """A chain that decides a history in blocks of random length, some empty, proposing as a node would."""
    chain = founded(folder, history.spec)
    waiting = list(history.signed)
    while waiting:
        length = history.random.choice((0, 1, 2, 7, 40))
        chosen = chain.propose(waiting[:length])
        del waiting[:length]
        if crash_every and chain.height % crash_every == 0:
            chain.finalize(chosen)
            chain.reopen()
        chain.decide(chosen)
    return chain


def replayed(leaves):
    """A replica that executes the leaves block after block, as the verifier does."""
    replica = Replica({}, Frontier())
    replica.adopt(replica.execute(leaves[:1]))
    for _, block in itertools.groupby(leaves[1:], key=lambda leaf: Leaf.decoded(leaf).height):
        replica.adopt(replica.execute(list(block)))
    return replica.frontier.root(), replica.state.root


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.soak) for seed in (2, 3))])
def test_random_histories_end_alike_in_the_application_a_replay_and_under_crashes(tmp_path, seed):
    founding = {"engine": "cometbft", "sequencer": None}
    chain = fed(History(seed, 400, **founding), tmp_path / "a")
    crashing = fed(History(seed, 400, **founding), tmp_path / "b", crash_every=5)
    assert chain.roots == crashing.roots == replayed(chain.leaves)
    assert chain.log.size > 380
    for one in (chain, crashing):
        one.log.store.close()


def test_the_embedded_engine_ends_in_the_same_roots(tmp_path):
    """The same genesis and blocks, sealed by a sequencer and decided by CometBFT."""
    chain = fed(History(4, 500), tmp_path / "chain")
    log = MemberLog(tmp_path / "embedded", "bank", key("bank", "cosigning"))
    log.begin(chain.beginning.ledger.spec)
    for _, block in itertools.groupby(chain.leaves[1:], key=lambda leaf: Leaf.decoded(leaf).height):
        leaves = [Leaf.decoded(leaf) for leaf in block]
        executed, dropped = log.prepare([leaf.signed for leaf in leaves], leaves[0].time)
        assert not dropped
        log.seal(executed)
    assert (log.replica.frontier.root(), log.replica.state.root) == chain.roots
    for store in (log.store, chain.log.store):
        store.close()


HASHED = (
    "import sys, pathlib; from tests.ledger.histories import History; "
    "from tests.ledger.test_contract_application import fed; "
    "chain = fed(History(6, 300), pathlib.Path(sys.argv[1])); print(*(root.hex() for root in chain.roots))"
)


def test_hash_seeds_change_nothing(tmp_path):
    printed = set()
    for seed in ("0", "4242"):
        paths = os.pathsep.join(path for path in (str(ROOT), *sys.path) if path)
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": paths}
        command = [sys.executable, "-c", HASHED, tmp_path / seed]
        printed.add(
            subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
        )
    assert len(printed) == 1
