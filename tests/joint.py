"""Joint boosting in tests: tables of bins, problems, and a whole training between roles that are all here."""

import asyncio
import gzip
import time
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import numpy as np
import polars as pl

from parley.core.trace import Trace
from parley.data.binning import bin_columns
from parley.learn.boosting import Problem
from parley.learn.columns import ColumnBlock
from parley.learn.joined import fit_joined
from parley.learn.objectives import objective_for
from parley.learn.parameters import BoostingParameters
from parley.learn.shares import ActiveShare, Column, PassiveShare
from parley.net.channel import CheckedChannel, Setting
from parley.protocols.boosting import ACTIVE, PASSIVE, STEPS, Resources, active, passive

from tests.channels import transports

ROOT = Path(__file__).parent.parent
PATIENCE = 20.0


def block(random, rows, columns, *, widest=9, minimum=1):
    """Columns of random bins: some rows missing, every third column categorical."""
    counts = random.integers(2, widest + 1, columns).astype(np.uint32)
    codes = np.empty((columns, rows), dtype=np.uint8)
    for column, count in enumerate(counts):
        codes[column] = random.integers(0 if column % 2 else 1, count, rows)
    return ColumnBlock(codes, counts, np.arange(columns) % 3 == 2, minimum)


def problem(label, *, weight=None, training_rows=None, **parameters):
    """A problem over rows of which all are trained on unless said otherwise."""
    settings = {"n_estimators": 2, "max_depth": 3, "min_child_samples": 2, **parameters}
    chosen = BoostingParameters(**settings)
    training = len(label) if training_rows is None else training_rows
    objective = objective_for(chosen.objective, label[:training])
    return Problem(chosen, objective, label.astype(np.float64), weight, training)


def resources(party):
    return Resources(bytes([party]) * 32, threads=2)


@asynccontextmanager
async def entered(channels):
    """All channels of one role as a context: an error is told to every peer."""
    async with AsyncExitStack() as stack:
        await asyncio.gather(*(stack.enter_async_context(channel) for channel in channels))
        yield channels


async def train(
    problem, blocks, *, carrier="memory", sinks=None, leading=active, following=None, patience=PATIENCE
):
    """Results or errors of all roles; the first block is the active party's.

    ``leading`` and, by party number, ``following`` stand in for the roles: a party that cheats or resumes.
    """
    sinks = sinks or [() for _ in blocks]
    names = [f"p{index}" for index in range(len(blocks))]

    def channel(transport, role, heard):
        return CheckedChannel(transport, Setting(STEPS, role, "r", Trace(time.monotonic, *heard), patience))

    async with AsyncExitStack() as stack:
        pairs = [await stack.enter_async_context(transports(carrier, (names[0], name))) for name in names[1:]]

        async def lead():
            channels = [channel(near, ACTIVE, sinks[0]) for near, _ in pairs]
            async with entered(channels):
                return await leading(channels, problem, blocks[0], resources(0))

        async def follow(index):
            role = (following or {}).get(index, passive)
            async with channel(pairs[index - 1][1], PASSIVE, sinks[index]) as end:
                return await role(end, problem.parameters, blocks[index], resources(index))

        async with asyncio.timeout(120):
            return await asyncio.gather(
                lead(), *(follow(index) for index in range(1, len(blocks))), return_exceptions=True
            )


def raised(results):
    """The results, none of which may be an error."""
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


async def assert_equal_to_joined(problem, blocks, **more):
    """The joint model is the joined table's, bit for bit; returns the latter."""
    outcome, *shares = raised(await train(problem, blocks, **more))
    expected = fit_joined(problem, blocks, threads=2)
    trees = outcome.rounds * problem.objective.outputs
    assert outcome.state.trees == expected.state.trees
    assert outcome.state.margins.tobytes() == expected.state.margins.tobytes()
    assert outcome.state.losses == expected.state.losses
    for owner, rules in enumerate([outcome.rules, *shares]):
        kept = sum(split.owner == owner for tree in expected.state.trees[:trees] for split in tree.splits)
        assert rules == expected.rules[owner][:kept]
    return expected


SHOPPERS = ROOT / "tests/data/online_shoppers/online_shoppers_intention.csv.gz"
SHOP = (
    "Administrative",
    "Administrative_Duration",
    "Informational",
    "Informational_Duration",
    "ProductRelated",
    "ProductRelated_Duration",
    "BounceRates",
    "ExitRates",
    "PageValues",
)
PARTNER = (
    "SpecialDay",
    "Month",
    "OperatingSystems",
    "Browser",
    "Region",
    "TrafficType",
    "VisitorType",
    "Weekend",
)


def shoppers():
    """online_shoppers: the frame, and its label ``float64[rows]``."""
    frame = pl.read_csv(gzip.decompress(SHOPPERS.read_bytes()), infer_schema_length=None)
    return frame, frame["Revenue"].cast(pl.Float64).to_numpy()


def binned(frame, columns, training_rows, *, max_bins=32, minimum=1, categorical=()):
    """One party's columns of a frame as a block."""
    columns = bin_columns(
        frame, columns, training_rows=training_rows, max_bins=max_bins, threads=2, categorical=categorical
    )
    return ColumnBlock(columns.codes, columns.bin_counts, columns.categorical, minimum)


def credit():
    """examples/credit joined by id: the frame, its label, the bank's columns and the operator's."""
    folder = ROOT / "examples/credit"
    tables = []
    for name in ("bank", "operator"):
        table = pl.read_csv(
            gzip.decompress((folder / f"{name}.csv.gz").read_bytes()), infer_schema_length=None
        )
        tables.append(table.with_columns(pl.col("id").cast(pl.String).str.replace("-", "").cast(pl.Int64)))
    bank, operator = tables
    joined = bank.join(operator, on="id").sort("id")
    own, theirs = (tuple(name for name in each.columns if name not in {"id", "default"}) for each in tables)
    return joined, joined["default"].cast(pl.Float64).to_numpy(), own, theirs


def pieces(
    frame,
    label,
    columns,
    *,
    classes=(),
    categorical=(),
    max_bins=32,
    minimum=1,
    training_rows=None,
    **parameters,
):
    """Every owner's share of a model trained on a frame, and the margins of all its rows in training.

    ``columns`` are by owner, the active party's first; rows behind ``training_rows`` are for validation.
    """
    training_rows = len(frame) if training_rows is None else training_rows
    asked = problem(label, training_rows=training_rows, **parameters)
    owners = tuple(columns)
    binned_columns = [
        bin_columns(
            frame,
            columns[owner],
            training_rows=np.arange(training_rows),
            max_bins=max_bins,
            threads=1,
            categorical=categorical,
        )
        for owner in owners
    ]
    blocks = [
        ColumnBlock(each.codes, each.bin_counts, each.categorical, minimum if owner else 1)
        for owner, each in enumerate(binned_columns)
    ]
    fitted = fit_joined(asked, blocks)
    own = [tuple(map(Column, each.names, each.bins)) for each in binned_columns]
    active_share = ActiveShare(
        model="run-1",
        party=owners[0],
        owners=owners,
        parameters=asked.parameters,
        outputs=asked.objective.outputs,
        classes=classes,
        initial=fitted.state.initial,
        trees=fitted.state.trees,
        columns=own[0],
        rules=fitted.rules[0],
    )
    others = [
        PassiveShare(model="run-1", party=owner, columns=held, rules=rules)
        for owner, held, rules in zip(owners[1:], own[1:], fitted.rules[1:], strict=True)
    ]
    return [active_share, *others], fitted.state.margins
