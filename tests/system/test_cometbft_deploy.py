"""The local network of deploy/cometbft, as its README describes it."""

import asyncio
import os
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from parley.ledger.engines.cometbft.binary import SETTING, VERSION

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
            env=environment(),
            stdout=asyncio.subprocess.PIPE,
        )
        lines = network.stdout
        try:
            assert b"deploy/cometbft/register" in await lines.readline()
            party1 = await line_of(lines, "party1: ready", "peers=3")
            assert '"status":"accepted"' in await registered(home / "party1")
            seen = await line_of(lines, "party4: ready", "leaves=2")
            os.kill(int(party1.rpartition("pid=")[2]), signal.SIGKILL)
            await line_of(lines, "party1: the CometBFT node ended with code -9; it is started again")
            await line_of(lines, "party1: ready", "leaves=2", field(seen, "state"))
            assert '"code":"table-known"' in await registered(home / "party1")
        finally:
            network.send_signal(signal.SIGINT)
        assert b"all nodes are stopped" in await lines.read()
        assert await network.wait() == 0


def environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), SETTING: str(binary())}


async def registered(home):
    """What the command prints that registers a table."""
    command = await asyncio.create_subprocess_exec(
        sys.executable,
        *(DEPLOY / "register.py", home, "people"),
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await command.communicate()
    return printed.decode()


def field(line, name):
    return next(word for word in line.split() if word.startswith(f"{name}="))


async def line_of(lines, *parts):
    """The next line that has all the parts."""
    async with asyncio.timeout(60):
        while line := (await lines.readline()).decode():
            if all(part in line for part in parts):
                return line
    raise AssertionError(f"ended without {parts}")
