"""The log of a run: whole records, numbered, bounded, let go of with the run, and followed while it grows."""

import json
import os
import re
import stat
import subprocess
import sys
import threading

import msgspec
import pytest

from parley.cli.logs import followed
from parley.cli.main import main
from parley.core.log import Record
from parley.core.plan import encode_plan, read_plan
from parley.store.catalogue import RunRecord
from parley.store.home import Home
from parley.store.runlog import BOUND, RunLog, log_of, run_logs
from parley.store.settings import Settings


def records(count, kind="phase", text="train: 3/60 rounds"):
    return [
        Record(time="2026-01-01T00:00:00.000Z", level="info", party="bank", text=text, run="run-1", kind=kind)
        for _ in range(count)
    ]


@pytest.fixture
def log(tmp_path):
    return RunLog(tmp_path / "logs" / "run-1.jsonl", bound=8000)


def test_records_are_numbered_on_whoever_appends(log):
    log.append(records(2))
    RunLog(log.path).append(records(1))
    assert [each.number for each in log.read()] == [1, 2, 3]
    assert [each.number for each in log.read(after=2)] == [3]


def test_only_the_partys_user_may_read_it(log):
    log.append(records(1))
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(log.path.parent.stat().st_mode) == 0o700


def test_a_log_that_is_not_there_holds_nothing(log):
    assert log.read() == []
    log.drop()


def test_a_long_run_keeps_its_beginning_and_its_latest_and_says_how_much_is_left_out(log):
    for number in range(100):
        log.append(records(3, text=f"record {number}"))
        assert log.path.stat().st_size <= 8000
    numbers = [each.number for each in log.read()]
    assert numbers == sorted(numbers)
    assert numbers[:3] == [1, 2, 3]
    assert numbers[-3:] == [298, 299, 300]
    (gap,) = [each for each in log.read() if each.kind == "left-out"]
    assert gap.text == f"… {gap.figures.records} records left out"
    assert gap.figures.records == 300 - (len(numbers) - 1)
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o600
    assert not [path for path in log.path.parent.iterdir() if path != log.path]


def test_a_line_that_was_cut_short_is_passed_over_and_harms_no_other(log):
    log.append(records(3))
    os.truncate(log.path, log.path.stat().st_size - 10)
    assert [each.number for each in log.read()] == [1, 2]
    log.append(records(1))
    assert [each.number for each in log.read()] == [1, 2, 3]


def test_a_full_disk_is_an_error_of_the_log_alone(log):
    log.path.parent.mkdir()
    log.path.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        log.append(records(1))


def test_the_bound_is_generous_enough_for_a_day_of_phases():
    assert len(msgspec.json.encode(records(1)[0])) * 86_400 / 5 < BOUND


# ── following ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_log_is_followed_while_it_grows_beyond_its_bound_until_the_run_is_over(log):
    seen, over = [], threading.Event()

    def write():
        for number in range(40):
            wanted = 3 * number
            while len(seen) < wanted - 9:  # not faster than it is read: nothing is left out
                over.wait(0.001)
            log.append(records(3))
        log.append(records(1, kind="end", text="the run is finished"))
        over.set()

    writing = threading.Thread(target=write)
    writing.start()
    for record in followed(log, over.is_set, 0.002):
        seen.append(record.number)
        last = record
    writing.join()
    assert [number for number in seen if number] == list(range(1, 122))
    assert last.kind == "end"


def test_a_log_that_comes_only_later_is_waited_for(log):
    found = followed(log, lambda: False, 0.001)
    threading.Timer(0.05, log.append, [records(1)]).start()
    assert next(found).number == 1


# ── the command ───────────────────────────────────────────────────────────────────────────────────────

PLAN = """
name = "test"
purpose = "to see that it works"
[parties.bank]
table = "accounts"
id = "id"
label = "y"
[parties.operator]
table = "subscribers"
id = "id"
"""


@pytest.fixture
def home(tmp_path):
    home = Home.create(tmp_path / "operator", Settings(party="operator", listen="127.0.0.1:7443"))
    plan = encode_plan(read_plan(PLAN)).decode()
    home.catalogue.keep_run(RunRecord(id="run-1", began=1.0, role="passive", plan=plan, state="finished"))
    home.catalogue.keep_run(RunRecord(id="run-2", began=2.0, role="passive", plan=plan, state="running"))
    return home


def logs(home, *words):
    return main(["run", "logs", *words, "--home", str(home.path)])


def test_a_log_is_shown_in_words_or_as_an_object_per_line(home, capsys):
    log_of(home, "run-1").append([*records(1), *records(1, kind="end", text="the run is finished")])
    assert logs(home, "run-1") == 0
    words = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"2\d{3}-\d\d-\d\d \d\d:\d\d:\d\d  train: 3/60 rounds", words[0])
    assert words[1].endswith("  the run is finished")
    assert logs(home, "run-1", "-f", "--json") == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(each["number"], each["kind"]) for each in told] == [(1, "phase"), (2, "end")]


def test_a_run_without_a_log_and_one_that_is_not_known_are_errors(home, capsys):
    for run, code in (("run-1", "no-run-log"), ("run-9", "unknown-run")):
        assert logs(home, run, "--json") == 2
        assert json.loads(capsys.readouterr().out)["error"]["code"] == code
    assert "parley run show run-1" in main_error(home, capsys)


def main_error(home, capsys):
    logs(home, "run-1")
    return capsys.readouterr().err


def test_who_no_longer_watches_leaves_the_run_alone(home):
    log_of(home, "run-2").append(records(1))
    words = ("run", "logs", "run-2", "-f", "--home", str(home.path))
    command = [sys.executable, "-m", "parley.cli", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
        assert "train: 3/60 rounds" in watching.stdout.readline()
        watching.send_signal(2)
        _, said = watching.communicate(timeout=60)
    assert watching.returncode == 130
    assert "no-longer-watching" in said
    assert home.catalogue.run("run-2").state == "running"


def test_a_log_is_let_go_of(home):
    log_of(home, "run-1").append(records(1))
    assert [path.stem for path in run_logs(home)] == ["run-1"]
    for _ in range(2):
        log_of(home, "run-1").drop()
    assert log_of(home, "run-1").read() == []
    assert run_logs(home) == []
