"""What the ledger costs a training: the same 50-tree run with and without one, by turns.

Every party is a process of its own; they talk over mutual TLS on this machine. Without a ledger two
parties take part, with it a third that holds no data cosigns. A consortium is set up, runs the plan twice
after a run that is not counted, and ends; so do the others, one after the other, and again in the opposite
order. Of every such block the ratio to the runs without a ledger is taken, and of the ratios the centre with
its confidence interval (`trainings.paired`).

Compared are the wall time of the training step as the active party's report has it, and of the whole run
with its waits for the ledger at start and end; and, since it depends less on who else is on the machine, the
processor time of all processes, nodes included, while the rounds go on and from plan to report. The
machine's speed moves all of these by more than a ledger adds. What it moves less is how much all other
processes take for a second of the workers, who do the same work with a ledger and without (but for hashing
what they say); so what a ledger adds beside the workers is told in this measure too.

With --cometbft the same for a consortium of four that has moved to CometBFT, all four nodes on this machine.
The run is that of the credit example, or with --rows one over tables of 25 columns at each party.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import tomllib
from pathlib import Path

from rich.console import Console
from rich.table import Table
from trainings.consortia import Consortium, Run
from trainings.data import Data, example, made
from trainings.paired import Share, share

from parley.ledger.engines.cometbft.binary import SETTING

OWN_BINARY = Path(__file__).resolve().parents[1] / ".tools" / "bin" / "cometbft"
COMETBFT = "with CometBFT"
SEEN = {
    "train": "training, s",
    "processor_train": "processor, s",
    "whole": "whole run, s",
    "processor_whole": "its processor, s",
}
"""What is compared, by its name in a `Run`."""

COUNTED = 2
"""Runs of a consortium in a block that are counted."""

Runs = dict[str, list[Run]]


def measure(data: Data, folder: Path, kinds: list[str], blocks: int) -> Runs:
    """Runs of every kind, `COUNTED` for each block."""
    runs: Runs = {kind: [] for kind in kinds}
    for block in range(1, blocks + 1):
        for kind in kinds if block % 2 else reversed(kinds):
            consortium = Consortium(kind, folder / str(block), data)
            try:
                runs[kind] += [consortium.run() for _ in range(1 + COUNTED)][1:]
            finally:
                consortium.parties.stop()
        Console(stderr=True).print(progress(runs, block, blocks), highlight=False, markup=False)
    return runs


def progress(runs: Runs, block: int, blocks: int) -> str:
    """A line after a block, with what is known by then."""
    said = [f"block {block} of {blocks}"]
    for kind in list(runs)[1:]:
        found = shares(runs, kind)
        said.append(f"{kind}: training {found['train']}, processor {found['processor_train']}")
    return "; ".join(said)


def shares(runs: Runs, kind: str) -> dict[str, Share]:
    """What a kind of ledger adds to each of what is compared."""

    def pairs(of: str, name: str) -> list[tuple[float, float]]:
        seen = [getattr(run, name) for run in runs[of]]
        return list(zip(seen[::2], seen[1::2], strict=True))

    return {name: share(pairs("without", name), pairs(kind, name)) for name in SEEN}


def show(runs: Runs, found: dict[str, dict[str, Share]], title: str) -> None:
    """Print both for people."""
    table = Table("", *SEEN.values(), "last gate, s", title=title)
    for kind, each in runs.items():
        medians = [statistics.median(getattr(run, name) for run in each) for name in (*SEEN, "gate")]
        least = [min(getattr(run, name) for run in each) for name in (*SEEN, "gate")]
        cells = [f"{median:.2f} (least {low:.2f})" for median, low in zip(medians, least, strict=True)]
        table.add_row(f"{kind} ledger".replace("CometBFT ledger", "CometBFT"), *cells)
    for kind, by_name in found.items():
        table.add_row(f"{kind}: adds", *(str(by_name[name]) for name in SEEN), "")
    Console().print(table, by_process(runs))


def by_process(runs: Runs) -> Table:
    """Where the processor time of the rounds went, medians."""
    names = list(dict.fromkeys(name for each in runs.values() for run in each for name in run.by_process))
    table = Table("", *names, "adds beside workers", title="processor seconds of the training")
    for kind, each in runs.items():
        seconds = [statistics.median(run.by_process.get(name, 0.0) for run in each) for name in names]
        added = f"{beside_workers(runs, kind):+.1%}" if kind != "without" else ""
        table.add_row(kind, *(f"{one:.2f}" for one in seconds), added)
    return table


def beside_workers(runs: Runs, kind: str) -> float:
    """What a kind of ledger adds in other processes than workers, as a part of all without one."""
    without, with_ = (statistics.median(map(per_worker_second, runs[each])) for each in ("without", kind))
    return (with_ - without) / (1 + without)


def per_worker_second(run: Run) -> float:
    """Processor seconds of all other processes for one of the workers."""
    workers = run.by_process["workers"]
    return (run.processor_train - workers) / workers


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeats", type=int, default=8, help="blocks, of two runs of each kind")
    parser.add_argument("--cometbft", action="store_true", help="also with four members on CometBFT")
    parser.add_argument(
        "--rows", type=int, default=0, help="training rows; the credit example if none are given"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    chosen = parser.parse_args()
    if OWN_BINARY.exists():
        os.environ.setdefault(SETTING, str(OWN_BINARY))
    kinds = ["without", "with", *([COMETBFT] if chosen.cometbft else [])]
    with tempfile.TemporaryDirectory() as folder:
        data = made(Path(folder), chosen.rows) if chosen.rows else example()
        runs = measure(data, Path(folder), kinds, chosen.repeats)
    rounds = tomllib.loads(data.plan)["model"]["n_estimators"]
    found = {kind: shares(runs, kind) for kind in kinds[1:]}
    over = f"{chosen.rows} rows" if chosen.rows else "the credit example"
    show(runs, found, f"{rounds} rounds over {over}, {2 * chosen.repeats} runs of each kind")
    if chosen.json:
        print(json.dumps(as_json(runs, found)))


def as_json(runs: Runs, found: dict[str, dict[str, Share]]) -> dict[str, object]:
    """The same for machines."""
    result: dict[str, object] = {"training_overhead": found["with"]["train"].centre}
    if COMETBFT in found:
        result["training_overhead_cometbft"] = found[COMETBFT]["train"].centre
    for kind, by_name in found.items():
        for name, each in by_name.items():
            result[f"{name} {kind}"] = [each.centre, each.low, each.high]
        result[f"processor_beside_workers {kind}"] = beside_workers(runs, kind)
    seconds = {kind: [run.train for run in each] for kind, each in runs.items()}
    gates = [run.gate for run in runs["with"]]
    processes = {kind: [run.by_process for run in each] for kind, each in runs.items()}
    return result | {
        "training_seconds": seconds,
        "gate_seconds": gates,
        "processor_seconds": processes,
        "cores": multiprocessing.cpu_count(),
    }


if __name__ == "__main__":
    main()
