"""Processes of ours that are stopped are noticed; those that work or have ended are not taken for such."""

import asyncio
import signal
import subprocess
import sys

import pytest

from parley.party import halting
from parley.party.halting import halted, is_stopped

from tests.system.parties import until


@pytest.fixture
def child():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_child_is_stopped_from_its_signal_to_go_on(child):
    assert not is_stopped(child.pid)
    for _ in range(2):
        child.send_signal(signal.SIGSTOP)
        until(lambda: is_stopped(child.pid))
        assert is_stopped(child.pid), "however often one looks"
        child.send_signal(signal.SIGCONT)
        until(lambda: not is_stopped(child.pid))


def test_a_child_that_has_ended_is_not_stopped_and_can_still_be_waited_for(child):
    child.kill()
    assert not is_stopped(child.pid)
    assert child.wait() == -signal.SIGKILL
    assert not is_stopped(child.pid)


async def test_a_child_that_is_stopped_for_long_is_halted_and_one_that_goes_on_is_not(child, monkeypatch):
    monkeypatch.setattr(halting, "LOOK", 0.01)
    waiting = asyncio.create_task(halted(child.pid))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    child.send_signal(signal.SIGSTOP)
    await waiting
