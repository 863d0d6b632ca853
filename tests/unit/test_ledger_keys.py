"""The ledger's keys on disk: a new cosigning key takes its place, and the old one votes once more."""

import pytest

from parley.core.errors import UsageError
from parley.crypto.signatures import SigningKey
from parley.store.keys import (
    OLD,
    LedgerKeys,
    cosigning_seed,
    draw_next_cosigning,
    next_cosigning,
    settle_cosigning,
)


def public(seed):
    return SigningKey.from_seed(bytearray(seed)).public


@pytest.fixture
def folder(tmp_path):
    LedgerKeys.create(tmp_path)
    return tmp_path


def test_a_new_cosigning_key_waits_until_the_ledger_has_it(folder):
    old, following = LedgerKeys.load(folder).cosigning.public, draw_next_cosigning(folder).public
    assert draw_next_cosigning(folder).public == following
    assert not settle_cosigning(folder, old)
    assert LedgerKeys.load(folder).cosigning.public == old
    assert settle_cosigning(folder, following)
    assert LedgerKeys.load(folder).cosigning.public == following
    assert next_cosigning(folder) is None
    assert not settle_cosigning(folder, following)


def test_the_key_before_is_found_by_its_public_half_and_no_other_is(folder):
    oldest = LedgerKeys.load(folder).cosigning.public
    assert public(cosigning_seed(folder, oldest)) == oldest
    for _ in range(2):
        before, now = LedgerKeys.load(folder).cosigning.public, draw_next_cosigning(folder).public
        assert public(cosigning_seed(folder, before)) == before
        settle_cosigning(folder, now)
        assert public(cosigning_seed(folder, before)) == before
        assert public(cosigning_seed(folder, now)) == now
    assert public(cosigning_seed(folder, oldest)) == public(cosigning_seed(folder, b"")) == now


def test_a_party_that_is_killed_while_it_puts_the_key_in_place_does_so_when_it_is_back(folder):
    old, following = LedgerKeys.load(folder).cosigning.public, draw_next_cosigning(folder).public
    (folder / OLD).write_bytes((folder / "cosigning.key").read_bytes())  # as far as it had come
    assert LedgerKeys.create(folder).cosigning.public == old
    assert settle_cosigning(folder, following)
    assert public(cosigning_seed(folder, old)) == old


def test_an_old_key_that_is_damaged_is_an_error_only_while_it_is_needed(folder):
    old, following = LedgerKeys.load(folder).cosigning.public, draw_next_cosigning(folder).public
    settle_cosigning(folder, following)
    (folder / OLD).write_text("nothing")
    assert public(cosigning_seed(folder, following)) == following
    with pytest.raises(UsageError, match="ledger-key-missing"):
        cosigning_seed(folder, old)
    (folder / OLD).unlink()
    assert public(cosigning_seed(folder, old)) == following
