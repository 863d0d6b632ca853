"""Whether spans of our runs are wanted, and can be made; nothing of OpenTelemetry is loaded unless both.

The standard variables say where they go: https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Final, Protocol

from parley.party.board import Observer

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""Either of them set means that spans are wanted."""
_OFF: Final = "OTEL_SDK_DISABLED"
_NEEDED: Final = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")


class Spans(Observer, Protocol):
    """An observer that makes spans."""

    def close(self) -> None:
        """End what is open and send what is left; takes some seconds where nobody receives it."""


def spans_of(party: str, environment: Mapping[str, str], log: Callable[[str], None]) -> Spans | None:
    """What makes spans of our runs; none if nobody wants them, or the extra is missing, which is logged."""
    wanted = next((name for name in ENDPOINTS if environment.get(name)), None)
    if wanted is None or environment.get(_OFF, "").strip().lower() == "true":
        return None
    if not all(map(_installed, _NEEDED)):
        log(
            f"warning: {wanted} is set, but no spans are made: OpenTelemetry is not installed "
            "[telemetry-missing]; install it with `pip install 'parley[telemetry]'`, or unset the variable"
        )
        return None
    # named here, not imported above: whoever wants no spans does not pay for them
    made: Spans = import_module("parley.party.spans").exporting(party, environment)
    log(f"spans of our runs go where {wanted} says")
    return made


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # what it lies in is not there
        return False
