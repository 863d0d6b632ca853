"""An examination as our own people ask for it, with the adapters that it needs."""

import os
from datetime import UTC, datetime
from pathlib import Path

from parley.core.errors import ParleyError
from parley.net.certificates import Identity
from parley.net.tls import PeerPin
from parley.net.websocket import dial
from parley.party.compose import CLOCKS
from parley.party.finding import Finding
from parley.party.site import examine_site
from parley.store.home import Home


async def consult_about_us(folder: Path) -> tuple[Finding, ...]:
    """What is found at our own site.

    Raises:
        UsageError: ``no-home``.
    """
    findings = examine_site(folder, os.environ, datetime.fromtimestamp(CLOCKS.wall(), UTC))
    if any(
        each.verdict == "failure" and each.check in {"settings", "certificate", "party.db"}
        for each in findings
    ):
        return (
            *findings,
            Finding("running", "skipped", "not looked at: the failures above come first"),
            Finding("clock", "skipped", "not compared: the failures above come first"),
        )
    return (*findings, await _running(folder), Finding("clock", "skipped", "not compared with a peer's"))


async def _running(folder: Path) -> Finding:
    home = Home.open(folder)
    identity = Identity.load(home.identity_folder)
    try:
        address = home.control
        own = PeerPin(identity.party, identity.certificate_pem)
        transport = await dial(address, identity, own, "/control")
    except ParleyError as error:
        return Finding(
            "running",
            "warning",
            f"{identity.party} is not running: {error.what}",
            f"run `parley up --home {folder}`",
        )
    await transport.close()
    return Finding("running", "ok", f"{identity.party} is running and answers at {address}")
