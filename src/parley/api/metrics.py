"""The metrics of a party, as one table."""

import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from parley import _native
from parley.api.aside import Aside
from parley.net.figures import Figures
from parley.party.examination import release
from parley.party.running import Running
from parley.party.runstate import STATES
from parley.store.catalogue import RunRecord
from parley.web.delay import LoopDelay
from parley.web.metrics import Metric, Value, table_of, text_of
from parley.web.process import ProcessFigures, process_metrics


@dataclass(frozen=True)
class LedgerFigures:
    """Where our ledger member stands: leaves, final ones, height, members heard, whether it has halted."""

    size: int
    final: int
    height: int
    heard: int
    halted: bool


@dataclass(frozen=True)
class Scene:
    """Everything that is counted, at one moment."""

    party: str
    began: float
    links: tuple[Figures, ...]
    runs: tuple[RunRecord, ...]
    workers: int
    restarts: int
    ledger: LedgerFigures | None
    process: ProcessFigures
    delay: float

    @classmethod
    async def taken(cls, running: Running, delay: LoopDelay, aside: Aside) -> "Scene":
        """As things are now."""
        office = running.office
        ledger = None
        if office.ledger is not None:
            member = office.ledger.member
            connected = (await member.condition()).connected
            ledger = LedgerFigures(
                member.log.size,
                member.log.final_size,
                member.log.replica.height,
                len(connected),
                halted=bool(member.halted),
            )
        links, workers = running.links.figures(), office.workers
        runs, process = await aside.do(lambda: (office.home.catalogue.runs(), ProcessFigures.read()))
        return cls(
            party=office.name,
            began=running.began,
            links=links,
            runs=tuple(runs),
            workers=workers.started,
            restarts=workers.restarted,
            ledger=ledger,
            process=process,
            delay=delay.longest,
        )


def _one(value: Callable[[Scene], float]) -> Callable[[Scene], Iterable[Value]]:
    return lambda scene: [((), value(scene))]


def _links(value: Callable[[Figures], float | None]) -> Callable[[Scene], Iterable[Value]]:
    return lambda scene: [((link.peer,), known) for link in scene.links if (known := value(link)) is not None]


def _ledger(value: Callable[[LedgerFigures], float]) -> Callable[[Scene], Iterable[Value]]:
    return lambda scene: [] if scene.ledger is None else [((), value(scene.ledger))]


def _by_state(scene: Scene) -> Iterator[Value]:
    counts = Counter(run.state for run in scene.runs)
    yield from (((state,), counts[state]) for state in STATES)


METRICS: Final[tuple[Metric[Scene], ...]] = (
    Metric(
        "parley_build_info",
        "gauge",
        "Always 1; the labels say what runs.",
        ("party", "version", "python", "kernels"),
        lambda scene: [((scene.party, release(), platform.python_version(), _native.kernel_path()), 1)],
    ),
    Metric(
        "parley_start_time_seconds",
        "gauge",
        "When the party was started, seconds since 1970.",
        (),
        _one(lambda scene: scene.began),
    ),
    Metric(
        "parley_link_up",
        "gauge",
        "Whether there is a connection with the peer now.",
        ("peer",),
        _links(lambda link: link.connected),
    ),
    Metric(
        "parley_link_streams",
        "gauge",
        "Conversations with the peer that are open.",
        ("peer",),
        _links(lambda link: link.streams),
    ),
    Metric(
        "parley_link_received_bytes_total",
        "counter",
        "Bytes of chunks that came over the link.",
        ("peer",),
        _links(lambda link: link.bytes_in),
    ),
    Metric(
        "parley_link_sent_bytes_total",
        "counter",
        "Bytes of chunks that were written to the link.",
        ("peer",),
        _links(lambda link: link.bytes_out),
    ),
    Metric(
        "parley_link_received_chunks_total",
        "counter",
        "Chunks, the messages of a link, that came.",
        ("peer",),
        _links(lambda link: link.chunks_in),
    ),
    Metric(
        "parley_link_sent_chunks_total",
        "counter",
        "Chunks that were written.",
        ("peer",),
        _links(lambda link: link.chunks_out),
    ),
    Metric(
        "parley_link_resent_chunks_total",
        "counter",
        "Chunks that were to be written again, because a connection broke.",
        ("peer",),
        _links(lambda link: link.resent),
    ),
    Metric(
        "parley_link_round_trip_seconds",
        "gauge",
        "Of the last beat that was answered; absent before the first.",
        ("peer",),
        _links(lambda link: link.round_trip),
    ),
    Metric(
        "parley_runs",
        "gauge",
        "Runs that we led or followed, ever, by where they stand.",
        ("state",),
        _by_state,
    ),
    Metric(
        "parley_run_attempts_total",
        "counter",
        "Workers that were started, one for each attempt at a run.",
        (),
        _one(lambda scene: scene.workers),
    ),
    Metric(
        "parley_worker_restarts_total",
        "counter",
        "Workers that were started for a run that had had one before.",
        (),
        _one(lambda scene: scene.restarts),
    ),
    Metric(
        "parley_ledger_records",
        "gauge",
        "Records that our copy of the ledger holds.",
        (),
        _ledger(lambda ledger: ledger.size),
    ),
    Metric(
        "parley_ledger_height",
        "gauge",
        "Of the last block that we executed.",
        (),
        _ledger(lambda ledger: ledger.height),
    ),
    Metric(
        "parley_ledger_pending_records",
        "gauge",
        "Records that no majority has signed for yet: how far finality lags.",
        (),
        _ledger(lambda ledger: ledger.size - ledger.final),
    ),
    Metric(
        "parley_ledger_members_heard",
        "gauge",
        "Members whose machines ours is connected to for the ledger.",
        (),
        _ledger(lambda ledger: ledger.heard),
    ),
    Metric(
        "parley_ledger_halted",
        "gauge",
        "Whether our member signs nothing any more.",
        (),
        _ledger(lambda ledger: ledger.halted),
    ),
    *process_metrics("the party's own process, without its workers", "the process, without its workers"),
)


def exposition(scene: Scene) -> str:
    """All metrics as Prometheus reads them."""
    return text_of(METRICS, scene)


def page() -> str:
    """The table as Markdown, for docs/metrics.md."""
    return table_of(METRICS)
