"""All that the front of a served model can be asked, and its description for programs and for people.

What is answered, `parley.serving.http.application` says; here it is described, and tests hold every answer
against the description.
"""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Final

import msgspec

from parley.serving.http import asked
from parley.serving.http.application import Page
from parley.serving.scores import Service
from parley.web.metrics import CONTENT_TYPE
from parley.web.openapi import About, Route, document
from parley.web.pages import page

_HTML: Final = "text/html; charset=utf-8"
_SHOWN: Final = ("key", "header")

ABOUT: Final = About(
    title="Parley: a served model",
    description="Scores of one model that several organisations trained together.",
    schemes=MappingProxyType(
        {
            "key": {"type": "http", "scheme": "bearer"},
            "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
    ),
    shown=MappingProxyType({"key": _SHOWN, "metrics": _SHOWN}),
    note="Send <code>Authorization: Bearer KEY</code> or <code>X-API-Key: KEY</code>, with the key that you "
    "were given; or <code>Authorization: Bearer TOKEN</code> with a token of the issuer that counts here.",
    who=MappingProxyType(
        {"anyone": "for anyone", "key": "needs a key", "metrics": "needs a key made with --metrics"}
    ),
)


def predict() -> None:
    """Score one id or several."""


def service() -> None:
    """What is served, and how it does."""


def healthz() -> None:
    """Whether a request could be answered now; 503 if it could not."""


def metrics() -> None:
    """Figures of this server, for Prometheus."""


def openapi() -> None:
    """This server as an OpenAPI 3.1 document."""


def docs() -> None:
    """This server as a page for people."""


def _route(method: Any, path: str, takes: Any, answers: Any, who: str, does: Any) -> Route:  # noqa: ANN401 (a line of the table)
    return Route(method, path, takes, answers, who, does)


# fmt: off
ROUTES: Final = (
    _route("POST", "/v1/models/{model}/predict", asked.Predict, asked.Predictions, "key", predict),
    _route("GET", "/v1/models/{model}", asked.OneModel, Service, "key", service),
    _route("GET", "/healthz", asked.Nothing, asked.Health, "anyone", healthz),
    _route("GET", "/metrics", asked.Nothing, CONTENT_TYPE, "metrics", metrics),
    _route("GET", "/openapi.json", asked.Nothing, "application/json", "anyone", openapi),
    _route("GET", "/docs", asked.Nothing, _HTML, "anyone", docs),
)
# fmt: on


@cache
def described() -> Mapping[str, Any]:
    """The OpenAPI document."""
    made = document(ABOUT, ROUTES)
    health = made["paths"]["/healthz"]["get"]["responses"]
    health["503"] = health["200"] | {"description": "It could not."}
    return made


@cache
def openapi_page() -> Page:
    """The document."""
    return msgspec.json.encode(described()), b"application/json", ()


@cache
def docs_page() -> Page:
    """The document for people."""
    content, headers = page(ABOUT, described())
    return content, _HTML.encode(), [(name.encode(), value.encode()) for name, value in headers.items()]
