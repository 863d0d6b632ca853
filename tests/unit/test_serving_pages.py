"""Pages of predictions: what was given out is on them, whatever happens; one program at a time has them."""

import errno
import os
import resource
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley.core.errors import BudgetExhausted, UsageError
from parley.ledger.merkle import Frontier
from parley.ledger.predictions import prediction_leaf, prediction_salt
from parley.serving.claims import Claimed, Claims
from parley.serving.pages import Book, Predictions

from tests.in_use import predictions


@pytest.fixture
def book(tmp_path):
    return Book(tmp_path, "m")


@contextmanager
def files_of_at_most(size):
    """As on a disk that is full from there on."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def root_of(page, ids, margin=0.5):
    frontier = Frontier()
    for number, each in enumerate(ids):
        salt = prediction_salt(page.key, number)
        list(frontier.append(prediction_leaf(salt, each.encode(), 0, (margin,))))
    return frontier.root()


def test_a_page_that_is_read_again_has_the_root_of_what_was_written(book):
    page = book.begin(batches=7)
    assert page.append(predictions("a", "bb")) == 0
    assert page.append(predictions("ccc")) == 2
    again = book.page(page.name)
    assert (again.count, again.batches) == (3, 7)
    assert again.root() == page.sealed() == root_of(page, ["a", "bb", "ccc"])
    assert book.prediction(page.name, 1) == ("bb", "joint", (0.5,))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.text(max_size=8), min_size=1, max_size=4), min_size=1, max_size=4), st.data())
def test_a_page_torn_at_any_byte_has_what_was_written_whole(tmp_path_factory, blocks, data):
    book = Book(tmp_path_factory.mktemp("book"), "m")
    page, whole = book.begin(), []
    for ids in blocks:
        page.append(predictions(*ids))
        whole.append((page.path.stat().st_size, page.count))
    page.close()
    kept = data.draw(st.integers(0, whole[-1][0]))
    os.truncate(page.path, kept)
    expected = max((count for size, count in whole if size <= kept), default=0)
    taken = book.take(page.name)
    if not expected:
        assert taken is None
        assert not page.path.exists()
        return
    assert taken.count == expected
    assert taken.root() == root_of(page, [each for ids in blocks for each in ids][:expected])
    taken.close()


def test_on_a_full_disk_a_page_stays_as_it_was_and_goes_on_later(book):
    page = book.begin()
    page.append(predictions("a"))
    size = page.path.stat().st_size
    with files_of_at_most(size + 10), pytest.raises(OSError, match="large") as full:
        page.append(predictions("b" * 200))
    assert full.value.errno == errno.EFBIG
    assert page.path.stat().st_size == size
    page.append(predictions("c"))
    assert book.page(page.name).root() == root_of(page, ["a", "c"])


def test_a_device_without_room_is_said_in_our_words(book):
    page = book.begin()
    page.close()
    page._file = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(BudgetExhausted, match="no space"):
        page.append(predictions("a"))


def test_nobody_takes_a_page_that_is_being_written(book, tmp_path):
    page = book.begin()
    page.append(predictions("a"))
    other = Book(tmp_path, "m")
    assert other.waiting() == [page.name]
    assert other.take(page.name) is None
    page.close()
    assert other.take(page.name).count == 1


def test_a_page_of_a_killed_program_is_taken(tmp_path):
    program = (
        "import os, sys, pathlib; from parley.serving.pages import Book\n"
        "from tests.in_use import predictions\n"
        "page = Book(pathlib.Path(sys.argv[1]), 'm').begin(); page.append(predictions('a', 'b'))\n"
        "print(page.name, flush=True); os.kill(os.getpid(), 9)"
    )
    words = [sys.executable, "-c", program, tmp_path]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == -9
    book = Book(tmp_path, "m")
    assert book.take(ended.stdout.strip()).count == 2


def test_what_nobody_was_given_is_not_waiting(book):
    page = book.hold()
    page.append(predictions("a"))
    assert book.waiting() == []
    book.publish(page)
    assert book.waiting() == [page.name]
    dropped = book.hold()
    book.forget(dropped.name)
    with pytest.raises(UsageError, match="no prediction"):
        book.page(dropped.name)


def test_an_entered_page_is_proven_from_and_waits_no_more(book):
    page = book.begin()
    page.append(predictions("a"))
    assert book.batch_of(page.name) is None
    book.entered(page, 17)
    assert book.batch_of(page.name) == 17
    assert book.waiting() == []
    assert book.take(page.name) is None
    assert book.page(page.name).name == page.name
    assert book.prediction(page.name, 0)[0] == "a"


@pytest.mark.parametrize("number", [-1, 1, 10**9])
def test_a_prediction_that_is_not_on_the_page_is_nobodys(book, number):
    page = book.begin()
    page.append(predictions("a"))
    with pytest.raises(UsageError) as refused:
        book.prediction(page.name, number)
    assert refused.value.code == "no-such-prediction"


@pytest.mark.parametrize("name", ["", "../../secret", "0" * 15, "*" * 16])
def test_what_is_no_name_of_a_page_is_looked_for_nowhere(book, name):
    with pytest.raises(UsageError) as refused:
        book.prediction(name, 0)
    assert refused.value.code == "no-such-prediction"


def test_a_damaged_page_is_kept_and_said_to_be_so(book):
    page = book.begin()
    page.append(predictions("a", "b"))
    page.close()
    data = bytearray(page.path.read_bytes())
    block = 4 + int.from_bytes(data[:4], "big") + 4
    data[block] = 0xC1  # which is nothing in msgpack
    page.path.write_bytes(data)
    with pytest.raises(UsageError) as refused:
        book.take(page.name)
    assert refused.value.code == "page-damaged"
    assert page.path.exists()


def test_a_page_of_another_model_is_not_ours(book, tmp_path):
    page = Book(tmp_path, "other").begin()
    page.append(predictions("a"))
    book.folder.mkdir()
    page.path.rename(book.folder / page.path.name)
    page.close()
    with pytest.raises(UsageError) as refused:
        book.take(page.name)
    assert refused.value.code == "page-damaged"


def test_hashing_waits_until_the_root_is_wanted_and_is_the_same_for_any_split(book):
    page, other = book.begin(), book.begin()
    other.key = page.key
    ids = [f"id-{number}" for number in range(50)]
    page.append(predictions(*ids))
    for each in ids:
        other.append(predictions(each))
    assert page.root() == other.root()
    assert page.root() == page.root(2)


def test_two_programs_that_want_the_last_ones_do_not_both_get_them(tmp_path):
    one, other = Claims(tmp_path), Claims(tmp_path)
    one.claim(Claimed(9, 5, 10))
    other.claim(Claimed(9, 7, 20))
    assert one.others(9) == Claimed(9, 7, 20)
    assert other.others(9) == Claimed(9, 5, 10)
    assert one.others(10) == Claimed(10, 0, 20), "what is known of another release says nothing of this one"
    other.close()
    assert one.others(9) == Claimed(9, 0, 0)
    one.close()


def test_what_a_killed_program_claimed_counts_until_it_is_buried(tmp_path):
    one, other = Claims(tmp_path), Claims(tmp_path)
    other.claim(Claimed(9, 0, 20))
    assert one.dead() == []
    other.leave()
    dead = one.dead()
    assert len(dead) == 1
    assert one.others(9).beyond == 20
    one.bury(dead)
    assert one.others(9).beyond == 0
    one.close()


def test_missing_scores_and_several_outputs_survive(tmp_path):
    book = Book(tmp_path, "m", outputs=2)
    page = book.begin()
    margins = np.array([[0.25, np.nan], [-1.0, np.nan]])
    page.append(Predictions.of(["ä", "b"], np.array([0, 2], np.uint8), margins))
    assert book.page(page.name).root() == page.root()
    assert book.prediction(page.name, 0) == ("ä", "joint", (0.25, -1.0))
    assert book.prediction(page.name, 1)[1] == "missing"
