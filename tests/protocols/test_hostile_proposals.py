"""What a peer can make a party do by proposing runs: nothing to other runs, and nothing without end."""

import asyncio
import time
from contextlib import asynccontextmanager

import msgspec
import pytest

from parley.core.errors import PeerAborted
from parley.core.log import Log
from parley.core.plan import encode_plan, read_plan
from parley.core.trace import Trace
from parley.learn.shares import PassiveShare
from parley.net.channel import CheckedChannel, Setting
from parley.net.memory import memory_pair
from parley.party.course import MOST_ATTEMPTS
from parley.party.office import Clocks, Office
from parley.party.service import Party
from parley.party.turns import Turns
from parley.protocols import proposal
from parley.store.catalogue import RunRecord, TableRecord
from parley.store.home import Home
from parley.store.settings import Settings

pytestmark = pytest.mark.timeout(60)

PLAN = read_plan("""
name = "test"
purpose = "to see that it works"
[parties.mallory]
table = "accounts"
id = "id"
label = "y"
[parties.operator]
table = "subscribers"
id = "id"
""")


@pytest.fixture
def home(tmp_path):
    rows = tmp_path / "operator.csv"
    rows.write_text("id,a\n" + "".join(f"{row},{row % 7}\n" for row in range(40)))
    settings = Settings(party="operator", listen="127.0.0.1:7443", patience=0.3)
    home = Home.create(tmp_path / "operator", settings)
    home.catalogue.keep_table(
        TableRecord(name="subscribers", source=str(rows), id="id", partners=("mallory", "bank"))
    )
    return home


async def no_dialling(_peer, _path):
    raise AssertionError


class Served:
    """The operator's party, and what it logged."""

    def __init__(self, home):
        self.home = home
        self.log = []
        clocks = Clocks(time.time, time.monotonic)
        log = Log("operator", time.time, lambda record: self.log.append(record.text))
        self.party = Party(Office(home, no_dialling, clocks, 1, log, Turns(4)))

    @asynccontextmanager
    async def reached(self, path, peer="mallory"):
        near, far = memory_pair(peer, "operator")
        serving = asyncio.create_task(self.party.connected(peer, path, far))
        try:
            yield near, serving
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            await far.close()

    async def vanish(self, run):
        """Propose a run, and be gone when it is agreed to; returns how the run stands then."""
        setting = Setting(proposal.STEPS, proposal.ACTIVE, run, Trace(time.monotonic), 60.0)
        near, far = memory_pair("mallory", "operator")
        serving = asyncio.create_task(self.party.connected("mallory", f"/proposals/{run}", far))
        channel = CheckedChannel(near, setting)
        await channel.__aenter__()
        await proposal.propose(channel, PLAN)
        await near.close()
        await asyncio.gather(serving, return_exceptions=True)
        return self.home.catalogue.run(run)

    async def propose(self, run, plan=PLAN, place=0):
        """Propose a run and hold the line; returns how that ended."""
        setting = Setting(proposal.STEPS, proposal.ACTIVE, run, Trace(time.monotonic), 60.0)
        try:
            async with (
                self.reached(f"/proposals/{run}") as (near, _),
                CheckedChannel(near, setting) as line,
            ):
                await proposal.propose(line, plan)
                await line.send(proposal.GoOn(place))
                await line.recv(proposal.Ended)
        except PeerAborted as error:
            return error


async def test_a_proposal_cannot_take_the_name_of_another_run_or_model(home):
    theirs = msgspec.structs.replace(PLAN, purpose="another one")
    record = RunRecord(
        id="run-1", began=1.0, role="passive", plan=encode_plan(theirs).decode(), state="finished"
    )
    home.catalogue.keep_run(record)
    share = home.keep_share(PassiveShare("run-2", "operator", (), ()))
    before = share.read_bytes()
    served = Served(home)
    for run in ("run-1", "run-2"):
        assert (await served.propose(run)).code == "run-known"
    assert home.catalogue.runs() == [record]
    assert share.read_bytes() == before


async def test_a_run_that_was_interrupted_may_be_gone_on_with_and_stays_one_run(home):
    served = Served(home)
    for _ in range(2):
        assert (await served.propose("run-1")).code == "conversation-not-opened"
        (record,) = home.catalogue.runs()
        assert record.state == "interrupted"
    assert record.attempts == 2


async def test_a_run_cannot_be_gone_on_with_for_ever(home):
    served = Served(home)
    assert (await served.propose("run-1")).code == "conversation-not-opened"
    (record,) = home.catalogue.runs()
    home.catalogue.keep_run(msgspec.structs.replace(record, attempts=MOST_ATTEMPTS))
    served = Served(home)
    assert (await served.propose("run-1")).code == "too-many-attempts"
    assert home.catalogue.runs()[0].state == "failed"
    assert (await served.propose("run-1")).code == "run-over"


async def test_a_run_whose_active_party_vanishes_once_we_have_agreed_waits_for_it(home):
    record = await Served(home).vanish("run-1")
    assert (record.state, record.attempts) == ("interrupted", 0)


async def test_a_run_that_is_proposed_anew_and_not_begun_stands_still_since_and_why_it_did(home):
    served = Served(home)
    assert (await served.propose("run-1")).code == "conversation-not-opened"
    (before,) = home.catalogue.runs()
    assert await served.vanish("run-1") == before, "nothing was learnt, so it is no attempt"


async def test_a_run_that_stands_still_and_cannot_be_taken_up_has_failed(home, tmp_path):
    served = Served(home)
    assert (await served.propose("run-1")).code == "conversation-not-opened"
    (tmp_path / "operator.csv").unlink()
    refusal = await served.propose("run-1")
    (record,) = home.catalogue.runs()
    assert (record.state, msgspec.json.decode(record.outcome)["code"]) == ("failed", refusal.code)


async def test_a_run_goes_on_from_a_place_that_we_keep_or_not_at_all(home):
    served = Served(home)
    assert (await served.propose("run-1", place=7)).code == "wrong-place"
    assert home.catalogue.runs()[0].state == "failed"


async def test_a_peer_cannot_have_us_take_part_in_any_number_of_runs(home):
    served = Served(home)
    at_once = home.settings.runs_at_once
    ends = await asyncio.gather(*(served.propose(f"run-{number}") for number in range(at_once + 1)))
    codes = sorted(each.code for each in ends)
    assert codes == ["conversation-not-opened"] * at_once + ["party-busy"]


async def test_two_proposals_of_one_run_at_once_are_one(home):
    served = Served(home)
    ends = await asyncio.gather(served.propose("run-1"), served.propose("run-1"))
    assert sorted(each.code for each in ends) == ["conversation-not-opened", "run-known"]
    assert [record.state for record in home.catalogue.runs()] == ["interrupted"]


async def test_who_proposes_nothing_does_not_hold_the_line(home):
    served = Served(home)
    async with served.reached("/proposals/run-1") as (_, serving):
        await asyncio.wait_for(serving, 5)
    assert "proposed nothing" in served.log[-1]


@pytest.mark.parametrize(
    "path",
    [
        "/control",
        "/join",
        "/ledger/gossip",
        "/proposals/../x",
        "/proposals/A",
        "/runs/run-1/boosting",
        "/runs/x/other",
    ],
)
async def test_other_paths_lead_nowhere(home, path):
    served = Served(home)
    async with served.reached(path) as (_, serving):
        await asyncio.wait_for(serving, 5)
    assert path in served.log[-1]
