"""Real tables as they are when a model is used: gaps where training had none, categories that it never saw.

A list, single requests, and the two shares put together on one machine give the same scores, bit for bit.
"""

import numpy as np
import polars as pl
import pytest

from parley.data.sources import parse_source, read

from tests.joint import SHOPPERS
from tests.system.parties import EXAMPLE, PLAN, consortium, until
from tests.system.released import ENOUGH, joined, model_status, released, serving
from tests.system.test_consortium import approved

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]
ASKED = 300


def credit():
    """Label, and each party's table."""
    bank, operator = (read(parse_source(str(EXAMPLE / f"{name}.csv.gz"))) for name in ("bank", "operator"))
    return "default", bank, operator.with_columns(pl.col("EDUCATION", "PAY_0").cast(pl.String))


def shoppers():
    frame = read(parse_source(str(SHOPPERS))).with_row_index("id", offset=100_000)
    frame = frame.with_columns(pl.col("id").cast(pl.String), pl.col("Revenue").cast(pl.Int64))
    features = [name for name in frame.columns if name not in ("id", "Revenue")]
    return "Revenue", frame.select("id", "Revenue", *features[:9]), frame.select("id", *features[9:])


def worn(frame, keep, random):
    """The table some time later: gaps everywhere, and texts that nobody has seen."""
    columns = []
    for name in frame.columns:
        if name in keep:
            continue
        hit = pl.Series(random.random(len(frame)) < 0.1)
        other = pl.lit("never seen" if frame[name].dtype == pl.String else None)
        lost = pl.Series(random.random(len(frame)) < 0.1)
        if frame[name].dtype == pl.Boolean:
            columns.append(pl.when(lost).then(None).otherwise(pl.col(name)).alias(name))
        else:
            columns.append(pl.when(lost).then(None).when(hit).then(other).otherwise(pl.col(name)).alias(name))
    return frame.with_columns(columns)


@pytest.mark.parametrize("tables", [credit, shoppers])
def test_lists_and_single_requests_agree_with_the_shares(tables, tmp_path):
    label, *frames = tables()
    with consortium(tmp_path) as (bank, operator, _):
        parties = {"accounts": (bank, frames[0]), "subscribers": (operator, frames[1])}
        for name, (party, frame) in parties.items():
            frame.write_parquet(tmp_path / f"{name}.parquet")
            party.done("data", "add", name, tmp_path / f"{name}.parquet", "--id", "id")
        columns = [
            ", ".join(f'"{name}"' for name in frame.columns if name not in ("id", label)) for frame in frames
        ]
        path = tmp_path / "plan.toml"
        path.write_text(
            PLAN.format(
                bank_table="accounts",
                operator_table="subscribers",
                label=label,
                bank_columns=columns[0],
                operator_columns=columns[1],
                trees=30,
                runs=1,
                predictions=ENOUGH,
                days=7,
                purpose="scores of later",
            )
        )
        model = bank.done("run", approved(bank, operator, path))["run"]
        until(lambda: model_status(operator, model) == "trained")
        random = np.random.default_rng(5)
        for name, (_, frame) in parties.items():
            worn(frame, ("id", label), random).write_parquet(tmp_path / f"{name}.parquet")
        expected = joined(model, bank=bank.home, operator=operator.home)
        released(bank, operator, model, ENOUGH)
        listed, out = tmp_path / "ids.parquet", tmp_path / "scores.parquet"
        pl.DataFrame({"id": list(expected)}).write_parquet(listed)
        assert bank.done("predict", model, "--ids", listed, "--out", out)["basis"]["joint"] == len(expected)
        scores = pl.read_parquet(out)
        assert dict(zip(scores["id"], scores["margin"], strict=True)) == expected
        with serving(bank, model) as service:
            some = sorted(expected)[:ASKED]
            status, answer = service.ask(*some)
            assert status == 200, answer
            assert {each["id"]: each["margin"][0] for each in answer} == {
                each: expected[each] for each in some
            }
            by_id = dict(zip(scores["id"], scores["score"], strict=True))
            assert [each["score"] for each in answer] == [by_id[each] for each in some]
