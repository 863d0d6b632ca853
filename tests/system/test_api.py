"""The HTTP API of running parties: what it answers, to whom, and what it makes of whatever else comes."""

import http.client
import json
import os
import socket
import stat
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec

import lightgbm
import pytest
from jsonschema import Draft202012Validator
from prometheus_client.parser import text_string_to_metric_families

from parley.api.metrics import METRICS
from parley.api.routes import ROUTES
from parley.core.errors import UsageError
from parley.store.home import Home
from parley.web.problems import status_of

from tests.system.parties import ROOT, cut, environment, invited, plan, until
from tests.system.serving import ServedHere, looping, request
from tests.system.test_docs import fenced

pytestmark = pytest.mark.timeout(300)
TELEMETRY = find_spec("opentelemetry") is not None


# ── one stage for all ─────────────────────────────────────────────────────────────────────────────────────


class Receiver(ThreadingHTTPServer):
    """Takes what is sent by OTLP over HTTP."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Taking)
        self.bodies = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class _Taking(BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.bodies.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as receiving:
        yield receiving
        receiving.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("api")


@pytest.fixture(scope="module")
def members(folder, receiver):
    """A bank and an operator in one consortium, with their tables, each with an API."""
    cut(folder, 200)
    told = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
    }
    with looping() as loop, pytest.MonkeyPatch.context() as patch:
        for name, value in told.items():
            patch.setenv(name, value)
        bank, operator = (ServedHere(folder, name, loop) for name in ("bank", "operator"))
        try:
            bank.done("consortium", "create", "test")
            bank.up()
            operator.done("join", invited(bank, "operator"))
            operator.up()
            bank.done("data", "add", "accounts", folder / "bank.csv", "--id", "id")
            operator.done("data", "add", "subscribers", folder / "operator.csv", "--id", "id")
            yield bank, operator
        finally:
            for party in (bank, operator):
                party.stop()


@pytest.fixture(scope="module")
def described(members):
    return request(members[0], "GET", "/openapi.json", token="").json


@pytest.fixture(scope="module")
def ask(described):
    """Asks, and holds every answer against the OpenAPI document."""

    def asking(party, method, path, **more):
        answer = request(party, method, path, **more)
        check(described, method, path.partition("?")[0], answer)
        return answer

    return asking


def check(described, method, path, answer):
    operation = operation_of(described, method, path)
    problem = described["paths"]["/v1/party"]["get"]["responses"]["default"]
    response = (
        operation["responses"].get(str(answer.status), operation["responses"]["default"])
        if operation
        else problem
    )
    media = answer.headers["content-type"].partition(";")[0]
    assert media in response["content"], (path, answer)
    schema = response["content"][media].get("schema")
    if schema is not None:
        whole = schema | {"components": described["components"]}
        Draft202012Validator(whole).validate(answer.json)


def operation_of(described, method, path):
    """The described operation that a path means, if there is one."""
    for template, methods in described["paths"].items():
        parts, given = template.split("/"), path.split("/")
        fits = len(parts) == len(given) and all(
            part == word or part.startswith("{") for part, word in zip(parts, given, strict=True)
        )
        if fits and method.lower() in methods:
            return methods[method.lower()]
    return None


# ── the walk that docs/api.md shows ───────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def walked(folder, members):
    """Where the commands of docs/api.md ran, as printed, beside a plan that the operator approved."""
    bank, operator = members
    place = folder / "walk"
    (place / "bin").mkdir(parents=True)
    program = place / "bin" / "parley"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m parley.cli "$@"\n')
    program.chmod(0o755)
    plan(folder, people=200, trees=2, predictions=50).rename(place / "plan.toml")
    script = "\n".join(["set -e", *fenced((ROOT / "docs" / "api.md").read_text(), "sh")])
    known = environment(PARLEY_HOME=str(bank.home), PATH=f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}")
    said = place / "said"
    with said.open("wb") as file:
        walking = subprocess.Popen(["sh", "-c", script], cwd=place, env=known, stdout=file, stderr=file)
    try:
        waiting = until(lambda: walking.poll() is not None or _waiting(operator), every=0.25)
        assert walking.poll() is None, said.read_text()
        operator.done("approve", waiting)
        assert walking.wait(200) == 0, said.read_text()
    finally:
        walking.kill()
        walking.wait()
    return place


def _waiting(party):
    """The plan that waits for a party's word; looks by HTTP, which costs little."""
    return next((each["id"] for each in request(party, "GET", "/v1/plans").json["plans"]), None)


@pytest.fixture(scope="module")
def run(walked):
    return json.loads((walked / "run.json").read_text())["run"]


def events(text):
    """The events of a stream, each with its kind and what it holds."""
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            yield lines["event"], json.loads(lines["data"])


def test_the_walk_of_the_documents_ends_in_a_model(walked, run, ask, members):
    bank, operator = members
    happened = list(events((walked / "events.txt").read_text()))
    states = [each["state"] for kind, each in happened if kind == "state"]
    assert (states[0], states[-1]) == ("awaiting", "finished")
    assert "running" in states
    phases = {each["phase"] for kind, each in happened if kind == "progress"}
    assert {"approve", "train"} <= phases
    assert stat.S_IMODE((walked / "token.header").stat().st_mode) == 0o600

    shown = ask(bank, "GET", f"/v1/runs/{run}").json
    assert (shown["state"], shown["role"]) == ("finished", "active")
    assert shown == {each["run"]: each for each in bank.runs()}[run]
    assert ask(operator, "GET", f"/v1/runs/{run}").json["role"] == "passive"
    assert ask(bank, "GET", f"/v1/models/{run}").json == bank.done("model", "show", run)
    assert [each["trees"] for each in ask(bank, "GET", "/v1/models").json["models"]] == [2]


def test_a_run_that_is_over_has_its_state_as_the_only_event(members, run):
    (only,) = events(request(members[0], "GET", f"/v1/runs/{run}/events").body.decode())
    assert only[0] == "state"
    assert only[1]["state"] == "finished"


@pytest.mark.usefixtures("run")
def test_what_the_api_tells_is_what_the_commands_tell(members, ask):
    bank, operator = members
    assert ask(bank, "GET", "/v1/runs").json == bank.done("runs")
    assert ask(bank, "GET", "/v1/plans?all=true").json == bank.done("plans", "--all")
    assert ask(bank, "GET", "/v1/plans").json == {"plans": []}
    assert ask(bank, "GET", "/v1/tables").json == bank.done("data", "list")
    assert ask(bank, "GET", "/v1/settings").json["settings"] == bank.done("config", "show")["settings"]
    assert ask(operator, "GET", "/v1/models").json == operator.done("models")
    plans = ask(bank, "GET", "/v1/plans?all=true").json["plans"]
    assert ask(bank, "GET", f"/v1/plans/{plans[0]['id'][:10]}").json == plans[0]
    standing = ask(bank, "GET", "/v1/ledger").json["standing"]
    assert standing.items() <= bank.done("ledger", "status").items()


def test_a_model_is_released_merged_and_withdrawn(folder, members, ask, run):
    bank, operator = members
    asked = json.dumps({"predictions": 51})
    answer = ask(bank, "POST", f"/v1/models/{run}/release", body=asked, headers=JSON)
    assert (answer.status, answer.json["code"]) == (429, "ledger-quota-exceeded")
    assert bank.done("model", "release", run)["missing"] == ["operator"]
    answer = ask(operator, "POST", f"/v1/models/{run}/release", body="{}", headers=JSON)
    assert (answer.json["quota"], answer.json["in_force"]) == (50, True)
    assert ask(bank, "GET", f"/v1/models/{run}").json["registered"]["release"]["quota"] == 50

    assert bank.done("model", "merge", run, "--to", "bank")["missing"] == ["operator"]
    early = ask(bank, "GET", f"/v1/models/{run}/export/lightgbm")
    assert (early.status, early.json["code"]) == (403, "merge-not-agreed")
    named = json.dumps({"receiver": "bank"})
    answer = ask(operator, "POST", f"/v1/models/{run}/merge", body=named, headers=JSON)
    assert answer.json["missing"] == []
    registered = ask(bank, "GET", f"/v1/models/{run}").json["registered"]
    assert (registered["merged"], registered["merging"]) == (["bank"], {})
    whole = ask(bank, "GET", f"/v1/models/{run}/export/lightgbm")  # has the operator's piece fetched
    assert lightgbm.Booster(model_str=whole.body.decode()).num_trees() == 2
    assert f'filename="{run}.txt"' in whole.headers["content-disposition"]
    bank.done("model", "export", run, "--format", "lightgbm", "--out", folder / "whole.txt")
    assert (folder / "whole.txt").read_bytes() == whole.body
    beside = ask(bank, "GET", f"/v1/models/{run}/export/inputs")
    assert (folder / "whole.txt.inputs.json").read_bytes() == beside.body
    refused = operator.do("model", "export", run, "--format", "lightgbm", "--out", folder / "other.txt")
    assert refused.error["code"] == "merge-not-agreed"
    ours = ask(operator, "GET", f"/v1/models/{run}/export/json").body
    operator.done("model", "export", run, "--out", folder / "piece.json")
    assert (folder / "piece.json").read_bytes() == ours
    bank.done("model", "export", run, "--format", "onnx", "--out", folder / "whole.onnx")
    assert ask(bank, "GET", f"/v1/models/{run}/export/onnx").body == (folder / "whole.onnx").read_bytes()

    withdrawn = ask(operator, "POST", f"/v1/models/{run}/withdraw").json
    assert withdrawn["registered"]["status"] == "withdrawn"
    assert bank.do("model", "withdraw", run).error["code"] == "ledger-model-withdrawn"


@pytest.mark.usefixtures("run")
def test_the_history_comes_in_pages(members, ask):
    bank = members[0]
    first, found = 0, []
    while first is not None:
        page = ask(bank, "GET", f"/v1/ledger/records?first={first}&limit=7").json
        assert len(page["records"]) <= 7
        found += page["records"]
        first = page["next"]
    assert found == bank.done("ledger", "show")["records"]
    assert [each["number"] for each in found] == list(range(page["size"]))


def test_the_party_says_who_it_is_and_whom_it_knows(members, ask):
    bank, operator = members
    assert ask(bank, "GET", "/v1/party").json["party"] == "bank"
    (peer,) = ask(bank, "GET", "/v1/peers").json["peers"]
    assert (peer["peer"], peer["address"]) == ("operator", operator.address)
    assert peer["link"]["connected"]
    assert ask(bank, "GET", "/v1/doctor").json["well"]
    checks = {
        each["check"]: each["verdict"]
        for each in ask(bank, "GET", "/v1/doctor?peer=operator").json["findings"]
    }
    assert checks["conversation"] == "ok"


def test_a_plan_may_come_as_json_and_its_run_can_be_cancelled(folder, members, ask):
    bank = members[0]
    text = plan(folder, trees=2, purpose="to be cancelled").read_text()
    begun = ask(
        bank,
        "POST",
        "/v1/runs",
        body=json.dumps({"plan": text, "wait": 600}),
        headers={"Content-Type": "application/json"},
    )
    assert begun.status == 202
    name = begun.json["run"]
    assert ask(bank, "POST", f"/v1/runs/{name}/resume").status == 202  # nothing stands still: nothing happens
    assert ask(bank, "POST", f"/v1/runs/{name}/cancel").status == 202
    *_, (kind, last) = events(request(bank, "GET", f"/v1/runs/{name}/events").body.decode())
    assert (kind, last["state"]) == ("state", "cancelled")
    for decision in ("cancel", "resume"):
        over = ask(bank, "POST", f"/v1/runs/{name}/{decision}")
        assert (over.status, over.json["code"]) == (409, "run-over")


# ── who may, and what else comes ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("token", ["", "x", "é", "0" * 100_0], ids=["none", "short", "no-ascii", "long"])
def test_without_the_token_nothing_is_told(members, ask, token):
    for path in ("/v1/party", "/metrics", "/v1/nothing", "/v1/runs/run-x"):
        headers = {"Authorization": b"Bearer " + token.encode("latin-1")} if token else {}
        answer = ask(members[0], "GET", path, token="", headers=headers)
        assert (answer.status, answer.json["code"]) == (401, "api-token")
        assert answer.headers["www-authenticate"] == "Bearer"


def test_a_renewed_token_holds_at_once_and_the_old_one_no_longer(members):
    bank = members[0]
    old = bank.done("api", "token")["token"]
    assert stat.S_IMODE((bank.home / "api.token").stat().st_mode) == 0o600
    new = bank.done("api", "token", "--new")["token"]
    assert len(new) == len(old) >= 43
    assert request(bank, "GET", "/v1/party", token=old).status == 401
    assert request(bank, "GET", "/v1/party", token=new).status == 200
    assert bank.done("api")["url"].startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "127.0.0.1:x", "[::1]", "localhost@evil"]
)
def test_a_request_for_another_host_is_refused(members, ask, host):
    answer = ask(members[0], "GET", "/docs", headers={"Host": host})
    assert (answer.status, answer.json["code"]) == (403, "host-not-ours")


def test_localhost_is_this_machine_whatever_the_port(members, ask):
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1"):
        assert ask(members[0], "GET", "/v1/party", headers={"Host": host}).status == 200


def test_a_page_of_another_origin_is_refused(members, ask):
    bank = members[0]
    own = f"http://{(bank.home / 'api.address').read_text()}"
    assert ask(bank, "GET", "/v1/party", headers={"Origin": own}).status == 200
    for origin in ("http://evil.example", "null", own.replace("http", "https"), own + "0"):
        answer = ask(bank, "GET", "/v1/party", headers={"Origin": origin})
        assert (answer.status, answer.json["code"]) == (403, "origin-not-ours")
        assert not [name for name in answer.headers if name.startswith("access-control")]


JSON = {"Content-Type": "application/json"}
TOML = {"Content-Type": "application/toml"}


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "code"),
    [
        ("GET", "/v1/runs/run-unknown", None, {}, 404, "unknown-run"),
        ("POST", "/v1/runs/run-unknown/cancel", None, {}, 404, "unknown-run"),
        ("GET", "/v1/runs/run-unknown/events", None, {}, 404, "unknown-run"),
        ("GET", "/v1/models/run-unknown", None, {}, 404, "no-such-model"),
        ("POST", "/v1/models/run-unknown/release", "{}", JSON, 404, "model-not-on-ledger"),
        ("POST", "/v1/models/run-unknown/withdraw", None, {}, 404, "model-not-on-ledger"),
        ("POST", "/v1/models/run-unknown/release", '{"predictions": 0}', JSON, 400, "bad-request"),
        ("POST", "/v1/models/run-unknown/merge", '{"receiver": "bank"}', JSON, 404, "model-not-on-ledger"),
        ("POST", "/v1/models/run-unknown/merge", "{}", JSON, 400, "bad-request"),
        ("GET", "/v1/models/run-unknown/export/json", None, {}, 404, "no-such-model"),
        ("GET", "/v1/models/run-unknown/export/onnx", None, {}, 404, "no-such-model"),
        ("GET", "/v1/models/run-unknown/export/pickle", None, {}, 404, "no-such-path"),
        ("GET", "/v1/models/..%2f..%2fparley", None, {}, 404, "no-such-path"),
        ("GET", "/v1/models/UPPER", None, {}, 400, "bad-request"),
        ("GET", "/v1/plans/ffff", None, {}, 404, "no-such-plan"),
        ("GET", "/v1/doctor?peer=nobody", None, {}, 200, None),
        ("GET", "/nothing", None, {}, 404, "no-such-path"),
        ("GET", "/v1/runs/", None, {}, 404, "no-such-path"),
        ("DELETE", "/v1/runs", None, {}, 405, "method-not-allowed"),
        ("PUT", "/v1/party", "{}", JSON, 405, "method-not-allowed"),
        ("GET", "/v1/ledger/records?limit=0", None, {}, 400, "bad-request"),
        ("GET", "/v1/ledger/records?limit=many", None, {}, 400, "bad-request"),
        ("GET", "/v1/ledger/records?first=-1", None, {}, 400, "bad-request"),
        ("GET", "/v1/party?verbose=1", None, {}, 400, "bad-request"),
        ("POST", "/v1/runs", "{", JSON, 400, "bad-request"),
        ("POST", "/v1/runs", "[]", JSON, 400, "bad-request"),
        ("POST", "/v1/runs", "[" * 100_000, JSON, 400, "bad-request"),
        ("POST", "/v1/runs", "{}", JSON, 400, "bad-request"),
        ("POST", "/v1/runs", '{"plan": 3}', JSON, 400, "bad-request"),
        ("POST", "/v1/runs", '{"plan": "x", "wait": "1"}', JSON, 400, "bad-request"),
        ("POST", "/v1/runs", '{"plan": "x", "wait": -1}', JSON, 400, "bad-request"),
        ("POST", "/v1/runs", '{"plan": "x", "more": 1}', JSON, 400, "bad-request"),
        ("POST", "/v1/runs", b"\xff\xfe", TOML, 400, "bad-request"),
        ("POST", "/v1/runs", "", TOML, 400, "bad-request"),
        ("POST", "/v1/runs", "x" * 300_000, TOML, 400, "bad-request"),
        ("POST", "/v1/runs", "no plan", TOML, 400, "bad-plan"),
        ("POST", "/v1/runs", "{}", {"Content-Type": "text/plain"}, 415, "body-not-understood"),
        ("POST", "/v1/runs", "{}", {}, 415, "body-not-understood"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_answered_with_what_to_do(
    members, ask, method, path, body, headers, status, code
):
    answer = ask(members[0], method, path, body=body, headers=headers)
    assert answer.status == status, answer
    if code is not None:
        assert answer.json["code"] == code
        assert answer.json["remedy"]


def test_a_plan_that_another_party_leads_is_told_where_to_run(folder, members, ask):
    answer = ask(members[1], "POST", "/v1/runs", body=plan(folder).read_bytes(), headers=TOML)
    assert (answer.status, answer.json["code"]) == (400, "not-active")


def test_a_large_body_is_refused_before_it_is_taken_in(members):
    bank = members[0]
    host, port = (bank.home / "api.address").read_text().split(":")
    token = (bank.home / "api.token").read_text()
    head = f"POST /v1/runs HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
    head += "Content-Type: application/json\r\n"
    with socket.create_connection((host, int(port)), timeout=60) as line:  # it says that it is large
        line.sendall(f"{head}Content-Length: {1 << 40}\r\n\r\n".encode())
        assert line.recv(12) == b"HTTP/1.1 413"
    with socket.create_connection((host, int(port)), timeout=60) as line:  # it does not say how large it is
        line.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        try:
            for _ in range(66):
                line.sendall(piece)
        except OSError:
            pass  # it has hung up already
        assert line.recv(12) in (b"HTTP/1.1 413", b"")


def test_what_is_no_http_is_hung_up_on_and_the_next_is_served(members):
    bank = members[0]
    host, port = (bank.home / "api.address").read_text().split(":")
    for noise in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"x" * 70_000,
    ):
        with socket.create_connection((host, int(port)), timeout=60) as line:
            line.sendall(noise)
            line.shutdown(socket.SHUT_WR)
            said = b""
            while piece := line.recv(4096):
                said += piece
            assert said.startswith((b"HTTP/1.1 400", b"")), noise
    assert request(bank, "GET", "/v1/party").status == 200


def test_many_requests_go_over_one_connection(members):
    bank = members[0]
    connection = http.client.HTTPConnection((bank.home / "api.address").read_text(), timeout=60)
    shown = {"Authorization": f"Bearer {(bank.home / 'api.token').read_text()}"}
    for _ in range(20):
        connection.request("GET", "/v1/party", headers=shown)
        assert connection.getresponse().read()
    connection.request("HEAD", "/v1/party", headers=shown)
    assert connection.getresponse().read() == b""
    connection.close()


# ── the API about itself ──────────────────────────────────────────────────────────────────────────────────


def test_the_document_describes_every_route_with_types_that_exist(described):
    for route in ROUTES:
        operation = described["paths"][route.path][route.method.lower()]
        assert operation["summary"] == route.summary
        assert operation["summary"].endswith((".", "`."))
        assert bool(operation["security"]) == (route.who == "token")
    references = set(_references(described))
    assert references <= {f"#/components/schemas/{name}" for name in described["components"]["schemas"]}
    for schema in described["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def _references(value):
    if isinstance(value, dict):
        yield from ([value["$ref"]] if "$ref" in value else [])
        for each in value.values():
            yield from _references(each)
    elif isinstance(value, list):
        for each in value:
            yield from _references(each)


def test_the_page_for_people_needs_no_script_and_nothing_from_elsewhere(members):
    page = request(members[0], "GET", "/docs", token="")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script" not in policy + page.body.decode().split("<h1>")[0]
    assert "unsafe" not in policy
    assert b"http://" not in page.body
    assert b"https://" not in page.body
    for route in ROUTES:
        assert f"{route.method} {route.path}".encode() in page.body


# ── metrics and spans ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("run")
def test_metrics_are_what_prometheus_reads_and_what_the_page_says(members, ask):
    answer = ask(members[0], "GET", "/metrics")
    families = {each.name: each for each in text_string_to_metric_families(answer.body.decode())}
    for metric in METRICS:
        family = families[metric.name.removesuffix("_total") if metric.kind == "counter" else metric.name]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
        for sample in family.samples:
            assert tuple(sample.labels) == metric.labels
    value = {
        (each.name, *each.labels.values()): each.value
        for family in families.values()
        for each in family.samples
    }
    assert value["parley_link_up", "operator"] == 1
    assert (
        value["parley_link_sent_bytes_total", "operator"]
        > value["parley_link_sent_chunks_total", "operator"]
        > 0
    )
    assert value["parley_runs", "finished"] == 1
    assert value["parley_run_attempts_total",] >= 1
    assert value["parley_ledger_records",] == len(members[0].done("ledger", "show")["records"])
    assert value["process_resident_memory_bytes",] > 1 << 20


def test_the_spans_of_all_parties_of_a_run_join_up(members, run, receiver):
    if not TELEMETRY:
        assert "[telemetry-missing]" in members[0].said()
        pytest.skip("the extra `telemetry` is not installed")
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest  # noqa: PLC0415

    def spans():
        found = []
        for path, body in list(receiver.bodies):
            assert path == "/v1/traces"
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                who = {each.key: each.value.string_value for each in resource.resource.attributes}
                assert who["service.name"] == "parley"
                found += [
                    (who["service.instance.id"], span)
                    for scope in resource.scope_spans
                    for span in scope.spans
                ]
        return found

    def of_the_run():
        kept = [(party, span) for party, span in spans() if attribute(span, "parley.run") == run]
        return kept if len(kept) == 2 else None

    roots = dict(until(of_the_run))
    bank, operator = roots["bank"], roots["operator"]
    assert bank.trace_id == operator.trace_id
    assert (bank.parent_span_id, operator.parent_span_id) == (b"", bank.span_id)
    assert (attribute(bank, "parley.role"), attribute(bank, "parley.state")) == ("active", "finished")
    below = [(party, span) for party, span in spans() if span.trace_id == bank.trace_id]
    for party, root in roots.items():
        steps = [span for who, span in below if who == party and span.parent_span_id == root.span_id]
        phases = [span for who, span in below if span.parent_span_id in {step.span_id for step in steps}]
        assert {"align", "train"} <= {span.name for span in steps}, party
        assert phases
        assert all(span.end_time_unix_nano >= span.start_time_unix_nano for span in steps)
    assert b"to see that it works" not in b"".join(body for _, body in receiver.bodies)


def attribute(span, name):
    return next((each.value.string_value for each in span.attributes if each.key == name), None)


# ── without a party ───────────────────────────────────────────────────────────────────────────────────────


def test_an_api_that_is_off_is_said_to_be(members):
    home = members[0].home
    settings = home / "parley.toml"
    before = settings.read_text()
    try:
        settings.write_text(before.replace('api = "127.0.0.1:0"', 'api = ""'))
        with pytest.raises(UsageError, match="has no API"):
            _ = Home.open(home).api_address
    finally:
        settings.write_text(before)


@pytest.mark.parametrize("code", ["unknown-run", "no-such-plan"])
def test_what_is_not_there_is_404(code):
    assert status_of(UsageError(code, "x", remedy="y")) == 404
