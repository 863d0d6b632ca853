"""A consortium on this machine: several parties, each with its ledger and its CometBFT node.

A line per party whenever something changes: leaves of its ledger, root of its state, height of the chain,
connected peers, process id of the node. A node that ends is started again. Ctrl-C ends them all. Every start
is a new consortium in a new directory.
"""

import argparse
import asyncio
import os
import secrets
import signal
import sys
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from parley.core.errors import ParleyError, PeerLost
from parley.ledger.contract import Founder, Genesis
from parley.ledger.engines.cometbft.beginning import Beginning, Founding
from parley.ledger.engines.cometbft.binary import find_binary
from parley.ledger.engines.cometbft.keys import KeyPair, node_id
from parley.ledger.engines.cometbft.local import LocalParty, draw_parties, write_network
from parley.ledger.engines.cometbft.log import ChainLog
from parley.ledger.engines.cometbft.member import CometMember, NodePlace
from parley.store.keys import LedgerKeys

LOOK_EVERY = 0.5
KEYS = "keys"
LEDGER = "ledger"


@dataclass
class Shown:
    """A party of the network while it runs, and the last line about it."""

    member: CometMember
    line: str = ""


def parse_arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description="a consortium with CometBFT on this machine")
    parser.add_argument("--parties", type=int, default=4, help="how many (default 4)")
    parser.add_argument("--home", type=Path, default=Path(".cometbft"), help="directory (default .cometbft)")
    return parser.parse_args()


def found(names: list[str], home: Path) -> tuple[LocalParty, ...]:
    """Make homes, keys and the genesis of a consortium of those parties."""
    parties = tuple(with_ledger_keys(party) for party in draw_parties(names, home))
    founders = tuple(
        Founder(name=name, role="holder", **LedgerKeys.load(home / name / KEYS).public()) for name in names
    )
    spec = Genesis(
        name="local",
        founders=founders,
        time=int(time.time()),
        nonce=secrets.token_hex(16),
        engine="cometbft",
        sequencer=None,
    )
    nodes = {party.settings.name: node_id(party.node_key.public_key) for party in parties}
    beginning = Beginning(Founding(spec.value()), nodes)
    write_network(parties, "local", datetime.now(UTC), beginning.app_state())
    return parties


def with_ledger_keys(party: LocalParty) -> LocalParty:
    """The party with fresh keys of its own; the cosigning key is its validator's."""
    folder = party.settings.home / KEYS
    LedgerKeys.create(folder)
    return replace(party, validator_key=KeyPair(bytes.fromhex((folder / "cosigning.key").read_text())))


def member_of(party: LocalParty, binary: Path) -> CometMember:
    """The party's engine, not yet running."""
    settings = party.settings
    keys = LedgerKeys.load(settings.home / KEYS)
    log = ChainLog(settings.home / LEDGER, settings.name, keys.cosigning)
    return CometMember(
        log, NodePlace(settings, binary), lambda line: print(f"{settings.name}: {line}", flush=True)
    )


async def report(shown: list[Shown]) -> None:
    """Print a party's line whenever it differs from the last."""
    while True:
        for one in shown:
            line = await describe(one.member)
            if line != one.line:
                one.line = line
                print(line, flush=True)
        await asyncio.sleep(LOOK_EVERY)


async def describe(member: CometMember) -> str:
    """A party in a line."""
    name, node = member.name, member.node
    if node is None or not node.running:
        return f"{name}: down"
    try:
        status = await member.rpc.status()
        peers = await member.rpc.peers()
    except PeerLost:
        return f"{name}: starting"
    state = "catching up" if status.catching_up else "ready"
    root = member.log.replica.state.root.hex()[:16]
    counts = f"leaves={member.log.size} state={root} height={status.height} peers={len(peers)}"
    return f"{name}: {state} {counts} pid={node.pid}"


async def run(arguments: argparse.Namespace) -> None:
    """Run the network until this task is cancelled."""
    binary = find_binary(os.environ)
    home = arguments.home.absolute()
    parties = found([f"party{number + 1}" for number in range(arguments.parties)], home)
    print(f"submit with: deploy/cometbft/register {arguments.home}/party1 people")
    shown = [Shown(member_of(party, binary)) for party in parties]
    async with asyncio.TaskGroup() as group:
        for one in shown:
            group.create_task(one.member.run())
        group.create_task(report(shown))


async def run_until_interrupted(arguments: argparse.Namespace) -> None:
    """Run the network until Ctrl-C or a request to stop, then end all nodes in order."""
    task = asyncio.create_task(run(arguments))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        print("all nodes are stopped")


def main() -> int:
    """The command."""
    try:
        asyncio.run(run_until_interrupted(parse_arguments()))
    except ParleyError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
