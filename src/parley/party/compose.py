"""Where concrete adapters are chosen: clocks, certificates, transports, stores."""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

from parley.core.conversation import Channel
from parley.core.errors import ParleyError, UsageError
from parley.core.trace import Trace
from parley.net.certificates import Identity, create_identity, grouped
from parley.net.channel import CheckedChannel, Setting
from parley.net.transport import Transport
from parley.net.websocket import PeerListener, PeerPin, dial
from parley.party.address import address_of
from parley.party.service import Clocks, Party
from parley.protocols import control
from parley.store.home import Home, Settings

CLOCKS = Clocks(wall=time.time, monotonic=time.perf_counter)
_SILENCE = 365 * 86400.0


def found(path: Path, settings: Settings) -> Identity:
    """Make a home folder with a fresh identity.

    Raises:
        UsageError: name or address cannot be used, or the folder holds a party already or cannot be written.
    """
    address_of(settings.listen)
    identity = create_identity(settings.party)
    try:
        home = Home.create(path, settings)
    except OSError as error:
        raise UsageError(
            "home-not-writable",
            f"{path} cannot be made a home: {error.strerror}",
            remedy="choose a folder that this user may write to",
        ) from error
    identity.save(home.identity_folder)
    return identity


async def serve(path: Path, log: Callable[[str], None]) -> None:
    """Run a party until it is cancelled.

    Raises:
        UsageError: the folder is not a party's home, or its port is taken.
    """
    home = Home.open(path)
    identity = Identity.load(home.identity_folder)
    host, port = address_of(home.settings.listen)

    def pins() -> dict[str, PeerPin]:
        return {peer.name: PeerPin(peer.name, peer.certificate) for peer in home.catalogue.peers().values()}

    async def reach(peer: str, path: str) -> Transport:
        known = home.catalogue.peer(peer)
        if not known.address:
            raise UsageError(
                "no-address",
                f"no address of {peer} is known",
                remedy=f"give one with `parley peer add {peer} --address HOST:PORT`",
            )
        return await dial(known.address, identity, PeerPin(peer, known.certificate), path)

    threads = home.settings.threads or os.cpu_count() or 1
    party = Party(home, reach, CLOCKS, threads, log)
    refused = lambda address, why: log(f"turned away {address}: {why}")  # noqa: E731
    async with PeerListener(host, port, identity, pins, party.connected, on_refused=refused) as listener:
        log(f"{home.settings.party} listens on {listener.address}")
        log(f"its certificate is {grouped(identity.fingerprint)}")
        party.recover()
        try:
            await asyncio.Event().wait()
        finally:
            await party.stop()


async def submit(
    path: Path, plan: str, tell: Callable[[control.Progress], None]
) -> control.Done | control.Failed:
    """Ask our own running party to run a plan.

    Raises:
        UsageError: it is not running.
    """
    home = Home.open(path)
    identity = Identity.load(home.identity_folder)
    pin = PeerPin(identity.party, identity.certificate_pem)
    try:
        transport = await dial(home.settings.listen, identity, pin, "/control")
    except ParleyError as error:
        raise UsageError(
            "party-not-running",
            f"{identity.party} is not running: {error.what}",
            remedy=f"start it with `parley up --home {path}`",
        ) from error
    setting = Setting(control.STEPS, control.CLIENT, "control", Trace(CLOCKS.monotonic), _SILENCE)
    async with CheckedChannel(transport, setting) as checked:
        channel: Channel = checked
        await channel.send(control.Submit(plan))
        while True:
            message = await channel.recv(control.Progress, control.Done, control.Failed)
            if not isinstance(message, control.Progress):
                return message
            tell(message)
