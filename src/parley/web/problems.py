"""What a request that fails is answered with: the error, and the HTTP status that it has."""

from typing import Final

import msgspec

from parley.core.errors import (
    BudgetExhausted,
    ParleyError,
    PeerAborted,
    PeerLost,
    PeerMisbehaved,
    PolicyRefused,
    ProtocolBug,
    UsageError,
)

_BY_FAMILY: Final = {
    UsageError.family: 400,
    PolicyRefused.family: 403,
    BudgetExhausted.family: 429,
    ProtocolBug.family: 500,
    PeerMisbehaved.family: 502,
    PeerAborted.family: 502,
    ParleyError.family: 503,
    PeerLost.family: 504,
}
_BY_CODE: Final = {
    "api-token": 401,
    "caller-unknown": 401,
    "key-expired": 401,
    "token-not-accepted": 401,
    "no-such-path": 404,
    "method-not-allowed": 405,
    "body-too-slow": 408,
    "request-too-slow": 408,
    "body-too-large": 413,
    "ids-beyond-limit": 413,
    "body-not-understood": 415,
    "unknown-ids": 422,
    "headers-too-large": 431,
    "run-over": 409,
    "not-ours-to-resume": 409,
    "no-consortium": 409,
    "ledger-not-fetched": 409,
    "model-not-on-ledger": 404,
    "nothing-to-release": 409,
    "onnx-missing": 409,
    "ledger-quota-exceeded": 429,
    "own-party-away": 503,
    "source-late": 503,
    "sql-connection": 503,
    "predictions-used-up": 429,
    "accounts-behind": 503,
    "too-many-waiting": 503,
    "busy": 503,
    "disk-full": 503,
    "out-of-memory": 503,
    "unaccounted": 503,
    "serving-keys-unreadable": 503,
}
_ABSENT: Final = ("unknown-", "no-such-")
"""How the codes of things begin that are not there."""


class Problem(msgspec.Struct, frozen=True):
    """What every request that fails is answered with.

    Attributes:
        family: whose fault it is; see docs/exit-codes.md.
        code: stable identifier.
        what: what happened, to what, what was expected.
        remedy: one thing to do about it.
    """

    family: str
    code: str
    what: str
    remedy: str

    @classmethod
    def of(cls, error: ParleyError) -> "Problem":
        """What an error of ours says to our own people."""
        return cls(error.family, error.code, error.what, error.remedy)


def status_of(error: ParleyError) -> int:
    """The HTTP status of an error."""
    if error.code in _BY_CODE:
        return _BY_CODE[error.code]
    if error.family == UsageError.family and error.code.startswith(_ABSENT):
        return 404
    return _BY_FAMILY.get(error.family, 500)


def unforeseen() -> ParleyError:
    """What is said of an exception that nobody foresaw: nothing of its text."""
    return ProtocolBug(
        "internal", "the request failed in a way that nobody foresaw", remedy="report it with the party's log"
    )
