"""What reads the bytes of those who ask a served model: connections, bodies, tokens of an issuer."""

import asyncio
import base64
import json
import time
from importlib import import_module
from importlib.util import find_spec

import uvicorn
from cryptography.hazmat.primitives.asymmetric import ed25519
from uvicorn.server import ServerState

from parley.core.errors import UsageError
from parley.serving.http.application import Front, Pages
from parley.serving.http.callers import Pace
from parley.serving.http.connections import connections_within
from parley.serving.http.door import Door
from parley.serving.http.keys import KeyFile, KeyRing
from parley.serving.http.limits import Limits
from parley.serving.http.oidc import Issuer, Tokens
from parley.serving.monitor import Monitor
from parley.web.listening import SETTINGS

from tests.fuzz.mutator import JSON
from tests.fuzz.target import Fuzzed, Target
from tests.scorer import MODEL, Scripted

PREDICT = f"/v1/models/{MODEL}/predict"
LIMITS = Limits(ids=10, body=4096, headers=4096)
ISSUER = Issuer("https://issuer.example", "scores")
HEAD = {"alg": "EdDSA", "kid": "first"}
CLAIMS = {"iss": ISSUER.url, "aud": ["scores"], "sub": "shop", "exp": 4_000_000_000, "nbf": 0, "scp": ["x"]}
PIECE = 300
"""Bytes that arrive together."""
TURNS = 12
"""Of the event loop, in which what has arrived is answered."""


def front(folder):
    """A front, and a key to it."""
    file = KeyFile(folder)
    _, key = file.add("fuzz", 0, rate=1e6, burst=1_000_000)
    door = Door(KeyRing(file, time.monotonic, time.time), None, Pace(time.monotonic))
    monitor, said = Monitor(), []
    made = Front(
        Scripted(monitor), door, LIMITS, monitor, Pages(None, {}), time.monotonic, time.time, said.append
    )
    return made, key, said


def body(folder):
    """What is asked, as JSON."""
    app, key, said = front(folder)
    headers = [(b"x-api-key", key.encode()), (b"content-type", b"application/json")]

    async def decode(data):
        sent = []

        async def receive():
            return {"type": "http.request", "body": data, "more_body": False}

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": PREDICT, "headers": headers}
        await app(scope, receive, send)
        start, answer = sent
        problem = json.loads(answer["body"])
        if start["status"] == 500:
            raise AssertionError(said[-1])
        if start["status"] != 200:
            raise UsageError(problem["code"], problem["what"], remedy=problem["remedy"])
        return problem

    seeds = (b'{"id": "A-1001"}', b'{"ids": ["0.25", "\\u00e9", "x"]}')
    return Fuzzed(seeds, decode, tree=JSON)


class Memory(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self):
        super().__init__()
        self.written = bytearray()
        self._closing = False

    def write(self, data):
        self.written += data

    def close(self):
        self._closing = True

    abort = close

    def is_closing(self):
        return self._closing

    def pause_reading(self):
        pass

    resume_reading = pause_reading


def connection(folder):
    """A connection, as the bytes arrive."""
    app, key, said = front(folder)
    kind = connections_within(LIMITS)
    config = uvicorn.Config(app, http=kind, **{**SETTINGS, "limit_concurrency": None})
    config.load()

    async def decode(data):
        line, state = Memory(), ServerState()
        reader = kind(config=config, server_state=state, app_state={})
        reader.connection_made(line)
        for start in range(0, len(data), PIECE):
            reader.data_received(data[start : start + PIECE])
            for _ in range(TURNS):
                await asyncio.sleep(0)
        reader.connection_lost(None)
        for task in list(state.tasks):
            task.cancel()
        await asyncio.gather(*state.tasks, return_exceptions=True)
        if b" 500 " in line.written[:16] or (line.written and not line.written.startswith(b"HTTP/1.1 ")):
            raise AssertionError(said[-1:], bytes(line.written[:80]))
        if not line.written.startswith(b"HTTP/1.1 200"):
            raise UsageError("bad-request", "it was refused", remedy="none")
        return bytes(line.written)

    asked = b'{"id": "A-1001"}'
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n"
    seeds = (
        f"{head}Content-Length: {len(asked)}\r\n\r\n".encode() + asked,
        f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + b"10\r\n" + asked + b"\r\n0\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 3,
    )
    return Fuzzed(seeds, decode)


def signer():
    """What checks tokens of an issuer, and the issuer's key."""
    jwt = import_module("jwt")
    key = ed25519.Ed25519PrivateKey.generate()
    taker = Tokens(ISSUER, lambda _: None, time.monotonic, time.time)
    public = jwt.get_algorithm_by_name("EdDSA").to_jwk(key.public_key(), as_dict=True)
    taker._keys = {"first": jwt.PyJWK(public)}
    taker._fetched = time.monotonic()
    return taker, key


def token(_folder):
    """A token, with the signature that came with it; one that has none is signed as it is."""
    taker, key = signer()

    async def decode(data):
        if data.count(b".") == 1:
            data = signed(key, data)
        return await taker.caller(data.decode("latin-1"))

    bare = b".".join(coded(json.dumps(part).encode()) for part in (HEAD, CLAIMS))
    return Fuzzed((bare, signed(key, bare)), decode)


def claims(_folder):
    """The claims of a token that the issuer signed."""
    taker, key = signer()
    head = coded(json.dumps(HEAD).encode())

    async def decode(data):
        return await taker.caller(signed(key, head + b"." + coded(data)).decode())

    return Fuzzed((json.dumps(CLAIMS).encode(),), decode, tree=JSON)


def signed(key, data):
    return data + b"." + coded(key.sign(data))


def coded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


TARGETS = (
    Target("what a served model is asked", body),
    Target("a connection to a served model", connection, slow=True),
    *((Target("a token", token), Target("the claims of a token", claims)) if find_spec("jwt") else ()),
)
