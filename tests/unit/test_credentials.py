"""The party's identity while it runs: renewed in time, warned of in time, replaced as a whole."""

from datetime import UTC, datetime, timedelta

import pytest

from parley.core.errors import UsageError
from parley.net.authority import CLOCK_SKEW, VALIDITY, Authority, create_identity, create_single
from parley.net.certificates import Identity
from parley.party.credentials import (
    Credentials,
    draw_next,
    forget_next,
    next_identity,
    rotate_leaf,
    take_over,
)

NOW = datetime.now(UTC)
DUE = NOW + VALIDITY - (VALIDITY + CLOCK_SKEW) / 3
HOUR = timedelta(hours=1)


@pytest.fixture
def folder(tmp_path):
    authority = Authority.create("bank")
    authority.save(tmp_path)
    authority.issue().save(tmp_path)
    return tmp_path


class Running:
    """The credentials of a party whose clock is ours to set."""

    def __init__(self, folder, now=NOW):
        self.now = now
        self.log = []
        self.credentials = Credentials(folder, lambda: self.now, self.log.append)

    def looks(self, now):
        self.now = now
        self.credentials.look()
        return self.credentials.current()


def test_a_certificate_is_renewed_when_a_third_of_its_life_is_left(folder):
    running = Running(folder)
    first = running.credentials.current()
    assert running.looks(DUE - HOUR) == first
    second = running.looks(DUE + HOUR)
    assert second.leaf_fingerprint != first.leaf_fingerprint
    assert second.fingerprint == first.fingerprint
    assert second.ends > first.ends
    assert Identity.load(folder, now=running.now) == second
    assert not running.log


def test_without_the_authoritys_key_it_is_warned_of_once_a_day(folder):
    key = (folder / "ca.key").rename(folder / "safe")
    running = Running(folder)
    first = running.looks(DUE - HOUR)
    assert not running.log
    for hours in (1, 2, 3, 26):
        assert running.looks(DUE + hours * HOUR) == first
    assert len(running.log) == 2
    assert "ca.key" in running.log[0]
    assert "parley identity rotate" in running.log[0]
    rotated = rotate_leaf(folder, key=key, now=running.now)
    assert running.credentials.current() == rotated


def test_an_authority_that_ends_soon_is_warned_of(folder):
    running = Running(folder)
    now = NOW + timedelta(days=3650 - 100)
    rotate_leaf(folder, now=now)
    running.looks(now)
    assert "parley identity replace" in running.log[-1]


def test_a_party_that_was_away_for_long_renews_its_certificate_as_it_starts(folder):
    late = NOW + VALIDITY + HOUR
    assert Running(folder, late).credentials.current().ends > late
    (folder / "ca.key").unlink()
    with pytest.raises(UsageError) as caught:
        Running(folder, late + 2 * VALIDITY)
    assert caught.value.code == "identity-expired"


def test_what_cannot_be_read_while_the_party_runs_does_not_stop_it(folder):
    running = Running(folder)
    first = running.credentials.current()
    (folder / "leaf.pem").write_text("half")
    assert running.credentials.current() == first
    assert running.credentials.current() == first
    assert len(running.log) == 1
    second = rotate_leaf(folder)
    assert running.credentials.current() == second


def test_a_home_without_an_authority_is_used_as_it_is_and_warned_of(tmp_path):
    single = create_single("bank")
    single.save(tmp_path)
    running = Running(tmp_path)
    assert running.looks(NOW + timedelta(days=300)) == single
    assert not running.log
    assert running.looks(single.ends - HOUR) == single
    assert "parley identity replace" in running.log[0]
    with pytest.raises(UsageError) as caught:
        rotate_leaf(tmp_path)
    assert caught.value.code == "no-authority"


@pytest.mark.parametrize("make", [create_identity, create_single])
def test_a_replacement_is_drawn_once_and_takes_the_place_of_all_of_it(tmp_path, make):
    first = make("bank")
    first.save(tmp_path)
    running = Running(tmp_path)
    following = draw_next(tmp_path, "bank")
    assert draw_next(tmp_path, "bank") == following, "one that is under way is gone on with"
    assert running.credentials.current() == first
    take_over(tmp_path)
    forget_next(tmp_path)
    assert running.credentials.current() == following
    assert next_identity(tmp_path) is None
    assert sorted(each.name for each in tmp_path.iterdir()) == ["ca.key", "ca.pem", "leaf.pem"]
    assert Authority.load(tmp_path).issue().fingerprint == following.fingerprint


@pytest.mark.parametrize("files", [("ca.key",), ("ca.key", "leaf.pem")])
def test_a_replacement_that_broke_off_goes_on_as_the_party_starts(folder, files):
    """Once anything of it is in use, all of it is; before, it waits until the ledger has it."""
    first, following = Identity.load(folder), draw_next(folder, "bank")
    for name in files:
        (folder / name).write_bytes((folder / "next" / name).read_bytes())
    running = Running(folder)
    assert running.credentials.current() == (following if "leaf.pem" in files else first)
    assert next_identity(folder) == following


def test_a_replacement_that_was_not_written_to_its_end_is_drawn_anew(folder):
    draw_next(folder, "bank")
    (folder / "next" / "ca.pem").unlink()
    assert next_identity(folder) is None
    assert draw_next(folder, "bank") == next_identity(folder)
