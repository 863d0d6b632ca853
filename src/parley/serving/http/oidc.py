"""Bearer tokens of an OpenID Connect issuer: who their owner is, by the issuer's published keys.

Numbered checks of a token (RFC 7519, RFC 8725, OpenID Connect Discovery 1.0):
    1. its key is one that the issuer's discovery document leads to, of the type RSA (2048 bits or
       more), P-256 or Ed25519;
    2. its signature is by that key, with the one algorithm that the key is for: RS256, ES256 or EdDSA;
    3. `iss` is the issuer, word for word; `aud` has our audience;
    4. `exp` is there and not over, `nbf` and `iat` are not ahead, within ten seconds;
    5. `sub` is there, which is the caller's name.

The keys are fetched beside the requests: when serving begins, every ten minutes, and once a minute at most
when a token names a key that is not known; only then a request waits for it, and not longer than two seconds.
"""

import asyncio
import hashlib
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from importlib import import_module
from importlib.util import find_spec
from typing import IO, Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from parley.core.errors import ParleyError, PolicyRefused, UsageError
from parley.serving.http.callers import Caller
from parley.serving.http.keys import RATE
from parley.web.listening import loopback

Kind = TypeVar("Kind")

ALGORITHMS: Final = ("RS256", "ES256", "EdDSA")
LABEL: Final = "(oidc)"
"""Of all callers of the issuer together, in metrics."""
_LEAST_RSA_BITS: Final = 2048
_LONGEST_NAME: Final = 255
_LEEWAY: Final = 10
_EVERY: Final = 600.0
"""Seconds after which the keys are fetched anew."""
_SELDOM: Final = 60.0
"""Seconds between two fetches, whoever asks for one."""
_PATIENCE: Final = 2.0
"""Seconds for which a request waits for keys."""
_FETCHING: Final = 10.0
"""Seconds that one document may take."""
_LARGEST: Final = 256 * 1024
_ACCEPTED: Final = 4096
"""Tokens whose signature was checked and need not be again."""


@dataclass(frozen=True)
class Issuer:
    """Whose tokens count.

    Attributes:
        url: as tokens have it in `iss`.
        audience: that tokens must be for.
        scope: that tokens must have; empty: none is needed.
        rate: requests per second of each caller.
        burst: requests at once.
    """

    url: str
    audience: str
    scope: str = ""
    rate: float = RATE
    burst: int = 100


@dataclass(frozen=True)
class _Accepted:
    caller: Caller
    until: float


class _Discovery(msgspec.Struct, frozen=True):
    issuer: str
    jwks_uri: str


class _KeySet(msgspec.Struct, frozen=True):
    keys: tuple[dict[str, Any], ...]


class Tokens:
    """The tokens of an issuer, checked with keys that are fetched beside the requests.

    Args:
        issuer: whose.
        log: takes what the operator should know.
        clock: seconds, monotonic.
        wall: seconds since 1970.

    Raises:
        UsageError: ``oidc-missing``: PyJWT is not installed; or ``oidc-issuer``: keys of such an issuer
            could be anybody's.
    """

    def __init__(
        self,
        issuer: Issuer,
        log: Callable[[str], None],
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        if find_spec("jwt") is None:
            raise UsageError(
                "oidc-missing",
                "tokens of an OpenID Connect issuer cannot be checked: PyJWT is not installed",
                remedy="install it with `pip install 'parley[oidc]'`",
            )
        _trustworthy(issuer.url)
        # named here, not imported above: it is an extra
        self._jwt: Any = import_module("jwt")
        self._issuer, self._log = issuer, log
        self._clock, self._wall = clock, wall
        self._keys: dict[str, Any] = {}
        self._fetched = float("-inf")
        self._fetching: asyncio.Task[None] | None = None
        self._accepted: dict[bytes, _Accepted] = {}

    async def keep(self) -> None:
        """Have the newest keys, for ever."""
        try:
            while True:
                await self._renewed()
                await asyncio.sleep(_EVERY)
        finally:
            if self._fetching is not None:
                self._fetching.cancel()

    async def caller(self, token: str) -> Caller:
        """Whose a token is.

        Raises:
            PolicyRefused: ``token-not-accepted``, or ``scope-missing``.
            ParleyError: ``issuer-unreachable``.
        """
        digest = hashlib.sha256(token.encode()).digest()
        accepted = self._accepted.get(digest)
        if accepted is None:
            accepted = await self._checked(token)
            if len(self._accepted) >= _ACCEPTED:
                del self._accepted[next(iter(self._accepted))]
            self._accepted[digest] = accepted
        elif self._wall() >= accepted.until:
            del self._accepted[digest]
            raise _refused("it has expired")
        return accepted.caller

    async def _checked(self, token: str) -> _Accepted:
        # beside its own errors PyJWT lets through what numbers and depths in somebody's JSON bring about
        errors = (self._jwt.PyJWTError, ValueError, TypeError, ArithmeticError, RecursionError)
        try:
            header = self._jwt.get_unverified_header(token)
        except errors as error:
            raise _refused(str(error)) from None
        key = await self._key(header.get("kid"))  # 1
        try:
            claims = self._jwt.decode(  # 2, 3, 4
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=self._issuer.audience,
                issuer=self._issuer.url,
                leeway=_LEEWAY,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
            until = float(claims["exp"]) + _LEEWAY
        except errors as error:
            raise _refused(str(error)) from None
        name = claims["sub"]  # 5
        if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME:
            raise _refused("its `sub` is no name")
        scopes = _scopes(claims)
        if self._issuer.scope and self._issuer.scope not in scopes:
            raise PolicyRefused(
                "scope-missing",
                f"the token does not have the scope {self._issuer.scope!r}",
                remedy="ask the issuer for a token with that scope",
            )
        caller = Caller(
            f"oidc {name}", LABEL, self._issuer.rate, self._issuer.burst, frozenset(), "metrics" in scopes
        )
        return _Accepted(caller, until)

    # ── the issuer's keys ─────────────────────────────────────────────────────────────────────────────────

    async def _key(self, identifier: object) -> Any:  # noqa: ANN401 (PyJWT is an extra, so are its types)
        name = identifier if isinstance(identifier, str) else ""
        if name not in self._keys:
            await self._renewed()
        if not self._keys:
            raise _unreachable("none of its keys could be fetched")
        if not name and len(self._keys) == 1:
            (name,) = self._keys
        if name not in self._keys:
            raise _refused("the issuer has no such key, or none of a kind that is taken here")
        return self._keys[name]

    async def _renewed(self) -> None:
        """Fetch the keys, unless it was done within a minute; all who wait, wait for the same."""
        if self._fetching is None or self._fetching.done():
            now = self._clock()
            if now < self._fetched + _SELDOM:
                return
            self._fetched = now
            self._fetching = asyncio.create_task(self._fetch())
        await asyncio.wait({self._fetching}, timeout=_PATIENCE)

    async def _fetch(self) -> None:
        try:
            keys = await asyncio.to_thread(self._published)
        except ParleyError as error:
            self._log(f"warning: {error.what} [{error.code}]; {len(self._keys)} known keys stay")
            return
        if set(keys) != set(self._keys):
            self._log(f"the issuer {self._issuer.url} has {len(keys)} keys that are taken here")
        self._keys = keys
        self._accepted.clear()  # what was signed with a key that is gone counts no longer

    def _published(self) -> dict[str, Any]:
        """In a thread: what the issuer publishes."""
        where = self._issuer.url.rstrip("/") + "/.well-known/openid-configuration"
        found = _document(where, _Discovery)
        if found.issuer != self._issuer.url:
            raise _unreachable(f"its document is by {found.issuer[:200]!r}")
        _trustworthy(found.jwks_uri)
        keys = {}
        for each in _document(found.jwks_uri, _KeySet).keys:
            with suppress(self._jwt.PyJWTError, ValueError, TypeError, KeyError):
                key = self._jwt.PyJWK(each)
                if self._is_taken(key, each):
                    keys[str(each.get("kid", ""))] = key
        return keys

    def _is_taken(self, key: Any, described: Mapping[str, Any]) -> bool:  # noqa: ANN401 (as above)
        if key.algorithm_name not in ALGORITHMS or described.get("use", "sig") != "sig":
            return False
        return bool(key.algorithm_name != "RS256" or key.key.key_size >= _LEAST_RSA_BITS)


def _trustworthy(url: str) -> None:
    parts = urlsplit(url)
    plain = parts.scheme == "http" and loopback(parts.hostname or "")
    if not parts.hostname or not (parts.scheme == "https" or plain):
        raise UsageError(
            "oidc-issuer",
            f"{url[:200]!r} cannot be an issuer: anybody could alter the keys on their way",
            remedy="give its address with https://, as it stands in `iss` of its tokens",
        )


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    """As RFC 8693 has them, in one text, or as a list, as some issuers do."""
    said = claims.get("scope", claims.get("scp", ""))
    return frozenset(
        said.split() if isinstance(said, str) else map(str, said if isinstance(said, list) else ())
    )


class _Straight(urllib.request.HTTPRedirectHandler):
    """Follows nobody elsewhere."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> None:
        """Nowhere."""


def _document(url: str, kind: type[Kind]) -> Kind:
    """What lies there, never more than `_LARGEST` of it, nor for longer than `_FETCHING`."""
    opener, data = urllib.request.build_opener(_Straight), bytearray()
    latest = time.monotonic() + _FETCHING
    try:
        with opener.open(url, timeout=_FETCHING / 2) as answer:
            while piece := answer.read1(_LARGEST):
                data += piece
                if len(data) > _LARGEST or time.monotonic() > latest:
                    raise _unreachable(f"{url} is too large, or too slow")
        return msgspec.json.decode(data, type=kind)
    except (OSError, HTTPException, msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _unreachable(f"{url}: {error}") from None


def _refused(why: str) -> PolicyRefused:
    return PolicyRefused(
        "token-not-accepted",
        f"the token is not accepted: {why[:200]}",
        remedy="get a new token from the issuer, for our audience",
    )


def _unreachable(why: str) -> ParleyError:
    return ParleyError(
        "issuer-unreachable",
        f"the issuer of tokens is of no use now: {why}",
        remedy="try again in a minute, or use an API key; the operator finds more in the log",
    )
