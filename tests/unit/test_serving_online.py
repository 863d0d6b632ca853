"""Single requests: scores as in training, each request by itself, nothing kept of what got no answer."""

import asyncio
from contextlib import asynccontextmanager

import numpy as np
import polars as pl
import pytest

from parley.core.errors import BudgetExhausted, ParleyError, PeerLost, PolicyRefused, UsageError
from parley.core.log import Log
from parley.serving.accounting import Accountant
from parley.serving.monitor import Monitor
from parley.serving.online import OnlineScorer
from parley.serving.pages import Book

from tests.in_use import Ledger, engine, model

SHARES, FRAME, MARGINS = model()
SOME = [f"id-{row}" for row in range(10)]
AWAY = PeerLost("peer-away", "operator is away", peer="operator", remedy="wait")


@asynccontextmanager
async def scoring(folder, *, quota=1000, **options):
    """A scorer at work, with what it stands on."""
    made, columns, other = engine(SHARES, FRAME, **options)
    ledger, accounts = Ledger(quota), Accountant(Book(folder, "run-1"), wall=lambda: 1000.0)
    said = []
    async with ledger.attended() as attendance:
        accounts.attend(attendance)
        scorer = OnlineScorer(made, accounts, Monitor(), Log("bank", lambda: 1000.0, said.append), delay=0.0)
        scorer.said, scorer.columns, scorer.other, scorer.accounts = said, columns, other, accounts
        running = asyncio.create_task(scorer.run())
        try:
            yield scorer
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def asked(work):
    return asyncio.run(asyncio.wait_for(work(), 60))


def test_margins_are_those_of_training_bit_for_bit(tmp_path):
    async def work():
        async with scoring(tmp_path) as scorer:
            scores = await scorer.score(FRAME["id"].to_list())
            assert np.array([each.margin[0] for each in scores]).tobytes() == MARGINS[0].tobytes()
            assert {each.basis for each in scores} == {"joint"}
            assert len({each.receipt for each in scores}) == len(scores)

    asked(work)


def test_what_comes_together_is_asked_together(tmp_path):
    async def work():
        async with scoring(tmp_path) as scorer:
            results = await asyncio.gather(*(scorer.score([each]) for each in SOME))
            assert [each[0].id for each in results] == SOME
            assert len(scorer.other.asked) < len(SOME)

    asked(work)


def test_one_unknown_id_refuses_its_own_request_alone_and_nobody_is_asked_twice(tmp_path):
    async def work():
        theirs = FRAME.filter(pl.col("id") != "id-3")
        async with scoring(tmp_path, theirs=theirs) as scorer:
            requests = [scorer.score([each]) for each in [*SOME, "nobody"]]
            results = await asyncio.gather(*requests, return_exceptions=True)
            failed = {place for place, each in enumerate(results) if isinstance(each, UsageError)}
            assert failed == {3, 10}
            assert {results[place].code for place in failed} == {"unknown-ids"}
            assert sum(map(len, scorer.other.asked)) == len(SOME)
            assert scorer.accounts.used == len(SOME)

    asked(work)


def test_a_refused_request_is_counted_as_far_as_somebody_was_asked(tmp_path):
    async def work():
        async with scoring(tmp_path) as scorer:
            with pytest.raises(UsageError, match="nobody"):
                await scorer.score([*SOME, "nobody"])
            assert scorer.accounts.used == len(SOME)
            with pytest.raises(UsageError, match="nobody"):
                await scorer.score(["nobody"])
            assert scorer.accounts.used == len(SOME)

    asked(work)


def test_an_id_that_our_source_fails_for_costs_the_others_nothing(tmp_path):
    async def work():
        async with scoring(tmp_path) as scorer:
            bad = UsageError("column-type", "a value is none", remedy="correct it")
            scorer.columns.error = {"id-3": bad}
            results = await asyncio.gather(*(scorer.score([each]) for each in SOME), return_exceptions=True)
            assert [place for place, each in enumerate(results) if each is bad] == [3]
            assert scorer.accounts.used == len(SOME) - 1

    asked(work)


def test_a_source_that_is_late_is_not_waited_for_again_for_each_request(tmp_path):
    async def work():
        async with scoring(tmp_path) as scorer:
            late = UsageError("source-late", "it did not answer", remedy="wait")
            scorer.columns.error = dict.fromkeys(SOME, late)
            results = await asyncio.gather(*(scorer.score([each]) for each in SOME), return_exceptions=True)
            assert all(each is late for each in results)
            assert len(scorer.columns.asked) <= 3
            assert scorer.accounts.used == 0

    asked(work)


@pytest.mark.parametrize(
    "error",
    [AWAY, PolicyRefused("ledger-quota-exceeded", "no more", remedy="release"), ValueError("id-3 is secret")],
)
def test_after_any_failure_nothing_stays_set_aside(tmp_path, error):
    async def work():
        async with scoring(tmp_path, quota=10) as scorer:
            scorer.other.error = error
            for _ in range(5):
                with pytest.raises(ParleyError) as failed:
                    await scorer.score(SOME)
                assert "secret" not in failed.value.what
            assert scorer.accounts.used == 0
            scorer.other.error = None
            assert len(await scorer.score(SOME)) == 10

    asked(work)


def test_on_a_full_disk_no_score_is_given_out_and_later_ones_are(tmp_path, monkeypatch):
    async def work():
        async with scoring(tmp_path) as scorer:
            full = BudgetExhausted("disk-full", "there is no room", remedy="free some")

            def begin(_self, _batches=0):
                raise full

            with monkeypatch.context() as broken:
                broken.setattr(Book, "begin", begin)
                with pytest.raises(BudgetExhausted):
                    await scorer.score(SOME)
            assert scorer.accounts.used == 0
            assert await scorer.score(SOME)

    asked(work)


def test_who_has_left_is_not_asked_for(tmp_path):
    async def work():
        async with scoring(tmp_path) as scorer:
            leaving = asyncio.ensure_future(scorer.score(SOME))
            await asyncio.sleep(0)
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
            await scorer.score(["id-1"])
            assert scorer.other.asked == [["id-1"]]
            assert scorer.accounts.used == 1

    asked(work)


@pytest.mark.parametrize(("fallback", "basis"), [("missing", "missing"), ("active-only", "active-only")])
def test_while_a_party_is_away_the_fallback_holds(tmp_path, fallback, basis):
    async def work():
        alone = SHARES[0] if fallback == "active-only" else None
        seen = []
        options = {"fallback": fallback, "alone": alone, "degraded": seen.append}
        if alone is not None:
            options["alone"] = model_of_own_columns()
        async with scoring(tmp_path, **options) as scorer:
            scorer.other.error = AWAY
            assert {each.basis for each in await scorer.score(SOME)} == {basis}
            assert seen == [AWAY]
            scorer.other.error = None
            assert {each.basis for each in await scorer.score(SOME)} == {"joint"}

    asked(work)


def model_of_own_columns():
    """The model of the first party's columns alone, by the same bins."""
    from tests.joint import pieces  # noqa: PLC0415

    label = (FRAME["x0"] + FRAME["x2"] > 0).cast(pl.Float64).to_numpy()
    return pieces(FRAME, label, {"bank": ("x0", "x1")})[0][0]


def test_a_model_of_other_columns_is_no_fallback():
    with pytest.raises(UsageError) as refused:
        engine(SHARES, FRAME, fallback="active-only", alone=model(seed=6)[0][0])
    assert refused.value.code == "no-fallback-model"
