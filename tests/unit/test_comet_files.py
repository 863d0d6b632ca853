"""A node's files: keys as CometBFT writes them, configuration and genesis as it reads them."""

import json
import stat
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from parley.core.errors import UsageError
from parley.ledger.engines.cometbft import binary, keys
from parley.ledger.engines.cometbft.files import (
    GenesisMember,
    NodeSettings,
    Peer,
    config_file,
    genesis_file,
    rewrite_config,
    write_home,
)
from parley.ledger.engines.cometbft.local import draw_parties, write_network
from parley.ledger.engines.cometbft.peers import PeerAddress, PeerId, peer_question

FILES = json.loads((Path(__file__).parents[1] / "data" / "abci_vectors" / "vectors.json").read_text())[
    "files"
]
KEY = keys.KeyPair(bytes.fromhex(FILES["seed"]))
NOW = datetime(2026, 2, 3, 4, 5, 6, 789, UTC)


def settings_in(home):
    peer = Peer(keys.node_id(KEY.public_key), "bank.example", 26656)
    return NodeSettings(home, 'the "bank"', "0.0.0.0", 26656, (peer,))  # noqa: S104 (peers connect from outside)


def test_key_files_are_byte_for_byte_those_of_cometbft():
    assert KEY.node_key_file() == FILES["node_key"]
    assert KEY.validator_key_file() == FILES["priv_validator_key"]
    assert FILES["priv_validator_state"] == keys.FRESH_VALIDATOR_STATE


def test_a_key_does_not_show_its_secret():
    assert KEY.seed.hex() not in repr(KEY)
    assert KEY.public_key.hex() in repr(KEY)


def test_generated_keys_differ():
    assert keys.KeyPair.generate() != keys.KeyPair.generate()


def test_the_configuration_is_toml_with_what_we_rely_on(tmp_path):
    config = tomllib.loads(config_file(settings_in(tmp_path)))
    assert config["moniker"] == 'the "bank"'
    assert config["proxy_app"] == f"unix://{tmp_path}/abci.sock"
    assert config["filter_peers"] is True
    assert config["consensus"]["create_empty_blocks"] is False
    assert config["p2p"]["pex"] is False
    assert config["p2p"]["addr_book_strict"] is True
    assert config["p2p"]["persistent_peers"] == f"{keys.node_id(KEY.public_key)}@bank.example:26656"
    assert config["rpc"]["laddr"].startswith("unix://")


@pytest.mark.parametrize(("name", "moniker"), [("Bänk 🏦", "B?nk ?"), ("\t", "?"), ('a"b\\', 'a"b\\')])
def test_any_name_of_a_party_makes_a_moniker_that_nodes_accept(tmp_path, name, moniker):
    settings = NodeSettings(
        tmp_path / "🏦", name, "::1", 5, (Peer(keys.node_id(KEY.public_key), "fe80::1", 6),)
    )
    config = tomllib.loads(config_file(settings))
    assert config["moniker"] == moniker
    assert config["proxy_app"] == f"unix://{tmp_path}/🏦/abci.sock"
    assert config["p2p"]["laddr"] == "tcp://[::1]:5"
    assert config["p2p"]["persistent_peers"].endswith("@[fe80::1]:6")


def test_the_genesis_names_the_members():
    members = [GenesisMember("bank", KEY.public_key, 3)]
    genesis = json.loads(genesis_file("consortium", NOW, members, {"rules": 1}))
    assert genesis["genesis_time"] == "2026-02-03T04:05:06.000789Z"
    assert genesis["app_state"] == {"rules": 1}
    [validator] = genesis["validators"]
    assert (validator["name"], validator["power"]) == ("bank", "3")
    assert validator["address"] == keys.address(KEY.public_key).hex().upper()


@pytest.mark.parametrize(
    ("chain_id", "powers", "code"),
    [
        ("", [1], "chain-id-length"),
        ("x" * 51, [1], "chain-id-length"),
        ("x", [], "genesis-power"),
        ("x", [1, 0], "genesis-power"),
    ],
)
def test_a_genesis_that_no_node_would_take_is_refused(chain_id, powers, code):
    members = [GenesisMember("bank", KEY.public_key, power) for power in powers]
    with pytest.raises(UsageError) as caught:
        genesis_file(chain_id, NOW, members, {})
    assert caught.value.code == code


def test_a_home_is_written_once_for_this_user_alone(tmp_path):
    settings = settings_in(tmp_path / "home")
    write_home(settings, "{}", KEY, KEY)
    written = [path for path in settings.home.rglob("*") if path.is_file()]
    assert {path.name for path in written} == {
        "config.toml",
        "genesis.json",
        "node_key.json",
        "priv_validator_key.json",
        "priv_validator_state.json",
    }
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o600}
    assert stat.S_IMODE(settings.home.stat().st_mode) == 0o700
    with pytest.raises(UsageError, match="holds a node already"):
        write_home(settings, "{}", KEY, KEY)


def test_a_configuration_is_rewritten_without_the_rest(tmp_path):
    settings = settings_in(tmp_path / "home")
    write_home(settings, "{}", KEY, KEY)
    rewrite_config(NodeSettings(settings.home, "bank", "127.0.0.1", 1, ()))
    config = tomllib.loads((settings.home / "config" / "config.toml").read_text())
    assert (config["moniker"], config["p2p"]["persistent_peers"]) == ("bank", "")


def test_a_home_too_deep_for_its_sockets_is_refused(tmp_path):
    with pytest.raises(UsageError, match="shorter path"):
        write_home(settings_in(tmp_path / ("x" * 100)), "{}", KEY, KEY)


def test_parties_of_a_local_network_know_each_other(tmp_path):
    parties = draw_parties(["a", "b", "c"], tmp_path)
    write_network(parties, "consortium", NOW, {})
    ports = {party.settings.listen_port for party in parties}
    assert len(ports) == 3
    for party in parties:
        assert {peer.port for peer in party.settings.peers} == ports - {party.settings.listen_port}
    geneses = {(party.settings.home / "config" / "genesis.json").read_bytes() for party in parties}
    assert len(geneses) == 1


def test_questions_about_peers_are_told_from_others():
    assert peer_question("/p2p/filter/addr/10.0.0.1:4000") == PeerAddress("10.0.0.1:4000")
    assert peer_question("/p2p/filter/id/00ff") == PeerId("00ff")
    assert peer_question("/state") is None


def program(path, prints):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {prints}\n")
    path.chmod(0o755)
    return path


def test_the_binary_is_the_named_one_else_on_the_path_else_where_go_installs(tmp_path):
    named = program(tmp_path / "named", binary.VERSION)
    found = program(tmp_path / "path" / "cometbft", binary.VERSION)
    installed = program(tmp_path / "home" / "go" / "bin" / "cometbft", binary.VERSION)
    environment = {"HOME": str(tmp_path / "home")}
    assert binary.find_binary(environment) == installed
    environment["PATH"] = str(tmp_path / "path")
    assert binary.find_binary(environment) == found
    environment[binary.SETTING] = str(named)
    assert binary.find_binary(environment) == named


def test_without_a_binary_the_command_that_installs_it_is_named(tmp_path):
    with pytest.raises(UsageError) as caught:
        binary.find_binary({"HOME": str(tmp_path)})
    assert f"go install github.com/cometbft/cometbft/cmd/cometbft@v{binary.VERSION}" in str(caught.value)


@pytest.mark.parametrize(
    ("prints", "code"), [("0.38.0", "cometbft-version"), ("; exit 3", "cometbft-broken")]
)
def test_another_program_is_not_taken_for_the_pinned_one(tmp_path, prints, code):
    other = program(tmp_path / "other", prints)
    with pytest.raises(UsageError) as caught:
        binary.find_binary({binary.SETTING: str(other)})
    assert caught.value.code == code
