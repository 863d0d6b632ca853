"""The passive party's meter, against an obvious model: whatever is asked, no more than the release allows."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley.protocols.asking import MAX_TOKENS
from parley.protocols.attending import Terms
from parley.serving.meter import PATIENCE, Meter, Slate

QUOTA = 1_000_000


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def terms(used=0, quota=QUOTA, status="released", until=10):
    return Terms(status, quota, used, until, "bank", (), "", 0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m" / "answered"


def meter(path, clock=None, wall=lambda: 0.0):
    return Meter(clock or Clock(), wall, Slate(path))


def test_of_a_model_that_may_not_be_used_nothing_is_answered(path):
    assert meter(path).asked(terms(status="withdrawn"), 1) == "model-withdrawn"
    assert meter(path).asked(terms(status="trained"), 1) == "model-not-released"
    assert meter(path, wall=lambda: 11.0).asked(terms(), 1) == "release-expired"


def test_the_quota_holds_before_anything_is_accounted_for(path):
    used = meter(path)
    assert used.asked(terms(quota=10), 10) is None
    assert used.asked(terms(quota=10), 1) == "quota-exceeded"
    assert used.asked(terms(quota=10, used=10), 1) == "quota-exceeded"


def test_who_never_accounts_gets_its_allowance_once_and_not_once_for_each_worker(path):
    clock, answered = Clock(), 0
    quota = MAX_TOKENS * 20
    for _ in range(60):
        worker = meter(path, clock)
        while worker.asked(terms(quota=quota), MAX_TOKENS) is None:
            answered += MAX_TOKENS
        clock.now += PATIENCE + 1
    assert worker.asked(terms(quota=quota), 1) == "unaccounted"
    assert answered <= quota + 2 * MAX_TOKENS + quota // 10 + MAX_TOKENS


def test_who_accounts_later_is_answered_again(path):
    clock, quota = Clock(), MAX_TOKENS * 20
    worker = meter(path, clock)
    for _ in range(6):
        assert worker.asked(terms(quota=quota), MAX_TOKENS) is None
    clock.now += PATIENCE + 1
    assert worker.asked(terms(quota=quota), 1) == "unaccounted"
    assert meter(path, clock).asked(terms(quota=quota, used=6 * MAX_TOKENS), 1) is None


def test_a_release_that_every_owner_gave_anew_begins_anew(path):
    clock, quota = Clock(), MAX_TOKENS * 20
    worker = meter(path, clock)
    for _ in range(6):
        assert worker.asked(terms(quota=quota), MAX_TOKENS) is None
    clock.now += PATIENCE + 1
    assert worker.asked(terms(quota=quota), 1) == "unaccounted"
    assert worker.asked(terms(quota=quota, until=20), 1) is None


def test_many_threads_together_do_not_exceed_the_quota(path):
    worker, answered = meter(path), []

    def ask():
        answered.extend(each for _ in range(300) if (each := worker.asked(terms(quota=1000), 1)) is None)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(answered) == 1000


def test_a_slate_that_cannot_be_read_counts_from_what_the_ledger_says(path):
    path.parent.mkdir()
    path.write_bytes(b"short")
    assert meter(path).asked(terms(quota=10, used=4), 6) is None


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(1, MAX_TOKENS)),
        st.tuples(st.just("account"), st.integers(1, 2 * MAX_TOKENS)),
        st.tuples(st.just("wait"), st.integers(1, 200)),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(EVENTS, st.integers(1, 20 * MAX_TOKENS))
def test_whatever_happens_what_was_answered_is_within_the_release(tmp_path_factory, events, quota):
    path, clock = tmp_path_factory.mktemp("meter") / "answered", Clock()
    worker, answered, used = meter(path, clock), 0, 0
    for kind, amount in events:
        if kind == "ask":
            said = worker.asked(terms(used=used, quota=quota), amount)
            assert said in (None, "quota-exceeded", "unaccounted")
            answered += 0 if said else amount
            if said is None:
                assert used + amount <= quota
        elif kind == "account":
            used = min(used + amount, quota)
        elif kind == "wait":
            clock.now += amount
        else:
            worker = meter(path, clock)
        allowance = 2 * MAX_TOKENS + quota // 10 + MAX_TOKENS
        assert answered <= quota + allowance
