"""How long two parties take for a tree: two processes, mutual TLS over loopback, data that can be learnt.

python bench/boosting.py --rows 21000 --active-columns 13 --passive-columns 10 --trees 20

Beside it, in the same run, LightGBM on the joined table with the same parameters and threads: the ratio
holds where absolute times drift.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier

import lightgbm
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from parley import _native
from parley.core.trace import Event, PhaseAdvanced, Received, Sent, Trace, Worked
from parley.data.binning import fit_numeric
from parley.learn.boosting import Problem
from parley.learn.columns import ColumnBlock
from parley.learn.metrics import auc
from parley.learn.objectives import objective_for
from parley.learn.parameters import BoostingParameters
from parley.learn.scoring import directions, margins
from parley.net.authority import create_identity
from parley.net.certificates import Identity
from parley.net.channel import CheckedChannel, Setting
from parley.net.transport import Transport
from parley.net.websocket import PeerListener, PeerPin, WebSocketTransport, dial
from parley.protocols.boosting import ACTIVE, PASSIVE, STEPS, Resources, active, passive

RUN = "bench"
HELD_OUT = 50_000
"""Rows at most on which the models are compared."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Shape:
    """What is trained on what."""

    rows: int
    active_columns: int
    passive_columns: int
    trees: int
    depth: int
    bins: int
    minimum: int
    threads: int
    seed: int

    @property
    def held_out(self) -> int:
        """Rows that no model sees in training."""
        return min(HELD_OUT, max(1000, self.rows // 3))

    @property
    def parameters(self) -> BoostingParameters:
        """The same for all three learners."""
        return BoostingParameters(
            n_estimators=self.trees, max_depth=self.depth, max_bins=self.bins, random_state=self.seed
        )

    def columns(self) -> Iterator[tuple[int, Floats]]:
        """Number and values of every column, training rows first; few are held at a time."""
        for number in range(self.active_columns + self.passive_columns):
            random = np.random.default_rng((self.seed, number))
            values = random.normal(size=self.rows + self.held_out)
            if number % 5 == 4:  # a column of few values
                values = np.floor(np.abs(values) * 3)
            if number % 4 == 3:  # a column with gaps
                values[random.random(len(values)) < 0.03] = np.nan
            yield number, values

    def label(self) -> Floats:
        """0 or 1 for each row: a few strong columns, many weak ones, an effect of neighbours together."""
        random = np.random.default_rng((self.seed, 1 << 20))
        score, before = np.zeros(self.rows + self.held_out), np.zeros(self.rows + self.held_out)
        for number, values in self.columns():
            known = np.nan_to_num(values, nan=0.5)
            score += 1.2 / (1 + number % 7) * np.sin(known + number) + 0.3 * known * before
            before = known
        score = (score - score.mean()) / score.std() * 1.5 - 1
        drawn = random.random(len(score)) < 1 / (1 + np.exp(-score))
        return np.asarray(drawn, dtype=np.float64)

    def block(self, role: str) -> ColumnBlock:
        """One party's binned columns, over all rows; bins are fitted on the training rows."""
        first = 0 if role == ACTIVE else self.active_columns
        last = first + (self.active_columns if role == ACTIVE else self.passive_columns)
        codes = np.empty((last - first, self.rows + self.held_out), dtype=np.uint8)
        counts = np.empty(last - first, dtype=np.uint32)
        for number, values in self.columns():
            if first <= number < last:
                bins = fit_numeric(values[: self.rows], self.bins)
                codes[number - first], counts[number - first] = bins.codes(values), bins.bin_count
        return ColumnBlock(codes, counts, np.zeros(last - first, dtype=np.bool_), self.minimum)


@dataclass
class Tally:
    """Adds up what the trace tells."""

    sent: dict[str, int] = field(default_factory=dict)
    worked: dict[str, float] = field(default_factory=dict)
    sending: float = 0.0
    waiting: float = 0.0

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, Sent):
            self.sent[event.message] = self.sent.get(event.message, 0) + event.size
            self.sending += event.seconds
        elif isinstance(event, Received):
            self.waiting += event.seconds
        elif isinstance(event, Worked):
            self.worked[event.what] = self.worked.get(event.what, 0.0) + event.seconds


@dataclass(frozen=True)
class Share:
    """One party's part of the benchmark."""

    role: str
    own: Identity
    peer: PeerPin
    shape: Shape
    progress: bool


@dataclass(frozen=True)
class Outcome:
    """What one party measured; trees and quality are the active party's to say."""

    role: str
    seconds: float
    cpu: float
    idle_mib: float
    peak_mib: float
    tally: Tally
    trees: int = 0
    auc: float = 0.0


def peak_mib() -> float:
    """The most memory this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def cpu_seconds() -> float:
    """Processor time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def training_part(block: ColumnBlock, rows: int) -> ColumnBlock:
    """The columns over the training rows alone."""
    codes = np.ascontiguousarray(block.codes[:, :rows])
    return ColumnBlock(codes, block.bin_counts, block.categorical, block.minimum)


class Party:
    """One party with its data, made before it speaks to anybody."""

    tally: type[Tally] = Tally

    def __init__(self, share: Share, link: Connection, together: Barrier) -> None:
        self.share, self.link, self.together = share, link, together
        shape = share.shape
        block = shape.block(share.role)
        self.own = training_part(block, shape.rows)
        self.held_out = np.ascontiguousarray(block.codes[:, shape.rows :])
        self.label = shape.label() if share.role == ACTIVE else np.zeros(0)

    async def converse(self, transport: Transport) -> Outcome:
        """Train over an open connection, from the moment both parties are ready."""
        share, shape, tally = self.share, self.share.shape, self.tally()
        sinks = (tally, show_progress) if share.progress else (tally,)
        setting = Setting(STEPS, share.role, RUN, Trace(time.perf_counter, *sinks), 600.0)
        resources = Resources(os.urandom(32), shape.threads)
        idle = peak_mib()
        await asyncio.to_thread(self.together.wait)
        began, cpu = time.perf_counter(), cpu_seconds()
        trees, quality = 0, 0.0
        if share.role == PASSIVE:
            async with CheckedChannel(transport, setting) as channel:
                rules = await passive(channel, shape.parameters, self.own, resources)
            spent = time.perf_counter() - began, cpu_seconds() - cpu
            await asyncio.to_thread(self.link.send, directions(rules, self.held_out))
        else:
            async with CheckedChannel(transport, setting) as channel:
                outcome = await active([channel], self.problem(), self.own, resources)
            spent = time.perf_counter() - began, cpu_seconds() - cpu
            trees = len(outcome.state.trees)
            left = [directions(outcome.rules, self.held_out), await asyncio.to_thread(self.link.recv)]
            scores = margins(outcome.state.trees, outcome.state.initial, left, shape.held_out)[0]
            quality = auc(self.label[shape.rows :], scores)
        return Outcome(share.role, *spent, idle, peak_mib(), tally, trees, quality)

    def problem(self) -> Problem:
        """What the active party trains on."""
        shape = self.share.shape
        label = self.label[: shape.rows]
        return Problem(shape.parameters, objective_for("binary", label), label, None, shape.rows)

    async def listen(self) -> Outcome:
        """As the passive party: wait for the active one to dial."""
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        async def serve(_peer: str, _path: str, transport: WebSocketTransport) -> None:
            try:
                outcome.set_result(await self.converse(transport))
            except BaseException as error:
                outcome.set_exception(error)
                raise

        share = self.share
        pins = {share.peer.name: share.peer}
        async with PeerListener("127.0.0.1", 0, share.own, pins, serve) as listener:
            self.link.send(listener.address)
            return await outcome

    async def call(self) -> Outcome:
        """As the active party: dial the passive one."""
        address = await asyncio.to_thread(self.link.recv)
        transport = await dial(address, self.share.own, self.share.peer, f"/runs/{RUN}")
        return await self.converse(transport)


def show_progress(event: Event) -> None:
    """One line on standard error that is written over."""
    if isinstance(event, PhaseAdvanced):
        print(f"\r{event.phase}: {event.done} rounds", end="", file=sys.stderr, flush=True)


def live(share: Share, link: Connection, together: Barrier, report: Connection) -> None:
    """The whole life of one process."""
    party = Party(share, link, together)
    report.send(asyncio.run(party.call() if share.role == ACTIVE else party.listen()))


def measure(shape: Shape) -> dict[str, Outcome]:
    """Run both parties, each in a process of its own."""
    identities = {role: create_identity(role) for role in (ACTIVE, PASSIVE)}
    spawn = multiprocessing.get_context("spawn")
    together = spawn.Barrier(2)
    links = dict(zip((ACTIVE, PASSIVE), spawn.Pipe(), strict=True))
    reports = {}
    processes = []
    for role, other in ((ACTIVE, PASSIVE), (PASSIVE, ACTIVE)):
        pin = PeerPin(other, identities[other].certificate_pem)
        share = Share(role, identities[role], pin, shape, role == ACTIVE and sys.stderr.isatty())
        reports[role], end = spawn.Pipe(duplex=False)
        process = spawn.Process(target=live, args=(share, links[role], together, end))
        process.start()
        end.close()
        processes.append(process)
    outcomes: dict[str, Outcome] = {role: report.recv() for role, report in reports.items()}
    for process in processes:
        process.join()
    return outcomes


def reference(shape: Shape) -> tuple[float, float]:
    """LightGBM on the joined table: seconds per tree, and AUC on the held-out rows."""
    table = np.empty((shape.rows + shape.held_out, shape.active_columns + shape.passive_columns), np.float32)
    for number, values in shape.columns():
        table[:, number] = values
    label = shape.label()
    chosen = shape.parameters
    settings = {
        "objective": "binary",
        "num_leaves": 2**chosen.max_depth,
        "max_depth": chosen.max_depth,
        "max_bin": chosen.max_bins,
        "learning_rate": chosen.learning_rate,
        "min_data_in_leaf": chosen.min_child_samples,
        "lambda_l2": chosen.reg_lambda,
        "num_threads": shape.threads,
        "seed": shape.seed,
        "verbose": -1,
    }
    data = lightgbm.Dataset(table[: shape.rows], label[: shape.rows], params=settings).construct()
    began = time.perf_counter()
    model = lightgbm.train(settings, data, shape.trees)
    seconds = (time.perf_counter() - began) / shape.trees
    scores = np.asarray(model.predict(table[shape.rows :], raw_score=True), dtype=np.float64)
    return seconds, auc(label[shape.rows :], scores)


def report_of(shape: Shape, outcomes: dict[str, Outcome]) -> dict[str, object]:
    """What ``--json`` prints."""
    lead, follow = outcomes[ACTIVE], outcomes[PASSIVE]
    trees = max(lead.trees, 1)
    seconds, quality = reference(shape)
    return {
        "seconds_per_tree": lead.seconds / trees,
        "bytes_per_tree": (sum(lead.tally.sent.values()) + sum(follow.tally.sent.values())) / trees,
        "lightgbm_seconds_per_tree": seconds,
        "auc": lead.auc,
        "lightgbm_auc": quality,
        "path": _native.kernel_path(),
        "peak_mib": {role: outcome.peak_mib for role, outcome in outcomes.items()},
        "idle_mib": {role: outcome.idle_mib for role, outcome in outcomes.items()},
        "cpu_seconds_per_tree": {role: outcome.cpu / trees for role, outcome in outcomes.items()},
        "sent_per_tree": {
            role: {message: size / trees for message, size in outcome.tally.sent.items()}
            for role, outcome in outcomes.items()
        },
        "worked_per_tree": {
            role: {what: spent / trees for what, spent in outcome.tally.worked.items()}
            for role, outcome in outcomes.items()
        },
        "trees": trees,
        "shape": asdict(shape),
        "cores": os.cpu_count(),
    }


ROWS: dict[str, Callable[[Outcome, int], str]] = {
    "seconds": lambda each, trees: f"{each.seconds / trees:.3f}",
    "processor seconds": lambda each, trees: f"{each.cpu / trees:.3f}",
    "MB sent": lambda each, trees: f"{sum(each.tally.sent.values()) / trees / 1e6:.3f}",
    "waiting for the peer, s": lambda each, trees: f"{each.tally.waiting / trees:.3f}",
    "handing to the network, s": lambda each, trees: f"{each.tally.sending / trees:.3f}",
    "peak MiB (before training)": lambda each, _: f"{each.peak_mib:.0f} ({each.idle_mib:.0f})",
}


def show(shape: Shape, outcomes: dict[str, Outcome], report: dict[str, object]) -> None:
    """The tables for people."""
    trees = max(outcomes[ACTIVE].trees, 1)
    console = Console(width=120)
    columns = f"{shape.active_columns} + {shape.passive_columns} columns"
    console.print(f"{shape.rows:,} rows x {columns}, depth {shape.depth}, {shape.bins} bins, {trees} trees")
    table = Table("per tree", *outcomes)
    for name, cell in ROWS.items():
        table.add_row(name, *(cell(each, trees) for each in outcomes.values()))
    table.add_section()
    for name in dict.fromkeys(what for each in outcomes.values() for what in each.tally.worked):
        cells = [each.tally.worked.get(name) for each in outcomes.values()]
        table.add_row(f"  {name}, s", *("" if spent is None else f"{spent / trees:.4f}" for spent in cells))
    console.print(table)
    console.print(
        f"joint model {report['seconds_per_tree']:.3f} s/tree, AUC {report['auc']:.4f} "
        f"({_native.kernel_path()} kernels, {shape.threads} threads each, {os.cpu_count()} cores); "
        f"LightGBM on the joined table {report['lightgbm_seconds_per_tree']:.4f} s/tree, "
        f"AUC {report['lightgbm_auc']:.4f}",
        soft_wrap=True,
    )


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description="Time joint boosting beside LightGBM on the joined table.")
    parser.add_argument("--rows", type=int, default=21_000, help="training rows")
    parser.add_argument("--active-columns", type=int, default=13, help="columns of the party with the label")
    parser.add_argument("--passive-columns", type=int, default=10, help="columns of the other party")
    parser.add_argument("--trees", type=int, default=20, help="trees to train")
    parser.add_argument("--depth", type=int, default=5, help="levels of splits")
    parser.add_argument("--bins", type=int, default=32, help="value bins per column")
    parser.add_argument("--minimum", type=int, default=10, help="rows that a sum given away must hold")
    parser.add_argument("--threads", type=int, default=2, help="native threads of each party")
    parser.add_argument("--seed", type=int, default=0, help="of data, sampling and rounding")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    arguments = vars(parser.parse_args())
    as_json = arguments.pop("json")
    shape = Shape(**arguments)
    outcomes = measure(shape)
    report = report_of(shape, outcomes)
    show(shape, outcomes, report)
    if as_json:
        print(json.dumps(report))


if __name__ == "__main__":
    main()
