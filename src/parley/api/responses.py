"""Answers as HTTP has them."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass

import msgspec
from starlette.responses import Response


@dataclass(frozen=True)
class Text:
    """An answer that is no JSON of ours.

    Attributes:
        content: of it.
        media: its type.
        headers: more of them.
    """

    content: bytes
    media: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Stream:
    """Server-sent events, as they come."""

    events: AsyncGenerator[bytes, None]


def json_response(answer: object, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """An answer as JSON."""
    return Response(msgspec.json.encode(answer), status, headers, "application/json")


def event(kind: str, data: object) -> bytes:
    """A server-sent event; ``data`` as JSON, which has no line ends."""
    return b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"
