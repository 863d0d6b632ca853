"""A network of several nodes on this machine: for tests, demonstrations and a first look."""

import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from parley.ledger.engines.cometbft.files import (
    GenesisMember,
    NodeSettings,
    Pace,
    Peer,
    genesis_file,
    write_home,
)
from parley.ledger.engines.cometbft.keys import KeyPair, node_id

_HOST: Final = "127.0.0.1"
_PACE: Final = Pace()


@dataclass(frozen=True)
class LocalParty:
    """One party of a local network: its node, and the keys it signs with."""

    settings: NodeSettings
    node_key: KeyPair
    validator_key: KeyPair


def draw_parties(names: Sequence[str], root: Path, pace: Pace = _PACE) -> tuple[LocalParty, ...]:
    """Fresh keys, ports and homes under ``root`` for some parties, each a peer of all others."""
    ports = free_ports(len(names))
    keys = [KeyPair.generate() for _ in names]
    peers = [Peer(node_id(key.public_key), _HOST, port) for key, port in zip(keys, ports, strict=True)]
    return tuple(
        LocalParty(
            NodeSettings(
                home=root / name,
                name=name,
                listen_host=_HOST,
                listen_port=peer.port,
                peers=tuple(other for other in peers if other is not peer),
                pace=pace,
                loopback=True,
            ),
            key,
            KeyPair.generate(),
        )
        for name, key, peer in zip(names, keys, peers, strict=True)
    )


def write_network(parties: Sequence[LocalParty], chain_id: str, time: datetime, app_state: object) -> str:
    """Make the homes of the parties, all of them validators; returns the genesis they share."""
    members = [GenesisMember(one.settings.name, one.validator_key.public_key) for one in parties]
    genesis = genesis_file(chain_id, time, members, app_state)
    for party in parties:
        write_home(party.settings, genesis, party.node_key, party.validator_key)
    return genesis


def free_ports(count: int) -> tuple[int, ...]:
    """Distinct TCP ports that nobody listens on at the moment."""
    with ExitStack() as open_sockets:
        sockets = [open_sockets.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((_HOST, 0))
        return tuple(one.getsockname()[1] for one in sockets)
