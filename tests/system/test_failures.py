"""Faults at any time, drawn by a seed: a run ends in the model that it would have ended in, or says why not.

A drawn fault is a kind, the party it befalls, and the moment: while aligning, in a training round, around
the end. What is asserted of every run that one befalls:

1. Every party that stays up and whose run stands still says why within ten seconds of the fault
   (`faults.REQUIRED`).
2. All say the same cause. Of a process or a link that means: each names the one other party as lost, in a
   record whose `peer` is that party and whose code is one of `faults.GONE`. Which code it is depends on what
   an end of a connection can see (it is reset, or silent, or the process is a new one), so they may differ
   between the two ends of a link; the party named may not. Of what befalls a worker or a disk it
   means: all say the very same code, that of the kind, whoever's worker or disk it was.
3. Who stays up and does not say so had made its piece of the model before it could notice, wherever the fault
   lasts longer than it takes to notice, or destroyed what was under way. Nobody waits in silence.
4. A worker that was killed may end the run, at all parties alike and with nothing left; otherwise all
   finish, in the very model of a run that nothing befell.
"""

import contextlib
import os
import signal
import subprocess
import time
from datetime import datetime

import pytest

from parley.store.runlog import RunLog

from tests.between import Between
from tests.system.faults import (
    CLOCKS_APART,
    DRAWN,
    FIRST,
    GONE,
    LINK,
    PASSING,
    PROCESS,
    SLOW_TO_HEAR,
    Fault,
    befall_link,
    heard,
    reported,
)
from tests.system.parties import Party, consortium, cut, plan, until, watching
from tests.system.test_consortium import approved
from tests.system.test_resume import kept, pieces

pytestmark = pytest.mark.timeout(240)

TREES = 12
FINISHED = "the run is finished"
STOOD_STILL = ("the run is interrupted", "the run is failed")

TERMINAL = ("worker-killed",)
OF_A_PLACE = (*TERMINAL, "worker-halted", "disk-full")
"""Kinds that everybody names by their code."""
AT_ONCE = 10
"""Runs that take place at a time."""
KINDS = (*PROCESS, *LINK, *PASSING, *TERMINAL, "worker-halted", "disk-full", "both-killed")
MOMENTS = ("alignment", "training", "end")


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

    def befall(self, fault, run, began):
        """Let it happen, and repair it; returns when a process that was gone could be there again."""
        victim = self.parties[fault.victim]
        back = began + SLOW_TO_HEAR
        match fault.kind:
            case "kill":
                victim.kill()
                time.sleep(fault.lasts / 4)
                back = time.time()
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
                back = time.time()
                victim.up()
            case "hang":
                victim.process.send_signal(signal.SIGSTOP)
                try:
                    time.sleep(fault.lasts)
                    self.noticed(fault, run, began)
                finally:
                    victim.process.send_signal(signal.SIGCONT)
            case "cut" | "half-open" | "stall" | "flap" | "slow":
                befall_link(self.network.tell, fault, lambda: self.noticed(fault, run, began))
            case "disk-full":
                with full(victim):
                    time.sleep(fault.lasts / 2)
            case "worker-killed":
                _signal(victim.workers(), signal.SIGKILL)
            case "worker-halted":
                workers = victim.workers()
                _signal(workers, signal.SIGSTOP)
                time.sleep(fault.lasts)
                _signal(workers, signal.SIGCONT)
        return back

    def stayed(self, fault):
        """The parties that stay up, by name."""
        if fault.kind == "both-killed":
            return {}
        return {
            name: party
            for name, party in self.parties.items()
            if name != fault.victim or fault.kind not in PROCESS
        }

    def noticed(self, fault, run, began):
        """While a long fault lasts: who stays up has said in time why it stands still, or has finished."""
        if not fault.breaks:
            return
        for party in self.stayed(fault).values():
            record = self.record(party, run)
            made = (party.home / "models" / f"{run}.json").exists()  # then it waits for the ledger alone
            assert made or record["state"] in ("interrupted", "finished"), (party.name, record)
            if record["state"] == "interrupted":
                assert record["since"] - began < SLOW_TO_HEAR, (party.name, record)
                assert record["outcome"]["peer"], record

    def heard(self, fault, run, began):
        """What each party that stayed up said first of why it stood still, and when it had made its piece."""
        found, finished = {}, {}
        for name, party in self.stayed(fault).items():
            log = RunLog(party.home / "logs" / f"{run}.jsonl").read()
            due = [each for each in log if moment(each) >= began - CLOCKS_APART]
            said = next((each for each in due if each.text.startswith(STOOD_STILL)), None)
            found[name] = heard() if said is None else heard(moment(said) - began, said.code, said.peer)
            # what comes after is for the ledger alone, or because the other party had not heard of it
            piece = party.home / "models" / f"{run}.json"
            ends = [moment(each) for each in log if each.text.startswith(FINISHED)]
            finished[name] = min([piece.stat().st_mtime, *ends] if piece.exists() else ends, default=None)
        return found, finished

    def said_in_time(self, fault, began, back, found, finished):
        """Numbers 1 to 3 of the file's beginning; ``back``: when the repair began."""
        for name, said in found.items():
            if said["seconds"] is None:
                if fault.breaks:  # 3
                    assert finished[name] is not None, (name, "waited in silence")
                    assert finished[name] < min(back, began + SLOW_TO_HEAR), (name, "went on regardless")
                continue
            assert said["seconds"] < SLOW_TO_HEAR, (name, said)  # 1
            if fault.kind in OF_A_PLACE:  # 2
                assert said["code"] == fault.kind, (name, said)
            else:
                (other,) = set(self.parties) - {name}
                assert (said["peer"], said["code"]) in {(other, code) for code in GONE}, (name, said)

    def survives(self, fault, suite="fixed", seed=0):
        """A run that a fault befalls ends in the same model; or it fails at both, with one code."""
        with reported(suite, seed, fault) as known, self.under_way() as run:
            self.at(fault, run)
            began = time.time()
            back = self.befall(fault, run, began)
            parties = self.parties.values()
            until(
                lambda: all(self.record(each, run)["state"] in ("finished", "failed") for each in parties), 90
            )
            found, finished = self.heard(fault, run, began)
            known["stayed"] = found
            self.said_in_time(fault, began, back, found, finished)
            known["end"] = self._ended(fault, run)

    def _ended(self, fault, run):
        """Number 4: how it ended, if that is as it must be."""
        ends = {name: self.record(party, run) for name, party in self.parties.items()}
        if fault.kind in TERMINAL and {each["state"] for each in ends.values()} == {"failed"}:
            codes = {each["outcome"]["code"] for each in ends.values()}
            assert codes == {fault.kind}, ends
            for party in self.parties.values():
                until(lambda: not party.workers(), patience=10)  # noqa: B023 (asked at once)
                assert not (party.home / "runs" / run).exists()
            return "failed"
        assert {each["state"] for each in ends.values()} == {"finished"}, ends
        assert self.ended_well(run) == self.models
        return "finished"


def _signal(processes, what):
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, what)


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
    stage.survives(Fault.drawn(seed, stage.kinds, MOMENTS, TREES - 1), "run", seed)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(FIRST, FIRST + max(DRAWN // 4, 1)))
def test_a_run_survives_any_fault_while_it_aligns(with_many_rows, seed):
    fault = Fault.drawn(seed, with_many_rows.kinds, ("alignment",), TREES - 1)
    with_many_rows.survives(fault, "aligning", seed)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(FIRST, FIRST + max(DRAWN // 4, 1)))
def test_a_run_on_the_ledger_survives_any_fault_of_a_process(on_the_ledger, seed):
    kinds = (*PROCESS, *TERMINAL, "worker-halted", "both-killed")
    fault = Fault.drawn(seed, kinds, ("training", "end"), TREES - 1)
    on_the_ledger.survives(fault, "on the ledger", seed)


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
