"""Who a peer and we are to one another, for conversations that outlast a change of that."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

from parley.core.errors import PeerLost
from parley.net.certificates import Identity
from parley.store.catalogue import Peer

_LOOK: Final = 1.0
"""Seconds between two looks."""


@dataclass(frozen=True)
class Standing:
    """Our certificate and a peer's, by which a conversation began.

    Attributes:
        peer: as we know it; none, if we do not.
        ours: fingerprint of what vouches for us.
    """

    peer: Peer | None
    ours: str


class Standings:
    """How we stand with our peers now.

    Args:
        peers: everyone we know, by name; read at most once in a look.
        identity: who we are.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        peers: Callable[[], Mapping[str, Peer]],
        identity: Callable[[], Identity],
        clock: Callable[[], float],
    ) -> None:
        self._peers = peers
        self._identity = identity
        self._clock = clock
        self._read: Mapping[str, Peer] = {}
        self._due = float("-inf")

    def of(self, peer: str) -> Standing:
        """How we stand with one."""
        if self._clock() >= self._due:
            self._read, self._due = self._peers(), self._clock() + _LOOK
        return Standing(self._read.get(peer), self._identity().fingerprint)

    async def keep(self, peer: str, before: Standing) -> NoReturn:
        """Wait until we stand otherwise with a peer: one of us let go of the other, or was replaced.

        Raises:
            PeerLost: ``certificate-revoked``, then.
        """
        while before.peer is not None and self.of(peer) == before:  # noqa: ASYNC110 (one of two is a database)
            await asyncio.sleep(_LOOK)
        raise PeerLost(
            "certificate-revoked",
            f"{peer} is no longer who it was to us, or we to it: a certificate was replaced, or one let go",
            peer=peer,
            remedy="see `parley members` and `parley peer list` on both sides",
        )
