"""Makes the two tables of the credit example from one public file.

A bank knows its clients' accounts and who defaulted; an operator knows how the same people repaid their
bills. Each has clients the other has not, gaps in its columns, an order of its own, and its own way of
writing the customer number. The same input always gives the same two files.

    python examples/credit/make.py UCI_Credit_Card.csv

SOURCE.md beside this file says where the input comes from and under which licence.
"""

import argparse
import gzip
from pathlib import Path

import numpy as np
import polars as pl

from parley.data.sources import parse_source, read

SEED = 20_051_001
BANK_CLIENTS = 26_000
OPERATOR_CLIENTS = 25_000
MISSING_SHARE = 0.03
NUMBERS = 10**8
"""Customer numbers have eight digits, leading zeros included."""

BANK_FEATURES = [
    "LIMIT_BAL",
    *(f"BILL_AMT{month}" for month in range(1, 7)),
    *(f"PAY_AMT{month}" for month in range(1, 7)),
]
REPAYMENT = ["PAY_0", "PAY_2", "PAY_3", "PAY_4", "PAY_5", "PAY_6"]
LABEL = "default.payment.next.month"
EDUCATION = {1: "graduate school", 2: "university", 3: "high school"}
"""Code 4 means others; 0, 5 and 6 are not documented and join them."""


def people(raw: pl.DataFrame, random: np.random.Generator) -> pl.DataFrame:
    """The input with readable education, a customer number in each writing, and a label called default."""
    numbers = random.choice(NUMBERS, size=len(raw), replace=False)
    written = pl.Series("number", numbers).cast(pl.String).str.zfill(8)
    return raw.select(
        pl.col(*BANK_FEATURES, *REPAYMENT, "AGE").cast(pl.Int32),
        pl.col("EDUCATION").replace_strict(EDUCATION, default="other", return_dtype=pl.String),
        pl.col(LABEL).cast(pl.Int8).alias("default"),
        written.str.replace("^(....)", "${1}-").alias("bank_id"),
        written.alias("operator_id"),
    )


def with_gaps(frame: pl.DataFrame, features: list[str], random: np.random.Generator) -> pl.DataFrame:
    """The frame with a share of its feature cells emptied at random."""
    gaps = {name: pl.Series(random.random(len(frame)) < MISSING_SHARE) for name in features}
    return frame.with_columns(
        pl.when(pl.lit(gap)).then(None).otherwise(pl.col(name)).alias(name) for name, gap in gaps.items()
    )


def table_of(
    everyone: pl.DataFrame,
    ids: str,
    features: list[str],
    label: list[str],
    size: int,
    random: np.random.Generator,
) -> pl.DataFrame:
    """What one organisation holds: ``size`` people drawn at random, in random order."""
    drawn = everyone[random.choice(len(everyone), size=size, replace=False)]
    return with_gaps(drawn.select(pl.col(ids).alias("id"), *features, *label), features, random)


def main() -> None:
    """Read the input and write ``bank.csv.gz`` and ``operator.csv.gz``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("raw", help="UCI_Credit_Card.csv, plain or gzipped")
    parser.add_argument("--to", type=Path, default=Path(__file__).parent, help="directory to write to")
    options = parser.parse_args()

    random = np.random.default_rng(SEED)
    everyone = people(read(parse_source(options.raw)), random)
    tables = {
        "bank": table_of(everyone, "bank_id", BANK_FEATURES, ["default"], BANK_CLIENTS, random),
        "operator": table_of(
            everyone, "operator_id", [*REPAYMENT, "EDUCATION", "AGE"], [], OPERATOR_CLIENTS, random
        ),
    }
    for name, table in tables.items():
        path = options.to / f"{name}.csv.gz"
        path.write_bytes(gzip.compress(table.write_csv().encode(), mtime=0))
        print(f"{path.name}: {table.height} rows, {table.width} columns, {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
