"""What is wanted in the ledger, watched by the loop and by the threads that apply blocks."""

import threading

import pytest

from parley.ledger.engines.embedded.watch import PASSED_ON_LIMIT, Watch
from parley.ledger.transaction import SignedTransaction

MANY = 3000


def signed(number):
    """An envelope that differs from others; nobody looks into it here."""
    return SignedTransaction(
        None, b"", "ed25519", b"data %d" % number, b"payload %d" % number, b"id %d" % number
    )


@pytest.fixture
def watch():
    return Watch(lambda: 0.0, 10.0)


def test_others_transactions_are_watched_up_to_a_limit_and_our_own_always(watch):
    assert all(watch.want(signed(number), ours=False) for number in range(PASSED_ON_LIMIT))
    assert not watch.want(signed(PASSED_ON_LIMIT), ours=False)
    assert watch.want(signed(PASSED_ON_LIMIT), ours=True)
    assert len(watch.wanted()) == PASSED_ON_LIMIT + 1


def test_it_can_be_read_while_other_threads_add_and_forget(watch):
    over, failed = threading.Event(), []

    def read():
        try:
            while not over.is_set():
                watch.wanted()
                watch.waiting(0.0)
                watch.want(signed(-1), ours=False)
                watch.forget(signed(-1).digest)
        except RuntimeError as error:
            failed.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(MANY):
            watch.want(signed(number), ours=True)
        for number in range(MANY):
            watch.forget(signed(number).digest)
    finally:
        over.set()
        reader.join()
    assert failed == []
    assert watch.wanted() == {}
