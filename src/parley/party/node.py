"""The party's CometBFT node: preparing it, and opening the engine that runs it."""

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from parley.core.errors import UsageError
from parley.ledger.contract.consortium import ENGINE, Engine
from parley.ledger.contract.endpoints import Node, node_path
from parley.ledger.contract.members import Member
from parley.ledger.contract.state import Draft, View
from parley.ledger.encoding import Value
from parley.ledger.engines.cometbft.binary import find_binary
from parley.ledger.engines.cometbft.files import (
    NodeSettings,
    Peer,
    rewrite_config,
    rewrite_validator_key,
    write_home,
)
from parley.ledger.engines.cometbft.keys import KeyPair, node_id
from parley.ledger.engines.cometbft.log import ChainLog
from parley.ledger.engines.cometbft.member import CometMember, NodePlace
from parley.ledger.engines.cometbft.migration import genesis_of
from parley.ledger.engines.cometbft.server import check_socket_path
from parley.ledger.engines.embedded.high_water import HIGH_WATER_FILE, HighWater
from parley.ledger.engines.embedded.workbench import Opening
from parley.party.address import address_of
from parley.party.chronicle import Chronicle
from parley.party.ledger import marks_of
from parley.party.rotation import settle
from parley.store.home import Home, NodePlan
from parley.store.keys import NODE, LedgerKeys, cosigning_seed, next_cosigning, seed_of
from parley.store.settings import reachable


@dataclass(frozen=True)
class Around:
    """What the engine needs of the world: the environment, conversations, and lines for the operator."""

    environment: Mapping[str, str]
    opening: Opening
    log: Callable[[str], None]


def prepare(home: Home, listen: str, address: str, environment: Mapping[str, str]) -> dict[str, Value]:
    """Make our node's key and note where it listens; returns the body of its announcement.

    Raises:
        UsageError: an address is none, the program is missing, or the folder's path is too long.
    """
    address_of(listen)
    plan = NodePlan(listen, reachable(home.settings.party, address or listen, "--address HOST:PORT"))
    address_of(plan.address)
    find_binary(environment)
    check_socket_path(_settings(home, plan, ()).abci_socket)
    home.keep_node(plan)
    return announcement(home, plan)


def announcement(home: Home, plan: NodePlan) -> dict[str, Value]:
    """The body of the transaction that says which node is ours."""
    return {"node": node_id(_node_key(home).public_key), "address": plan.address}


def is_announced(view: View, home: Home, plan: NodePlan) -> bool:
    """Whether the ledger has our node as it is prepared."""
    known = Draft(view).find(Node, node_path(home.settings.party))
    return known is not None and {"node": known.node, "address": known.address} == announcement(home, plan)


def without_node(view: View) -> list[str]:
    """The active members that have announced no node, ascending."""
    draft = Draft(view)
    members = [draft.known(Member, path) for path in draft.paths("member/")]
    return [
        each.name for each in members if each.standing == "active" and not draft.has(node_path(each.name))
    ]


def has_moved(home: Home) -> bool:
    """Whether our copy of the ledger has all that the embedded engine will ever order of it."""
    try:
        with Chronicle.open(home) as ledger:
            engine, height = ledger.draft.known(Engine, ENGINE), ledger.height
            at_the_end = height + 1 == engine.height and ledger.final == ledger.size
            return engine.kind == "cometbft" and (height >= engine.height or at_the_end)
    except UsageError:
        return False  # nothing fetched yet; what is damaged is reported where it is opened for good


def open_engine(home: Home, around: Around) -> CometMember:
    """The engine of a consortium that has gone over to CometBFT; writes its node's home if there is none.

    Raises:
        UsageError: the node has not been prepared, its program or its blocks are missing, or the ledger here
            is not the one that the members have carried over.
    """
    plan = home.node
    if plan is None:
        raise UsageError(
            "node-not-prepared",
            f"the consortium has moved to CometBFT, and {home.settings.party} has no node",
            remedy="run `parley consortium node --listen HOST:PORT`, then `parley up` again",
        )
    binary = find_binary(around.environment)
    mark = HighWater(marks_of(home) / HIGH_WATER_FILE).mark
    log = ChainLog(home.path / "ledger", home.settings.party, LedgerKeys.load(_keys(home)).cosigning, mark)
    following = next_cosigning(_keys(home))
    if following is not None:
        log.hold(following)
    try:
        settings = _settings(home, plan, tuple(_peers(log.replica.state, home.settings.party)))
        _write_home(home, log, settings)
    except BaseException:
        log.store.close()
        raise

    def refresh(voting: bytes) -> None:
        peers = tuple(_peers(log.replica.state, home.settings.party))
        rewrite_config(_settings(home, home.node or plan, peers))
        settle(home, log.replica.state)
        rewrite_validator_key(settings, KeyPair(cosigning_seed(_keys(home), voting)))

    return CometMember(log, NodePlace(settings, binary, refresh), around.log, around.opening)


def _write_home(home: Home, log: ChainLog, settings: NodeSettings) -> None:
    if (settings.home / "data" / "priv_validator_state.json").exists():
        return
    if log.position.height:
        raise UsageError(
            "node-lost",
            f"the ledger is at block {log.position.height} of the chain, but {settings.home} has no blocks",
            remedy=f"restore the folder from a copy; without one, see `lost` in docs/cometbft.md before you "
            f"move {log.store.path} away",
        )
    final = log.note(log.size)
    if final is None:
        raise UsageError(
            "ledger-not-fetched", "there is no ledger to go on from", remedy="start the party again"
        )
    validator = KeyPair(cosigning_seed(_keys(home), log.voting_key))
    write_home(settings, genesis_of(log.replica, final), _node_key(home), validator)


def _settings(home: Home, plan: NodePlan, peers: tuple[Peer, ...]) -> NodeSettings:
    host, port = address_of(plan.listen)
    return NodeSettings(
        home=home.node_folder,
        name=home.settings.party,
        listen_host=host,
        listen_port=port,
        peers=peers,
        loopback=_is_shared(host, peers),
    )


def _is_shared(host: str, peers: tuple[Peer, ...]) -> bool:
    """Whether several nodes have one address, be it that of this machine."""
    hosts = [peer.host for peer in peers]
    try:
        own = ipaddress.ip_address(host).is_loopback
    except ValueError:
        own = host == "localhost"
    return own or host in hosts or len({*hosts}) < len(hosts)


def _peers(view: View, own: str) -> Iterator[Peer]:
    """The nodes of the other members that can be dialled, ascending by member."""
    draft = Draft(view)
    for path in draft.paths("node/"):
        node = draft.known(Node, path)
        member = draft.known(Member, f"member/{node.member}")
        if node.member != own and node.address and member.standing in ("active", "suspended"):
            yield Peer(node.node, *address_of(node.address))


def _node_key(home: Home) -> KeyPair:
    return KeyPair(seed_of(_keys(home), NODE))


def _keys(home: Home) -> Path:
    folder = home.path / "keys"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder
