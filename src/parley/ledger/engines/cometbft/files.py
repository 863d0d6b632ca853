"""The files of a node's home directory: configuration, genesis, keys.

    HOME/config/config.toml              what differs from CometBFT's defaults
    HOME/config/genesis.json             the same, byte for byte, in every home of the consortium
    HOME/config/node_key.json            proves the node to its peers
    HOME/config/priv_validator_key.json  signs votes
    HOME/data/priv_validator_state.json  what the key signed last; losing it risks signing twice
    HOME/abci.sock, HOME/rpc.sock        the node to the ledger, the ledger to the node

Sources: CometBFT's configuration reference; its genesis format ("Using CometBFT", section "Genesis");
`keys` for the key files. Whole numbers of 64 bits are strings in these JSON files.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from parley.core.errors import UsageError
from parley.ledger.engines.cometbft.keys import (
    FRESH_VALIDATOR_STATE,
    KeyPair,
    address,
    public_key_json,
)
from parley.ledger.engines.cometbft.server import check_socket_path

BLOCK_BYTES: Final = 4 * 1024 * 1024
"""Bytes of the largest block, headers and votes included."""

TX_BYTES: Final = 1024 * 1024
"""Bytes of the largest transaction that a mempool takes."""

MAX_CHAIN_ID: Final = 50

_RPC_BODY: Final = 2 * TX_BYTES
"""A transaction travels to the node in base64, with a little JSON around it."""

_EVIDENCE_BLOCKS: Final = 100_000
_EVIDENCE_NANOSECONDS: Final = 14 * 24 * 3600 * 1_000_000_000
_EVIDENCE_BYTES: Final = 256 * 1024


@dataclass(frozen=True)
class GenesisMember:
    """A party of the first validator set.

    Args:
        name: as the genesis file and other nodes' logs show it.
        public_key: its validator key, 32 bytes.
        power: its voting power; equal for all unless the consortium agreed otherwise.

    """

    name: str
    public_key: bytes
    power: int = 10


@dataclass(frozen=True)
class Peer:
    """Another party's node.

    Args:
        node: its node id.
        host: name or IP address under which it listens.
        port: TCP port.

    """

    node: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.node}@{_endpoint(self.host, self.port)}"


@dataclass(frozen=True)
class Pace:
    """How long a node waits, in milliseconds; longer links need longer waits.

    Args:
        propose: for the proposal of a round, before voting for none.
        vote: for the votes that are still missing once two thirds are there.
        step: by which each further round of a height waits longer.
        commit: after a block, before the next height begins; transactions gather meanwhile.
        rest: with nothing to write, before an empty block. A node that is still catching up throws away
            the transactions it is sent, and they are not sent twice; the empty block brings the nodes
            back to one height, where whoever holds such a transaction proposes it.
        gossip: before looking again what a peer lacks; at rest this is most of what a node does.

    """

    propose: int = 1000
    vote: int = 300
    step: int = 300
    commit: int = 100
    rest: int = 20_000
    gossip: int = 100


@dataclass(frozen=True)
class NodeSettings:
    """One party's node.

    Args:
        home: its directory.
        name: the party, in the logs of other nodes.
        listen_host: address at which it listens for peers.
        listen_port: TCP port there.
        peers: the nodes of all other parties.
        pace: how long it waits.
        loopback: several nodes of the consortium share this machine.

    """

    home: Path
    name: str
    listen_host: str
    listen_port: int
    peers: tuple[Peer, ...]
    pace: Pace = Pace()
    loopback: bool = False

    @property
    def abci_socket(self) -> Path:
        """Where the ledger answers the node."""
        return self.home / "abci.sock"

    @property
    def rpc_socket(self) -> Path:
        """Where the node answers the ledger."""
        return self.home / "rpc.sock"


def genesis_file(chain_id: str, time: datetime, members: Sequence[GenesisMember], app_state: object) -> str:
    """``genesis.json``: what all parties agree on before the first block.

    Args:
        chain_id: the consortium's chain, 1 to 50 characters.
        time: when it begins; the first block has this time.
        members: the first validators.
        app_state: a JSON value, given to the application as it stands.

    Raises:
        UsageError: no member, a power below 1, or a chain id of the wrong length.

    """
    _check_genesis(chain_id, members)
    content = {
        "genesis_time": time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "chain_id": chain_id,
        "initial_height": "1",
        "consensus_params": {
            "block": {"max_bytes": str(BLOCK_BYTES), "max_gas": "-1"},
            "evidence": {
                "max_age_num_blocks": str(_EVIDENCE_BLOCKS),
                "max_age_duration": str(_EVIDENCE_NANOSECONDS),
                "max_bytes": str(_EVIDENCE_BYTES),
            },
            "validator": {"pub_key_types": ["ed25519"]},
            "version": {"app": "0"},
            "abci": {"vote_extensions_enable_height": "0"},
        },
        "validators": [
            {
                "address": address(member.public_key).hex().upper(),
                "pub_key": public_key_json(member.public_key),
                "power": str(member.power),
                "name": member.name,
            }
            for member in members
        ],
        "app_hash": "",
        "app_state": app_state,
    }
    return json.dumps(content, indent=2)


def _check_genesis(chain_id: str, members: Sequence[GenesisMember]) -> None:
    if not 1 <= len(chain_id) <= MAX_CHAIN_ID:
        raise UsageError(
            "chain-id-length",
            f"chain id {chain_id!r} has {len(chain_id)} characters, expected 1 to {MAX_CHAIN_ID}",
            remedy="choose a shorter name for the consortium",
        )
    if not members or any(member.power < 1 for member in members):
        raise UsageError(
            "genesis-power",
            "a genesis needs at least one validator, each with a power of 1 or more",
            remedy="name the founding members of the consortium",
        )


def config_file(settings: NodeSettings) -> str:
    """``config.toml``: what differs from CometBFT's defaults, and what must never follow them."""
    pace = settings.pace
    sections: dict[str, dict[str, str | int | bool]] = {
        "": {
            "proxy_app": f"unix://{settings.abci_socket}",
            "abci": "socket",
            "moniker": _printable(settings.name),
            "filter_peers": True,
            "log_format": "json",
            "log_level": "main:info,state:info,blocksync:info,*:error",
        },
        "rpc": {
            "laddr": f"unix://{settings.rpc_socket}",
            "unsafe": False,
            "max_body_bytes": _RPC_BODY,
            "max_open_connections": 64,
        },
        "p2p": {
            "laddr": f"tcp://{_endpoint(settings.listen_host, settings.listen_port)}",
            "persistent_peers": ",".join(str(peer) for peer in settings.peers),
            "persistent_peers_max_dial_period": "5s",
            "unconditional_peer_ids": ",".join(peer.node for peer in settings.peers),
            "pex": False,
            "addr_book_strict": not settings.loopback,
            "allow_duplicate_ip": settings.loopback,
        },
        "mempool": {"max_tx_bytes": TX_BYTES, "size": 5000, "max_txs_bytes": 64 * TX_BYTES},
        "consensus": {
            "create_empty_blocks": False,
            "create_empty_blocks_interval": _milliseconds(pace.rest),
            "timeout_propose": _milliseconds(pace.propose),
            "timeout_propose_delta": _milliseconds(pace.step),
            "timeout_prevote": _milliseconds(pace.vote),
            "timeout_prevote_delta": _milliseconds(pace.step),
            "timeout_precommit": _milliseconds(pace.vote),
            "timeout_precommit_delta": _milliseconds(pace.step),
            "timeout_commit": _milliseconds(pace.commit),
            "peer_gossip_sleep_duration": _milliseconds(pace.gossip),
        },
        "instrumentation": {"prometheus": False},
    }
    return "\n".join(_section(name, values) for name, values in sections.items())


def _section(name: str, values: dict[str, str | int | bool]) -> str:
    # a JSON string, number or truth value is the same in TOML, as long as nothing is escaped in pairs
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    return "\n".join([f"[{name}]"] * bool(name) + lines) + "\n"


def _printable(name: str) -> str:
    """The name as nodes accept it from each other: printable ASCII, not empty."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in name).strip() or "?"


def _endpoint(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _milliseconds(count: int) -> str:
    return f"{count}ms"


def write_home(settings: NodeSettings, genesis: str, node_key: KeyPair, validator_key: KeyPair) -> None:
    """Make a node's home, readable by this user alone.

    Raises:
        UsageError: the directory holds a node already, or its path is too long for the sockets.

    """
    check_socket_path(settings.abci_socket)
    config, data = settings.home / "config", settings.home / "data"
    if data.exists() and any(data.iterdir()):
        raise UsageError(
            "node-home-taken",
            f"{settings.home} holds a node already",
            remedy="choose another directory; a validator key that signs for two nodes is misbehaviour",
        )
    for directory in (settings.home, config):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(config / "config.toml", config_file(settings))
    _write(config / "genesis.json", genesis)
    _write(config / "node_key.json", node_key.node_key_file())
    _write(config / "priv_validator_key.json", validator_key.validator_key_file())
    data.mkdir(mode=0o700, exist_ok=True)
    _write(data / "priv_validator_state.json", FRESH_VALIDATOR_STATE)


def rewrite_config(settings: NodeSettings) -> None:
    """Replace the configuration of a home, for example because a peer moved; acts at the next start."""
    _write(settings.home / "config" / "config.toml", config_file(settings))


def rewrite_validator_key(settings: NodeSettings, validator_key: KeyPair) -> None:
    """Replace the key that signs votes, because the ledger has another now; acts at the next start.

    What was signed last stays noted, so the new key signs later blocks only.
    """
    _write(settings.home / "config" / "priv_validator_key.json", validator_key.validator_key_file())


def validator_key(settings: NodeSettings) -> bytes:
    """The public half, 32 bytes, of the key with which the node of a home votes when it starts next."""
    held = json.loads((settings.home / "config" / "priv_validator_key.json").read_bytes())
    return base64.b64decode(held["pub_key"]["value"])


def _write(path: Path, content: str) -> None:
    path.touch(mode=0o600)
    path.write_text(content, encoding="utf-8")
