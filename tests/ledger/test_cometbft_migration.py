"""Moving from the embedded engine to CometBFT: the history goes along, or nothing moves."""

import io
import json
import shutil

import pytest

from parley.core.errors import UsageError
from parley.ledger.block import Leaf
from parley.ledger.engines.cometbft.beginning import Beginning, Carried, Founding
from parley.ledger.engines.cometbft.migration import carried, genesis_members
from parley.ledger.engines.embedded.prove import Snapshot, prove, trust
from parley.ledger.export import export
from parley.ledger.merkle import inclusion_proof, leaf_hash, node_hash, verify_inclusion
from parley.ledger.merkle import root as root_of
from parley.ledger.proof import verify_receipt
from parley.ledger.verifier import verify

from tests.contract import digest, key
from tests.contract_moves import MEMBERS
from tests.ledger.chains import NODES, Chain
from tests.ledger.moving import Author, end_embedded
from tests.ledger.test_contract_application import replayed


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("embedded")
    return folder, end_embedded(folder)


@pytest.fixture
def moved(template, tmp_path):
    """A member's folder with the embedded ledger in it, and how the embedded engine ended."""
    folder, ended = template
    shutil.copytree(folder, tmp_path / "bank")
    return tmp_path / "bank", ended


def registration(ended, name="after"):
    body = {"name": name, "schema": digest("s"), "rows": 1, "root": digest("r")}
    return Author(ended.consortium).signed("retailer", "table.register", body)


def opened(folder, beginning, name="bank"):
    return Chain(folder, name, beginning)


def test_the_log_goes_on_behind_the_embedded_one(moved):
    folder, ended = moved
    beginning = carried(ended.replica, ended.final, NODES)
    assert Beginning.read(json.dumps(beginning.app_state()).encode()) == beginning
    chain = opened(folder, beginning)
    chain.begin()
    chain.decide([])
    result = chain.decide([registration(ended).data])
    assert [one.code for one in result.tx_results] == [0]
    size = len(ended.leaves)
    assert chain.leaves[:size] == ended.leaves
    assert chain.log.root_at(size) == ended.replica.frontier.root()
    assert chain.log.replica.height == ended.replica.height + 1
    assert chain.roots == replayed(chain.leaves)
    hashes = [leaf_hash(leaf) for leaf in chain.leaves]
    proof = inclusion_proof(1, size + 1, lambda level, at: node(hashes, level, at))
    assert verify_inclusion(hashes[1], 1, size + 1, proof, root_of(chain.leaves))
    receipt = prove(chain.log, ended_digest(chain)).encoded()
    assert verify_receipt(receipt, trust(chain.log), quorum=1).cosigners == ("bank",)
    exported = io.BytesIO()
    export(Snapshot(chain.log), exported)
    verified = verify(
        exported.getvalue().splitlines(keepends=True), consortium=ended.final.text.split("\n")[0]
    )
    assert (verified.leaves, verified.final, verified.cosigners) == (size + 1, size, ("bank",))
    chain.reopen()
    assert chain.height == 2
    chain.log.store.close()


def ended_digest(chain):
    """The digest of the last transaction."""
    return Leaf.decoded(chain.leaves[-1]).opened().digest


def node(hashes, level, at):
    if level == 0:
        return hashes[at]
    return node_hash(node(hashes, level - 1, 2 * at), node(hashes, level - 1, 2 * at + 1))


def test_the_validators_are_the_active_members_with_their_cosigning_keys(moved):
    _, ended = moved
    members = genesis_members(ended.replica.state, NODES)
    assert {one.name: one.public_key for one in members} == {
        name: key(name, "cosigning").public for name in MEMBERS
    }


def test_a_party_with_another_state_does_not_begin(moved, tmp_path):
    folder, _ = moved
    other = end_embedded(tmp_path / "other", seed=22)
    chain = opened(folder, carried(other.replica, other.final, NODES))
    with pytest.raises(UsageError) as raised:
        chain.begin()
    assert raised.value.code in ("carried-differs", "carried-height")
    assert chain.height == 0
    chain.log.store.close()


def test_a_party_without_its_ledger_does_not_begin(moved, tmp_path):
    _, ended = moved
    chain = opened(tmp_path / "empty", carried(ended.replica, ended.final, NODES))
    with pytest.raises(UsageError, match="has no ledger"):
        chain.begin()
    chain.log.store.close()


def test_a_chain_that_begins_anew_does_not_begin_over_a_ledger(moved):
    folder, ended = moved
    chain = opened(folder, Beginning(Founding(ended.spec.value()), NODES))
    with pytest.raises(UsageError, match="begins another"):
        chain.begin()
    chain.log.store.close()


def test_a_checkpoint_without_a_majority_is_not_carried(tmp_path):
    ended = end_embedded(tmp_path / "bank", cosigners=("bank", "operator"))
    with pytest.raises(UsageError, match="2 of 4 members"):
        carried(ended.replica, ended.final, NODES)
    chain = opened(tmp_path / "bank", Beginning(Carried(ended.final.text), NODES))
    with pytest.raises(UsageError, match="2 of 4 members"):
        chain.begin()
    chain.log.store.close()


def test_an_embedded_log_that_ends_too_early_is_not_carried(tmp_path):
    ended = end_embedded(tmp_path, height_off=1)
    with pytest.raises(UsageError, match="the members have voted for cometbft"):
        carried(ended.replica, ended.final, NODES)


def test_the_embedded_engine_seals_nothing_from_the_height_of_the_move_on(tmp_path):
    with pytest.raises(UsageError, match="does not hold the key"):
        end_embedded(tmp_path, height_off=-1)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"nodes":{}}', b'{"checkpoint":1,"nodes":{}}'])
def test_an_app_state_of_another_form_is_refused(content):
    with pytest.raises(UsageError, match="app_state"):
        Beginning.read(content)
