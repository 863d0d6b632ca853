"""A consortium on this machine: several parties, each with its ledger and its CometBFT node.

A line per party whenever something changes: height, app hash, transactions, connected peers, process
id. A node that ends is started again. Ctrl-C ends them all. Every start is a new network in a new
directory.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import cast

from parley.core.errors import ParleyError, PeerLost
from parley.ledger.engines.cometbft.application import Application
from parley.ledger.engines.cometbft.binary import find_binary
from parley.ledger.engines.cometbft.local import LocalParty, draw_parties, write_network
from parley.ledger.engines.cometbft.node import Node, start_node
from parley.ledger.engines.cometbft.server import serving

LOOK_EVERY = 0.5
REST = 3.0
"""Seconds before a node that ended is started again."""


@dataclass
class Member:
    """A party of the network while it runs."""

    local: LocalParty
    node: Node | None = None
    said: str = ""


def parse_arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description="a consortium with CometBFT on this machine")
    parser.add_argument("--parties", type=int, default=4, help="how many (default 4)")
    parser.add_argument("--home", type=Path, default=Path(".cometbft"), help="directory (default .cometbft)")
    parser.add_argument(
        "--application",
        default="tests.book:Book",
        help="MODULE:FACTORY of the ledger, called with the path of its file (default tests.book:Book)",
    )
    parser.add_argument("--app-state", default='{"peers": null}', help="JSON given to the ledgers at genesis")
    return parser.parse_args()


def application_factory(name: str) -> Callable[[Path], Application]:
    """The function that opens a party's ledger."""
    module, _, factory = name.partition(":")
    return cast("Callable[[Path], Application]", getattr(import_module(module), factory))


async def keep_running(member: Member, binary: Path) -> None:
    """Start a party's node again whenever it ends."""
    while True:
        node = await start_node(member.local.settings, binary)
        member.node = node
        try:
            await node.wait()
        finally:
            await node.stop()
        await asyncio.sleep(REST)


async def report(members: list[Member]) -> None:
    """Print a party's line whenever it differs from the last."""
    while True:
        for member in members:
            line = await describe(member)
            if line != member.said:
                member.said = line
                print(line, flush=True)
        await asyncio.sleep(LOOK_EVERY)


async def describe(member: Member) -> str:
    """A party in a line."""
    name = member.local.settings.name
    if member.node is None or not member.node.running:
        return f"{name}: down"
    try:
        status = await member.node.rpc.status()
        peers = await member.node.rpc.peers()
    except PeerLost:
        return f"{name}: starting"
    state = "catching up" if status.catching_up else "ready"
    app_hash = status.app_hash.hex()[:16] or "-"
    return f"{name}: {state} height={status.height} app={app_hash} peers={len(peers)} pid={member.node.pid}"


async def run(arguments: argparse.Namespace) -> None:
    """Run the network until this task is cancelled."""
    binary = find_binary(os.environ)
    opened = application_factory(arguments.application)
    home = arguments.home.absolute()
    parties = draw_parties([f"party{number + 1}" for number in range(arguments.parties)], home)
    write_network(parties, "local", datetime.now(UTC), json.loads(arguments.app_state))
    print(
        f"submit with: curl --unix-socket {home}/party1/rpc.sock 'http://node/broadcast_tx_sync?tx=\"a=1\"'"
    )
    members = [Member(party) for party in parties]
    async with AsyncExitStack() as ledgers:
        for party in parties:
            application = opened(party.settings.home / "ledger.json")
            await ledgers.enter_async_context(serving(application, party.settings.abci_socket))
        async with asyncio.TaskGroup() as group:
            for member in members:
                group.create_task(keep_running(member, binary))
            group.create_task(report(members))


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
