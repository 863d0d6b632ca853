"""What a party notes of a run: pace and remaining time, whom it waits for, why it stands still, its cost."""

import asyncio

import pytest

from parley.core.errors import PeerLost
from parley.core.log import Log
from parley.core.trace import (
    MemoryPeak,
    PhaseAdvanced,
    PhaseBegan,
    PhaseEnded,
    Received,
    Sent,
    StepBegan,
    Waits,
)
from parley.party.diary import Diaries
from parley.store.home import Home
from parley.store.runlog import log_of
from parley.store.settings import Settings

LOST = PeerLost("peer-gone", "operator is gone", peer="operator", remedy="ask operator")


class Noted:
    """A party's diaries under a clock that only we move, and what they wrote."""

    def __init__(self, folder):
        self.home = Home.create(folder / "bank", Settings(party="bank", listen="127.0.0.1:7443"))
        self.now = 0.0
        self.diaries = Diaries(self.home, Log("bank", lambda: self.now, lambda _: None), lambda: self.now)
        self.diary = self.diaries.of("run-1", "active")

    def after(self, seconds, event):
        self.now += seconds
        self.diary(event)

    async def records(self):
        await self.diaries.close()
        return log_of(self.home, "run-1").read()

    async def texts(self):
        return [each.text for each in await self.records()]


@pytest.fixture
def noted(tmp_path):
    noted = Noted(tmp_path)
    noted.diary.begin(0)
    return noted


async def test_a_phase_is_told_of_every_few_seconds_with_pace_and_remaining_time(noted):
    noted.after(0, StepBegan("train"))
    noted.after(0, PhaseBegan("train", 100, "rounds"))
    for done in range(1, 41):
        noted.after(0.5, PhaseAdvanced("train", done))
    noted.after(0, PhaseEnded("train", 20.0))
    phases = [each for each in await noted.records() if each.kind == "phase"]
    assert [each.figures.done for each in phases] == [1, 11, 21, 31, 40]
    assert [each.step for each in phases] == ["train"] * 5
    assert phases[1].text == "train: 11/100 rounds, 2.0/s, 44 s left"
    assert (phases[1].figures.rate, phases[1].figures.remaining) == (2.0, 44.5)
    assert phases[-1].text == "train: 40/100 rounds in 20 s"


async def test_the_pace_of_a_phase_that_goes_on_counts_only_what_is_done_now(noted):
    noted.after(0, PhaseBegan("train", 100, "rounds"))
    noted.after(0, PhaseAdvanced("train", 50))
    noted.after(1, PhaseAdvanced("train", 51))
    noted.after(10, PhaseAdvanced("train", 61))
    assert (await noted.texts())[-1] == "train: 61/100 rounds, 1.0/s, 39 s left"


async def test_whom_a_phase_waits_for_is_told_at_once(noted):
    words = "waiting for operator to approve plan 0123"
    noted.after(0, PhaseBegan("approve", 1, "plans"))
    noted.after(0, PhaseAdvanced("approve", 0, words))
    assert await noted.texts() == [f"approve: 0/1 plans ({words})"]


async def test_a_peer_that_is_silent_is_named_and_so_is_how_long_it_was(noted):
    noted.after(0, StepBegan("align"))
    noted.after(3, Waits("operator", 3.0))
    noted.after(9, Received("operator", "Answer", 100, 12.0))
    silent, heard = (await noted.records())[1:]
    assert (silent.text, silent.peer, silent.step) == (
        "waits for operator, silent for 3.0 s",
        "operator",
        "align",
    )
    assert (heard.text, heard.figures.seconds) == ("operator is heard again after 12 s", 12.0)


async def test_what_a_worker_cost_is_told_when_it_has_ended(noted):
    noted.diary.hired()
    noted.after(0, MemoryPeak(300 << 20))
    noted.after(0, Sent("operator", "Ask", 2_500_000, 0.1))
    noted.after(0, Received("operator", "Answer", 700, 0.1))
    noted.diary.let_go()
    _, ended, traffic = await noted.records()
    assert ended.figures.memory == 300 << 20
    assert (traffic.figures.sent, traffic.figures.received) == (2_500_000, 700)
    assert traffic.text == "2.5 MB went to operator, 700 B came from it"


async def test_an_interruption_ends_the_step_and_says_why_and_the_same_reason_is_not_repeated(noted):
    noted.diary.attempts(1, 0)
    noted.after(0, StepBegan("train"))
    noted.now += 4
    noted.diary.stops("interrupted", LOST, "warning", "")
    for _ in range(10):
        noted.now += 5
        noted.diary.stands_still(LOST)
    noted.now += 30
    noted.diary.stands_still(LOST)
    noted.diary.attempts(2, 7)
    *_, broke, stopped, again, attempt = await noted.records()
    assert broke.text == "step train broke off after 4.0 s"
    assert (stopped.level, stopped.code, stopped.peer, stopped.attempt) == (
        "warning",
        "peer-gone",
        "operator",
        1,
    )
    assert again.text == "it cannot go on yet: operator is gone [peer-gone]"
    assert (attempt.text, attempt.figures.place) == ("attempt 2 goes on from place 7", 7)


async def test_a_phase_that_a_killed_worker_left_open_is_told_of_in_the_next_attempt(noted):
    noted.diary.attempts(1, 0)
    noted.after(0, PhaseBegan("train", 10, "rounds"))
    noted.diary.attempts(2, 0)
    noted.after(0, PhaseBegan("train", 10, "rounds"))
    noted.after(1, PhaseAdvanced("train", 10))
    noted.after(0, PhaseEnded("train", 1.0))
    assert (await noted.texts())[-1] == "train: 10/10 rounds in 1.0 s"


async def test_what_is_had_from_the_ledger_is_told_with_how_long_it_took(noted):
    with noted.diary.at_the_ledger("the run started"):
        noted.now += 2
    assert await noted.texts() == ["the ledger has the run started, after 2.0 s"]


async def test_a_run_that_is_refused_here_leaves_no_log(noted):
    stranger = noted.diaries.of("run-2", "passive")
    stranger.hired()
    noted.diaries.forget("run-2")
    await noted.diaries.close()
    assert not log_of(noted.home, "run-2").path.exists()


async def test_what_is_noted_is_on_the_disk_soon_without_being_asked_for(noted):
    noted.diary.stands("running")
    async with asyncio.timeout(60):
        while not log_of(noted.home, "run-1").read():
            await asyncio.sleep(0.05)


async def test_a_full_disk_harms_nobody_and_what_was_lost_is_counted(noted):
    path = log_of(noted.home, "run-1").path
    path.parent.mkdir()
    path.symlink_to("/dev/full")
    noted.diary.stands("queued")
    noted.diary.stands("awaiting")
    noted.diary.write()
    noted.diaries._writer.submit(log_of(noted.home, "run-1").drop).result()
    noted.diary.stands("running")
    gap, stands = await noted.records()
    assert gap.text == "… 2 records left out: they could not be written"
    assert gap.level == "warning"
    assert stands.text == "the run is running"
