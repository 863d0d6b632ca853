"""The front of a served model: what it answers, to whom, and what it makes of whatever else comes."""

import http.client
import json
import socket
import ssl
from contextlib import closing, contextmanager
from dataclasses import dataclass

import pytest
import trustme
from jsonschema import Draft202012Validator
from prometheus_client.parser import text_string_to_metric_families

from parley.core.errors import UsageError
from parley.learn.stability import Histogram
from parley.serving.http.keys import KeyFile
from parley.serving.http.limits import Limits
from parley.serving.http.metrics import METRICS
from parley.serving.http.routes import ROUTES
from parley.serving.http.server import Place, listening
from parley.serving.monitor import PROBABILITIES, Monitor

from tests.scorer import MODEL, Scripted
from tests.system.parties import until
from tests.system.serving import Answer, looping

pytestmark = pytest.mark.timeout(300)
PREDICT = f"/v1/models/{MODEL}/predict"
JSON = {"Content-Type": "application/json"}
LONG_AGO = 1_600_000_000


@dataclass
class Served:
    """A model that is served here."""

    host: str
    port: int
    home: object
    scorer: Scripted
    loop: object
    said: list
    keys: dict

    def ask(self, method, path, body=None, *, key="all", headers=None):
        """One request over a connection of its own; ``key``: by name, "" for none."""
        shown = {"Authorization": f"Bearer {self.keys[key]}"} if key else {}
        connection = http.client.HTTPConnection(self.host, self.port, timeout=120)
        try:
            connection.request(method, path, body, shown | (headers or {}))
            response = connection.getresponse()
            lowered = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, lowered, response.read())
        finally:
            connection.close()

    def predict(self, wanted, **more):
        return self.ask("POST", PREDICT, json.dumps(wanted), headers=JSON, **more)

    @contextmanager
    def line(self):
        with socket.create_connection((self.host, self.port), timeout=120) as line:
            yield line


@contextmanager
def serving(loop, home, limits, keys):
    monitor, said = Monitor(), []
    monitor.baseline(Histogram(PROBABILITIES.edges, (5,) * 20))

    async def begun():
        scorer = Scripted(monitor)
        around = listening(scorer, Place("127.0.0.1:0", home, limits=limits), monitor, said.append)
        return scorer, around, await around.__aenter__()

    scorer, around, url = _wait(loop, begun())
    try:
        host, port = url.removeprefix("http://").split(":")
        yield Served(host, int(port), home, scorer, loop, said, keys)
    finally:
        loop.loop.call_soon_threadsafe(scorer.gate.set)
        _wait(loop, around.__aexit__(None, None, None))


def _wait(loop, coroutine):
    task = loop.start(coroutine)
    until(task.done)
    return task.result()


@pytest.fixture(scope="module")
def loop():
    with looping() as running:
        yield running


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """A home with keys, and the keys by name."""
    home = tmp_path_factory.mktemp("serving")
    file, now = KeyFile(home), 1_700_000_000
    made = {
        "all": file.add("all", now, rate=100_000),
        "one": file.add("one", now, rate=1000, models=(MODEL,)),
        "other": file.add("other", now, models=("run-ffff",)),
        "over": file.add("over", LONG_AGO, until=LONG_AGO + 1),
        "slow": file.add("slow", now, rate=0.001, burst=2),
        "figures": file.add("figures", now, metrics=True),
    }
    return home, {name: shown for name, (_, shown) in made.items()} | {"wrong": "pk_00000000_" + "x" * 43}


@pytest.fixture(scope="module")
def served(loop, keys):
    home, shown = keys
    with serving(loop, home, Limits(ids=50, body=20_000, waiting=3), shown) as running:
        yield running


@pytest.fixture(scope="module")
def hasty(loop, keys):
    """The same with little patience and little room."""
    home, shown = keys
    limits = Limits(connections=8, head_seconds=1.5, body_seconds=1.5, answer_seconds=1.0)
    with serving(loop, home, limits, shown) as running:
        yield running


@pytest.fixture(scope="module")
def described(served):
    return served.ask("GET", "/openapi.json", key="").json


@pytest.fixture(scope="module")
def check(described):
    """Holds an answer against the OpenAPI document."""

    def checking(path, method, answer):
        responses = described["paths"][path][method]["responses"]
        content = responses.get(str(answer.status), responses["default"])["content"]
        media = answer.headers["content-type"].partition(";")[0]
        schema = content[media].get("schema")
        if schema is not None:
            Draft202012Validator(schema | {"components": described["components"]}).validate(answer.json)
        return answer

    return checking


# ── what is answered ──────────────────────────────────────────────────────────────────────────────────────


def test_ids_are_scored_in_their_order_and_one_that_stands_twice_is_answered_twice(served, check):
    answer = check("/v1/models/{model}/predict", "post", served.predict({"ids": ["0.25", "0.75", "0.25"]}))
    assert answer.status == 200
    assert answer.json["model"] == MODEL
    assert [each["id"] for each in answer.json["predictions"]] == ["0.25", "0.75", "0.25"]
    assert [each["score"] for each in answer.json["predictions"]] == [0.25, 0.75, 0.25]
    assert {each["basis"] for each in answer.json["predictions"]} == {"joint"}


def test_one_id_needs_no_list_and_any_text_is_an_id(served):
    for name in ("0.5", "Zoë 🙂", '"', "x" * 256):
        (only,) = served.predict({"id": name}).json["predictions"]
        assert only["id"] == name


def test_what_is_served_is_told(served, check):
    answer = check("/v1/models/{model}", "get", served.ask("GET", f"/v1/models/{MODEL}"))
    assert answer.json["peers"] == [{"peer": "operator", "state": "ready", "code": "", "rows": 200}]
    assert served.ask("HEAD", f"/v1/models/{MODEL}").body == b""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, ""),
        ({"until": LONG_AGO}, "over"),
        ({"used": 1_000_000}, "quota"),
        ({"peers": "away"}, "peers"),
        ({"peers": "away", "fallback": "active-only"}, ""),
    ],
)
def test_anyone_may_ask_whether_a_request_could_be_answered(served, check, change, reason):
    before = served.scorer.now
    if change.get("peers") == "away":
        change = change | {"peers": (type(before.peers[0])("operator", "away", "peer-silent", 200),)}
    try:
        served.scorer.change(**change)
        answer = check("/healthz", "get", served.ask("GET", "/healthz", key=""))
    finally:
        served.scorer.now = before
    assert answer.status == (503 if reason else 200)
    assert answer.json == {"well": not reason, "reason": reason}


@pytest.mark.parametrize(
    ("wanted", "status", "code", "again"),
    [
        ("unknown", 422, "unknown-ids", None),
        ("withdrawn", 403, "ledger-model-withdrawn", None),
        ("quota", 429, "ledger-quota-exceeded", "3600"),
        ("lost", 504, "peer-silent", None),
        ("full", 503, "busy", "1"),
        ("spent", 429, "predictions-used-up", "3600"),
        ("disk", 503, "disk-full", "1"),
        ("source", 503, "column-type", "1"),
        ("crash", 500, "internal", None),
    ],
)
def test_what_the_scorer_refuses_has_a_status_a_code_and_a_remedy(served, check, wanted, status, code, again):
    answer = check("/v1/models/{model}/predict", "post", served.predict({"ids": ["0.5", wanted]}))
    assert (answer.status, answer.json["code"]) == (status, code)
    assert answer.json["remedy"]
    assert answer.headers.get("retry-after") == again
    assert b"secret" not in answer.body
    if wanted == "crash":
        assert "RuntimeError" in served.said[-1]


# ── who may ask ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("key", "status", "code"),
    [
        ("", 401, "caller-unknown"),
        ("wrong", 401, "caller-unknown"),
        ("over", 401, "key-expired"),
        ("other", 403, "model-not-allowed"),
        ("one", 200, None),
    ],
)
def test_a_key_opens_what_it_was_made_for(served, check, key, status, code):
    answer = check("/v1/models/{model}/predict", "post", served.predict({"id": "0.5"}, key=key))
    assert answer.status == status
    assert answer.headers.get("www-authenticate") == ("Bearer" if status == 401 else None)
    if code:
        assert answer.json["code"] == code
    for path in (f"/v1/models/{MODEL}", "/metrics", "/nothing"):
        if status == 401:
            assert served.ask("GET", path, key=key).status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Basic {key}"},
        {"Authorization": "{key}"},
        {"Authorization": "Bearer {key}x"},
        {"Authorization": "Bearer {head}"},
        {"Authorization": "Bearer é"},
        {"X-API-Key": "Bearer {key}"},
        {"X-API-Key": "a.b.c"},
    ],
)
def test_a_key_is_shown_whole_and_in_one_of_two_headers(served, headers):
    key = served.keys["all"]
    filled = {name: text.format(key=key, head=key[:20]).encode("latin-1") for name, text in headers.items()}
    assert served.ask("GET", f"/v1/models/{MODEL}", key="", headers=filled).status == 401
    assert served.ask("GET", f"/v1/models/{MODEL}", key="", headers={"X-API-Key": key}).status == 200


def test_a_new_key_holds_and_a_removed_one_no_longer_while_it_is_served(served):
    file = KeyFile(served.home)
    _, shown = file.add("passing", 1_700_000_000)
    headers = {"X-API-Key": shown}
    until(lambda: served.ask("GET", f"/v1/models/{MODEL}", key="", headers=headers).status == 200)
    file.remove("passing")
    until(lambda: served.ask("GET", f"/v1/models/{MODEL}", key="", headers=headers).status == 401)


def test_who_asks_faster_than_the_key_allows_is_told_when_to_come_back(served):
    assert [served.predict({"id": "0.5"}, key="slow").status for _ in range(3)] == [200, 200, 429]
    answer = served.predict({"id": "0.5"}, key="slow")
    assert answer.json["code"] == "too-many-requests"
    assert 0 < int(answer.headers["retry-after"]) <= 1000
    assert served.predict({"id": "0.5"}, key="one").status == 200


def test_only_so_many_requests_wait_and_those_that_do_are_answered(served):
    before = served.scorer.arrived
    lines = []
    for _ in range(3):
        connection = http.client.HTTPConnection(served.host, served.port, timeout=120)
        connection.request("POST", PREDICT, '{"id":"wait"}', JSON | {"X-API-Key": served.keys["all"]})
        lines.append(connection)
    until(lambda: served.scorer.arrived == before + 3)
    answer = served.predict({"id": "0.5"})
    assert (answer.status, answer.json["code"], answer.headers["retry-after"]) == (503, "busy", "1")
    assert served.ask("GET", "/healthz", key="").status == 200
    served.loop.loop.call_soon_threadsafe(served.scorer.gate.set)
    for connection in lines:
        response = connection.getresponse()
        assert (response.status, json.loads(response.read())["predictions"][0]["id"]) == (200, "wait")
        connection.close()
    assert served.predict({"id": "0.5"}).status == 200


# ── what makes no sense ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("", 400, "bad-request"),
        ("{", 400, "bad-request"),
        ("[]", 400, "bad-request"),
        ("null", 400, "bad-request"),
        ("{}", 400, "bad-request"),
        ("[" * 10_000, 400, "bad-request"),
        ('{"ids":' * 2_000, 400, "bad-request"),
        ('{"ids": []}', 400, "bad-request"),
        ('{"ids": "x"}', 400, "bad-request"),
        ('{"ids": [1]}', 400, "bad-request"),
        ('{"ids": [null]}', 400, "bad-request"),
        ('{"ids": [""]}', 400, "bad-request"),
        ('{"ids": [["x"]]}', 400, "bad-request"),
        ('{"id": 7}', 400, "bad-request"),
        ('{"id": null}', 400, "bad-request"),
        ('{"id": "x", "ids": ["x"]}', 400, "bad-request"),
        ('{"id": "x", "more": 1}', 400, "bad-request"),
        ('{"id": "' + "x" * 257 + '"}', 400, "bad-request"),
        ('{"id": "\\ud800"}', 400, "bad-request"),
        (b'{"id": "\xff"}', 400, "bad-request"),
        (json.dumps({"ids": ["x"] * 51}), 413, "ids-beyond-limit"),
        ("x" * 20_001, 413, "body-too-large"),
    ],
    ids=range(22),
)
def test_a_body_of_another_form_is_refused_with_what_to_do(served, check, body, status, code):
    before = served.scorer.arrived
    answer = check("/v1/models/{model}/predict", "post", served.ask("POST", PREDICT, body, headers=JSON))
    assert (answer.status, answer.json["code"]) == (status, code)
    assert answer.json["remedy"]
    assert served.scorer.arrived == before


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "code"),
    [
        ("POST", PREDICT, {}, 415, "body-not-understood"),
        ("POST", PREDICT, {"Content-Type": "text/plain"}, 415, "body-not-understood"),
        ("POST", PREDICT, JSON | {"Content-Encoding": "gzip"}, 415, "body-not-understood"),
        ("GET", PREDICT, {}, 405, "method-not-allowed"),
        ("DELETE", f"/v1/models/{MODEL}", {}, 405, "method-not-allowed"),
        ("POST", "/healthz", {}, 405, "method-not-allowed"),
        ("POST", "/v1/models/run-ffff/predict", JSON, 404, "no-such-model"),
        ("GET", "/v1/models/..%2f..%2fkeys.json", {}, 404, "no-such-path"),
        ("GET", "/v1/models/", {}, 404, "no-such-path"),
        ("GET", f"/v1/models/{MODEL}/predict/", {}, 404, "no-such-path"),
        ("GET", "/nothing", {}, 404, "no-such-path"),
        ("GET", "/metrics", {}, 403, "metrics-not-allowed"),
        ("GET", "/healthz", {f"X-{n}": "x" for n in range(120)}, 431, "headers-too-large"),
        ("GET", "/healthz", {f"X-{n}": "x" * 4000 for n in range(10)}, 431, "headers-too-large"),
    ],
)
def test_a_request_of_another_form_is_refused_with_what_to_do(served, method, path, headers, status, code):
    answer = served.ask(method, path, "{}" if method == "POST" else None, headers=headers)
    assert (answer.status, answer.json["code"]) == (status, code)
    assert answer.json["remedy"]


def test_a_large_body_is_refused_before_it_is_taken_in(served):
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nX-API-Key: {served.keys['all']}\r\n"
    head += "Content-Type: application/json\r\n"
    with served.line() as line:  # it says that it is large
        line.sendall(f"{head}Content-Length: {1 << 40}\r\n\r\n".encode())
        assert line.recv(12) == b"HTTP/1.1 413"
    with served.line() as line:  # it does not say how large it is
        try:
            line.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
            for _ in range(30):
                line.sendall(b"400\r\n" + b"x" * 0x400 + b"\r\n")
            said = line.recv(12)
        except OSError:
            said = b""  # it has hung up already
        assert said in (b"HTTP/1.1 413", b"")


def test_headers_that_never_end_are_hung_up_on(served):
    with served.line() as line:
        line.sendall(b"GET /healthz HTTP/1.1\r\n")
        try:
            for n in range(20):
                line.sendall(b"X-%d: %s\r\n" % (n, b"x" * 4000))
            said = whole(line)
        except OSError:
            said = b""
        assert said.startswith((b"HTTP/1.1 431", b"")), said


def test_what_is_no_http_is_hung_up_on_and_the_next_is_served(served):
    for noise in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"):
        with served.line() as line:
            line.sendall(noise)
            said = whole(line)
            assert said.startswith(b"HTTP/1.1 400"), noise
            assert json.loads(said.partition(b"\r\n\r\n")[2])["code"] == "bad-request"
    assert served.ask("GET", "/healthz", key="").status == 200


def whole(line):
    """What comes until the other side hangs up."""
    said = b""
    try:
        while piece := line.recv(65_536):
            said += piece
    except OSError:
        pass
    return said


def test_many_requests_go_over_one_connection_and_behind_one_another(served):
    connection = http.client.HTTPConnection(served.host, served.port, timeout=120)
    shown = JSON | {"X-API-Key": served.keys["all"]}
    for n in range(20):
        connection.request("POST", PREDICT, json.dumps({"id": f"0.{n}"}), shown)
        assert json.loads(connection.getresponse().read())["predictions"][0]["id"] == f"0.{n}"
    connection.close()
    with served.line() as line:
        one = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
        line.sendall((one + b"\r\n") * 4 + one + b"Connection: close\r\n\r\n")
        assert whole(line).count(b"HTTP/1.1 200") == 5


# ── who is slow, and who is many ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"", b"HTTP/1.1 408"),
        (b"GET /healthz HTTP/1.1\r\nHost:", b"HTTP/1.1 408"),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /", b"HTTP/1.1 408"),
        (b"\r\n", b"HTTP/1.1 408"),
    ],
    ids=["nothing", "half a head", "half a second head", "an empty line"],
)
def test_who_does_not_finish_the_head_of_a_request_is_hung_up_on(hasty, sent, said):
    with hasty.line() as line:
        line.sendall(sent)
        came = whole(line)
    assert said in came
    assert b"request-too-slow" in came


def test_an_empty_line_between_two_requests_does_not_keep_a_connection(hasty):
    with hasty.line() as line:
        line.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert line.recv(12) == b"HTTP/1.1 200"
        line.sendall(b"\r\n")
        assert b"request-too-slow" in whole(line)


def test_who_does_not_finish_a_body_is_answered_and_hung_up_on(hasty):
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nX-API-Key: {hasty.keys['all']}\r\n"
    with hasty.line() as line:
        line.sendall(f'{head}Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{{"id'.encode())
        came = whole(line)
    assert came.startswith(b"HTTP/1.1 408")
    assert b"body-too-slow" in came


def test_a_refused_request_whose_body_never_ends_is_hung_up_on(hasty):
    with hasty.line() as line:
        line.sendall(f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{{".encode())
        came = whole(line)
    assert came.startswith(b"HTTP/1.1 401")


def test_an_answer_that_does_not_come_is_an_error_in_time(hasty):
    answer = hasty.predict({"id": "wait"})
    assert (answer.status, answer.json["code"]) == (504, "answer-too-late")
    assert hasty.predict({"id": "0.5"}).status == 200


def test_one_connection_too_many_is_told_so_and_the_others_are_unharmed(hasty):
    open_ones = [http.client.HTTPConnection(hasty.host, hasty.port, timeout=120) for _ in range(8)]
    try:
        for connection in open_ones:
            connection.request("GET", "/healthz")
            assert connection.getresponse().read()
        with hasty.line() as line:
            came = whole(line)
        assert came.startswith(b"HTTP/1.1 503")
        assert b"busy" in came
        open_ones[0].request("GET", "/healthz")
        assert open_ones[0].getresponse().status == 200
    finally:
        for connection in open_ones:
            connection.close()


# ── where ─────────────────────────────────────────────────────────────────────────────────────────────────


async def begin(place):
    monitor = Monitor()
    async with listening(Scripted(monitor), place, monitor, lambda _: None) as url:
        return url


@pytest.mark.parametrize("where", ["0.0.0.0:0", "[::]:0", "192.0.2.1:8443"])
async def test_plain_http_stays_on_this_machine(keys, where):
    with pytest.raises(UsageError) as caught:
        await begin(Place(where, keys[0]))
    assert caught.value.code == "serve-not-loopback"


async def test_a_certificate_that_is_none_is_named(keys, tmp_path):
    bad = tmp_path / "bad.pem"
    bad.write_text("nothing")
    for certificate in (bad, tmp_path / "missing.pem"):
        with pytest.raises(UsageError) as caught:
            await begin(Place("127.0.0.1:0", keys[0], certificate, bad))
        assert caught.value.code == "serve-certificate"


async def test_a_port_that_is_taken_is_named(keys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        with pytest.raises(UsageError) as caught:
            await begin(Place(f"127.0.0.1:{other.getsockname()[1]}", keys[0]))
        assert caught.value.code == "serve-port-unavailable"


@contextmanager
def over_tls(loop, home, certificate, key, said):
    """A model served over TLS; gives the port."""
    monitor = Monitor()

    async def begun():
        around = listening(Scripted(monitor), Place("localhost:0", home, certificate, key), monitor, said)
        return around, await around.__aenter__()

    around, url = _wait(loop, begun())
    try:
        assert url.startswith("https://localhost:")
        yield int(url.rpartition(":")[2])
    finally:
        _wait(loop, around.__aexit__(None, None, None))


def trusting(authority, port):
    """A connection of somebody who trusts only this authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return http.client.HTTPSConnection("localhost", port, timeout=120, context=context)


def scored(connection, shown):
    connection.request("POST", PREDICT, '{"id": "0.25"}', JSON | {"X-API-Key": shown["all"]})
    return json.loads(connection.getresponse().read())["predictions"][0]["score"] == 0.25


def meets(authority, port):
    """Whether who trusts only this authority gets through."""
    with closing(trusting(authority, port)) as connection:
        try:
            connection.connect()
        except ssl.SSLCertVerificationError:
            return False
    return True


def test_with_a_certificate_it_is_served_over_tls(loop, keys, tmp_path):
    home, shown = keys
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost")
    both = tmp_path / "both.pem"
    leaf.private_key_and_cert_chain_pem.write_to_path(both)
    with (
        over_tls(loop, home, both, both, lambda _: None) as port,
        closing(trusting(authority, port)) as connection,
    ):
        assert scored(connection, shown)


def test_a_renewed_certificate_is_taken_up_and_open_connections_go_on(loop, keys, tmp_path):
    home, shown = keys
    former, later = trustme.CA(), trustme.CA()
    chain, key, said = tmp_path / "chain.pem", tmp_path / "key.pem", []

    def put(leaf, *files):
        for path, pem in ((chain, leaf.cert_chain_pems[0]), (key, leaf.private_key_pem)):
            if path in files:
                pem.write_to_path(tmp_path / "next.pem")
                (tmp_path / "next.pem").replace(path)

    renewed = later.issue_cert("localhost")
    put(former.issue_cert("localhost"), chain, key)
    with over_tls(loop, home, chain, key, said.append) as port, closing(trusting(former, port)) as before:
        assert scored(before, shown)
        put(renewed, chain)  # its key is still to come
        until(lambda: any("the old one is kept" in line for line in said))
        assert meets(former, port)
        assert not meets(later, port)
        put(renewed, key)
        until(lambda: any("TLS uses a new certificate" in line for line in said))
        assert meets(later, port)
        assert not meets(former, port)
        assert scored(before, shown)
        key.unlink()
        until(lambda: any("cannot be read" in line for line in said))
        assert meets(later, port)


# ── about itself ──────────────────────────────────────────────────────────────────────────────────────────


def test_the_document_describes_every_route_and_what_each_takes(described):
    for route in ROUTES:
        operation = described["paths"][route.path][route.method.lower()]
        assert operation["summary"] == route.summary
        assert bool(operation["security"]) == (route.who != "anyone")
    for schema in described["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    operation = described["paths"]["/v1/models/{model}/predict"]["post"]
    taken = operation["requestBody"]["content"]["application/json"]["schema"]
    for good in ({"id": "x"}, {"ids": ["x", "y"]}):
        Draft202012Validator(taken).validate(good)
    for bad in ({"ids": []}, {"ids": [1]}, {"id": ""}, {"more": 1}):
        assert not Draft202012Validator(taken).is_valid(bad)


def test_the_page_for_people_needs_no_script(served):
    page = served.ask("GET", "/docs", key="")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for route in ROUTES:
        assert f"{route.method} {route.path}".encode() in page.body


def test_metrics_are_what_prometheus_reads(served):
    served.predict({"ids": ["0.01", "0.99"]})
    answer = served.ask("GET", "/metrics", key="figures")
    families = {each.name: each for each in text_string_to_metric_families(answer.body.decode())}
    for metric in METRICS:
        family = families[metric.name.removesuffix("_total") if metric.kind == "counter" else metric.name]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(metric.labels)
    value = {
        (each.name, *each.labels.values()): each.value
        for family in families.values()
        for each in family.samples
    }
    assert value["parley_requests_total", "200", "all"] >= 1
    assert value["parley_requests_total", "401", "(nobody)"] >= 1
    assert value["parley_score_bucket", "joint", "0.05"] >= 1
    assert value["parley_score_bucket", "joint", "+Inf"] == value["parley_score_count", "joint"]
    assert value["parley_predictions_total", "joint"] == value["parley_score_count", "joint"]
    assert value["parley_peer_state", "operator", "ready"] == 1
    assert value["parley_quota_left",] == 1_000_000
    assert value["parley_requests_waiting",] == 0
    assert value["parley_score_stability_index",] > 0
