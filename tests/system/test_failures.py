"""Faults at any time, drawn by a seed: a run ends in the model that it would have ended in, or says why not.

A drawn fault is a kind, the party it befalls, and the moment: while aligning, in a training round, around
the end. `PARLEY_FAULTS` says how many are drawn (200), `PARLEY_FAULTS_SEED` from which seed on (1).
"""

import contextlib
import os
import random
import signal
import subprocess
import time
from dataclasses import dataclass
from datetime import datetime

import pytest

from parley.store.runlog import RunLog

from tests.between import Between
from tests.system.parties import Party, consortium, cut, plan, until, watching
from tests.system.test_consortium import approved
from tests.system.test_resume import kept, pieces

pytestmark = pytest.mark.timeout(240)

TREES = 12
DRAWN = int(os.environ.get("PARLEY_FAULTS", "200"))
FIRST = int(os.environ.get("PARLEY_FAULTS_SEED", "1"))
SLOW_TO_HEAR = 10.0
"""Seconds within which every party says why a run stands still."""

STOOD_STILL = ("the run is interrupted", "the run is failed")
CLOCKS_APART = 0.1
GONE = (
    *("connection-closed", "connection-lost", "peer-restarted", "peer-silent", "party-stopped"),
    *("tls-failed", "peer-unreachable"),  # whether something between them still takes connections, or nobody
)
"""What a party says of another that is gone, or that it does not hear any more."""

SLACK = 10.0
"""Seconds more for a machine that is busy."""

PROCESS = ("kill", "hang", "stop")
LINK = ("cut", "half-open", "stall")
TERMINAL = ("worker-killed",)
AT_ONCE = 10
"""Runs that take place at a time."""
KINDS = (*PROCESS, *LINK, *TERMINAL, "disk-full", "both-killed")
MOMENTS = ("alignment", "training", "end")


@dataclass(frozen=True)
class Fault:
    """What happens to whom, when, and how long it lasts in seconds."""

    kind: str
    victim: str
    moment: str
    round: int
    late: float
    lasts: float
    first_back: str

    @classmethod
    def drawn(cls, seed, kinds=KINDS, moments=MOMENTS):
        chance = random.Random(seed)
        return cls(
            kind=chance.choice(kinds),
            victim=chance.choice(("bank", "operator")),
            moment=chance.choice(moments),
            round=chance.randint(1, TREES - 1),
            late=chance.choice((0.0, chance.uniform(0, 0.4))),
            lasts=chance.choice((0.5, 3.0, 12.0)),
            first_back=chance.choice(("bank", "operator")),
        )


def moment(record):
    """When something was said, seconds since 1970."""
    return datetime.fromisoformat(record.time).timestamp()


class Stage:
    """Two parties, what is between them, a plan, and the model of a run of it that nothing befell."""

    def __init__(self, bank, operator, path, network=None):
        self.parties = {"bank": bank, "operator": operator}
        self.bank, self.operator = bank, operator
        self.path = path
        self.network = network
        self.models = self.ended_well(bank.done("run", path)["run"])

    def ended_well(self, run):
        """Each party's piece; what the run kept is let go of, and no worker is left."""
        until(lambda: all(self.record(party, run)["state"] == "finished" for party in self.parties.values()))
        for party in self.parties.values():
            until(lambda: not party.workers(), patience=10)  # noqa: B023 (asked at once)
            folder = party.home / "runs" / run
            until(lambda: [path.name for path in folder.iterdir()] == ["done"], patience=10)  # noqa: B023
        return {name: pieces(party, run) for name, party in self.parties.items()}

    def record(self, party, run):
        """A run at a party, as it stands there; nothing if the party cannot say."""
        found = [each for each in party.runs() if each["run"] == run]
        return found[0] if found else {"state": "unknown"}

    @contextlib.contextmanager
    def under_way(self):
        """A run that has just begun."""
        before = {each["run"] for each in self.bank.runs()}
        with watching(self.bank, self.path):
            yield until(
                lambda: next((each["run"] for each in self.bank.runs() if each["run"] not in before), "")
            )

    def at(self, fault, run):
        """Wait for the moment of a fault."""
        bank, operator = ((party.home / "runs" / run) for party in (self.bank, self.operator))
        until(lambda: (bank / "said").exists() and (operator / "said").exists())
        match fault.moment:
            case "training":
                until(lambda: kept(self.bank) >= fault.round or (bank / "done").exists())
            case "end":
                until(lambda: kept(self.bank) >= TREES or (bank / "done").exists())
        time.sleep(fault.late)

    def befall(self, fault, run):
        """Let it happen, and repair it."""
        victim = self.parties[fault.victim]
        match fault.kind:
            case "kill":
                victim.kill()
                time.sleep(fault.lasts / 4)
                victim.up()
            case "both-killed":
                first = self.parties[fault.first_back]
                second = next(party for party in self.parties.values() if party is not first)
                victim.kill()
                for party in self.parties.values():
                    party.kill()
                first.up()
                time.sleep(fault.lasts / 4)
                second.up()
            case "stop":
                assert victim.stop() == 0
                time.sleep(fault.lasts / 4)
                victim.up()
            case "hang":
                began = time.time()
                victim.process.send_signal(signal.SIGSTOP)
                time.sleep(fault.lasts)
                self._noticed(
                    fault, run, began, [each for each in self.parties.values() if each is not victim]
                )
                victim.process.send_signal(signal.SIGCONT)
            case "cut" | "half-open" | "stall":
                self._break_link(fault, run)
            case "disk-full":
                with full(victim):
                    time.sleep(fault.lasts / 2)
            case "worker-killed":
                for worker in victim.workers():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(worker, signal.SIGKILL)

    def _break_link(self, fault, run):
        tell, began = self.network.tell, time.time()
        if fault.kind == "stall":
            tell("stall")
        else:
            tell("refuse")
            tell("cut" if fault.kind == "cut" else "half_open")
        time.sleep(fault.lasts)
        self._noticed(fault, run, began, self.parties.values())
        tell("go_on")
        tell("refuse", refuses=False)

    def _noticed(self, fault, run, began, parties):
        """Each of the parties has said in time why it stands still, if that is due and it has not ended."""
        if fault.moment == "end" or fault.lasts < SLOW_TO_HEAR:
            return
        for party in parties:
            record = self.record(party, run)
            assert record["state"] in ("interrupted", "finished"), (party.name, record)
            if record["state"] == "interrupted":
                assert record["since"] - began < SLOW_TO_HEAR + SLACK, (party.name, record)
                assert record["outcome"]["peer"], record

    def said_in_time(self, fault, run, began):
        """Every party that stayed up said within seconds what befell whom, if the run stood still at all."""
        stayed = set(self.parties)
        if fault.kind in (*PROCESS, "both-killed"):
            stayed -= set(self.parties) if fault.kind == "both-killed" else {fault.victim}
        for name in stayed:
            log = RunLog(self.parties[name].home / "logs" / f"{run}.jsonl").read()
            said = [
                each
                for each in log
                if each.text.startswith(STOOD_STILL) and moment(each) >= began - CLOCKS_APART
            ]
            if not said:
                continue  # it was over too soon, or came too late
            first = said[0]
            assert moment(first) - began < SLOW_TO_HEAR + SLACK, (name, first)
            if fault.kind in (*TERMINAL, "disk-full"):
                assert first.code == fault.kind, (name, first)
            else:
                (other,) = set(self.parties) - {name}
                assert (first.peer, first.code) in {(other, code) for code in GONE}, (name, first)

    def survives(self, fault):
        """A run that a fault befalls ends in the same model; or it fails at both, with one code."""
        with self.under_way() as run:
            self.at(fault, run)
            began = time.time()
            self.befall(fault, run)
            parties = self.parties.values()
            until(
                lambda: all(self.record(each, run)["state"] in ("finished", "failed") for each in parties), 90
            )
            self.said_in_time(fault, run, began)
            ends = {name: self.record(party, run) for name, party in self.parties.items()}
            if fault.kind in TERMINAL and {each["state"] for each in ends.values()} == {"failed"}:
                codes = {each["outcome"]["code"] for each in ends.values()}
                assert codes == {fault.kind}, ends
                for party in parties:
                    until(lambda: not party.workers(), patience=10)  # noqa: B023 (asked at once)
                    assert not (party.home / "runs" / run).exists()
                return "failed"
            assert {each["state"] for each in ends.values()} == {"finished"}, ends
            assert self.ended_well(run) == self.models
        return "finished"


# ── where it happens ──────────────────────────────────────────────────────────────────────────────────


def mounted(folder):
    """A small disk of its own for a folder, where this user may make one."""
    folder.mkdir()
    asked = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


@contextlib.contextmanager
def full(party):
    """No room is left on a party's disk."""
    filler = party.home.parent / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 12))
    try:
        yield
    finally:
        filler.unlink()


@contextlib.contextmanager
def linked(folder, people=400, trees=TREES):
    """Two parties on small disks of their own, with a network between them."""
    cut(folder, people)
    disks = {name: folder / f"disk-of-{name}" for name in ("bank", "operator")}
    small = [folder for folder in disks.values() if mounted(folder)]
    bank, operator = parties = [Party(disks[name], name) for name in disks]
    for party in parties:
        party.log = folder / f"{party.name}.log"
        party.set(disk=0, runs_at_once=AT_ONCE)
    try:
        with Between(operator.address) as network:
            bank.done(
                "peer", "add", "operator", "--certificate", operator.certificate, "--address", network.address
            )
            operator.meet(bank, dials=False)
            bank.done("data", "add", "accounts", folder / "bank.csv", "--id", "id")
            operator.done(
                "data", "add", "subscribers", folder / "operator.csv", "--id", "id", "--share-with", "bank"
            )
            for party in parties:
                party.up()
            stage = Stage(bank, operator, plan(folder, trees=trees), network)
            stage.kinds = tuple(kind for kind in KINDS if small or kind != "disk-full")
            yield stage
    finally:
        for party in parties:
            party.stop()
        left = [party.workers() for party in parties]
        for disk in small:
            subprocess.run(["umount", "-l", str(disk)], check=True)
        assert left == [[], []]


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with linked(tmp_path_factory.mktemp("faults")) as stage:
        yield stage


@pytest.fixture(scope="module")
def with_many_rows(tmp_path_factory):
    """Parties whose alignment lasts long enough to be broken off."""
    with linked(tmp_path_factory.mktemp("aligning"), people=20_000, trees=2) as stage:
        yield stage


@pytest.fixture(scope="module")
def on_the_ledger(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ledger")
    with consortium(folder) as (bank, operator, _):
        yield Stage(bank, operator, approved(bank, operator, plan(folder, trees=TREES, runs=1000)))


@pytest.mark.parametrize("kind", ["both-killed", "disk-full"])
def test_a_run_survives_a_fault(stage, kind):
    if kind not in stage.kinds:
        pytest.skip("this user may mount no disk")
    stage.survives(Fault(kind, "operator", "training", 3, 0.0, 1.0, "operator"))


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(FIRST, FIRST + DRAWN))
def test_a_run_survives_any_fault(stage, seed):
    fault = Fault.drawn(seed, stage.kinds)
    print(seed, fault)  # noqa: T201 (shown when it fails)
    stage.survives(fault)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(FIRST, FIRST + DRAWN // 4))
def test_a_run_survives_any_fault_while_it_aligns(with_many_rows, seed):
    fault = Fault.drawn(seed, with_many_rows.kinds, ("alignment",))
    print(seed, fault)  # noqa: T201 (shown when it fails)
    with_many_rows.survives(fault)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(FIRST, FIRST + DRAWN // 4))
def test_a_run_on_the_ledger_survives_any_fault_of_a_process(on_the_ledger, seed):
    fault = Fault.drawn(seed, (*PROCESS, *TERMINAL, "both-killed"), ("training", "end"))
    print(seed, fault)  # noqa: T201 (shown when it fails)
    on_the_ledger.survives(fault)


@pytest.mark.soak
@pytest.mark.parametrize("victim", ["bank", "operator"])
def test_a_party_that_needs_more_memory_than_it_allows_fails_the_run_and_stays_up(stage, victim):
    party = stage.parties[victim]
    before = party.set(memory=120)
    try:
        party.stop()
        party.up()
        with stage.under_way() as run:  # the operator's worker may fail before it has agreed to one
            until(lambda: stage.record(stage.bank, run)["state"] == "failed")
        assert stage.record(stage.bank, run)["outcome"]["code"] == "out-of-memory"
        assert (
            stage.record(stage.operator, run).get("outcome", {}).get("code", "out-of-memory")
            == "out-of-memory"
        )
    finally:
        (party.home / "parley.toml").write_text(before)
        party.stop()
        party.up()
    assert stage.ended_well(stage.bank.done("run", stage.path)["run"]) == stage.models


@pytest.mark.soak
def test_of_ten_runs_at_once_with_one_worker_killed_nine_finish(stage):
    bank, operator = stage.bank, stage.operator
    before = {each["run"] for each in bank.runs()}
    new = lambda: [each for each in bank.runs() if each["run"] not in before]  # noqa: E731
    with contextlib.ExitStack() as stack:
        for _ in range(AT_ONCE):
            stack.enter_context(watching(bank, stage.path))
        until(lambda: len(operator.workers()) == AT_ONCE and kept(bank), 120)
        os.kill(operator.workers()[0], signal.SIGKILL)
        until(
            lambda: len(new()) == AT_ONCE and {each["state"] for each in new()} <= {"finished", "failed"}, 180
        )
    (failed,) = [each for each in new() if each["state"] == "failed"]
    until(lambda: stage.record(operator, failed["run"])["state"] == "failed")
    assert {stage.record(each, failed["run"])["outcome"]["code"] for each in (bank, operator)} == {
        "worker-killed"
    }
    for each in new():
        if each is not failed and each["run"] != failed["run"]:
            assert stage.ended_well(each["run"]) == stage.models


@pytest.mark.soak
@pytest.mark.parametrize(("megabits", "delay"), [(100, 0.010), (10, 0.050)])
def test_a_slow_link_makes_the_same_model(stage, megabits, delay):
    stage.network.slow(megabits * 1e6 / 8, delay)
    stage.network.tell("cut")
    try:
        assert stage.ended_well(stage.bank.done("run", stage.path)["run"]) == stage.models
    finally:
        stage.network.slow(None, None)
        stage.network.tell("cut")


@pytest.mark.soak
def test_a_passive_party_that_is_away_when_the_active_one_finishes_hands_its_share_in_later(on_the_ledger):
    bank, operator = on_the_ledger.bank, on_the_ledger.operator
    with on_the_ledger.under_way() as run:
        until((operator.home / "models" / f"{run}.json").exists)
        operator.process.send_signal(signal.SIGSTOP)
        finished = lambda: on_the_ledger.record(bank, run)["state"] == "finished"  # noqa: E731
        with contextlib.suppress(AssertionError):  # if it stopped too soon, both go on together
            until(finished, 5)
        operator.kill()
        operator.up()
        assert on_the_ledger.ended_well(run) == on_the_ledger.models
