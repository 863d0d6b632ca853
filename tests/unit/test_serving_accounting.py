"""Accounts of predictions: what was given out is counted once, and never more than is released."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from parley.core.errors import BudgetExhausted, PeerLost, PolicyRefused
from parley.serving import accounting, attendance
from parley.serving.accounting import Accountant
from parley.serving.pages import Book

from tests.in_use import FAR, Ledger, predictions, until


@asynccontextmanager
async def accountant(ledger, folder, **options):
    """A program's accounts, at work."""
    made = Accountant(Book(folder, "m"), wall=lambda: 1000.0, **options)
    refused = []
    async with ledger.attended() as attendance:
        made.attend(attendance)
        running = asyncio.create_task(made.run(refused.append))
        made.refused = refused
        try:
            yield made
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def answer(accounts, *ids):
    await accounts.reserve(len(ids))
    return accounts.write(predictions(*ids))


def test_what_is_given_out_gets_onto_the_ledger_once(tmp_path):
    async def work():
        ledger = Ledger()
        async with accountant(ledger, tmp_path) as accounts:
            receipts = await answer(accounts, "a", "b")
            receipts += await answer(accounts, "c")
            assert accounts.used == 3
            await until(lambda: ledger.used == 3)
            await until(lambda: not accounts._due)
            assert accounts.used == 3
            name, number = receipts[2].split(".")
            assert accounts._book.prediction(name, int(number))[0] == "c"
            assert accounts._book.batch_of(name) == 0

    asyncio.run(work())


def test_what_was_asked_for_a_refused_request_counts_and_the_rest_is_free_again(tmp_path, monkeypatch):
    async def work():
        ledger = Ledger(quota=5)
        async with accountant(ledger, tmp_path) as accounts:
            await accounts.reserve(4)
            accounts.withhold(4, predictions("a"))
            assert accounts.used == 1
            await accounts.reserve(4)
            with monkeypatch.context() as full:
                full.setattr(accounts, "write", _no_room)
                with pytest.raises(BudgetExhausted):
                    accounts.withhold(4, predictions("b"))
            assert accounts.used == 1
            await until(lambda: ledger.used == 1)

    asyncio.run(work())


def _no_room(_predictions):
    raise BudgetExhausted("disk-full", "there is no room", remedy="free some")


def test_terms_that_our_party_does_not_repeat_do_not_hold(monkeypatch):
    monkeypatch.setattr(attendance, "_SILENT", 0.1)

    async def work():
        async with Ledger().attended() as heard:
            assert (await heard.over()).code == "silent-peer"

    asyncio.run(work())


def test_a_request_beyond_the_quota_gets_nothing_and_leaves_room_for_less(tmp_path):
    async def work():
        ledger = Ledger(quota=5)
        async with accountant(ledger, tmp_path) as accounts:
            await answer(accounts, "a", "b", "c")
            with pytest.raises(BudgetExhausted) as refused:
                await accounts.reserve(3)
            assert refused.value.code == "predictions-used-up"
            await answer(accounts, "d", "e")
            await until(lambda: ledger.used == 5)
        assert not accounts.refused

    asyncio.run(work())


def test_two_programs_together_stay_within_the_quota(tmp_path):
    async def work():
        ledger = Ledger(quota=40)
        given = []
        async with accountant(ledger, tmp_path) as one, accountant(ledger, tmp_path) as other:

            async def ask(accounts, name):
                for number in range(60):
                    try:
                        await answer(accounts, f"{name}{number}")
                        given.append(name)
                    except BudgetExhausted:
                        return

            await asyncio.gather(ask(one, "a"), ask(other, "b"))
            assert len(given) <= 40
            await until(lambda: ledger.used == len(given))
            assert not one.refused
            assert not other.refused

    asyncio.run(work())


def test_what_a_killed_program_gave_out_is_entered_by_the_next(tmp_path):
    async def work():
        ledger = Ledger()
        killed = Accountant(Book(tmp_path, "m"), wall=lambda: 1000.0)
        async with ledger.attended() as attendance:
            killed.attend(attendance)
            await answer(killed, "a", "b")
            killed._page.close()
            killed._claims.leave()
        async with accountant(ledger, tmp_path) as accounts:
            await until(lambda: ledger.used == 2)
            await until(lambda: not accounts._due)
            await answer(accounts, "c")
            await until(lambda: ledger.used == 3)
        assert [count for _, count in ledger.batches] == [2, 1]

    asyncio.run(work())


def test_another_program_leaves_a_page_alone_that_is_being_written(tmp_path, monkeypatch):
    monkeypatch.setattr(accounting, "_ORPHANS", 0.05)

    async def work():
        ledger, book = Ledger(), Book(tmp_path, "m")
        page = book.begin()
        page.append(predictions("a"))
        async with accountant(ledger, tmp_path) as accounts:
            await asyncio.sleep(0.3)
            assert not ledger.batches
            page.append(predictions("b"))
            await accounts.enter(page)
            await asyncio.sleep(0.3)
        assert [count for _, count in ledger.batches] == [2]

    asyncio.run(work())


def test_while_a_page_is_refused_nothing_more_is_answered(tmp_path, monkeypatch):
    monkeypatch.setattr(accounting, "_AGAIN", 0.02)

    async def work():
        ledger = Ledger()
        ledger.refusing = "member-suspended"
        async with accountant(ledger, tmp_path) as accounts:
            await answer(accounts, "a")
            await until(lambda: accounts.refused)
            for _ in range(3):
                with pytest.raises(PolicyRefused) as refused:
                    await accounts.reserve(1)
                assert refused.value.code == "ledger-member-suspended"
            assert accounts.used == 1
            ledger.refusing = ""
            ledger.until = FAR + 1
            accounts._attendance.terms = ledger.terms()
            await until(lambda: ledger.used == 1)
            await until(lambda: not accounts._due)
            await answer(accounts, "b")

    asyncio.run(work())


def test_under_steady_load_the_accounts_are_not_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(accounting, "PACE", 0.01)

    async def work():
        ledger, now = Ledger(quota=10**6), [0.0]
        async with accountant(ledger, tmp_path, clock=lambda: now[0]) as accounts:
            for number in range(12):
                await answer(accounts, f"id-{number}")
                now[0] += accounting.BEHIND / 4
                pages = len(ledger.batches)
                await until(lambda: len(ledger.batches) > pages or not accounts._due)  # noqa: B023
            assert ledger.used >= 11

    asyncio.run(work())


def test_a_ledger_that_takes_nothing_ends_the_answers_until_it_does(tmp_path, monkeypatch):
    monkeypatch.setattr(accounting, "_AGAIN", 0.02)

    async def work():
        ledger, now = Ledger(), [0.0]
        ledger.away = True
        async with accountant(ledger, tmp_path, clock=lambda: now[0]) as accounts:
            await answer(accounts, "a")
            now[0] += accounting.BEHIND + 1
            with pytest.raises(PeerLost) as refused:
                await accounts.reserve(1)
            assert refused.value.code == "accounts-behind"
            ledger.away = False
            await until(lambda: ledger.used == 1 and not accounts._due)
            await answer(accounts, "b")

    asyncio.run(work())


def test_without_our_own_party_nothing_is_answered(tmp_path):
    async def work():
        accounts = Accountant(Book(tmp_path, "m"))
        accounts.attend(None)
        with pytest.raises(PeerLost) as refused:
            await accounts.reserve(1)
        assert refused.value.code == "own-party-away"

    asyncio.run(work())


def test_a_program_that_ends_has_its_last_page_entered_and_claims_nothing(tmp_path):
    async def work():
        ledger = Ledger()
        async with accountant(ledger, tmp_path) as accounts:
            await answer(accounts, "a")
            await accounts.close()
            assert ledger.used == 1
        assert list((tmp_path / "m" / "claims").iterdir()) == []

    asyncio.run(work())


def test_a_program_that_ends_while_the_ledger_is_away_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(accounting, "CLOSING", 0.05)

    async def work():
        ledger = Ledger()
        ledger.away = True
        async with accountant(ledger, tmp_path) as accounts:
            await answer(accounts, "a")
            await accounts.close()
        assert len(list((tmp_path / "m" / "claims").iterdir())) == 1

    asyncio.run(work())
