"""All links of a party: conversations begin here, whoever dialled whom."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Final, Self

from parley.core.errors import ParleyError, PeerLost, PolicyRefused, UsageError
from parley.net.certificates import Identity, IdentitySource, present_identity
from parley.net.figures import Figures
from parley.net.link import PATIENCE, Link
from parley.net.proxy import NO_PROXY, Proxies
from parley.net.relay import RELAY, RELAYED, bridge, join
from parley.net.session import token
from parley.net.streams import Stream
from parley.net.tls import PeerPin
from parley.net.transport import Transport
from parley.net.websocket import PeerListener, Proof, WebSocketTransport, dial
from parley.net.wire import LET_GO, REVOKED, Ending

LINK: Final = "/link"
"""The path that a link's connections ask for."""

CONVERSATIONS: Final = 64
"""Conversations begun by one peer that we serve at the same time."""

LOOK_AROUND: Final = 5.0
"""Seconds after which links are looked at again, and new peers are dialled whose links are to be kept."""

DIAL_ANEW: Final = timedelta(days=1)
"""How long before its certificate ends a connection is made anew, if we have a newer one."""


@dataclass(frozen=True)
class Contact:
    """A peer as we know it now: its certificate, and the address where it is dialled; empty: it dials us."""

    pin: PeerPin
    address: str


class Links:
    """The links of one party; use it as an asynchronous context.

    Args:
        identity: who we are, or what tells it; asked anew for every connection.
        known: the contact of a peer; raises `UsageError` for a stranger. Asked anew for every conversation,
            and every few seconds: a peer that is let go of, or has another certificate, loses its link.
        on_connection: called with the peer's name, the path it asks for and the stream, which is closed when
            the call returns.
        proxies: through which we dial.
        kept: the peers whose links are to be there always, asked anew every few seconds.
        relays: whether we join streams of parties that do not reach one another.
        log: takes a line for the operator of the party.
        clock: by which certificates end.
    """

    def __init__(
        self,
        identity: IdentitySource,
        known: Callable[[str], Contact],
        on_connection: Callable[[str, str, Transport], Awaitable[None]],
        *,
        proxies: Proxies = NO_PROXY,
        kept: Callable[[], Iterable[str]] = tuple,
        relays: bool = False,
        log: Callable[[str], None] = lambda _: None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._source = identity
        self._known = known
        self._on_connection = on_connection
        self._proxies = proxies
        self._kept = kept
        self._log = log
        self._clock = clock
        self.doubted: Callable[[], None] = lambda: None
        """Called when a peer does not take the certificate by which we are known, or not any more."""
        self._relays = relays
        self._relayed = PeerListener(
            "", 0, identity, self._pins, self._accept_relayed, on_refused=self._not_relayed
        )
        self._process = token()
        self._links: dict[str, Link] = {}
        self._conversations: Counter[str] = Counter()
        self._expected: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._carrying: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._begin(self._keep_all())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await _ended(self._tasks)
        relayed = {link for link in self._links.values() if link.is_relayed}
        await asyncio.gather(*(link.close() for link in relayed))
        await _ended(self._carrying)
        await asyncio.gather(*(link.close() for link in self._links.values() if link not in relayed))
        await _ended(self._tasks)  # what the peers began meanwhile

    async def open(self, peer: str, path: str) -> Transport:
        """Begin a conversation with a peer.

        Raises:
            UsageError: the peer is a stranger.
            PeerLost: ``peer-not-connected``, or as `websocket.dial`; so are the other families.
            BudgetExhausted: ``too-many-streams``.
        """
        contact = self._known(peer)
        link = self._link(peer)
        self._point(link, contact)
        return await link.open(path)

    async def accept(self, peer: str, transport: WebSocketTransport) -> None:
        """Take up a connection for `LINK` that a peer has dialled; returns when it is over."""
        if peer == self._identity.party or not self._still_known(peer, transport.fingerprint):
            return
        await self._link(peer).accept(transport)

    def look(self) -> None:
        """End links that stand on what counts no more; make those anew whose certificate ends soon."""
        for link in tuple(self._links.values()):
            connection = link.connection
            if connection is None:
                continue
            proof = connection.transport.proof
            if (ending := self._objection(link.peer, proof)) is not None:
                self._end(link, ending)
            elif self._is_due(proof):
                link.drop()  # it is dialled again, and the conversations go on

    def figures(self) -> tuple[Figures, ...]:
        """How every link does, ascending by peer."""
        return tuple(link.figures() for _, link in sorted(self._links.items()))

    # Inside

    @property
    def _identity(self) -> Identity:
        return present_identity(self._source)

    def _objection(self, peer: str, proof: Proof) -> Ending | None:
        """Why a connection may not go on; nothing if it may."""
        try:
            pin = self._known(peer).pin
        except UsageError:
            return LET_GO
        except ParleyError:  # a catalogue that cannot be read just now
            return None
        same = pin.fingerprint == proof.pinned and self._identity.fingerprint == proof.ours.fingerprint
        return None if same else REVOKED

    def _is_due(self, proof: Proof) -> bool:
        """Whether a connection is to be made anew: we have a newer certificate, or one of both has ended."""
        now = self._clock()
        newer = self._identity.leaf_fingerprint != proof.ours.leaf_fingerprint
        return now >= proof.until or (newer and now >= proof.ours.ends - DIAL_ANEW)

    def _dismissed(self, ending: Ending) -> None:
        if ending is REVOKED:
            self.doubted()

    def _end(self, link: Link, ending: Ending) -> None:
        """End a link for good; a peer that we do not know any more is not dialled either."""
        if ending is LET_GO:
            link.keep, link.dialling = False, None
        link.dismiss(ending)

    def _turn_away(self, link: Link) -> None:
        """End a link with whom we know no longer, or cannot know just now."""
        connection = link.connection
        ending = None if connection is None else self._objection(link.peer, connection.transport.proof)
        if ending is not None:
            self._end(link, ending)
        else:
            link.drop()

    def _link(self, peer: str) -> Link:
        if peer == self._identity.party:
            raise UsageError("own-name", f"{peer} is our own name", remedy="name another party")
        if peer not in self._links:
            self._links[peer] = Link(
                self._identity.party,
                peer,
                self._process,
                partial(self._arrived, peer),
                self._log,
                relays=self._relays,
                dismissed=self._dismissed,
            )
        return self._links[peer]

    def _point(self, link: Link, contact: Contact) -> None:
        """Have the link dialled where the peer is now, and as who it is now."""
        connection = link.connection
        if connection is not None and (ending := self._objection(link.peer, connection.transport.proof)):
            self._end(link, ending)
        others = any(other.relays for other in self._links.values() if other is not link)
        if contact.address:
            link.dialling = partial(self._dial, link.peer)
        else:
            link.dialling = partial(self._dial_through_others, link.peer) if others else None

    async def _dial(self, peer: str, seconds: float) -> WebSocketTransport:
        contact = self._known(peer)
        try:
            return await dial(
                contact.address, self._identity, contact.pin, LINK, proxies=self._proxies, timeout=seconds
            )
        except PolicyRefused as error:
            if error.code == "certificate-unknown-to-peer":
                self.doubted()
            raise

    async def _dial_through_others(self, peer: str, seconds: float) -> WebSocketTransport:
        """Connect to a peer that has no address by way of a member that relays."""
        relays = [link for link in self._links.values() if link.relays and link.connected]
        for relay in relays:
            if relay.peer == peer:
                continue
            try:
                return await self._dial_through(relay, peer, seconds)
            except PeerLost:
                continue
        await asyncio.sleep(min(seconds, PATIENCE))  # it may yet dial us
        raise PeerLost(
            "peer-not-connected",
            f"{peer} has no address, has not dialled us, and no member that relays reaches it",
            peer=peer,
            remedy=f"see that the party of {peer} is running and has a link with a member that relays",
        )

    async def _dial_through(self, relay: Link, peer: str, seconds: float) -> WebSocketTransport:
        stream = await relay.open(f"/relay/{peer}")
        over, carrying = await bridge(stream)
        self._begin(carrying, self._carrying)
        pin = self._known(peer).pin
        return await dial(f"{relay.peer}:1", self._identity, pin, LINK, over=over, timeout=seconds)

    async def _accept_relayed(self, peer: str, path: str, transport: WebSocketTransport) -> None:
        if path == LINK:
            await self.accept(peer, transport)

    def _not_relayed(self, _address: str, why: str) -> None:
        self._log(f"turned away a connection that a member relayed: {why}")

    def _pins(self) -> dict[str, PeerPin]:
        """Of whoever is named in a relayed connection under way."""
        return {peer: self._known(peer).pin for peer in self._expected}

    def _still_known(self, peer: str, fingerprint: str) -> bool:
        try:
            return self._known(peer).pin.fingerprint == fingerprint
        except ParleyError:  # a stranger, or a catalogue that cannot be read
            return False

    def _arrived(self, peer: str, path: str, stream: Stream) -> None:
        """A peer has begun a conversation."""
        link = self._links[peer]
        connection = link.connection
        if connection is None or not self._still_known(peer, connection.transport.fingerprint):
            asyncio.get_running_loop().call_soon(self._turn_away, link)
        elif self._conversations[peer] >= CONVERSATIONS:
            self._log(f"turned away {peer}: it holds {CONVERSATIONS} conversations already")
            self._begin(stream.close())
        else:
            self._conversations[peer] += 1
            self._begin(self._serve(peer, path, stream))

    async def _serve(self, peer: str, path: str, stream: Stream) -> None:
        try:
            if (wanted := RELAY.fullmatch(path)) and self._relays:
                await self._join(peer, wanted[1], stream)
            elif named := RELAYED.fullmatch(path):
                await self._take_in(named[1], stream)
            else:
                await self._on_connection(peer, path, stream)
        except ParleyError:
            pass  # the conversation's own affair: it has told both ends
        finally:
            self._conversations[peer] -= 1
            await stream.close()

    async def _join(self, peer: str, other: str, stream: Stream) -> None:
        """As a relay: join a stream with one to another party, which must have a link with us."""
        link = self._links.get(other)
        if other != peer and link is not None and link.connected:
            onward = await link.open(f"/relayed/{peer}")
            try:
                await join(stream, onward)
            finally:
                await onward.close()

    async def _take_in(self, peer: str, stream: Stream) -> None:
        """A member relays a connection of a peer, which proves itself as at the port."""
        self._known(peer)
        self._expected[peer] += 1
        try:
            over, carrying = await bridge(stream)
            self._begin(carrying, self._carrying)
            await self._relayed.take_in(over)
        finally:
            self._expected[peer] -= 1
            if not self._expected[peer]:
                del self._expected[peer]

    async def _keep_all(self) -> None:
        """Dial whomever is to be kept, for ever."""
        while True:
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 (whatever a look meets, the next one follows)
                self._log(f"could not look after the links: {type(error).__name__}: {error}")
            for peer in self._kept():
                try:
                    link, contact = self._link(peer), self._known(peer)
                except UsageError:
                    continue
                if contact.address and not link.keep:
                    link.keep = True
                    self._point(link, contact)
                    link.dial()
            await asyncio.sleep(LOOK_AROUND)

    def _begin(self, work: Coroutine[None, None, None], among: set[asyncio.Task[None]] | None = None) -> None:
        task = asyncio.get_running_loop().create_task(work)
        tasks = self._tasks if among is None else among
        tasks.add(task)
        task.add_done_callback(tasks.discard)


async def _ended(tasks: set[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait for their end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
