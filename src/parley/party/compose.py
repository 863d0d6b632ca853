"""Where concrete adapters are chosen: clocks, certificates, transports, stores."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec

from parley.core.conversation import Channel
from parley.core.errors import ParleyError, PolicyRefused, UsageError
from parley.core.log import Log, Record
from parley.core.trace import Trace
from parley.ledger.contract import Receipt
from parley.ledger.contract.fields import Role
from parley.ledger.encoding import Value
from parley.ledger.engines.embedded.member import LedgerMember, Surroundings
from parley.ledger.engines.moving import MovingMember
from parley.net.authority import Authority
from parley.net.certificates import Identity, grouped, has_identity
from parley.net.channel import CheckedChannel, Setting
from parley.net.handover import Tickets
from parley.net.knock import shown_certificate
from parley.net.links import LINK, Links
from parley.net.proxy import Proxies
from parley.net.transport import Transport
from parley.net.websocket import PeerListener, PeerPin, WebSocketTransport, dial
from parley.party import node, rotation
from parley.party.address import address_of
from parley.party.board import Board, Observer
from parley.party.contacts import Contacts, watch
from parley.party.credentials import Credentials, draw_next, forget_next, take_over
from parley.party.desk import LEDGER, reaching
from parley.party.entry import enter
from parley.party.examination import Examiner, Reach
from parley.party.finding import Finding
from parley.party.gate import APPROVAL
from parley.party.invitations import Invitation
from parley.party.ledger import (
    PartyLedger,
    announcement,
    found_consortium,
    no_consortium,
    open_log,
)
from parley.party.office import Clocks, Office
from parley.party.releasing import Wanted
from parley.party.replacing import change_over
from parley.party.running import Beside, Running, alone
from parley.party.service import Party
from parley.party.telemetry import spans_of
from parley.party.tending import tend
from parley.party.turns import Turns
from parley.party.upkeep import keep_up, until_either
from parley.protocols import control, joining
from parley.store.home import Home
from parley.store.keys import LedgerKeys
from parley.store.settings import Settings

CLOCKS = Clocks(wall=time.time, monotonic=time.perf_counter)
_SILENCE = 365 * 86400.0
_LOOPBACK = "127.0.0.1"
_OWN = 7.0
"""Seconds for our own party to answer a program of ours: one that stands still is to be named within ten."""


def _now() -> datetime:
    return datetime.fromtimestamp(CLOCKS.wall(), UTC)


def found(path: Path, settings: Settings) -> Identity:
    """Make a home folder with a fresh identity, under an authority of its own.

    Raises:
        UsageError: name or address cannot be used, or the folder holds a party already or cannot be written.
    """
    if settings.listen:
        address_of(settings.listen)
    authority = Authority.create(settings.party)
    identity = authority.issue()
    try:
        home = Home.create(path, settings)
    except OSError as error:
        raise UsageError(
            "home-not-writable",
            f"{path} cannot be made a home: {error.strerror}",
            remedy="choose a folder that this user may write to",
        ) from error
    if not has_identity(home.identity_folder):  # else it is not ours to overwrite, and saving refuses
        authority.save(home.identity_folder)
    identity.save(home.identity_folder)
    return identity


def log_of(settings: Settings, take: Callable[[Record], None]) -> Log:
    """The log of a party; ``take`` takes each record."""
    return Log(settings.party, CLOCKS.wall, take)


async def serve(path: Path, log: Log, beside: Beside = alone) -> None:
    """Run a party until it is cancelled.

    Args:
        path: its home.
        log: for the operator.
        beside: serves as long as the party does.

    Raises:
        UsageError: the folder is not a party's home or runs already, its store cannot be used, its
            ledger is damaged, or its port is taken.
    """
    home = Home.open(path)
    with home.held() as make_sure:
        home.catalogue.peers()  # a store that cannot be used is said before a port is open
        await _serve(home, make_sure, log, beside)


async def _serve(home: Home, make_sure: Callable[[], None], log: Log, beside: Beside) -> None:
    credentials = Credentials(home.identity_folder, _now, log)
    contacts = Contacts(home, CLOCKS.wall)
    ledger = await asyncio.to_thread(_ledger, home, contacts, log)
    contacts.ledger = ledger
    threads = home.settings.threads or os.cpu_count() or 1
    proxies = Proxies.read(os.environ)
    around = Reach(
        credentials.current, contacts.contact, contacts.linked, contacts.dial, proxies, listening=True
    )
    examiner = Examiner(around, contacts.about, lambda: list(contacts.peers()), CLOCKS.monotonic, log)
    turns = Turns(home.settings.runs_at_once)
    board, spans = Board(CLOCKS.monotonic), spans_of(home.settings.party, os.environ, log)
    observers: tuple[Observer, ...] = (board,) if spans is None else (board, spans)
    office = Office(home, contacts.dial, CLOCKS, threads, log, turns, ledger, observers)
    party = Party(office, examiner)
    links = Links(
        credentials.current,
        contacts.contact,
        party.connected,
        proxies=proxies,
        kept=contacts.kept,
        relays=home.settings.relay,
        log=log,
    )
    links.doubted = partial(change_over, ledger, home)
    contacts.links = links
    front = _Front(home, links, party, log)
    tickets = Tickets(CLOCKS.monotonic)
    running = Running(
        credentials.current, office, party, links, board, contacts.peers, tickets, CLOCKS.wall()
    )
    async with AsyncExitStack() as stack:
        listener = await stack.enter_async_context(front.listener(credentials, contacts.pins, tickets))
        await stack.enter_async_context(links)
        front.announce(listener)
        credentials.look()
        log(f"its certificate is {grouped(credentials.current().fingerprint)}")
        await stack.enter_async_context(beside(running))
        party.recover()
        keeping = [asyncio.create_task(credentials.keep(links.look))]
        if ledger is not None:
            keeping.append(asyncio.create_task(watch(ledger, home, links)))
        try:
            await until_either(_keep(ledger, home, credentials, log), keep_up(office, make_sure))
        finally:
            for task in keeping:
                task.cancel()
            await asyncio.gather(*keeping, return_exceptions=True)
            await party.stop()
            if spans is not None:
                await asyncio.to_thread(spans.close)


class _Front:
    """Who comes in at the port, or, at a party that only dials out, at the one for our own command line."""

    def __init__(self, home: Home, links: Links, party: Party, log: Log) -> None:
        self._home = home
        self._links = links
        self._party = party
        self._log = log

    def listener(
        self, credentials: Credentials, pins: Callable[[], dict[str, PeerPin]], tickets: Tickets
    ) -> PeerListener:
        """The listener, not entered yet."""
        listen = self._home.settings.listen
        host, port = address_of(listen) if listen else (_LOOPBACK, 0)
        return PeerListener(
            host,
            port,
            credentials.current,
            pins if listen else {},
            self._connected,
            on_refused=lambda address, why: self._log.say("warning", f"turned away {address}: {why}"),
            tickets=tickets,
        )

    def announce(self, listener: PeerListener) -> None:
        """Say where we listen, and note it where our command line looks."""
        name = self._home.settings.party
        self._home.keep_control(listener.address)
        if self._home.settings.listen:
            self._log(f"{name} listens on {listener.address}")
        else:
            self._log(f"{name} dials out only; its own command line reaches it on {listener.address}")

    async def _connected(self, peer: str, path: str, transport: WebSocketTransport) -> None:
        """Links, and the two kinds of connections that are none; conversations come as streams."""
        if path == LINK:
            await self._links.accept(peer, transport)
        elif path in {"/control", "/join"} or peer == self._home.settings.party:
            await self._party.connected(peer, path, transport)
        else:
            self._log.about(peer=peer).say("warning", f"{peer} asked for {path[:80]!r} beside its link")


async def _keep(
    ledger: PartyLedger | None, home: Home, credentials: Credentials, log: Callable[[str], None]
) -> None:
    """Run the ledger's engine, and what the party does there by itself; without a ledger, wait."""
    if ledger is None:
        await asyncio.Event().wait()
        return

    def endpoint() -> dict[str, Value]:
        return announcement(home.settings.reached_at(), credentials.current().certificate_pem)

    tending = asyncio.create_task(tend(ledger, home, endpoint, log))
    try:
        await ledger.member.run()
    finally:
        tending.cancel()
        await asyncio.gather(tending, return_exceptions=True)


def _ledger(home: Home, contacts: Contacts, log: Callable[[str], None]) -> PartyLedger | None:
    """The party's ledger with its engine, not yet running."""
    membership = home.membership
    if membership is None:
        return None
    around = Surroundings(
        open=reaching(contacts.dial, CLOCKS.monotonic),
        wall=CLOCKS.wall,
        monotonic=CLOCKS.monotonic,
        log=log,
        asked=contacts.asked,
        had=contacts.had,
    )
    go_over = partial(node.open_engine, home, node.Around(os.environ, around.open, log))
    keys = LedgerKeys.load(home.path / "keys")
    if node.has_moved(home):
        return PartyLedger(go_over(), keys)
    opened = open_log(home, membership.consortium)
    if opened.size:
        rotation.settle(home, opened.replica.state)
    embedded = LedgerMember(opened, around, membership.sequencer)
    return PartyLedger(MovingMember(embedded, go_over, log), keys)


def create_consortium(path: Path, name: str, role: Role) -> str:
    """Begin a ledger with this party as its first member; returns the consortium's id."""
    home = Home.open(path)
    identity = Identity.load(home.identity_folder)
    return found_consortium(home, name, identity.certificate_pem, role, int(CLOCKS.wall()))


async def invite(
    path: Path, name: str, role: Role, hours: int
) -> tuple[Invitation, control.Done | control.Failed]:
    """Propose to admit a newcomer, and make the string for it.

    Raises:
        UsageError: we belong to no consortium, are not running, or do not know how we are reached.
    """
    home = Home.open(path)
    identity = Identity.load(home.identity_folder)
    if home.membership is None:
        raise no_consortium(identity.party)
    address = home.settings.reached_at()
    if not address:
        raise UsageError(
            "address-unknown",
            f"{identity.party} only dials out, so a newcomer could not knock at it",
            remedy="have a member invite whom others can dial",
        )
    until = int(CLOCKS.wall()) + hours * 3600
    invitation = Invitation.fresh(
        name,
        address,
        identity.party,
        identity.fingerprint,
        home.membership.consortium,
        until,
    )
    subject: Value = {
        "kind": "admit",
        "member": name,
        "role": role,
        "invitation": invitation.key.public.hex(),
        "until": until,
    }
    answer = await transact(path, "vote.propose", {"subject": subject, "until": until})
    if isinstance(answer, control.Done) and msgspec.json.decode(answer.report, type=Receipt).accepted:
        home.catalogue.keep_invitation(name, invitation.identity.certificate_pem, until)
    return invitation, answer


async def join(path: Path, text: str) -> Invitation:
    """Become a member with an invitation.

    Raises:
        UsageError: the invitation is damaged, expired, or for another name.
        PolicyRefused: the inviter does not know the invitation, or no longer.
        PeerMisbehaved: whoever answers is not the inviter.
        PeerAborted: the inviter refuses.
    """
    home = Home.open(path)
    home.settings.reached_at()
    own = Identity.load(home.identity_folder)
    invitation = Invitation.parse(text, CLOCKS.wall())
    if invitation.name != own.party:
        raise UsageError(
            "invitation-for-another",
            f"the invitation is for {invitation.name}, we are {own.party}",
            remedy=f"ask {invitation.inviter} for one in our name",
        )
    if home.membership is not None:
        raise UsageError(
            "consortium-exists",
            f"{own.party} belongs to a consortium already",
            remedy="use another home for another consortium",
        )
    proxies = Proxies.read(os.environ)
    certificate = await shown_certificate(
        invitation.address, invitation.inviter, invitation.fingerprint, proxies
    )
    pin = PeerPin(invitation.inviter, certificate)
    try:
        transport = await dial(invitation.address, invitation.identity, pin, "/join", proxies=proxies)
    except PolicyRefused as error:
        raise PolicyRefused(
            "invitation-not-open",
            f"{invitation.inviter} knows no such invitation: it was used or replaced, or its vote was lost",
            remedy=f"ask {invitation.inviter} for a new one",
        ) from error
    setting = Setting(joining.STEPS, joining.NEWCOMER, LEDGER, Trace(CLOCKS.monotonic))
    async with CheckedChannel(transport, setting) as channel:
        await enter(channel, home, invitation, own.certificate_pem)
    return invitation


async def transact(path: Path, type_: str, body: dict[str, Value]) -> control.Done | control.Failed:
    """Ask our own running party to sign and submit a transaction."""
    return await _ask(path, control.Transact(type_, msgspec.json.encode(body)), lambda _: None)


async def release_model(path: Path, wanted: Wanted) -> control.Done | control.Failed:
    """Ask our own running party to consent to the release of a model."""
    asked = control.Release(wanted.model, wanted.predictions or 0, wanted.until or 0)
    return await _ask(path, asked, lambda _: None)


async def fetch_pieces(path: Path, model: str) -> control.Done | control.Failed:
    """Ask our own running party for the pieces of a model that we may hold whole."""
    return await _ask(path, control.Fetch(model), lambda _: None)


async def prepare_node(path: Path, listen: str, address: str) -> control.Done | control.Failed | None:
    """Prepare our CometBFT node, and have our running party announce it; nothing if the party is not running.

    Without a consortium it is announced when we join one.

    Raises:
        UsageError: as `node.prepare`.
    """
    home = Home.open(path)
    body = node.prepare(home, listen, address, os.environ)
    if home.membership is None:
        return None
    try:
        return await transact(path, "member.announce-node", body)
    except UsageError as error:
        if error.code != "party-not-running":
            raise
        return None


async def promise(path: Path, successor: str) -> control.Done | control.Failed:
    """Ask our own running party to promise that another member orders, the sequencer being lost."""
    return await _ask(path, control.Promise(successor), lambda _: None)


async def replace_identity(path: Path, *, at_once: bool) -> control.Done | control.Failed | None:
    """Draw another identity, and have it take the place of ours; nothing if it cannot be announced now.

    In a consortium our running party announces it, and uses it when the ledger has it; if the party is not
    running, when it is started. Without one the new identity is in place at once.

    Args:
        path: home of the party.
        at_once: put it in place before the ledger has it.

    Raises:
        UsageError: the folder cannot be written.
    """
    home = Home.open(path)
    draw_next(home.identity_folder, home.settings.party)
    if home.membership is None:
        take_over(home.identity_folder)
        forget_next(home.identity_folder)
        return None
    if at_once:
        take_over(home.identity_folder)
    try:
        return await _ask(path, control.Replace(), lambda _: None)
    except UsageError as error:
        if error.code not in ("party-not-running", "identity-missing", "identity-expired"):
            raise
        return None


async def rotate_key(path: Path) -> control.Done | control.Failed:
    """Ask our own running party to replace its cosigning key."""
    return await _ask(path, control.Rotate(), lambda _: None)


async def submit(
    path: Path,
    plan: str,
    tell: Callable[[control.Progress], None],
    wait: float = APPROVAL,
    priority: int = 0,
) -> control.Done | control.Failed:
    """Ask our own running party to run a plan.

    Args:
        path: home of the party.
        plan: TOML text.
        tell: takes progress.
        wait: seconds that the plan's approval may take.
        priority: among the runs that wait for their turn; the higher, the sooner.
    """
    return await _ask(path, control.Submit(plan, wait, priority), tell)


async def cancel(path: Path, run: str) -> control.Done | control.Failed:
    """Ask our own running party to end a run without a model, at every party."""
    return await _ask(path, control.Cancel(run), lambda _: None)


async def resume(path: Path, run: str) -> control.Done | control.Failed:
    """Ask our own running party to go on at once with a run that stands still."""
    return await _ask(path, control.Resume(run), lambda _: None)


async def look(path: Path) -> control.Condition | None:
    """How our own running party's ledger member stands; nothing if the party is not running."""
    try:
        answer = await _ask(path, control.Look(), lambda _: None)
    except UsageError:
        return None
    if isinstance(answer, control.Failed):
        return None
    return msgspec.json.decode(answer.report, type=control.Condition)


async def examine(path: Path, peer: str) -> tuple[Finding, ...]:
    """Ask our own running party what is wrong between it and a peer; no peer: about its clock.

    Raises:
        UsageError: it is not running.
    """
    answer = await _ask(path, control.Examine(peer), lambda _: None)
    if isinstance(answer, control.Failed):
        return (Finding("ourselves", "failure", answer.what, answer.remedy, answer.code),)
    return msgspec.json.decode(answer.report, type=tuple[Finding, ...])


def own_party(path: Path) -> Callable[[str], Awaitable[Transport]]:
    """How a program of ours reaches our running party, by path.

    What it gives raises `UsageError` if the party is not running.
    """
    home = Home.open(path)

    async def reach(wanted: str) -> Transport:
        identity = Identity.load(home.identity_folder)  # a program may outlive a certificate
        pin = PeerPin(identity.party, identity.certificate_pem)
        try:
            return await dial(home.control, identity, pin, wanted, timeout=_OWN)
        except ParleyError as error:
            raise UsageError(
                "party-not-running",
                f"{identity.party} is not running: {error.what}",
                remedy=f"start it with `parley up --home {path}`",
            ) from error

    return reach


async def _ask(
    path: Path,
    request: control.Request,
    tell: Callable[[control.Progress], None],
) -> control.Done | control.Failed:
    """Ask our own running party.

    Raises:
        UsageError: it is not running.
    """
    transport = await own_party(path)("/control")
    setting = Setting(control.STEPS, control.CLIENT, "control", Trace(CLOCKS.monotonic), _SILENCE)
    async with CheckedChannel(transport, setting) as checked:
        channel: Channel = checked
        await channel.send(request)
        while True:
            message = await channel.recv(control.Progress, control.Done, control.Failed)
            if not isinstance(message, control.Progress):
                return message
            tell(message)
