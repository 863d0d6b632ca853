"""An examination as our own people ask for it: by our running party, or, if there is none, from here."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from parley.core.errors import ParleyError, UsageError
from parley.net.certificates import Identity
from parley.net.links import Contact, Links
from parley.net.proxy import Proxies
from parley.net.tls import PeerPin
from parley.net.transport import Transport
from parley.net.websocket import dial
from parley.party import compose
from parley.party.acquaintance import acquainted, peer_of
from parley.party.chronicle import Chronicle
from parley.party.compose import CLOCKS
from parley.party.examination import Examiner, Reach, release
from parley.party.finding import Finding
from parley.party.site import examine_site
from parley.protocols.examination import About
from parley.store.catalogue import Peer
from parley.store.home import Home

_NEEDED: Final = frozenset({"settings", "certificate", "store", "proxy"})
"""Checks that must not have failed for anybody to be dialled."""
_NOBODY: Final = frozenset({"party-not-running", "peer-unreachable"})
"""Errors by which a party is known not to be running, rather than not to answer."""


async def consult_about_us(folder: Path) -> tuple[Finding, ...]:
    """What is found at our own site.

    Raises:
        UsageError: ``no-home``.
    """
    findings = examine_site(folder, os.environ, datetime.fromtimestamp(CLOCKS.wall(), UTC))
    if any(each.verdict == "failure" and each.check in _NEEDED for each in findings):
        first = "not looked at: the failures above come first"
        return (*findings, Finding("running", "skipped", first), Finding("clock", "skipped", first))
    home = Home.open(folder)
    identity = Identity.load(home.identity_folder)
    trouble = await _trouble(home, identity)
    if trouble is None:
        running = Finding("running", "ok", f"{identity.party} is running and answers at {home.control}")
    else:
        what = f"{identity.party} is not running: {trouble.what}"
        running = Finding("running", "warning", what, f"run `parley up --home {folder}`")
    return (*findings, running, *await _examined(home, identity, "", trouble))


async def consult_about(folder: Path, peer: str) -> tuple[Finding, ...]:
    """What is found between us and a peer.

    Raises:
        UsageError: the home cannot be used; see `parley doctor` alone.
    """
    home = Home.open(folder)
    identity = Identity.load(home.identity_folder)
    return await _examined(home, identity, peer, await _trouble(home, identity))


async def _examined(
    home: Home, identity: Identity, peer: str, trouble: ParleyError | None
) -> tuple[Finding, ...]:
    """By our running party over its links; without one, over a link of our own.

    While a party of ours may be running that does not answer, nobody is dialled in its name: a second
    link with the same peer would end the conversations of the first.
    """
    if trouble is None:
        return await compose.examine(home.path, peer)
    if trouble.code not in _NOBODY:
        return (Finding.of("ourselves" if peer else "clock", trouble),)
    async with _examiner(home, identity) as examiner:
        return await examiner.report(peer)


@asynccontextmanager
async def _examiner(home: Home, identity: Identity) -> AsyncIterator[Examiner]:
    peers, about = _written_down(home)

    def contact(peer: str) -> Contact:
        known = peer_of(peers, peer)
        return Contact(PeerPin(peer, known.certificate), known.address)

    proxies = Proxies.read(os.environ)
    async with Links(identity, contact, _serve_nobody, proxies=proxies) as links:

        def linked(peer: str) -> bool:
            return any(each.peer == peer and each.connected for each in links.figures())

        reach = Reach(identity, contact, linked, links.open, proxies, listening=False)

        def now() -> About:
            return About(release(), CLOCKS.wall(), *about)

        yield Examiner(reach, now, lambda: list(peers), CLOCKS.monotonic)


def _written_down(home: Home) -> tuple[dict[str, Peer], tuple[str, int]]:
    """Whom we know, with the ledger's id and height as our copy has them."""
    told = home.catalogue.peers()
    peers, consortium, height = acquainted(home, told, None), "", 0
    if home.membership is not None:
        consortium = home.membership.consortium
        try:
            with Chronicle.open(home) as chronicle:
                peers = acquainted(home, told, chronicle.view)
                height = chronicle.height
        except UsageError:
            pass  # nothing fetched yet, or damaged, which `parley doctor` alone says
    return peers, (consortium, height)


async def _serve_nobody(_peer: str, _path: str, transport: Transport) -> None:
    await transport.close()


async def _trouble(home: Home, identity: Identity) -> ParleyError | None:
    """Why our own party does not answer; None if it does."""
    try:
        own = PeerPin(identity.party, identity.certificate_pem)
        transport = await dial(home.control, identity, own, "/control")
    except ParleyError as error:
        return error
    await transport.close()
    return None
