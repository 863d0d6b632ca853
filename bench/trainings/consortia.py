"""Organisations that train together: without a ledger, with the embedded one, with CometBFT."""

import asyncio
import json
import os
import socket
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from parley.core.errors import ParleyError
from parley.ledger.contract.fields import Role
from parley.ledger.encoding import Value
from parley.net.certificates import Identity
from parley.party import compose, node, tables
from parley.party.chronicle import Chronicle
from parley.protocols import control
from parley.store.catalogue import Peer, TableRecord
from parley.store.home import Home
from parley.store.settings import Settings
from trainings.data import Data
from trainings.processes import Parties

_ATTEMPTS: Final = 100
R = TypeVar("R")
_REST: Final = 3.0
"""Seconds before a run, in which the parties have nothing else to do."""


@dataclass(frozen=True)
class Run:
    """What one run has cost.

    Attributes:
        train: seconds of the training step at the active party.
        whole: seconds from the plan to the report.
        processor_train: processor seconds of all processes while the rounds went on.
        processor_whole: processor seconds of all processes in that time.
        by_process: `processor_train` of each kind of process.
        gate: seconds that the active party waited for the ledger in the end.
    """

    train: float
    whole: float
    processor_train: float
    processor_whole: float
    gate: float
    by_process: dict[str, float]


class Consortium:
    """Some organisations that have all that a plan needs, up and running.

    Args:
        kind: without a ledger, with one, or with CometBFT.
        folder: for their homes.
        data: the plan, and the tables of bank and operator.
    """

    def __init__(self, kind: str, folder: Path, data: Data) -> None:
        self.kind = kind
        self.parties = Parties()
        self._folder = folder / kind
        self.data = data
        _SET_UP[kind](self)

    def found(self, name: str) -> Path:
        """The home of a party on a free port, with its table registered if it has one."""
        home = self._folder / name
        compose.found(home, Settings(party=name, listen=f"127.0.0.1:{_free_port()}", threads=2))
        if name in self.data.tables:
            table, source = self.data.tables[name]
            Home.open(home).catalogue.keep_table(TableRecord(name=table, source=source, id="id"))
        return home

    def run(self) -> Run:
        """Run the plan at the bank."""
        time.sleep(_REST)
        return asyncio.run(self._run())

    async def _run(self) -> Run:
        taken: list[dict[str, float]] = []

        def tell(progress: control.Progress) -> None:
            # the first and the last word of the phase in which the rounds are
            if progress.phase == "train" and (progress.seconds >= 0 or not progress.done):
                taken.append(self.parties.by_process())

        approving = asyncio.create_task(self._approve())
        began, at = self.parties.processor_seconds(), time.monotonic()
        answer = await _attempted(lambda: compose.submit(self._folder / "bank", self.data.plan, tell))
        used, seconds = self.parties.processor_seconds() - began, time.monotonic() - at
        approving.cancel()
        if isinstance(answer, control.Failed):
            raise SystemExit(f"{answer.code}: {answer.what}")
        steps = {cost["step"]: cost["seconds"] for cost in json.loads(answer.report)["costs"]}
        each = {kind: after - taken[0].get(kind, 0.0) for kind, after in taken[-1].items()}
        return Run(
            train=steps["train"],
            whole=seconds,
            processor_train=sum(each.values()),
            processor_whole=used,
            gate=steps.get("ledger", 0.0),
            by_process=each,
        )

    async def _approve(self) -> None:
        """At the operator, approve the plan when it is proposed; later runs find it approved."""
        home = self._folder / "operator"
        if self.kind == "without" or (self._folder / "approved").exists():
            return
        while True:
            await asyncio.sleep(0.2)
            with Chronicle.open(Home.open(home)) as ledger:
                plans = ledger.plans()
            if plans:
                await _transacted(home, "plan.approve", {"plan": plans[0].id})
                (self._folder / "approved").touch()
                return


def _without_ledger(consortium: Consortium) -> None:
    """Two parties that know each other's certificates."""
    bank, operator = consortium.found("bank"), consortium.found("operator")
    _know(bank, operator)
    _know(operator, bank)
    catalogue = Home.open(operator).catalogue
    shared = msgspec.structs.replace(
        catalogue.table(consortium.data.tables["operator"][0]), partners=("bank",)
    )
    catalogue.keep_table(shared)
    consortium.parties.start(bank, operator)


def _with_ledger(consortium: Consortium) -> None:
    """A consortium of three, one of which holds no data."""
    _begun(consortium, "regulator")


def _with_cometbft(consortium: Consortium) -> None:
    """A consortium of four on CometBFT, two of which hold no data."""
    asyncio.run(_move(_begun(consortium, "regulator", "auditor")))


_SET_UP: Final[dict[str, Callable[[Consortium], None]]] = {
    "without": _without_ledger,
    "with": _with_ledger,
    "with CometBFT": _with_cometbft,
}


def _begun(consortium: Consortium, *observers: str) -> list[Path]:
    """Bank, operator and some observers, who share a ledger on which the tables are."""
    bank, *others = homes = [consortium.found(name) for name in (*consortium.data.tables, *observers)]
    compose.create_consortium(bank, "bench", "holder")
    consortium.parties.start(bank)
    for number, newcomer in enumerate(others):
        role: Role = "observer" if number else "holder"
        asyncio.run(_admit(bank, newcomer, role, others[: min(number, 1)]))
        consortium.parties.start(newcomer)
    for home, (registered, _) in zip(homes, consortium.data.tables.values(), strict=False):
        record = Home.open(home).catalogue.table(registered)
        body = tables.commitment(record, tables.load(record), Home.open(home).handles_secret)
        asyncio.run(_transacted(home, "table.register", body))
    return homes


def _free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _know(home: Path, other: Path) -> None:
    """Tell one party of another."""
    peer, identity = Home.open(other), Identity.load(Home.open(other).identity_folder)
    address = peer.settings.listen
    Home.open(home).catalogue.keep_peer(Peer(identity.party, address, identity.certificate_pem))


async def _admit(inviter: Path, newcomer: Path, role: Role, voters: list[Path]) -> None:
    """Invite a party, have the others vote for it, and let it join."""
    name = Home.open(newcomer).settings.party
    invitation, answer = await _attempted(lambda: compose.invite(inviter, name, role, 1))
    if isinstance(answer, control.Failed):
        raise SystemExit(answer.what)
    proposal = json.loads(answer.report)["transaction"]
    for voter in voters:
        await _transacted(voter, "vote.cast", {"proposal": proposal, "ballot": "yes"})
    await compose.join(newcomer, invitation.text)


async def _move(homes: list[Path]) -> None:
    """Have every party prepare a node, the members vote for CometBFT, and all go over."""
    bank, *others = homes
    for home in homes:
        body = node.prepare(Home.open(home), f"127.0.0.1:{_free_port()}", "", os.environ)
        await _transacted(home, "member.announce-node", body)
    with Chronicle.open(Home.open(bank)) as ledger:
        height = ledger.height + 20
    subject: Value = {"kind": "engine", "height": height}
    body = {"subject": subject, "until": int(time.time()) + 3600}
    proposal = json.loads((await _transacted(bank, "vote.propose", body)).report)["transaction"]
    for voter in others[:2]:
        await _transacted(voter, "vote.cast", {"proposal": proposal, "ballot": "yes"})
    for home in homes:
        while not await _has_moved(home):  # noqa: ASYNC110 (other processes)
            await asyncio.sleep(0.2)


async def _has_moved(home: Path) -> bool:
    """Whether the party's own node makes blocks."""
    now = await compose.look(home)
    return now is not None and now.engine == "cometbft" and now.height > 0


async def _transacted(home: Path, kind: str, body: dict[str, Value]) -> control.Done:
    """Have a party submit a transaction, once it is up."""
    answer = await _attempted(lambda: compose.transact(home, kind, body))
    if isinstance(answer, control.Done):
        return answer
    raise SystemExit(f"{kind}: {answer.what}")


async def _attempted(ask: Callable[[], Coroutine[object, object, R]]) -> R:
    """Ask a party until it is up."""
    for _ in range(_ATTEMPTS):
        try:
            return await ask()
        except ParleyError:
            await asyncio.sleep(0.1)
    raise SystemExit("a party does not come up")
