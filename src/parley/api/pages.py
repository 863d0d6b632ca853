"""The API about itself: its OpenAPI document, and a page made of it that needs no script."""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec

from parley.api import asked
from parley.api.responses import Text
from parley.web.openapi import About, document
from parley.web.pages import page

if TYPE_CHECKING:
    from parley.api.handlers import Counter

_ABOUT: Final = About(
    title="Parley: the API of a running party",
    description="For the party's own people and programs, on its own machine.",
    schemes=MappingProxyType({"token": {"type": "http", "scheme": "bearer"}}),
    shown=MappingProxyType({"token": ("token",)}),
    note="Send <code>Authorization: Bearer TOKEN</code> with what <code>parley api token</code> prints.",
    who=MappingProxyType({"token": "needs the token", "anyone": "for anyone on this machine"}),
)


def openapi(_at: "Counter", _: asked.Nothing) -> Text:
    """This API as an OpenAPI 3.1 document."""
    return Text(msgspec.json.encode(_document()), "application/json", {})


def docs(_at: "Counter", _: asked.Nothing) -> Text:
    """This API as a page for people."""
    html, headers = page(_ABOUT, _document())
    return Text(html, "text/html; charset=utf-8", headers)


@cache
def _document() -> Mapping[str, Any]:
    from parley.api.routes import ROUTES  # noqa: PLC0415 (the table names this page)

    return document(_ABOUT, ROUTES)
