"""What the consortia train on: the credit example, or larger tables made here."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

_EXAMPLE: Final = Path(__file__).resolve().parents[2] / "examples" / "credit"
_RUNS: Final = 1000
_COLUMNS: Final = 25
"""At each of the two parties, when tables are made."""


@dataclass(frozen=True)
class Data:
    """A plan and its tables.

    Attributes:
        plan: TOML text.
        tables: of each party that has one, the name it is known by and where it comes from.
    """

    plan: str
    tables: dict[str, tuple[str, str]]


def example() -> Data:
    """The credit example: 30 000 rows, of which 21 000 train, 13 and 10 columns."""
    tables = {"bank": "accounts", "operator": "subscribers"}
    sources = {party: (table, str(_EXAMPLE / f"{party}.csv.gz")) for party, table in tables.items()}
    text = re.sub(r"^runs = .*$", f"runs = {_RUNS}", (_EXAMPLE / "plan.toml").read_text(), flags=re.MULTILINE)
    return Data(text, sources)


def made(folder: Path, rows: int) -> Data:
    """The example's plan over tables of normal columns; the label depends on some of both parties.

    Args:
        folder: where the tables are written.
        rows: that train; three in ten more are held out.
    """
    random = np.random.default_rng(7)
    of_both = random.normal(size=(2 * _COLUMNS, rows * 10 // 7))
    score = of_both[:8].sum(axis=0) + of_both[_COLUMNS : _COLUMNS + 8].sum(axis=0)
    label = (score + 4 * random.normal(size=score.size) > np.quantile(score, 0.8)).astype(np.int64)
    ids = pl.Series("id", random.permutation(score.size)).cast(pl.String)
    data = example()
    for number, (party, (table, _)) in enumerate(list(data.tables.items())):
        values = of_both[number * _COLUMNS : (number + 1) * _COLUMNS]
        frame = pl.DataFrame({"id": ids} | {f"{party}_{place}": one for place, one in enumerate(values)})
        source = folder / f"{party}.parquet"
        (frame if number else frame.with_columns(default=label)).write_parquet(source)
        data.tables[party] = (table, str(source))
    return data
