"""OpenTelemetry spans of our runs: run → step → phase. Needs the extra ``telemetry``; see `telemetry`.

A run's trace id is a hash of its identifier, so the spans of all its parties join up in one trace: the
active party's run is the root, every other party's is its child. Spans carry names, states, error codes,
times, bytes and counts of messages; never values, column names, purposes or texts of errors.
"""

import hashlib
import secrets
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from typing import Any, Final, cast

import msgspec
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import NonRecordingSpan, SpanContext, Status, StatusCode, TraceFlags

from parley.core.plan import decode_plan
from parley.core.trace import (
    Event,
    PhaseBegan,
    PhaseEnded,
    Received,
    Sent,
    Sink,
    StepBegan,
    Worked,
)
from parley.party.examination import release
from parley.party.runstate import TERMINAL
from parley.protocols import proposal
from parley.store.catalogue import RunRecord

_TAG: Final = b"parley/trace/v1\0"


def trace_ids(run: str) -> tuple[int, int]:
    """The trace of a run, and the span of its active party in it: equal at all parties."""
    digest = hashlib.sha256(_TAG + run.encode()).digest()
    return int.from_bytes(digest[:16]), int.from_bytes(digest[16:24])


class _Ids:
    """Span ids are random but the one that a run's root was given."""

    def __init__(self) -> None:
        self.next_root: tuple[int, int] | None = None

    def generate_trace_id(self) -> int:
        return self.next_root[0] if self.next_root else secrets.randbits(128) or 1

    def generate_span_id(self) -> int:
        given, self.next_root = self.next_root, None
        return given[1] if given else secrets.randbits(64) or 1

    def is_trace_id_random(self) -> bool:
        return False


class _Run:
    """The open spans of one run, and what was counted in its step."""

    def __init__(self, tracer: Any, span: Any) -> None:  # noqa: ANN401 (the extra may be missing)
        self.span = span
        self._tracer = tracer
        self._step: Any = None
        self._phases: defaultdict[str, list[Any]] = defaultdict(list)
        self._sums: defaultdict[str, float] = defaultdict(float)

    def took(self, event: Event) -> None:
        match event:
            case StepBegan(step):
                self.end_step()
                self._step = self._begin(step, self.span)
            case PhaseBegan(phase):
                self._phases[phase].append(self._begin(phase, self._step or self.span))
            case PhaseEnded(phase):
                if self._phases[phase]:
                    self._phases[phase].pop().end()
            case Worked(what, seconds):
                self._sums[f"parley.work.{what}.seconds"] += seconds
            case Sent(_, _, size):
                self._sums["parley.sent.bytes"] += size
                self._sums["parley.sent.messages"] += 1
            case Received(_, _, size):
                self._sums["parley.received.bytes"] += size
                self._sums["parley.received.messages"] += 1
            case _:
                pass

    def end_step(self) -> None:
        """The step is over, with the phases that were left open in it."""
        for phase in (each for open_ones in self._phases.values() for each in open_ones):
            phase.end()
        self._phases.clear()
        if self._step is not None:
            for name, value in self._sums.items():
                self._step.set_attribute(name, value if name.endswith("seconds") else int(value))
            self._step.end()
        self._step = None
        self._sums.clear()

    def _begin(self, name: str, parent: Any) -> Any:  # noqa: ANN401
        return self._tracer.start_span(name, context=trace.set_span_in_context(parent))


class _Outcome(msgspec.Struct):
    """What of an outcome may be told: the code of an error."""

    code: str = ""


class RunSpans:
    """An observer that makes spans of all runs.

    Args:
        party: our name.
        provider: makes and exports spans.
        ids: of the provider.
    """

    def __init__(self, party: str, provider: TracerProvider, ids: _Ids) -> None:
        self._party = party
        self._provider = provider
        self._tracer = provider.get_tracer("parley", release())
        self._ids = ids
        self._runs: dict[str, _Run] = {}

    def sink(self, record: RunRecord) -> Sink:
        """What takes the trace of a run from now on."""
        return partial(_tell, self._run(record))

    def moved(self, record: RunRecord) -> None:
        """A run came to another state, or begins."""
        run = self._run(record)
        outcome = msgspec.json.decode(record.outcome, type=_Outcome | None)
        code = "" if outcome is None else outcome.code
        run.span.add_event(record.state, {"parley.code": code} if code else {})
        run.span.set_attribute("parley.state", record.state)
        if record.state == "interrupted":
            run.end_step()
        if record.state in TERMINAL:
            run.end_step()
            failed = record.state == "failed"
            run.span.set_status(Status(StatusCode.ERROR, code) if failed else Status(StatusCode.OK))
            run.span.end()
            del self._runs[record.id]

    def close(self) -> None:
        """End what is open and send what is left."""
        for run in self._runs.values():
            run.end_step()
            run.span.end()
        self._runs.clear()
        self._provider.shutdown()

    def _run(self, record: RunRecord) -> _Run:
        if record.id not in self._runs:
            self._runs[record.id] = _Run(self._tracer, self._begin(record))
        return self._runs[record.id]

    def _begin(self, record: RunRecord) -> Any:  # noqa: ANN401
        trace_id, root = trace_ids(record.id)
        context = None
        if record.role == proposal.ACTIVE and not record.attempts and record.state == "queued":
            self._ids.next_root = trace_id, root
        else:
            theirs = SpanContext(trace_id, root, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
            context = trace.set_span_in_context(NonRecordingSpan(theirs))
        parties = decode_plan(record.plan.encode()).parties
        attributes = {
            "parley.party": self._party,
            "parley.run": record.id,
            "parley.role": record.role,
            "parley.peers": [name for name in parties if name != self._party],
        }
        return self._tracer.start_span(f"run {record.role}", context=context, attributes=attributes)


def exporting(party: str, environment: Mapping[str, str]) -> RunSpans:
    """Spans that go where the standard variables say."""
    named = "OTEL_SERVICE_NAME" in environment or "service.name=" in environment.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    attributes = {"service.instance.id": party, "service.version": release()}
    resource = Resource.create(attributes if named else attributes | {"service.name": "parley"})
    ids = _Ids()
    provider = TracerProvider(resource=resource, id_generator=cast("Any", ids), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return RunSpans(party, provider, ids)


def _tell(run: _Run, event: Event) -> None:
    run.took(event)
