"""The local network of deploy/cometbft, as its README describes it."""

import asyncio
import os
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from parley.ledger.engines.cometbft.binary import SETTING, VERSION
from parley.ledger.engines.cometbft.rpc import RpcClient

from tests.comet import ROOT, binary, skip_without_binary

DEPLOY = ROOT / "deploy" / "cometbft"


def test_the_readme_names_the_pinned_version():
    assert f"CometBFT {VERSION}, pinned" in (DEPLOY / "README.md").read_text()


@pytest.mark.cometbft
async def test_four_parties_start_commit_restart_a_node_and_stop():
    skip_without_binary()
    with tempfile.TemporaryDirectory(prefix="comet") as root:
        home = Path(root, "net")
        network = await asyncio.create_subprocess_exec(
            sys.executable,
            *(DEPLOY / "network.py", "--home", home),
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), SETTING: str(binary())},
            stdout=asyncio.subprocess.PIPE,
        )
        lines = network.stdout
        try:
            assert b"curl --unix-socket" in await lines.readline()
            party1 = await line_of(lines, "party1: ready", "peers=3")
            await RpcClient(home / "party1" / "rpc.sock").submit(b"a=1")
            seen = await line_of(lines, "party4: ready", "height=3")
            assert "app=-" not in seen
            os.kill(int(party1.rpartition("pid=")[2]), signal.SIGKILL)
            await line_of(lines, "party1: down")
            await line_of(lines, "party1: ready", "height=3")
        finally:
            network.send_signal(signal.SIGINT)
        assert b"all nodes are stopped" in await lines.read()
        assert await network.wait() == 0


async def line_of(lines, *parts):
    """The next line that has all the parts."""
    async with asyncio.timeout(60):
        while line := (await lines.readline()).decode():
            if all(part in line for part in parts):
                return line
    raise AssertionError(f"ended without {parts}")
