"""Transactions that somebody wants in, and since when; a sequencer may not ignore them for long."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from parley.ledger.contract import Block, Dropped, admit
from parley.ledger.engines.embedded.log import MemberLog
from parley.ledger.replica import signed_by
from parley.ledger.transaction import SignedTransaction

PASSED_ON_LIMIT: Final = 1024
"""Transactions of other members that are watched at most."""
FRESH: Final = 1.0
"""Seconds in which nobody asks again whether a transaction can still come in."""
LASTING: Final = frozenset({"malformed", "other-consortium", "expired", "replayed", "key-revoked"})
"""Objections that no later block can lift; the others may only mean that our log is behind."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A transaction that is not in the log yet: since when, whose, and the envelope."""

    since: float
    ours: bool
    signed: SignedTransaction


@dataclass
class Watch:
    """What is wanted, in the order in which it came; several threads use it.

    Attributes:
        clock: monotonic seconds.
        patience: seconds after which a transaction left out keeps us from signing.
    """

    clock: Callable[[], float]
    patience: float
    _wanted: dict[bytes, Wanted] = field(default_factory=dict)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def want(self, signed: SignedTransaction, *, ours: bool) -> bool:
        """Watch a transaction; False if it is another member's and there are too many of those."""
        known = self._wanted.get(signed.digest)
        if known is not None and (known.ours or not ours):
            return True
        if not ours and sum(not one.ours for _, one in self._all()) >= PASSED_ON_LIMIT:
            return False
        since = self.clock() if known is None else known.since
        with self._turn:
            self._wanted[signed.digest] = Wanted(since, ours, signed)
        return True

    def settle(self, log: MemberLog) -> dict[bytes, Dropped]:
        """Forget what has come in, and what can never come in any more; the latter with the reason."""
        dropped: dict[bytes, Dropped] = {}
        before = self.clock() - FRESH
        for digest, wanted in self._all():
            if log.number(digest) is not None:
                self.forget(digest)
            elif wanted.since <= before:
                why = objection(log, wanted.signed, checked=True)
                if why is not None and why.code in LASTING:
                    self.forget(digest)
                    dropped[digest] = why
        return dropped

    def get(self, digest: bytes) -> SignedTransaction | None:
        """The transaction with this digest, if somebody wants it in."""
        wanted = self._wanted.get(digest)
        return None if wanted is None else wanted.signed

    def forget(self, digest: bytes) -> None:
        """It was dropped."""
        with self._turn:
            self._wanted.pop(digest, None)

    def overdue(self) -> list[bytes]:
        """What has been left out for too long."""
        return self.waiting(self.patience)

    def wanted(self) -> dict[bytes, SignedTransaction]:
        """Everything that somebody wants in, by digest."""
        return {digest: wanted.signed for digest, wanted in self._all()}

    def waiting(self, after: float) -> list[bytes]:
        """The envelopes that have been waiting for ``after`` seconds."""
        now = self.clock()
        return [wanted.signed.data for _, wanted in self._all() if now - wanted.since >= after]

    def _all(self) -> list[tuple[bytes, Wanted]]:
        """As they are now; others come and go in other threads."""
        with (
            self._turn
        ):  # a garbage collection may begin in the middle of the list, and another thread with it
            return list(self._wanted.items())


def objection(log: MemberLog, signed: SignedTransaction, *, checked: bool = False) -> Dropped | None:
    """Why a transaction could not stand in the next block by our state, or None if it could.

    With ``checked`` the signature is known to be good. Nothing is objected to while the log is empty.
    """
    if not log.size:
        return None
    block = Block(log.replica.height + 1, log.replica.time)
    verify = _known_good if checked else signed_by
    admitted = admit(log.replica.state, signed, block, verify)
    return admitted if isinstance(admitted, Dropped) else None


def _known_good(_signed: SignedTransaction, _public: bytes) -> bool:
    return True
