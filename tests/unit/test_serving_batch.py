"""Lists of ids: every id once in the output and once in the accounts, wherever the job was interrupted."""

import asyncio
import fcntl
import os

import numpy as np
import polars as pl
import pytest

from parley.core.errors import UsageError
from parley.serving import batch
from parley.serving.accounting import Accountant
from parley.serving.batch import Batch, read_ids
from parley.serving.engine import predictions_of
from parley.serving.features.coded import Listed
from parley.serving.pages import Book, Predictions
from parley.serving.program import AtWork

from tests.in_use import Ledger, engine, model

SHARES, FRAME, MARGINS = model()
IDS = FRAME["id"]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(batch, "CHUNK", 16)


class Watched(Book):
    """A book whose locks can be let go of, as a process that ends does."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.open = []

    def hold(self, batches=0):
        self.open.append(super().hold(batches))
        return self.open[-1]

    def take(self, name):
        page = super().take(name)
        self.open += [page] if page else []
        return page


def predict(folder, ledger, out="scores.parquet", *, ids=IDS, fallback="refuse", stop=None):
    """One attempt; ``stop`` is called with the name of each step and may raise."""

    async def work():
        made, _, other = engine(SHARES, FRAME, fallback=fallback)
        book = Watched(folder / "predictions", "run-1")
        accounts = Accountant(book, wall=lambda: 1000.0)
        async with ledger.attended() as attendance:
            accounts.attend(attendance)
            if stop is not None:
                stop(book, accounts)
            try:
                job = Batch(folder / out, ids, AtWork(made, accounts, book), 1.0, lambda *_: None)
                return await job.run(0), sum(map(len, other.asked))
            finally:
                await accounts.close()
                for page in book.open:
                    page.close()

    return asyncio.run(asyncio.wait_for(work(), 60))


def test_the_output_has_every_id_once_with_the_margins_of_training(tmp_path):
    ledger = Ledger()
    done, _ = predict(tmp_path, ledger)
    scores = pl.read_parquet(tmp_path / "scores.parquet")
    assert scores["id"].to_list() == IDS.to_list()
    assert scores["margin"].to_numpy().tobytes() == MARGINS[0].tobytes()
    assert (done.basis["joint"], ledger.used) == (60, 60)
    assert [each.name for each in tmp_path.iterdir() if "parts" in each.name] == []


def test_ids_of_a_list_are_scored_and_written_down_as_those_of_a_request():
    made, _, _ = engine(SHARES, FRAME, fallback="missing")
    texts = [*IDS.to_list(), *(f"nobody-ä{number}" for number in range(600))]
    listed = Listed(pl.Series("id", texts))
    one, other = (asyncio.run(made.outcome(ids)) for ids in (texts, listed))
    assert one.basis.tobytes() == other.basis.tobytes()
    assert one.margins.tobytes() == other.margins.tobytes()
    assert one.counted()["joint"] == len(IDS)
    key = bytes(32)
    leaves = [predictions_of(ids, one).leaves(key, 0, 1).tobytes() for ids in (texts, listed)]
    assert leaves[0] == leaves[1]


def test_a_receipt_in_the_output_is_that_of_the_page(tmp_path):
    page = Book(tmp_path, "run-1").hold()
    page.append(Predictions.of(IDS.to_list(), np.zeros(60, np.uint8), MARGINS))
    assert page.receipts_column().to_list() == page.receipts(0, 60)
    page.close()


class Killed(BaseException):
    """As if the process ended there."""


@pytest.mark.parametrize("step", ["hold", "fill", "publish", "enter"])
@pytest.mark.parametrize("chunk", [0, 2])
def test_a_job_that_ends_anywhere_goes_on_and_counts_nothing_twice(tmp_path, monkeypatch, step, chunk):
    def stop(book, accounts):
        owner = book if step == "publish" else accounts
        real, calls = getattr(owner, step), []

        def ends(*arguments):
            calls.append(step)
            if len(calls) > chunk:
                raise Killed
            return real(*arguments)

        monkeypatch.setattr(owner, step, ends)

    ledger = Ledger()
    with pytest.raises(Killed):
        predict(tmp_path, ledger, stop=stop)
    assert not (tmp_path / "scores.parquet").exists()
    done, asked = predict(tmp_path, ledger)
    assert pl.read_parquet(tmp_path / "scores.parquet")["id"].to_list() == IDS.to_list()
    assert ledger.used == 60
    assert done.resumed + asked == 60


def test_two_at_once_do_not_score_the_same_list(tmp_path):
    folder = tmp_path / "scores.parquet.parts"
    folder.mkdir()
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(UsageError) as refused:
        predict(tmp_path, Ledger())
    assert refused.value.code == "job-running"
    os.close(handle)
    predict(tmp_path, Ledger())


def test_the_parts_of_another_job_are_left_alone(tmp_path):
    def stop(_book, accounts):
        accounts.hold = lambda: (_ for _ in ()).throw(Killed)

    with pytest.raises(Killed):
        predict(tmp_path, Ledger(), stop=stop)
    with pytest.raises(UsageError) as refused:
        predict(tmp_path, Ledger(), fallback="missing")
    assert refused.value.code == "other-job"


def test_an_unknown_id_refuses_the_list_which_counts_as_far_as_somebody_was_asked(tmp_path):
    ledger = Ledger()
    with pytest.raises(UsageError, match="nobody"):
        predict(tmp_path, ledger, ids=pl.Series("id", ["id-1", "nobody"]))
    assert ledger.used == 1
    done, _ = predict(
        tmp_path, ledger, "other.csv", ids=pl.Series("id", ["id-1", "nobody"]), fallback="missing"
    )
    assert done.basis == {"joint": 1, "active-only": 0, "missing": 1}
    assert ledger.used == 3


def test_ids_that_stand_twice_are_read_once(tmp_path):
    path = tmp_path / "ids.csv"
    pl.DataFrame({"id": ["b", "a", "b"]}).write_csv(path)
    distinct, repeated = read_ids(str(path), None)
    assert (distinct.to_list(), repeated) == (["b", "a"], 1)
