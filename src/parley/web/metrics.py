"""Metrics as a table, and their text for Prometheus.

The text format: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Literal, TypeAlias, TypeVar

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

SceneT_contra = TypeVar("SceneT_contra", contravariant=True)


@dataclass(frozen=True)
class Distribution:
    """How often values fell where.

    Attributes:
        bounds: largest value of each bin but the last, ascending.
        counts: values by bin, one more than bounds: the last bin has no end.
        total: sum of the values.
    """

    bounds: Sequence[float]
    counts: Sequence[int]
    total: float


Value: TypeAlias = tuple[tuple[str, ...], float | Distribution]
"""The values of a metric's labels, and its own: of a histogram, a distribution."""


@dataclass(frozen=True)
class Metric(Generic[SceneT_contra]):
    """A metric.

    Attributes:
        name: with its unit, as Prometheus has names.
        kind: whether it only grows while the process runs, or is a distribution, which does.
        help: what it is.
        labels: names.
        read: its values in a scene, which is everything that is counted at one moment.
    """

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    help: str
    labels: tuple[str, ...]
    read: Callable[[SceneT_contra], Iterable[Value]]


def text_of(metrics: Iterable[Metric[SceneT_contra]], scene: SceneT_contra) -> str:
    """Metrics as Prometheus reads them."""
    return "".join(f"{line}\n" for metric in metrics for line in _lines(metric, scene))


def table_of(metrics: Iterable[Metric[SceneT_contra]]) -> str:
    """Metrics as Markdown, for docs/metrics.md."""
    rows = (f"| `{each.name}` | {each.kind} | {', '.join(each.labels)} | {each.help} |" for each in metrics)
    return "\n".join(["| metric | kind | labels | what it is |", "|---|---|---|---|", *rows, ""])


def _lines(metric: Metric[SceneT_contra], scene: SceneT_contra) -> Iterator[str]:
    yield f"# HELP {metric.name} {metric.help}"
    yield f"# TYPE {metric.name} {metric.kind}"
    for values, value in metric.read(scene):
        labels = list(zip(metric.labels, values, strict=True))
        if isinstance(value, Distribution):
            yield from _histogram(metric.name, labels, value)
        else:
            yield _line(metric.name, labels, value)


def _histogram(name: str, labels: list[tuple[str, str]], found: Distribution) -> Iterator[str]:
    below = 0
    for bound, count in zip([*found.bounds, float("inf")], found.counts, strict=True):
        below += count
        at_most = "+Inf" if bound == float("inf") else repr(float(bound))
        yield _line(f"{name}_bucket", [*labels, ("le", at_most)], below)
    yield _line(f"{name}_sum", labels, found.total)
    yield _line(f"{name}_count", labels, below)


def _line(name: str, labels: list[tuple[str, str]], value: float) -> str:
    pairs = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels)
    return f"{name}{{{pairs}}} {float(value)!r}" if pairs else f"{name} {float(value)!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
