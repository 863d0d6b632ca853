"""What the ledger costs a training: the same 50-tree run with and without one, alternating.

Every party is a process of its own; they talk over mutual TLS on this machine. Without a ledger two
parties take part, with it a third that holds no data cosigns. Compared is the wall time of the training
step as the active party's report has it; start and end of a run, where it waits for the ledger, stand
apart. The share is that of the medians.

With --cometbft the same for a consortium of four that has moved to CometBFT, all four nodes on this machine.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import signal
import socket
import statistics
import tempfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from parley.core.errors import ParleyError
from parley.ledger.contract.fields import Role
from parley.ledger.encoding import Value
from parley.ledger.engines.cometbft.binary import SETTING
from parley.net.certificates import Identity
from parley.party import compose, node, tables
from parley.party.chronicle import Chronicle
from parley.protocols import control
from parley.store.catalogue import Peer, TableRecord
from parley.store.home import Home, Settings

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "credit"
OWN_BINARY = Path(__file__).resolve().parents[1] / ".tools" / "bin" / "cometbft"
TABLES = {"bank": "accounts", "operator": "subscribers"}


@dataclass(frozen=True)
class Timing:
    """Seconds of the steps of one run at the active party."""

    steps: dict[str, float]


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serve(home: str) -> None:
    """The process of one party; its node is ended in order."""

    async def until_terminated() -> None:
        serving = asyncio.ensure_future(compose.serve(Path(home), lambda _line: None))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
        with suppress(asyncio.CancelledError):
            await serving

    asyncio.run(until_terminated())


@contextmanager
def up(*homes: Path) -> Iterator[None]:
    """Parties running, each in a process of its own."""
    context = multiprocessing.get_context("spawn")
    running: list[BaseProcess] = [context.Process(target=serve, args=(str(home),)) for home in homes]
    for process in running:
        process.start()
    try:
        yield
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.join()


def found(folder: Path, name: str) -> Path:
    """The home of a party on a free port, with its table registered if it has one."""
    home = folder / name
    compose.found(home, Settings(party=name, listen=f"127.0.0.1:{free_port()}", threads=2))
    if name in TABLES:
        source = str(EXAMPLE / f"{name}.csv.gz")
        Home.open(home).catalogue.keep_table(TableRecord(name=TABLES[name], source=source, id="id"))
    return home


def know(home: Path, other: Path) -> None:
    """Tell one party of another."""
    peer, identity = Home.open(other), Identity.load(Home.open(other).identity_folder)
    address = peer.settings.listen
    Home.open(home).catalogue.keep_peer(Peer(identity.party, address, identity.certificate_pem))


async def patiently(home: Path, kind: str, body: dict[str, Value]) -> control.Done:
    """Have a party submit a transaction, once it is up."""
    for _ in range(100):
        try:
            answer = await compose.transact(home, kind, body)
        except ParleyError:
            await asyncio.sleep(0.1)
            continue
        if isinstance(answer, control.Done):
            return answer
        raise SystemExit(f"{kind}: {answer.what}")
    raise SystemExit(f"{home} does not come up")


async def timed(home: Path, plan: str) -> Timing:
    """Run the plan at the bank."""
    for _ in range(100):
        try:
            answer = await compose.submit(home, plan, lambda _progress: None)
            break
        except ParleyError:
            await asyncio.sleep(0.1)
    if isinstance(answer, control.Failed):
        raise SystemExit(f"{answer.code}: {answer.what}")
    costs = json.loads(answer.report)["costs"]
    return Timing({cost["step"]: cost["seconds"] for cost in costs})


def without_ledger(folder: Path, plan: str) -> Timing:
    """Two parties that know each other's certificates."""
    bank, operator = found(folder, "bank"), found(folder, "operator")
    know(bank, operator)
    know(operator, bank)
    catalogue = Home.open(operator).catalogue
    shared = msgspec.structs.replace(catalogue.table(TABLES["operator"]), partners=("bank",))
    catalogue.keep_table(shared)
    with up(bank, operator):
        return asyncio.run(timed(bank, plan))


def with_ledger(folder: Path, plan: str) -> Timing:
    """A consortium of three, one of which holds no data."""
    homes = {name: found(folder, name) for name in ("bank", "operator", "regulator")}
    compose.create_consortium(homes["bank"], "bench", "holder")
    with up(homes["bank"]):
        asyncio.run(admit(homes["bank"], homes["operator"], "holder", []))
        with up(homes["operator"]):
            asyncio.run(admit(homes["bank"], homes["regulator"], "observer", [homes["operator"]]))
            with up(homes["regulator"]):
                return asyncio.run(approved(homes, plan))


def with_cometbft(folder: Path, plan: str) -> Timing:
    """A consortium of four on CometBFT, two of which hold no data."""
    homes = {name: found(folder, name) for name in ("bank", "operator", "regulator", "auditor")}
    bank, *others = homes.values()
    compose.create_consortium(bank, "bench", "holder")
    with ExitStack() as running:
        running.enter_context(up(bank))
        for number, newcomer in enumerate(others):
            role: Role = "holder" if newcomer == homes["operator"] else "observer"
            asyncio.run(admit(bank, newcomer, role, others[: min(number, 1)]))
            running.enter_context(up(newcomer))
        asyncio.run(move(bank, others))
        return asyncio.run(approved(homes, plan))


async def move(bank: Path, others: list[Path]) -> None:
    """Have every party prepare a node, the members vote for CometBFT, and all go over."""
    for home in (bank, *others):
        body = node.prepare(Home.open(home), f"127.0.0.1:{free_port()}", "", os.environ)
        await patiently(home, "member.announce-node", body)
    with Chronicle.open(Home.open(bank)) as ledger:
        height = ledger.height + 20
    subject: Value = {"kind": "engine", "height": height}
    body = {"subject": subject, "until": int(time.time()) + 3600}
    proposal = json.loads((await patiently(bank, "vote.propose", body)).report)["transaction"]
    for voter in others[:2]:
        await patiently(voter, "vote.cast", {"proposal": proposal, "ballot": "yes"})
    for home in (bank, *others):
        while not await has_moved(home):  # noqa: ASYNC110 (other processes)
            await asyncio.sleep(0.2)


async def has_moved(home: Path) -> bool:
    """Whether the party's own node makes blocks."""
    now = await compose.look(home)
    return now is not None and now.engine == "cometbft" and now.height > 0


async def admit(inviter: Path, newcomer: Path, role: Role, voters: list[Path]) -> None:
    """Invite a party, have the others vote for it, and let it join."""
    name = Home.open(newcomer).settings.party
    for _ in range(100):
        try:
            invitation, answer = await compose.invite(inviter, name, role, 1)
            break
        except ParleyError:
            await asyncio.sleep(0.1)
    if isinstance(answer, control.Failed):
        raise SystemExit(answer.what)
    proposal = json.loads(answer.report)["transaction"]
    for voter in voters:
        await patiently(voter, "vote.cast", {"proposal": proposal, "ballot": "yes"})
    await compose.join(newcomer, invitation.text)


async def approved(homes: dict[str, Path], plan: str) -> Timing:
    """Register the tables, and run the plan while the operator approves it."""
    for name, registered in TABLES.items():
        record = Home.open(homes[name]).catalogue.table(registered)
        table = tables.load(record)
        body = tables.commitment(record, table, Home.open(homes[name]).handles_secret)
        await patiently(homes[name], "table.register", body)
    approving = asyncio.create_task(approve(homes["operator"]))
    timing = await timed(homes["bank"], plan)
    await approving
    return timing


async def approve(home: Path) -> None:
    """Approve the first plan that turns up."""
    while True:
        await asyncio.sleep(0.2)
        with Chronicle.open(Home.open(home)) as ledger:
            plans = ledger.plans()
        if plans:
            await patiently(home, "plan.approve", {"plan": plans[0].id})
            return


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="runs of each kind")
    parser.add_argument("--cometbft", action="store_true", help="also with four members on CometBFT")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    chosen = parser.parse_args()
    plan = (EXAMPLE / "plan.toml").read_text()
    rounds = tomllib.loads(plan)["model"]["n_estimators"]
    if OWN_BINARY.exists():
        os.environ.setdefault(SETTING, str(OWN_BINARY))
    seconds: dict[str, list[float]] = {"without": [], "with": []}
    if chosen.cometbft:
        seconds["with the CometBFT"] = []
    gates: list[float] = []
    for number in range(chosen.repeats):
        with tempfile.TemporaryDirectory() as folder:
            seconds["without"].append(without_ledger(Path(folder), plan).steps["train"])
        with tempfile.TemporaryDirectory() as folder:
            timing = with_ledger(Path(folder), plan)
        seconds["with"].append(timing.steps["train"])
        gates.append(timing.steps["ledger"])
        if chosen.cometbft:
            with tempfile.TemporaryDirectory() as folder:
                seconds["with the CometBFT"].append(with_cometbft(Path(folder), plan).steps["train"])
        Console(stderr=True).print(f"repeat {number + 1} of {chosen.repeats}", highlight=False)
    medians = {kind: statistics.median(found) for kind, found in seconds.items()}
    overhead = medians["with"] / medians["without"] - 1
    table = Table("training", "median, s", "all, s", title=f"{rounds} rounds of the credit example")
    for kind, found_seconds in seconds.items():
        table.add_row(
            f"{kind} ledger", f"{medians[kind]:.2f}", ", ".join(f"{each:.2f}" for each in found_seconds)
        )
    Console().print(table)
    if chosen.cometbft:
        adds = medians["with the CometBFT"] / medians["without"] - 1
        Console().print(f"with CometBFT it adds {adds:+.1%} to the training")
    Console().print(
        f"the ledger adds {overhead:+.1%} to the training; its last gate takes {max(gates):.2f} s"
    )
    if chosen.json:
        result = {"training_overhead": overhead, "training_seconds": seconds, "gate_seconds": gates}
        if chosen.cometbft:
            result["training_overhead_cometbft"] = medians["with the CometBFT"] / medians["without"] - 1
        print(json.dumps(result | {"cores": multiprocessing.cpu_count()}))


if __name__ == "__main__":
    main()
