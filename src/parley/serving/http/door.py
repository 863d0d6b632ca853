"""Who may come in: by an API key, or by a token of the issuer."""

from collections.abc import Mapping
from typing import Final

from parley.core.errors import BudgetExhausted, PolicyRefused
from parley.serving.http.callers import Caller, Pace, whole_seconds
from parley.serving.http.keys import KeyRing
from parley.serving.http.oidc import Tokens

_DOTS: Final = 2
"""In a token of JSON Web Signature."""


class TooMany(BudgetExhausted):
    """A caller asks faster than it may; ``wait`` seconds until it may again."""

    def __init__(self, caller: Caller, wait: float) -> None:
        super().__init__(
            "too-many-requests",
            f"more than {caller.rate:g} requests a second, or {caller.burst} at once, came with this key",
            remedy=f"wait {whole_seconds(wait)} s, ask for several ids at once, or have the rate raised",
        )
        self.wait = wait


class Door:
    """Lets callers in.

    Numbered checks:
        1. a key or token is shown, and is somebody's;
        2. its owner may ask this model (`allow`);
        3. and does not ask faster than it may (`allow`).

    Args:
        keys: as a running server knows them.
        tokens: of the issuer, if there is one.
        pace: how fast each asks.
    """

    def __init__(self, keys: KeyRing, tokens: Tokens | None, pace: Pace) -> None:
        self._keys, self._tokens, self._pace = keys, tokens, pace

    async def caller(self, headers: Mapping[bytes, bytes]) -> Caller:
        """Who asks.

        Raises:
            PolicyRefused: ``caller-unknown``, ``key-expired``, ``token-not-accepted`` or ``scope-missing``.
            ParleyError: ``issuer-unreachable``, or ``serving-keys-unreadable``.
        """
        shown = headers.get(b"x-api-key", b"").decode("latin-1").strip()
        if not shown:
            scheme, _, rest = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
            shown = rest.strip() if scheme.lower() == "bearer" else ""
        caller = self._keys.caller(shown)  # 1
        if caller is None and self._tokens is not None and shown.count(".") == _DOTS:
            caller = await self._tokens.caller(shown)
        if caller is None:
            raise PolicyRefused(
                "caller-unknown",
                "the request shows no key, or one that is not known here",
                remedy="send the header `Authorization: Bearer KEY` with what `parley key add` printed",
            )
        return caller

    def allow(self, caller: Caller, model: str) -> None:
        """Let a caller ask a model, now.

        Raises:
            PolicyRefused: ``model-not-allowed``.
            TooMany: it asked too often.
        """
        if caller.models and model not in caller.models:  # 2
            raise PolicyRefused(
                "model-not-allowed",
                f"this key may not ask model {model[:64]!r}",
                remedy="ask a model that it was made for, or have one made with `parley key add --model`",
            )
        self.pace(caller)

    def pace(self, caller: Caller) -> None:
        """Count a request.

        Raises:
            TooMany: it asked too often.
        """
        if wait := self._pace.wait(caller):  # 3
            raise TooMany(caller, wait)
