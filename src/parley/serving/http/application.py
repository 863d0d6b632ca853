"""From a request to the scorer and back: an application of the ASGI kind, without a framework.

A single decision is asked for while a customer waits, so what stands between the socket and the scorer is
short: one look at the headers, one at the key, one decoding, one encoding; no thread, no file.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import msgspec
from starlette.types import Receive, Scope, Send

from parley.core.errors import BudgetExhausted, ParleyError, PeerLost, PolicyRefused, UsageError
from parley.party.failures import lines_of
from parley.serving.http.asked import Health, Predictions, Reason, Wanted
from parley.serving.http.callers import Caller, whole_seconds
from parley.serving.http.connections import headers_too_large
from parley.serving.http.door import Door, TooMany
from parley.serving.http.limits import Limits
from parley.serving.monitor import Monitor
from parley.serving.scores import Score, Scorer, Service
from parley.web.listening import SAFE
from parley.web.problems import Problem, status_of, unforeseen

NOBODY: Final = "(nobody)"
"""In metrics, of requests without a key or token that is known."""
_JSON: Final = b"application/json"
_MODEL: Final = re.compile(r"/v1/models/([^/]+)(/predict)?")
_MOST_HEADERS: Final = 100
_QUOTA_PAUSE: Final = 3600
"""Seconds after which it is worth asking again where a quota is used up: people have to agree on more."""
_OF_THE_CALLER: Final = ("unknown-ids",)
"""What of a scorer's usage errors is about the ids that were asked; the others are about our own columns."""
_WANTED: Final = msgspec.json.Decoder(Wanted)
_ENCODER: Final = msgspec.json.Encoder()

Page: TypeAlias = tuple[bytes, bytes, Sequence[tuple[bytes, bytes]]]
"""Content, media type and further headers of a page."""
Headers: TypeAlias = dict[bytes, bytes]


@dataclass(frozen=True)
class Pages:
    """What is answered beside scores; made anew for each request.

    Attributes:
        metrics: of this moment.
        public: by path, for anyone.
    """

    metrics: Callable[[Service], Page]
    public: dict[str, Callable[[], Page]]


@dataclass(slots=True)
class _Reply:
    status: int
    body: bytes
    media: bytes = _JSON
    headers: Sequence[tuple[bytes, bytes]] = ()


class Front:
    """Answers requests for the scores of one model.

    Args:
        scorer: answers for the model.
        door: who may come in.
        limits: that nobody may exceed.
        monitor: counts.
        pages: what is answered beside scores.
        clock: seconds, monotonic.
        wall: seconds since 1970.
        log: takes what nobody foresaw.
    """

    def __init__(
        self,
        scorer: Scorer,
        door: Door,
        limits: Limits,
        monitor: Monitor,
        pages: Pages,
        clock: Callable[[], float],
        wall: Callable[[], float],
        log: Callable[[str], None],
    ) -> None:
        self._scorer, self._door, self._limits, self._monitor = scorer, door, limits, monitor
        self._pages, self._clock, self._wall, self._log = pages, clock, wall, log
        self._model = scorer.service().model

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        asking = _Asking(scope["method"], scope["path"], receive)
        try:
            reply = await self._reply(asking, scope["headers"])
        except ParleyError as error:
            reply = _failed(error)
        except Exception as error:  # noqa: BLE001 (one request must not harm the others)
            self._log(f"answering {asking.method} {asking.path[:80]!r} failed: {lines_of(error)}")
            reply = _failed(unforeseen())
        self._monitor.requested(reply.status, asking.label)
        headers = [
            (b"content-type", reply.media),
            (b"content-length", b"%d" % len(reply.body)),
            *SAFE,
            *reply.headers,
        ]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    # ── what is asked ─────────────────────────────────────────────────────────────────────────────────────

    async def _reply(self, asking: "_Asking", given: Sequence[tuple[bytes, bytes]]) -> _Reply:
        if len(given) > _MOST_HEADERS or sum(map(_length, given)) > self._limits.headers:
            raise headers_too_large(self._limits)
        if asking.path in self._pages.public:
            asking.expect("GET")
            return _page(self._pages.public[asking.path]())
        if asking.path == "/healthz":
            asking.expect("GET")
            return self._health()
        headers = dict(given)
        caller = await self._door.caller(headers)
        asking.label = caller.label
        if asking.path == "/metrics":
            return self._metrics(asking, caller)
        found = _MODEL.fullmatch(asking.path)
        if found is None:
            self._door.pace(caller)
            raise UsageError(
                "no-such-path", f"there is no {asking.path[:80]!r}", remedy="see /docs for what there is"
            )
        self._door.allow(caller, found[1])
        if found[1] != self._model:
            raise UsageError(
                "no-such-model",
                f"model {found[1][:64]!r} is not served here",
                remedy=f"ask for {self._model}, or ask the server of that model",
            )
        if found[2] is None:
            asking.expect("GET")
            return _Reply(200, _ENCODER.encode(self._scorer.service()))
        asking.expect("POST")
        return await self._predict(asking, headers)

    async def _predict(self, asking: "_Asking", headers: Headers) -> _Reply:
        began = self._clock()
        ids = await self._ids(asking, headers)
        monitor = self._monitor
        if monitor.waiting >= self._limits.waiting:
            raise BudgetExhausted(
                "busy",
                f"{self._limits.waiting} requests wait for scores already",
                remedy="try again in a second",
            )
        monitor.waiting += 1
        try:
            scores = await self._scored(ids)
        finally:
            monitor.waiting -= 1
            monitor.latency.add(self._clock() - began)
        return _Reply(200, _ENCODER.encode(Predictions(self._model, scores)))

    async def _scored(self, ids: Sequence[str]) -> Sequence[Score]:
        try:
            async with asyncio.timeout(self._limits.answer_seconds):
                return await self._scorer.score(ids)
        except UsageError as error:
            if error.code in _OF_THE_CALLER:
                raise
            raise ParleyError(error.code, error.what, remedy=error.remedy) from None  # our source, our table
        except TimeoutError:
            raise PeerLost(
                "answer-too-late",
                f"no score came within {self._limits.answer_seconds:g} s",
                peer="",
                remedy="try again; the operator finds in /metrics which peer is slow",
            ) from None

    async def _ids(self, asking: "_Asking", headers: Headers) -> Sequence[str]:
        """Whose scores are wanted.

        Raises:
            UsageError: the body is too large, too slow, or not of that form.
        """
        media = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if media != _JSON or headers.get(b"content-encoding", b"identity") != b"identity":
            raise UsageError(
                "body-not-understood",
                f"the body is said to be {media.decode('latin-1')[:80] or 'nothing'!r}, "
                "expected application/json, not compressed",
                remedy="say so in the header Content-Type",
            )
        try:
            wanted = _WANTED.decode(await self._body(asking, headers))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise _bad_request(f"the body cannot be read: {error}") from None
        if isinstance(wanted.ids, list) and wanted.id is msgspec.UNSET:
            ids = wanted.ids
        elif isinstance(wanted.id, str) and wanted.ids is msgspec.UNSET:
            ids = [wanted.id]
        else:
            raise _bad_request("the body must have either `ids` or `id`")
        if len(ids) > self._limits.ids:
            raise UsageError(
                "ids-beyond-limit",
                f"the request has {len(ids):,} ids, at most {self._limits.ids:,} are taken at once",
                remedy="ask for fewer at once; millions are scored with `parley predict`",
            )
        return ids

    async def _body(self, asking: "_Asking", headers: Headers) -> bytes:
        if int(headers.get(b"content-length", b"0")) > self._limits.body:  # a number: the parser saw to it
            raise self._too_large()
        data = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while True:
                    message = await asking.receive()
                    if message["type"] != "http.request":
                        raise _bad_request("the body ended early")
                    data += message["body"]
                    if len(data) > self._limits.body:
                        raise self._too_large()
                    if not message["more_body"]:
                        return bytes(data)
        except TimeoutError:
            raise UsageError(
                "body-too-slow",
                f"the body did not arrive within {self._limits.body_seconds:g} s",
                remedy="send it at once",
            ) from None

    def _too_large(self) -> UsageError:
        return UsageError(
            "body-too-large",
            f"the body is larger than {self._limits.body // 1024} KiB",
            remedy=f"send at most {self._limits.ids:,} ids at once, and nothing else",
        )

    # ── how it does ───────────────────────────────────────────────────────────────────────────────────────

    def _health(self) -> _Reply:
        service = self._scorer.service()
        away = any(each.state == "away" for each in service.peers)
        reason: Reason = ""
        if self._wall() >= service.until:
            reason = "over"
        elif service.used >= service.quota:
            reason = "quota"
        elif away and service.fallback == "refuse":
            reason = "peers"
        return _Reply(503 if reason else 200, _ENCODER.encode(Health(not reason, reason)))

    def _metrics(self, asking: "_Asking", caller: Caller) -> _Reply:
        self._door.pace(caller)
        asking.expect("GET")
        if not caller.metrics:
            raise PolicyRefused(
                "metrics-not-allowed",
                "this key may not read the metrics",
                remedy="have a key made with `parley key add --metrics`",
            )
        return _page(self._pages.metrics(self._scorer.service()))


@dataclass(slots=True)
class _Asking:
    """A request; ``label`` is who asks, in metrics."""

    method: str
    path: str
    receive: Receive
    label: str = NOBODY

    def expect(self, method: str) -> None:
        """Refuse another method.

        Raises:
            UsageError: ``method-not-allowed``.
        """
        if self.method != method and (self.method, method) != ("HEAD", "GET"):
            raise UsageError(
                "method-not-allowed", f"{self.path[:80]} does not take {self.method}", remedy=f"use {method}"
            )


def _length(header: tuple[bytes, bytes]) -> int:
    return len(header[0]) + len(header[1])


def _bad_request(what: str) -> UsageError:
    return UsageError("bad-request", what, remedy="see /v1/models/{model}/predict in /docs")


def _page(made: Page) -> _Reply:
    content, media, headers = made
    return _Reply(200, content, media, headers)


def _failed(error: ParleyError) -> _Reply:
    status = status_of(error)
    headers: list[tuple[bytes, bytes]] = []
    if status == 401:  # noqa: PLR2004
        headers.append((b"www-authenticate", b"Bearer"))
    if status in (408, 413, 431):  # what is still to come is not read
        headers.append((b"connection", b"close"))
    if pause := _pause(error, status):
        headers.append((b"retry-after", b"%d" % pause))
    return _Reply(status, _ENCODER.encode(Problem.of(error)), headers=headers)


def _pause(error: ParleyError, status: int) -> int:
    """Seconds after which it is worth asking again; 0: that is not known."""
    if isinstance(error, TooMany):
        return whole_seconds(error.wait)
    if status == 429:  # noqa: PLR2004
        return _QUOTA_PAUSE if "quota" in error.code or error.code == "predictions-used-up" else 1
    return 1 if status == 503 else 0  # noqa: PLR2004
