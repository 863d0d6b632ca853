"""Invitations: one string that is all a new party needs.

    parley1.<base64url of: name, address, inviter, fingerprint, consortium, expiry, secret; then a check sum>

The secret makes two keys: one for the certificate with which the newcomer knocks, one that signs its
joining on the ledger. The inviter keeps the certificate and the public key, and forgets the secret.
"""

import base64
import hashlib
import secrets
from datetime import UTC, datetime
from typing import Annotated, Final, Self

import msgspec

from parley.core.errors import UsageError
from parley.crypto.randomness import derive
from parley.crypto.signatures import SigningKey
from parley.net.authority import create_single
from parley.net.certificates import Identity

_PREFIX: Final = "parley1."
_CHECK_SUM: Final = 4
_LATEST: Final = 1 << 35
"""Seconds since 1970, the year 3058: certificates can say no date after 9999."""
Text = Annotated[str, msgspec.Meta(max_length=256)]


class Invitation(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What the string says.

    Attributes:
        name: of the newcomer.
        address: where the inviter listens.
        inviter: its name.
        fingerprint: of what is pinned of the inviter, in hexadecimal.
        consortium: id of the ledger.
        until: seconds since 1970.
        secret: 32 bytes, used once.
    """

    name: Text
    address: Text
    inviter: Text
    fingerprint: Text
    consortium: Text
    until: Annotated[int, msgspec.Meta(ge=0, le=_LATEST)]
    secret: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]

    def __repr__(self) -> str:
        """Without the secret."""
        return f"Invitation(name={self.name!r}, inviter={self.inviter!r}, until={self.until})"

    @classmethod
    def fresh(
        cls, name: str, address: str, inviter: str, fingerprint: str, consortium: str, until: int
    ) -> Self:
        """An invitation with a new secret."""
        return cls(name, address, inviter, fingerprint, consortium, until, secrets.token_bytes(32))

    @property
    def text(self) -> str:
        """The string."""
        data = msgspec.msgpack.encode(self)
        return _PREFIX + base64.urlsafe_b64encode(data + _check_sum(data)).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str, now: float) -> Self:
        """Read the string.

        Raises:
            UsageError: it is none, damaged, or expired.
        """
        text = text.strip()
        body = text.removeprefix(_PREFIX) if text.startswith(_PREFIX) else "?"
        try:
            data = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
            data, stated = data[:-_CHECK_SUM], data[-_CHECK_SUM:]
            if stated != _check_sum(data):
                raise ValueError("a letter is wrong or missing")  # noqa: TRY301 (told like other damage)
            invitation = msgspec.msgpack.decode(data, type=cls)
        except (ValueError, msgspec.MsgspecError) as error:
            raise UsageError(
                "bad-invitation",
                f"this is not an invitation: {error}",
                remedy="copy the whole line that `parley invite` printed",
            ) from None
        if invitation.until < now:
            raise UsageError(
                "invitation-expired",
                f"the invitation of {invitation.name} by {invitation.inviter} has expired",
                remedy=f"ask {invitation.inviter} for a new one",
            )
        return invitation

    @property
    def key(self) -> SigningKey:
        """The key that signs the joining."""
        return SigningKey.from_seed(derive(self.secret, "invitation", "signing"))

    @property
    def identity(self) -> Identity:
        """The certificate with which the newcomer knocks; both sides make the same."""
        moment = datetime.fromtimestamp(self.until, UTC) - _VALID
        return create_single(self.name, now=moment, seed=derive(self.secret, "invitation", "tls"))


def _check_sum(data: bytes) -> bytes:
    """Tells a copying mistake from a secret that nobody knows."""
    return hashlib.sha256(data).digest()[:_CHECK_SUM]


_VALID = datetime.fromtimestamp(366 * 86400, UTC) - datetime.fromtimestamp(0, UTC)
"""The knocking certificate begins a year before the invitation ends."""
