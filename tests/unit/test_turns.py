"""Turns: so many at a time, by priority, then in order of arrival; who leaves holds nobody up."""

import asyncio
from contextlib import suppress

import pytest

from parley.core.errors import BudgetExhausted
from parley.party import turns
from parley.party.turns import Turns


class Runs:
    """Runs that note when their turn comes, and end when they are told."""

    def __init__(self, at_once):
        self.turns = Turns(at_once)
        self.begun = []
        self._ends = {}

    def add(self, name, priority=0):
        async def run():
            async with self.turns.turn(priority):
                self.begun.append(name)
                await self._ends[name].wait()

        self._ends[name] = asyncio.Event()
        return asyncio.create_task(run())

    async def end(self, *names):
        for name in names:
            self._ends[name].set()
        await settled()


async def settled():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_so_many_have_a_turn_at_a_time():
    runs = Runs(2)
    for name in "abcd":
        runs.add(name)
    await settled()
    assert (runs.begun, runs.turns.free) == (["a", "b"], False)
    await runs.end("a")
    assert runs.begun == ["a", "b", "c"]
    await runs.end("b", "c", "d")
    assert runs.begun == ["a", "b", "c", "d"]
    assert runs.turns.free


async def test_the_higher_priority_is_sooner_and_equals_go_in_order_of_arrival():
    runs = Runs(1)
    for name, priority in (("a", 0), ("b", 0), ("c", 5), ("d", -1), ("e", 5), ("f", 0)):
        runs.add(name, priority)
    await settled()
    for name in "acebfd":
        assert runs.begun[-1] == name
        await runs.end(name)


async def test_who_leaves_while_it_waits_holds_nobody_up():
    runs = Runs(1)
    runs.add("a")
    await settled()
    leaving, _ = runs.add("b", 9), runs.add("c")
    await settled()
    leaving.cancel()
    await runs.end("a")
    assert runs.begun == ["a", "c"]


async def test_a_turn_that_comes_in_the_moment_in_which_one_leaves_goes_to_the_next():
    runs = Runs(1)
    runs.add("a")
    await settled()
    leaving, _ = runs.add("b", 9), runs.add("c")
    await settled()
    runs._ends["a"].set()
    await asyncio.sleep(0)  # a ends, and b's turn has come without b knowing it
    leaving.cancel()
    await settled()
    assert "c" in runs.begun


async def test_a_turn_ends_with_an_error_too():
    held = Turns(1)
    with suppress(ZeroDivisionError):
        async with held.turn(0):
            1 / 0  # noqa: B018 (an error)
    assert held.free


async def test_a_turn_that_never_comes_is_an_error(monkeypatch):
    monkeypatch.setattr(turns, "LONGEST", 0.01)
    runs = Runs(1)
    runs.add("a")
    await settled()
    with pytest.raises(BudgetExhausted) as caught:
        await runs.add("b")
    assert caught.value.code == "turn-never-came"
    await runs.end("a")
    assert runs.turns.free
