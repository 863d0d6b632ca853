"""Watching runs: the newest, to everyone, at no cost to whoever is watched."""

import asyncio

from parley.core.trace import PhaseAdvanced, PhaseBegan, PhaseEnded
from parley.party.board import Board, Moved
from parley.store.catalogue import RunRecord


def record(state="running", run="run-1"):
    return RunRecord(id=run, began=0.0, role="active", plan="", state=state)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1.0  # each event is late enough to be told
        return self.now


async def test_who_reads_slowly_sees_the_newest_of_each_phase_and_then_the_end():
    board = Board(Clock())
    board.moved(record())
    watching = board.watch("run-1", 60.0)
    sink = board.sink(record())
    sink(PhaseBegan("train", 5_000, "rounds"))
    assert await anext(watching) == Moved("running")
    for done in range(5_000):
        sink(PhaseAdvanced("train", done))
    assert (await anext(watching)).done == 4_999
    sink(PhaseEnded("train", 3.0))
    board.moved(record("finished"))
    rest = [each async for each in watching]
    assert [getattr(each, "seconds", None) for each in rest] == [3.0, None]
    assert rest[-1] == Moved("finished")


async def test_nothing_new_is_said_from_time_to_time_and_the_end_of_the_board_ends_it():
    board = Board(Clock())
    watching = board.watch("run-1", 0.01)
    assert await anext(watching) is None
    waiting = asyncio.ensure_future(anext(watching, "over"))
    board.close()
    while (said := await waiting) is None:  # it may have been about to say so once more
        waiting = asyncio.ensure_future(anext(watching, "over"))
    assert said == "over"


async def test_runs_do_not_hear_of_one_another_and_leave_nothing_behind():
    board = Board(Clock())
    one, other = board.watch("run-1", 60.0), board.watch("run-2", 60.0)
    board.moved(record("failed", "run-2"))
    board.moved(record("failed", "run-1"))
    assert [each async for each in one] == [Moved("failed")]
    assert [each async for each in other] == [Moved("failed")]
    assert not board._slates
