"""Writes ``metrics.md`` and ``api-routes.md``: what the table of metrics and the table of routes say."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from parley.api.metrics import page
from parley.api.routes import ROUTES

FOLDER: Final = Path(__file__).parent

_METRICS: Final = """# Metrics

What `/metrics` of a party's [API](api.md#metrics) says, in the text format of Prometheus. Byte counts of
links are those of chunks, without TLS. Counters begin at 0 when the party starts.

"""
_ROUTES: Final = """# Routes

All that the [API](api.md) can be asked. Types and fields are in `/docs` of a running party, and for programs
in `/openapi.json`. Whatever fails is answered with `family`, `code`, `what` and `remedy`.

| request | what it does | answers | who may |
|---|---|---|---|
"""


def routes() -> str:
    """The table of routes as Markdown."""
    rows = []
    for each in ROUTES:
        answers = each.answers if isinstance(each.answers, str) else each.answers.__name__
        name = f"`{each.method} {each.path}`"
        rows.append(f"| {name} | {each.summary} | `{answers.partition(';')[0]}` | {each.who} |\n")
    return _ROUTES + "".join(rows)


PAGES: Final[Mapping[str, str]] = MappingProxyType(
    {"metrics.md": _METRICS + page(), "api-routes.md": routes()}
)


if __name__ == "__main__":
    for name, text in PAGES.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
