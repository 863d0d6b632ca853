"""Tokens of an OpenID Connect issuer: a real one on this machine, with real keys."""

import asyncio
import base64
import hashlib
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from parley.core.errors import ParleyError, PolicyRefused, UsageError
from parley.serving.http.oidc import Issuer, Tokens
from parley.serving.http.server import Place, listening
from parley.serving.monitor import Monitor

from tests.scorer import MODEL, Scripted

jwt = pytest.importorskip("jwt", reason="the extra `oidc` is not installed")
AUDIENCE = "scores"


class IssuerHere(ThreadingHTTPServer):
    """Publishes what it is told to; counts who asks."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Publishing)
        self.url = f"http://127.0.0.1:{self.server_port}/realm"
        self.keys = []
        self.pages = {}
        self.asked = 0
        self.gate = threading.Event()
        self.gate.set()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()


class _Publishing(BaseHTTPRequestHandler):
    def do_GET(self):
        here = self.server
        here.gate.wait(60)
        here.asked += 1
        pages = {
            "/realm/.well-known/openid-configuration": {"issuer": here.url, "jwks_uri": f"{here.url}/keys"},
            "/realm/keys": {"keys": here.keys},
        } | here.pages
        found = pages[self.path]
        if isinstance(found, str):
            self.send_response(302)
            self.send_header("Location", found)
            self.end_headers()
            return
        body = found if isinstance(found, bytes) else json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Clock:
    """A clock that is set by hand; ``ahead`` seconds are added to the true time."""

    def __init__(self):
        self.ahead = 0.0

    def __call__(self):
        return time.time() + self.ahead


@pytest.fixture(scope="module")
def rsa_key():
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def issuer(rsa_key):
    with IssuerHere() as here:
        here.keys = [public(rsa_key, "RS256", "first")]
        yield here
        here.gate.set()
        here.shutdown()


def public(key, algorithm, name, **more):
    made = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
    return {word: value for word, value in made.items() if word != "key_ops"} | {"kid": name} | more


def token(issuer, key, algorithm="RS256", name="first", **claims):
    """A token that is good, but for what ``claims`` say; a claim of None is left out."""
    now = int(time.time())
    said = {"iss": issuer.url, "aud": AUDIENCE, "sub": "shop", "iat": now, "exp": now + 300} | claims
    kept = {word: value for word, value in said.items() if value is not None}
    return jwt.encode(kept, key, algorithm, headers={"kid": name} if name else {})


def tokens(issuer, *, scope="", clock=time.monotonic, wall=time.time, said=None):
    taken = [] if said is None else said
    return Tokens(Issuer(issuer.url, AUDIENCE, scope, rate=7), taken.append, clock, wall)


async def refused(taker, shown):
    with pytest.raises(PolicyRefused) as caught:
        await taker.caller(shown)
    return caught.value.code


async def test_the_owner_of_a_token_is_its_subject(issuer, rsa_key):
    taker = tokens(issuer)
    caller = await taker.caller(token(issuer, rsa_key))
    assert (caller.name, caller.label, caller.rate, caller.metrics) == ("oidc shop", "(oidc)", 7, False)
    assert (await taker.caller(token(issuer, rsa_key, scope="openid metrics"))).metrics
    assert await taker.caller(token(issuer, rsa_key, aud=["other", AUDIENCE]))
    assert await taker.caller(
        token(issuer, rsa_key, name="")
    )  # the issuer has one key, so it can only be that
    assert issuer.asked == 2


async def test_other_kinds_of_keys_that_are_strong_enough_count_too(issuer):
    curve, edwards = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
    issuer.keys = [public(curve, "ES256", "curve"), public(edwards, "EdDSA", "edwards", use="sig")]
    taker = tokens(issuer)
    assert await taker.caller(token(issuer, curve, "ES256", "curve"))
    assert await taker.caller(token(issuer, edwards, "EdDSA", "edwards"))


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "http://127.0.0.1/other"},
        {"iss": None},
        {"aud": "other"},
        {"aud": None},
        {"exp": 1_600_000_000},
        {"exp": None},
        {"exp": "never"},
        {"exp": float("inf")},
        {"exp": 10**400},
        {"nbf": float("nan")},
        {"nbf": 4_000_000_000},
        {"iat": 4_000_000_000},
        {"sub": None},
        {"sub": ""},
        {"sub": "x" * 300},
    ],
    ids=str,
)
async def test_a_token_that_says_something_else_is_refused(issuer, rsa_key, claims):
    assert await refused(tokens(issuer), token(issuer, rsa_key, **claims)) == "token-not-accepted"


async def test_a_token_that_somebody_else_made_is_refused(issuer, rsa_key):
    taker = tokens(issuer)
    other = rsa.generate_private_key(65537, 2048)
    good = token(issuer, rsa_key)
    head, claims, signature = good.split(".")
    swapped = token(issuer, rsa_key, sub="admin").split(".")[1]
    shown = [
        token(issuer, other),  # another key under the same name
        f"{head}.{swapped}.{signature}",  # other claims under the same signature
        f"{head}.{claims}.",
        f"{coded({'alg': 'none', 'kid': 'first'})}.{claims}.",
        by_the_public_key(rsa_key, claims),  # the public key as a secret that both know
        token(issuer, rsa_key, "RS512"),  # not the algorithm that the key is for
        "..",
        "a.b.c",
        f"{base64.urlsafe_b64encode(b'[' * 9000).decode()}.{claims}.{signature}",
        f"{coded([])}.{claims}.{signature}",
        f"{coded({'alg': 'RS256', 'kid': ['first']})}.{claims}.{signature}",
        f"{coded({'alg': 'RS256', 'kid': 'first', 'crit': ['x'], 'x': 1})}.{claims}.{signature}",
    ]
    for each in shown:
        assert await refused(taker, each) == "token-not-accepted", each
    assert await taker.caller(good)


def coded(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def by_the_public_key(key, claims):
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signed = f"{coded({'alg': 'HS256', 'typ': 'JWT', 'kid': 'first'})}.{claims}"
    mac = hmac.new(pem, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


@pytest.mark.filterwarnings("ignore:The RSA key is")
async def test_keys_that_are_weak_or_for_something_else_are_not_taken(issuer, rsa_key):
    weak = rsa.generate_private_key(65537, 1024)  # noqa: S505 (that is the point)
    secret = {
        "kty": "oct",
        "kid": "secret",
        "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA",
        "alg": "HS256",
    }
    issuer.keys = [
        public(weak, "RS256", "weak"),
        public(rsa_key, "RS256", "encryption", use="enc"),
        public(rsa_key, "RS512", "long", alg="RS512"),
        secret,
        {"kty": "RSA", "kid": "broken"},
        {"kid": "nothing"},
        public(rsa_key, "RS256", "good"),
    ]
    taker = tokens(issuer)
    assert await refused(taker, token(issuer, weak, name="weak")) == "token-not-accepted"
    for name in ("encryption", "long", "broken", "nothing"):
        assert await refused(taker, token(issuer, rsa_key, name=name)) == "token-not-accepted"
    by_secret = jwt.encode(
        {"sub": "x"}, "secret-secret-secret-secret-secret", "HS256", headers={"kid": "secret"}
    )
    assert await refused(taker, by_secret) == "token-not-accepted"
    assert await taker.caller(token(issuer, rsa_key, name="good"))


async def test_a_scope_that_is_asked_for_has_to_be_there(issuer, rsa_key):
    taker = tokens(issuer, scope="predict")
    assert await refused(taker, token(issuer, rsa_key)) == "scope-missing"
    assert await refused(taker, token(issuer, rsa_key, scope="predictions")) == "scope-missing"
    assert await taker.caller(token(issuer, rsa_key, scope="openid predict"))
    assert await taker.caller(token(issuer, rsa_key, scp=["predict"]))


async def test_a_token_that_was_good_is_not_when_it_has_expired(issuer, rsa_key):
    wall = Clock()
    taker = tokens(issuer, wall=wall)
    shown = token(issuer, rsa_key)
    assert await taker.caller(shown)
    wall.ahead = 400
    assert await refused(taker, shown) == "token-not-accepted"


async def test_a_new_key_is_fetched_once_a_minute_at_most_and_an_old_one_is_forgotten(issuer, rsa_key):
    clock = Clock()
    taker = tokens(issuer, clock=clock)
    old = token(issuer, rsa_key)
    assert await taker.caller(old)
    newer = rsa.generate_private_key(65537, 2048)
    issuer.keys = [public(newer, "RS256", "second")]
    shown = token(issuer, newer, name="second")
    assert await refused(taker, shown) == "token-not-accepted"
    assert await refused(taker, token(issuer, newer, name="third")) == "token-not-accepted"
    assert issuer.asked == 2
    clock.ahead = 61
    assert await taker.caller(shown)
    assert issuer.asked == 4
    assert await refused(taker, old) == "token-not-accepted"


async def test_an_issuer_that_is_slow_holds_a_request_up_for_no_longer_than_its_deadline(issuer, rsa_key):
    issuer.gate.clear()
    taker = tokens(issuer)
    with pytest.raises(ParleyError) as caught:
        await taker.caller(token(issuer, rsa_key))
    assert caught.value.code == "issuer-unreachable"
    issuer.gate.set()
    async with asyncio.timeout(120):
        while True:  # what was begun is brought to its end
            try:
                assert (await taker.caller(token(issuer, rsa_key))).name == "oidc shop"
                break
            except ParleyError:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "pages",
    [
        {
            "/realm/.well-known/openid-configuration": {
                "issuer": "http://127.0.0.1/other",
                "jwks_uri": "{url}/keys",
            }
        },
        {"/realm/.well-known/openid-configuration": {"issuer": "{url}", "jwks_uri": "http://192.0.2.1/keys"}},
        {"/realm/.well-known/openid-configuration": "{url}/elsewhere"},
        {"/realm/.well-known/openid-configuration": b"[" * 100_000},
        {"/realm/keys": b"x" * 300_000},
        {"/realm/keys": {"keys": "none"}},
    ],
    ids=range(6),
)
async def test_what_an_issuer_should_not_publish_gives_no_keys(issuer, rsa_key, pages):
    filled = {
        path: json.loads(json.dumps(page).replace("{url}", issuer.url))
        if not isinstance(page, bytes)
        else page
        for path, page in pages.items()
    }
    issuer.pages = filled | {"/realm/elsewhere": {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys"}}
    said = []
    with pytest.raises(ParleyError) as caught:
        await tokens(issuer, said=said).caller(token(issuer, rsa_key))
    assert caught.value.code == "issuer-unreachable"
    assert said
    assert "warning" in said[0]


@pytest.mark.parametrize(
    "url", ["http://issuer.example", "issuer.example", "ftp://issuer.example", "https://"]
)
def test_an_issuer_that_anybody_could_speak_for_is_refused(url):
    with pytest.raises(UsageError) as caught:
        Tokens(Issuer(url, AUDIENCE), lambda _: None, time.monotonic, time.time)
    assert caught.value.code == "oidc-issuer"


async def test_a_served_model_takes_tokens_of_its_issuer_each_owner_at_a_rate_of_its_own(
    issuer, rsa_key, tmp_path
):
    place = Place("127.0.0.1:0", tmp_path, issuer=Issuer(issuer.url, AUDIENCE, rate=0.001, burst=1))
    monitor = Monitor()
    async with listening(Scripted(monitor), place, monitor, lambda _: None) as url:
        shop, desk = (token(issuer, rsa_key, sub=name) for name in ("shop", "desk"))
        assert [await status(url, each) for each in (shop, shop, desk, "a.b.c")] == [200, 429, 200, 401]
    assert monitor.requests == {(200, "(oidc)"): 2, (429, "(oidc)"): 1, (401, "(nobody)"): 1}


async def status(url, shown):
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    asked = f"GET /v1/models/{MODEL} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {shown}\r\n"
    writer.write(f"{asked}Connection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return int(answer.split()[1])
