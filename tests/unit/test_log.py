"""What a party tells its operator: records with a time, a level and what they are about, as lines."""

import json
import os
import sys

import pytest

from parley.cli.lines import printer
from parley.core.errors import PeerLost, PolicyRefused
from parley.core.log import Log
from parley.party.diary import words_of
from parley.party.failures import cancelled, known, level_of, stopped

NOON = 1_766_404_800.25


@pytest.fixture
def records():
    return []


@pytest.fixture
def log(records):
    return Log("bank", lambda: NOON, records.append)


def test_a_line_is_a_record_of_now_in_utc(log, records):
    log("bank listens on 127.0.0.1:7443")
    (record,) = records
    assert (record.time, record.level, record.party) == ("2025-12-22T12:00:00.250Z", "info", "bank")
    assert record.text == "bank listens on 127.0.0.1:7443"
    assert record.run == record.peer == record.code == ""


def test_a_bound_log_says_what_its_records_are_about_and_the_other_one_does_not(log, records):
    ours = log.about(run="run-1", role="active")
    error = PeerLost("peer-gone", "operator is gone", peer="operator", remedy="ask operator")
    ours.about(attempt=2).because(error).say("warning", "it stands still")
    ours("it goes on")
    log("something else")
    first, second, third = records
    assert (first.run, first.role, first.attempt, first.peer, first.code, first.level) == (
        "run-1",
        "active",
        2,
        "operator",
        "peer-gone",
        "warning",
    )
    assert (second.run, second.attempt, second.code) == ("run-1", 0, "")
    assert third.run == ""


def test_what_goes_on_by_itself_or_was_wanted_is_no_failure():
    lost = PeerLost("peer-gone", "operator is gone", peer="operator", remedy="ask operator")
    refused = PolicyRefused("rows-beyond-plan", "too many rows", remedy="propose another plan")
    assert {level_of(each) for each in (lost, stopped(), cancelled("bank", "run-1"))} == {"warning"}
    assert {level_of(each) for each in (refused, ValueError("x"))} == {"error"}


def test_the_log_of_a_run_does_not_quote_an_error_that_nobody_foresaw():
    assert "4711" not in words_of(known(ValueError("cannot parse '4711'")))
    assert words_of(stopped()).endswith("[party-stopped]")


def test_text_is_for_people_and_json_an_object_per_line(log, records, capsys):
    log.about(run="run-1").say("error", "it failed: [worker-killed]\n  what to do: see the log")
    printer("text")(records[0])
    printer("json")(records[0])
    for_people, remedy, for_programs = capsys.readouterr().out.splitlines()
    assert for_people[8:] == "  it failed: [worker-killed]"
    assert remedy == "  what to do: see the log"
    told = json.loads(for_programs)
    assert set(told) == {"time", "level", "party", "text", "run"}, "what does not apply is not there"
    assert (told["level"], told["run"]) == ("error", "run-1")


def test_the_systems_journal_hears_the_level_and_other_readers_do_not(log, records, tmp_path, monkeypatch):
    log.say("warning", "turned away\n  what to do: nothing")
    with (tmp_path / "journal").open("w+") as journal, (tmp_path / "file").open("w+") as other:
        status = os.fstat(journal.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        for output, begins in ((journal, "<4>"), (other, "")):
            monkeypatch.setattr(sys, "stdout", output)
            printer("json")(records[0])
            printer("text")(records[0])
            output.seek(0)
            one_object, _, remedy = output.read().splitlines()
            assert one_object.startswith(begins + "{")
            assert remedy == begins + "  what to do: nothing"


def test_a_log_on_a_full_disk_ends_nothing(log, records, monkeypatch):
    log("something")
    full = open("/dev/full", "w", buffering=1)  # noqa: PTH123, SIM115 (a device; closing it fails)
    monkeypatch.setattr(sys, "stdout", full)
    printer("text")(records[0])
    monkeypatch.undo()
    with pytest.raises(OSError, match="No space left"):
        full.close()
