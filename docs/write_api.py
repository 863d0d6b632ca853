"""Writes the tables of metrics and of routes, of a party and of a served model."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from parley.api.metrics import page
from parley.api.routes import ROUTES
from parley.serving.http import metrics as serving_metrics
from parley.serving.http.routes import ROUTES as SERVING_ROUTES
from parley.web.openapi import Route

FOLDER: Final = Path(__file__).parent

_METRICS: Final = """# Metrics

What `/metrics` of a party's [API](api.md#metrics) says, in the text format of Prometheus. Byte counts of
links are those of chunks, without TLS. Counters begin at 0 when the party starts.

"""
_SERVING_METRICS: Final = """
## Of a served model

What `/metrics` of a [served model](serving.md#metrics) says. Counters begin at 0 when serving does.

"""
_SERVING_ROUTES: Final = """
## Of a served model

All that a [served model](serving.md) can be asked. Types and fields are in its `/docs`, and for programs in
its `/openapi.json`.

| request | what it does | answers | who may |
|---|---|---|---|
"""
_ROUTES: Final = """# Routes

All that the [API](api.md) can be asked. Types and fields are in `/docs` of a running party, and for programs
in `/openapi.json`. Whatever fails is answered with `family`, `code`, `what` and `remedy`.

| request | what it does | answers | who may |
|---|---|---|---|
"""


def table(routes: Iterable[Route]) -> str:
    """A table of routes as Markdown."""
    rows = []
    for each in routes:
        answers = each.answers if isinstance(each.answers, str) else each.answers.__name__
        name = f"`{each.method} {each.path}`"
        rows.append(f"| {name} | {each.summary} | `{answers.partition(';')[0]}` | {each.who} |\n")
    return "".join(rows)


PAGES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "metrics.md": _METRICS + page() + _SERVING_METRICS + serving_metrics.page(),
        "api-routes.md": _ROUTES + table(ROUTES) + _SERVING_ROUTES + table(SERVING_ROUTES),
    }
)


if __name__ == "__main__":
    for name, text in PAGES.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
