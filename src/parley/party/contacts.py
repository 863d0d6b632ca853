"""Whom a running party reaches, and how: for its listener, its links and its ledger."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from parley.core.errors import ParleyError
from parley.net.links import Contact, Links
from parley.net.tls import PeerPin
from parley.net.transport import Transport
from parley.party.acquaintance import acquainted, note_members, peer_of
from parley.party.examination import release
from parley.party.ledger import PartyLedger, consortium_of, neighbours
from parley.protocols.examination import About
from parley.store.catalogue import Peer
from parley.store.database import PASSING
from parley.store.home import Home


class Contacts:
    """Whom a running party knows: the members of its ledger, the peers it was told of, and who is invited.

    Args:
        home: of the party.
        wall: seconds since 1970.

    Attributes:
        ledger: of the party, once it is open.
        links: of the party, once they are made.
    """

    def __init__(self, home: Home, wall: Callable[[], float]) -> None:
        self._home = home
        self._wall = wall
        self.ledger: PartyLedger | None = None
        self.links: Links | None = None
        self._told: dict[str, Peer] = {}
        self._membership = home.membership

    def peers(self) -> dict[str, Peer]:
        """Everyone by name; what the ledger says goes before what we were told."""
        with _if_there():  # else those that we knew last: links must not end with the store
            self._told = self._home.catalogue.peers()
        size = 0 if self.ledger is None else self.ledger.member.log.size
        view = self.ledger.view if self.ledger is not None and size >= max(self.had, 1) else None
        return acquainted(self._home, self._told, view)

    @property
    def had(self) -> int:
        """Leaves that our ledger had when the party was started, if it has been noted; see `Membership`."""
        return 0 if self._membership is None else self._membership.size

    def asked(self) -> tuple[str, ...]:
        """Who is asked for the ledger while nothing of it is here: the members, as far as they are known."""
        peers = self.peers()
        noted = () if self._membership is None else self._membership.members
        return tuple(name for name in noted if name in peers) or tuple(peers)

    def pins(self) -> dict[str, PeerPin]:
        """Whom the listener lets in."""
        invited: dict[str, str] = {}
        with _if_there():  # else a newcomer has to come again
            invited = self._home.catalogue.invitations(self._wall())
        certificates = invited | {name: peer.certificate for name, peer in self.peers().items()}
        return {name: PeerPin(name, certificate) for name, certificate in certificates.items()}

    def contact(self, peer: str) -> Contact:
        """Who a peer has to prove to be, and where it is dialled.

        Raises:
            UsageError: it is a stranger.
        """
        known = peer_of(self.peers(), peer)
        return Contact(PeerPin(peer, known.certificate), known.address)

    def kept(self) -> tuple[str, ...]:
        """With whom there is to be a link always: with everyone, if nobody can dial us."""
        return () if self._home.settings.listen else tuple(self.peers())

    async def dial(self, peer: str, path: str) -> Transport:
        """Begin a conversation with a peer."""
        assert self.links is not None  # noqa: S101 (made before anything is dialled)
        return await self.links.open(peer, path)

    def linked(self, peer: str) -> bool:
        """Whether there is a link with a peer now."""
        assert self.links is not None  # noqa: S101 (made before anything is asked)
        return any(each.peer == peer and each.connected for each in self.links.figures())

    def about(self) -> About:
        """What any peer may know of us."""
        log = None if self.ledger is None else self.ledger.member.log
        if self.ledger is None or log is None or not log.size:
            return About(release(), self._wall(), "", 0)
        return About(release(), self._wall(), consortium_of(self.ledger.view), log.replica.height)


async def watch(ledger: PartyLedger, home: Home, links: Links) -> None:
    """Have the links looked at as soon as the ledger says something else of who is who, and note it."""
    before: tuple[Peer, ...] = ()
    noted = False
    async for _ in ledger.member.changes():
        log = ledger.member.log
        after = tuple(neighbours(ledger.view)) if log.size else ()
        if after != before:
            links.look()
            noted = False
        if not noted and log.size and log.final_size == log.size:
            noted = _noted(home, ledger, log.size)  # else when the ledger grows again
        before = after


def _noted(home: Home, ledger: PartyLedger, size: int) -> bool:
    """Note who is a member; False if that cannot be written now."""
    try:
        note_members(home, ledger.view, size)
    except (ParleyError, OSError):
        return False
    return True


@contextmanager
def _if_there() -> Iterator[None]:
    """Does without a store that cannot be reached now."""
    try:
        yield
    except ParleyError as error:
        if error.code not in PASSING:
            raise
