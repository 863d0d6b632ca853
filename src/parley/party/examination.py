"""What is wrong between us and a peer: layer by layer from below, then what must fit at both."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

from parley.core.errors import ParleyError
from parley.core.trace import Trace
from parley.net.certificates import IdentitySource, present_identity
from parley.net.channel import CheckedChannel, Setting
from parley.net.layers import DIALLED, LAYERS, Layer, layer_of
from parley.net.links import LINK, Contact
from parley.net.proxy import Proxies
from parley.net.transport import Transport
from parley.net.websocket import dial
from parley.party.finding import Finding
from parley.party.rendezvous import Dial
from parley.protocols.examination import (
    CALLED,
    CALLER,
    PATH,
    STEPS,
    About,
    Compared,
    Reached,
    be_called,
    call,
)

ANSWERING: Final = 15.0
"""Seconds for any message of the conversation; the other party dials back meanwhile."""
LOOKING: Final = 20.0
"""Seconds for finding a peer to compare our clock with."""
CLOCK: Final = 5.0
CLOCK_FAILS: Final = 300.0
"""Seconds of difference between clocks at which people should look, and at which they must."""
NEAR: Final = 100
"""Heights that two copies of a ledger may differ by while the parties talk."""

_WELL: Final[dict[Layer, str]] = {
    "name": "the name is known here",
    "proxy": "the proxy lets us through",
    "tcp": "the port answers",
    "tls": "TLS 1.3",
    "their-certificate": "what we pinned vouches for its certificate",
    "our-certificate": "it knows our certificate",
    "websocket": "it speaks WebSocket",
    "link": "there is a link, by the same rules",
    "conversation": "its party answers",
}


@dataclass(frozen=True)
class Reach:
    """How we reach peers.

    Attributes:
        identity: who we are, or what tells it.
        contact: of a peer; raises `UsageError` for a stranger.
        linked: whether there is a link with a peer now.
        open: begins a conversation over the link, dialling if need be.
        proxies: through which we dial.
        listening: whether our own party runs, so that it can be dialled.
        patience: seconds for dialling an address, there or back.
    """

    identity: IdentitySource
    contact: Callable[[str], Contact]
    linked: Callable[[str], bool]
    open: Dial
    proxies: Proxies
    listening: bool
    patience: float = 5.0

    async def knock(self, contact: Contact) -> None:
        """Dial a peer's address, and leave again; raises as `websocket.dial`."""
        ours = present_identity(self.identity)
        transport = await dial(
            contact.address, ours, contact.pin, LINK, proxies=self.proxies, timeout=self.patience
        )
        await transport.close()


def release() -> str:
    """The version of Parley that runs here."""
    return version("parley")


class Examiner:
    """Examines what is between us and our peers, and answers when they do.

    Args:
        reach: how we reach them.
        about: what we say of ourselves.
        peers: the names of those we know.
        clock: monotonic seconds.
        log: takes a line for the operator of the party.
    """

    def __init__(
        self,
        reach: Reach,
        about: Callable[[], About],
        peers: Callable[[], list[str]],
        clock: Callable[[], float],
        log: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._reach = reach
        self._about = about
        self._peers = peers
        self._clock = clock
        self._log = log

    async def report(self, peer: str) -> tuple[Finding, ...]:
        """The findings about a peer; about our clock alone if none is named."""
        return await self.examine(peer) if peer else (await self._clock_with_any(),)

    async def examine(self, peer: str) -> tuple[Finding, ...]:
        """All findings about a peer, in order; after the first layer that fails the rest is skipped.

        Numbered steps: 1 we know the peer, 2 its address can be dialled, 3 there is a link, 4 its party
        answers, 5 both fit together.
        """
        # 1
        try:
            contact = self._reach.contact(peer)
        except ParleyError as error:
            return _stopped((), error, "peer")
        findings: tuple[Finding, ...] = (
            _ok("peer", f"we know {peer}, {_where(contact, self._reach.proxies)}"),
        )
        # 2
        findings, trouble = await self._dialled(contact, findings)
        if trouble is not None and not self._reach.linked(peer):
            return _stopped(findings, trouble, "peer")
        if trouble is not None:
            findings = _reached_otherwise(findings, trouble, peer)
        # 3, 4
        least: Layer = "link"
        try:
            transport = await self._reach.open(peer, PATH)
            findings, least = (*findings, _ok("link", _WELL["link"])), "conversation"
            compared = await self._compared(transport)
        except ParleyError as error:
            return _stopped(findings, error, least)
        # 5
        return (*findings, _ok("conversation", _WELL["conversation"]), *self._fit(peer, compared))

    async def _clock_with_any(self) -> Finding:
        """Our clock compared with that of the first peer that answers."""
        try:
            async with asyncio.timeout(LOOKING):
                for peer in self._peers():
                    for finding in await self.examine(peer):
                        if finding.check == "clock" and finding.verdict != "skipped":
                            return finding
        except TimeoutError:
            pass
        return Finding("clock", "skipped", "not compared: no peer answers")

    async def serve(self, peer: str, transport: Transport) -> None:
        """Answer a peer that examines us."""
        async with CheckedChannel(transport, self._setting(CALLED)) as channel:
            await be_called(channel, self._about, lambda: self._way_back(peer))

    async def _dialled(
        self, contact: Contact, findings: tuple[Finding, ...]
    ) -> tuple[tuple[Finding, ...], ParleyError | None]:
        """The findings about dialling as far as all is well, and what went wrong then."""
        if not contact.address:
            skipped = (Finding(each, "skipped", "it has no address: it dials us") for each in DIALLED)
            return (*findings, *skipped), None
        try:
            await self._reach.knock(contact)
        except ParleyError as error:
            failed = LAYERS.index(layer_of(error.code, "peer"))
            passed = [each for each in DIALLED if LAYERS.index(each) < failed]
            return (*findings, *self._passed(contact, passed)), error
        return (*findings, *self._passed(contact, DIALLED)), None

    def _passed(self, contact: Contact, layers: list[Layer] | tuple[Layer, ...]) -> list[Finding]:
        proxied = _is_proxied(contact, self._reach.proxies)
        silent = {"name": "the proxy looks it up"} if proxied else {"proxy": "it is dialled directly"}
        return [
            Finding(each, "skipped", silent[each]) if each in silent else _ok(each, _WELL[each])
            for each in layers
        ]

    async def _compared(self, transport: Transport) -> Compared:
        try:
            async with CheckedChannel(transport, self._setting(CALLER)) as channel:
                return await call(channel, self._about)
        finally:
            await transport.close()

    def _setting(self, role: str) -> Setting:
        return Setting(STEPS, role, "doctor", Trace(self._clock), ANSWERING)

    async def _way_back(self, peer: str) -> Reached:
        """Whether we come through to the peer's address; any failure is told after the same time."""
        latest = asyncio.get_running_loop().time() + self._reach.patience
        try:
            contact = self._reach.contact(peer)
            if not contact.address:
                return "no-address"
            await self._reach.knock(contact)
        except ParleyError as error:
            self._log(f"{peer} examines us; it cannot be dialled from here: {error.what} [{error.code}]")
            await asyncio.sleep(latest - asyncio.get_running_loop().time())
            return "not-reached"
        return "reached"

    def _fit(self, peer: str, compared: Compared) -> list[Finding]:
        ours, theirs = compared.ours, compared.theirs
        return [
            clocks(peer, compared.ahead, compared.uncertain),
            releases(peer, ours.release, theirs.release),
            ledgers(peer, ours, theirs),
            way_back(peer, compared.reached, listening=self._reach.listening),
        ]


def clocks(peer: str, ahead: float, uncertain: float) -> Finding:
    """Whether two clocks show the same; both in seconds."""
    way = "ahead of" if ahead > 0 else "behind"
    found = f"the clock of {peer} is {abs(ahead):.1f} s {way} ours, give or take {uncertain:.1f} s"
    off = max(abs(ahead) - uncertain, 0.0)
    remedy = "set the clocks of both machines by time servers (NTP)"
    if off > CLOCK_FAILS:
        return Finding("clock", "failure", found, remedy)
    if off > CLOCK:
        return Finding("clock", "warning", found, remedy)
    return _ok("clock", found)


def releases(peer: str, ours: str, theirs: str) -> Finding:
    """Whether both have the same release."""
    if ours == theirs:
        return _ok("release", f"both have Parley {ours}")
    found = f"{peer} has Parley {theirs}, we have {ours}"
    return Finding("release", "warning", found, "install the same release on both sides")


def ledgers(peer: str, ours: About, theirs: About) -> Finding:
    """Whether both keep the same ledger, and are near one another in it."""
    if not ours.consortium and not theirs.consortium:
        return Finding("ledger", "skipped", "neither belongs to a consortium")
    if ours.consortium != theirs.consortium:
        named = [f"{who} {each.consortium[:12] or 'none'}" for who, each in (("we", ours), (peer, theirs))]
        return Finding(
            "ledger",
            "failure" if ours.consortium and theirs.consortium else "warning",
            f"we belong to different consortia: {', '.join(named)}",
            "see `parley ledger status` at both; one of the two joins the other's with `parley join`",
        )
    found = f"the same consortium; we are at height {ours.height:,}, {peer} at {theirs.height:,}"
    if abs(ours.height - theirs.height) > NEAR:
        remedy = "see `parley ledger status` at the one that is behind: it has to catch up"
        return Finding("ledger", "warning", found, remedy)
    return _ok("ledger", found)


def way_back(peer: str, reached: Reached, *, listening: bool) -> Finding:
    """What the peer says of dialling us."""
    if reached == "reached":
        return _ok("way-back", f"{peer} reaches our address too")
    if reached == "no-address":
        return Finding("way-back", "skipped", f"{peer} has no address of ours: we dial it")
    if not listening:
        return Finding("way-back", "skipped", "our own party is not running, so nobody can dial it")
    return Finding(
        "way-back",
        "warning",
        f"{peer} does not come through when it dials our address",
        f"check `address` in parley.toml and our firewall; the log of {peer} says where it fails",
    )


def _ok(check: str, found: str) -> Finding:
    return Finding(check, "ok", found)


def _stopped(findings: tuple[Finding, ...], error: ParleyError, least: Layer) -> tuple[Finding, ...]:
    """The findings with the failure at its layer, and all that it hides."""
    failed = layer_of(error.code, least)
    place = LAYERS.index(failed)
    before = [each for each in findings if each.check in LAYERS[:place]]
    hidden = (*LAYERS[place + 1 :], "clock", "release", "ledger", "way-back")
    skipped = (Finding(each, "skipped", f"not reached: {failed} fails") for each in hidden)
    return (*before, Finding.of(failed, error), *skipped)


def _reached_otherwise(findings: tuple[Finding, ...], trouble: ParleyError, peer: str) -> tuple[Finding, ...]:
    """We cannot dial the peer, but it has dialled us, so this is no failure."""
    layer = layer_of(trouble.code, "peer")
    warning = Finding(
        layer, "warning", f"{trouble.what}; but {peer} has dialled us", trouble.remedy, trouble.code
    )
    seen = {each.check for each in (*findings, warning)}
    hidden = (Finding(each, "skipped", f"not reached: {layer} fails") for each in DIALLED if each not in seen)
    return (*findings, warning, *hidden)


def _where(contact: Contact, proxies: Proxies) -> str:
    if not contact.address:
        return "which has no address: it dials us"
    by = f" through the proxy {proxies.host}:{proxies.port}" if _is_proxied(contact, proxies) else ""
    return f"dialled at {contact.address}{by}"


def _is_proxied(contact: Contact, proxies: Proxies) -> bool:
    host, _, port = contact.address.removeprefix("wss://").rpartition(":")
    return bool(host) and port.isdigit() and proxies.serves(host.strip("[]"), int(port))
