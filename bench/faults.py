"""What the suites of seeded faults found: sums up the lines that their runs wrote.

    PARLEY_FAULTS_REPORT=faults.jsonl pytest -m soak tests/system/test_failures*.py
    python bench/faults.py faults.jsonl

By kind: how many runs, at which moments, how many parties stayed up, whose work stood still, and after how
many seconds they said why. More than ten (`--over`) are too many, and no run may end otherwise than it must:
either makes the exit code 1. `--json` prints the same for machines.
"""

import argparse
import json
import statistics
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

Run = dict[str, Any]
Summary = dict[str, Any]


def summed(runs: list[Run], over: float) -> Summary:
    """The figures of some runs."""
    stayed = [said for run in runs for said in run["stayed"].values()]
    seconds = sorted(said["seconds"] for said in stayed if said["seconds"] is not None)
    return {
        "runs": len(runs),
        "moments": dict(sorted(Counter(run["moment"] for run in runs).items())),
        "ends": dict(sorted(Counter(run["end"] for run in runs).items())),
        "stayed_up": len(stayed),
        "stood_still": len(seconds),
        "codes": dict(Counter(said["code"] for said in stayed if said["code"]).most_common()),
        "median": statistics.median(seconds) if seconds else None,
        "largest": seconds[-1] if seconds else None,
        "over": sum(each > over for each in seconds),
        "wrong": [f"{run['suite']} {run['seed']}" for run in runs if run["end"] == "wrong"],
    }


def read(paths: Iterable[Path]) -> list[Run]:
    """The runs of reports."""
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def words(counts: dict[str, int]) -> str:
    """Counts in a cell."""
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def shown(value: float | None) -> str:
    """Seconds in a cell."""
    return "" if value is None else f"{value:.1f}"


def main() -> None:
    """Sum up."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("reports", nargs="+", type=Path, metavar="REPORT", help="files of JSON lines")
    parser.add_argument("--over", type=float, default=10.0, help="seconds that are too many [10]")
    parser.add_argument("--json", action="store_true", help="JSON on standard output")
    chosen = parser.parse_args()
    runs = read(chosen.reports)
    kinds = sorted({(run["suite"], run["kind"]) for run in runs})
    by_kind = {
        (suite, kind): summed(
            [run for run in runs if (run["suite"], run["kind"]) == (suite, kind)], chosen.over
        )
        for suite, kind in kinds
    }
    total = summed(runs, chosen.over)
    if chosen.json:
        listed = [{"suite": suite, "kind": kind, **figures} for (suite, kind), figures in by_kind.items()]
        print(json.dumps({"kinds": listed, "all": total}, indent=1))
    else:
        table = Table(
            "suite", "kind", "runs", "moments", "stayed up", "stood still", "median s", "largest s", "over"
        )
        for (suite, kind), each in [*by_kind.items(), (("all", ""), total)]:
            cells = (each["runs"], words(each["moments"]), each["stayed_up"], each["stood_still"])
            late = shown(each["median"]), shown(each["largest"]), each["over"]
            table.add_row(suite, kind, *map(str, (*cells, *late)))
        Console(width=140).print(table)
        print(f"ended: {words(total['ends'])}; said: {words(total['codes'])}")
        if total["wrong"]:
            print(f"not as it must be: {', '.join(total['wrong'])}")
    sys.exit(1 if total["over"] or total["wrong"] else 0)


if __name__ == "__main__":
    main()
