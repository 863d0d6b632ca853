"""Whether spans are made: only where somebody wants them, and never without a word."""

import sys

import pytest

from parley.party.telemetry import ENDPOINTS, spans_of


@pytest.mark.parametrize(
    "environment",
    [{}, {ENDPOINTS[0]: ""}, {ENDPOINTS[0]: "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}],
    ids=["unset", "empty", "disabled"],
)
def test_where_nobody_wants_spans_none_are_made(environment):
    lines = []
    assert spans_of("bank", environment, lines.append) is None
    assert not lines


@pytest.mark.parametrize("wanted", ENDPOINTS)
@pytest.mark.parametrize("missing", ["opentelemetry", "opentelemetry.exporter"])
def test_a_missing_extra_is_a_warning_that_says_what_to_install(monkeypatch, wanted, missing):
    for name in [name for name in sys.modules if name.startswith(missing)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)  # as Python notes what cannot be imported
    lines = []
    assert spans_of("bank", {wanted: "http://127.0.0.1:1"}, lines.append) is None
    (line,) = lines
    assert wanted in line
    assert "[telemetry-missing]" in line
    assert "parley[telemetry]" in line
