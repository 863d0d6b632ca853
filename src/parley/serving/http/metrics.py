"""The metrics of a served model, as one table."""

import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from parley.party.examination import release
from parley.serving.monitor import Monitor, Stability
from parley.serving.scores import Peerage, Service
from parley.web.delay import LoopDelay
from parley.web.metrics import Metric, Value, table_of, text_of
from parley.web.process import ProcessFigures, process_metrics

STATES: Final = ("ready", "away", "trying")


@dataclass(frozen=True)
class Scene:
    """Everything that is counted, at one moment; ``stability`` only where it can be told."""

    service: Service
    monitor: Monitor
    stability: Stability | None
    process: ProcessFigures
    delay: float

    @classmethod
    def taken(cls, service: Service, monitor: Monitor, delay: LoopDelay) -> "Scene":
        """As things are now."""
        return cls(service, monitor, monitor.stability(), ProcessFigures.read(), delay.longest)


def _one(value: Callable[[Scene], float]) -> Callable[[Scene], Iterable[Value]]:
    return lambda scene: [((), value(scene))]


def _stability(value: Callable[[Stability], float]) -> Callable[[Scene], Iterable[Value]]:
    return lambda scene: [] if scene.stability is None else [((), value(scene.stability))]


def _peers(value: Callable[[Peerage], float]) -> Callable[[Scene], Iterable[Value]]:
    return lambda scene: [((each.peer,), value(each)) for each in scene.service.peers]


def _states(scene: Scene) -> Iterator[Value]:
    for each in scene.service.peers:
        yield from (((each.peer, state), state == each.state) for state in STATES)


METRICS: Final[tuple[Metric[Scene], ...]] = (
    Metric(
        "parley_serving_info",
        "gauge",
        "Always 1; the labels say what is served.",
        ("model", "version", "python"),
        lambda scene: [((scene.service.model, release(), platform.python_version()), 1)],
    ),
    Metric(
        "parley_requests_total",
        "counter",
        "Requests answered, by HTTP status and name of the key; (oidc) for tokens, (nobody) for neither.",
        ("status", "key"),
        lambda scene: [((str(status), key), n) for (status, key), n in scene.monitor.requests.items()],
    ),
    Metric(
        "parley_requests_waiting",
        "gauge",
        "Requests that wait for scores now.",
        (),
        _one(lambda scene: scene.monitor.waiting),
    ),
    Metric(
        "parley_request_seconds",
        "histogram",
        "From a request for scores to its answer.",
        (),
        lambda scene: [((), scene.monitor.latency.read())],
    ),
    Metric(
        "parley_scoring_seconds",
        "histogram",
        "What the scoring of a batch took, of one or more requests.",
        (),
        lambda scene: [((), scene.monitor.scoring.read())],
    ),
    Metric(
        "parley_predictions_total",
        "counter",
        "Ids answered, by what the score rests on.",
        ("basis",),
        lambda scene: [
            ((basis,), scene.monitor.predictions[basis]) for basis in ("joint", "active-only", "missing")
        ],
    ),
    Metric(
        "parley_exchange_seconds",
        "histogram",
        "What exchanges with a peer took.",
        ("peer",),
        lambda scene: [((peer,), took) for peer, (took, _) in scene.monitor.exchanges().items()],
    ),
    Metric(
        "parley_exchange_rows",
        "histogram",
        "Ids that a peer was asked about at once.",
        ("peer",),
        lambda scene: [((peer,), rows) for peer, (_, rows) in scene.monitor.exchanges().items()],
    ),
    Metric(
        "parley_exchange_failures_total",
        "counter",
        "Exchanges that failed, by the code of what was wrong.",
        ("peer", "code"),
        lambda scene: [((peer, code), n) for (peer, code), n in scene.monitor.failures.items()],
    ),
    Metric(
        "parley_peer_state",
        "gauge",
        "1 for the state that the peer is in: ready; away, and not asked for a while; trying.",
        ("peer", "state"),
        _states,
    ),
    Metric(
        "parley_peer_rows",
        "gauge",
        "Ids of the peer's table that can be asked about.",
        ("peer",),
        _peers(lambda each: each.rows),
    ),
    Metric(
        "parley_quota_left",
        "gauge",
        "Predictions that the release still allows.",
        (),
        _one(lambda scene: max(0, scene.service.quota - scene.service.used)),
    ),
    Metric(
        "parley_release_end_seconds",
        "gauge",
        "To when the release holds, seconds since 1970.",
        (),
        _one(lambda scene: scene.service.until),
    ),
    Metric(
        "parley_feature_lookups_total",
        "counter",
        "Ids whose own features were wanted, by whether the cache had them.",
        ("result",),
        lambda scene: [((result,), scene.monitor.cached[result]) for result in ("hit", "miss")],
    ),
    Metric(
        "parley_score",
        "histogram",
        "Probabilities given, by what they rest on; of a multiclass model that of the likeliest class.",
        ("basis",),
        lambda scene: [((basis,), found) for basis, found in scene.monitor.scores().items()],
    ),
    Metric(
        "parley_score_stability_index",
        "gauge",
        "Population stability index of the last 50,000 to 100,000 joint scores against those of training.",
        (),
        _stability(lambda found: found.index),
    ),
    Metric(
        "parley_score_stability_by_chance",
        "gauge",
        "What that index hardly exceeds where nothing moved.",
        (),
        _stability(lambda found: found.chance),
    ),
    *process_metrics("the serving process", "the process"),
)


def exposition(scene: Scene) -> str:
    """All metrics as Prometheus reads them."""
    return text_of(METRICS, scene)


def page() -> str:
    """The table as Markdown, for docs/metrics.md."""
    return table_of(METRICS)
