"""Register a table's commitment in the name of a party of the local network, and print the receipt.

The party's signing key and its node's socket are taken from its home.
"""

import argparse
import asyncio
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from parley.core.errors import ParleyError
from parley.ledger.contract.consortium import CONSORTIUM, COUNT
from parley.ledger.encoding import Value
from parley.ledger.engines.cometbft.contract_application import STATE
from parley.ledger.engines.cometbft.rpc import RpcClient
from parley.party.ledger import Author
from parley.store.keys import LedgerKeys

PATIENCE = 30.0


def parse_arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description="register a table on the local network's ledger")
    parser.add_argument("home", type=Path, help="of the party, for example .cometbft/party1")
    parser.add_argument("table", help="its name")
    return parser.parse_args()


async def asked(rpc: RpcClient, path: str) -> dict[str, Any]:
    """What stands under a key of the ledger's state."""
    answer = await rpc.query(STATE, path.encode())
    value: dict[str, Any] = json.loads(answer.value)
    return value


async def register(home: Path, table: str) -> str:
    """Submit the registration; the receipt once it is in a block."""
    rpc = RpcClient(home / "rpc.sock")
    consortium, count = await asked(rpc, CONSORTIUM), await asked(rpc, COUNT)
    author = Author(home.name, LedgerKeys.load(home / "keys").signing, consortium["id"])
    commitment = hashlib.sha256(table.encode()).hexdigest()
    body: dict[str, Value] = {"name": table, "schema": commitment, "rows": 10, "root": commitment}
    signed = author.sign("table.register", body, count["height"])
    taken = await rpc.submit(signed.data)
    if taken.code:
        return f"not taken: {taken.log}"
    async with asyncio.timeout(PATIENCE):
        while (outcome := await rpc.tx(taken.tx_hash)) is None:  # noqa: ASYNC110 (the node decides it)
            await asyncio.sleep(0.05)
    return f"block {outcome.height}: {outcome.result.data.decode()} {outcome.result.log}".rstrip()


def main() -> int:
    """The command."""
    arguments = parse_arguments()
    try:
        print(asyncio.run(register(arguments.home.absolute(), arguments.table)))
    except ParleyError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
