"""Real processes, real files: damage, full disks, partitions, lost disks, wrong clocks, members that lie."""

import json
import sqlite3
import time

import pytest

from parley.ledger.checkpoint import fork_evidence
from parley.ledger.notes import Kind, NoteKey

from tests.ledger.liars import HONEST
from tests.ledger.members import key
from tests.ledger.processes import NAMES, Processes

BUSY = {"submit": 100_000, "at_once": 2}


@pytest.fixture
def consortium(tmp_path):
    with Processes(tmp_path) as processes:
        yield processes


def proceeds(consortium, **options):
    """Start whoever is down, let all go on a little, and see that nothing is lost."""
    consortium.start(*(name for name in NAMES if name not in consortium.running), **options)
    consortium.grown("operator")
    for name in NAMES:
        consortium.kill(name)
    consortium.start(*NAMES, lost=options.get("lost", False))
    consortium.settled(*NAMES)
    return consortium.nothing_lost()


@pytest.mark.parametrize("victim", ["bank", pytest.param("operator", marks=pytest.mark.soak)])
def test_a_restored_old_database_signs_again_when_it_has_caught_up(consortium, victim, tmp_path):
    consortium.start(*NAMES, **BUSY)
    consortium.grown(victim, 4)
    consortium.kill(victim)
    consortium.copy(victim, tmp_path / "old")
    others = [name for name in NAMES if name != victim]
    for name in others:
        consortium.kill(name)
    consortium.start(*NAMES, submit=12)
    consortium.done(*NAMES)
    consortium.settled(*NAMES)
    consortium.start(*others)
    consortium.restore(victim, tmp_path / "old")
    proceeds(consortium, **BUSY)
    if victim == "bank":
        assert "has signed for" in consortium.output(victim)


@pytest.mark.soak
@pytest.mark.parametrize("victim", ["bank", "operator"])
def test_a_truncated_write_ahead_log_is_filled_up_again(consortium, victim):
    consortium.start(*NAMES, submit=20)
    consortium.done(*NAMES)
    consortium.settled(*NAMES)
    consortium.start(*(name for name in NAMES if name != victim))
    wal = consortium.folder / victim / "ledger.db-wal"
    with wal.open("r+b") as file:
        file.truncate(wal.stat().st_size // 2 + 17)
    proceeds(consortium, **BUSY)


def flip(path, table, column, where, at=-40):
    """Flip the lowest bit of one byte of one value."""
    database = sqlite3.connect(path)
    query = f"SELECT {column} FROM {table} WHERE {where}"  # noqa: S608 (the test's own words)
    (value,) = database.execute(query).fetchone()
    value = bytearray(value)
    value[at] ^= 1
    change = f"UPDATE {table} SET {column} = ? WHERE {where}"  # noqa: S608 (the test's own words)
    database.execute(change, (bytes(value),))
    database.commit()
    database.close()


def test_a_flipped_bit_is_noticed_and_the_ledger_fetched_again(consortium):
    consortium.start(*NAMES, **BUSY)
    consortium.grown("regulator", 4)
    places = (
        ("leaf", "data", "number = 2"),
        ("state", "value", "key = 'meta/consortium'"),
        ("seal", "note", "height = (SELECT max(height) FROM seal)", 100),
        ("seal", "note", "height = 1", 100),
    )
    for place in places:
        consortium.kill("regulator")
        flip(consortium.folder / "regulator" / "ledger.db", *place)
        consortium.start("regulator")
        assert consortium.died("regulator") == 2
        assert any("ledger-damaged" in line for line in consortium.output("regulator").splitlines()[-3:])
        consortium.lose("regulator", "ledger.db*")
        consortium.start("regulator", **BUSY)
        consortium.grown("regulator", 2)
    proceeds(consortium)


@pytest.mark.parametrize("victim", ["operator", pytest.param("bank", marks=pytest.mark.soak)])
def test_a_full_disk_stops_a_member_and_harms_nothing(consortium, victim):
    others = [name for name in NAMES if name != victim]
    consortium.start(*others, **BUSY)
    consortium.start(victim, file_limit=200_000, **BUSY)
    assert consortium.died(victim) == 2
    assert "ledger-not-written" in consortium.output(victim)
    proceeds(consortium, **BUSY)


@pytest.mark.soak
def test_a_partition_heals(consortium):
    consortium.start(*NAMES, **BUSY)
    consortium.grown("operator", 4)
    consortium.cut("operator", "bank", "regulator")
    consortium.grown("bank")
    size = consortium.status("operator")[1]
    consortium.grown("bank")
    assert consortium.status("operator")[1] == size
    consortium.cut("operator")
    proceeds(consortium)


@pytest.mark.soak
@pytest.mark.parametrize("victim", ["operator", "bank"])
def test_a_lost_disk_is_rebuilt_from_the_others(consortium, victim):
    consortium.start(*NAMES, submit=20)
    consortium.done(*NAMES)
    consortium.settled(*NAMES)
    consortium.lose(victim, "ledger.db*", "high-water.json")
    proceeds(consortium, lost=True, **BUSY)


@pytest.mark.soak
@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_an_hour_off_changes_nothing(consortium, hours):
    consortium.start("operator", "regulator", **BUSY)
    consortium.start("bank", **BUSY)
    consortium.grown("operator", 4)
    consortium.kill("bank")
    consortium.start("bank", clock=hours * 3600, **BUSY)
    consortium.grown("operator", 4)
    proceeds(consortium)


def test_a_sequencer_that_forks_is_found_out_and_proven(consortium):
    consortium.start("operator", "regulator", submit=30)
    consortium.start("bank", lie="fork", **BUSY)
    for name in ("operator", "regulator"):
        consortium.wait(lambda: "forked" in consortium.status(name)[2], "somebody notices")  # noqa: B023
        why = consortium.status(name)[2]
        (file,) = (file for file in (consortium.folder / name).glob("evidence-*.json") if file.name in why)
        first, second = json.loads(file.read_text())["notes"]
        origin = first.split("\n")[0]
        keys = [NoteKey(origin, Kind.ED25519, key("bank", "cosigning").public)]
        found = fork_evidence(first.encode(), second.encode(), keys)
        assert found is not None
        assert found.signers == tuple(keys)


@pytest.mark.soak
def test_a_wrong_state_root_is_signed_by_nobody(consortium):
    consortium.start("operator", "regulator", submit=30)
    consortium.start("bank", lie="wrong_state_root", **BUSY)
    for name in ("operator", "regulator"):
        consortium.wait(lambda: "another state" in consortium.status(name)[2], "somebody notices")  # noqa: B023
        assert consortium.status(name)[0] <= HONEST


@pytest.mark.soak
def test_a_sequencer_that_withholds_gets_no_signatures_until_it_gives_in(consortium):
    consortium.start("operator", submit=5, force_after=1.0)
    consortium.start("regulator", force_after=1.0)
    consortium.start("bank", lie="withhold", **BUSY)
    consortium.wait(
        lambda: all("leaves out" in consortium.output(name) for name in ("operator", "regulator")), "refusal"
    )
    final = consortium.status("bank")[1]
    time.sleep(1.0)
    assert consortium.status("bank")[1] == final
    consortium.kill("bank")
    consortium.start("bank")
    consortium.done("operator")
    consortium.settled(*NAMES)
    consortium.nothing_lost()


@pytest.mark.soak
def test_a_member_that_equivocates_is_proven_and_stops_nobody(consortium):
    consortium.start("regulator")
    consortium.start("operator", lie="equivocate")
    consortium.start("bank", **BUSY)
    consortium.wait(lambda: "has signed another log" in consortium.output("bank"), "somebody notices")
    consortium.grown("bank")
    consortium.grown("regulator", 4)
    assert list((consortium.folder / "bank").glob("evidence-*.json"))
    assert not consortium.status("bank")[2]
