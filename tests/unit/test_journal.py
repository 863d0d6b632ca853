"""What is kept of a run: places to go on from, whole or not at all, and nothing after the end."""

import pytest

from parley.store.journal import ALIGNED, Journal


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "runs" / "run-1")


def filled(journal, rounds):
    journal.keep_alignment(b"rows")
    journal.say(b"align")
    for number in range(1, rounds + 1):
        journal.say(b"round %d" % number)
        journal.keep_state(number, b"state %d" % number)
    return journal


def test_a_run_that_kept_nothing_goes_on_from_the_beginning(journal):
    assert journal.places() == ()
    assert journal.said() == ()
    assert journal.done(0) is None


def test_the_last_four_states_are_places_to_go_on_from_and_so_is_the_alignment(journal):
    filled(journal, 9)
    assert journal.places() == (ALIGNED, 7, 8, 9, 10)
    assert journal.state(9) == b"state 9"
    assert journal.state(5) is None
    assert len(journal.said()) == 10, "commitments are kept, however old"


def test_what_comes_after_the_place_that_is_gone_on_from_is_forgotten(journal):
    filled(journal, 9)
    journal.keep_done(11, b"model")
    journal.rewind(8)
    assert journal.places() == (ALIGNED, 7, 8)
    assert journal.said() == (b"align", *(b"round %d" % number for number in range(1, 8)))
    journal.rewind(0)
    assert journal.places() == ()
    assert journal.said() == ()


@pytest.mark.parametrize("name", ["alignment", "round-000009", "done"])
def test_a_damaged_file_counts_as_missing(journal, tmp_path, name):
    filled(journal, 9).keep_done(11, b"model")
    before = journal.places()
    path = tmp_path / "runs" / "run-1" / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    lost = {"alignment": set(before) - {11}, "round-000009": {10}, "done": {11}}[name]
    assert set(journal.places()) == set(before) - lost


def test_a_file_under_another_name_is_none(journal, tmp_path):
    filled(journal, 2)
    folder = tmp_path / "runs" / "run-1"
    (folder / "round-000003").write_bytes((folder / "round-000002").read_bytes())
    assert journal.state(3) is None


def test_a_commitment_that_was_cut_short_does_not_count_and_harms_none_after_it(journal, tmp_path):
    filled(journal, 2)
    with (tmp_path / "runs" / "run-1" / "said").open("ab") as file:
        file.write(b"round 3 of w")
    assert journal.said() == (b"align", b"round 1", b"round 2")
    journal.rewind(3)
    journal.say(b"round 3")
    assert journal.said()[-1] == b"round 3"


def test_after_the_end_only_what_the_run_leaves_is_kept(journal, tmp_path):
    filled(journal, 3).keep_done(5, b"model")
    journal.close()
    assert [path.name for path in (tmp_path / "runs" / "run-1").iterdir()] == ["done"]
    assert journal.places() == (5,)
    assert journal.done(5) == b"model"
    journal.clear()
    assert not (tmp_path / "runs" / "run-1").exists()
