"""Real parties for tests: home folders, processes of `parley up`, and commands with their JSON answers."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from parley.cli.main import main
from parley.cli.shell import free_port
from parley.data.sources import parse_source, read

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "credit"
PATIENCE = 150.0

PLAN = """
name = "test"
purpose = "{purpose}"
[parties.bank]
table = "{bank_table}"
id = "id"
label = "{label}"
columns = [{bank_columns}]
[parties.operator]
table = "{operator_table}"
id = "id"
columns = [{operator_columns}]
[alignment]
rule = "digits"
[model]
n_estimators = {trees}
max_depth = 3
max_bins = 8
random_state = 1
[evaluation]
test_size = 0.25
seed = 1
[limits]
runs = {runs}
predictions = {predictions}
"""


def plan(folder, **words):
    """Write a plan for the two parties; what is not given is as it should be."""
    usual = {
        "bank_table": "accounts",
        "operator_table": "subscribers",
        "label": "default",
        "bank_columns": '"LIMIT_BAL", "BILL_AMT1", "PAY_AMT1"',
        "operator_columns": '"PAY_0", "EDUCATION"',
        "trees": 3,
        "runs": 1,
        "predictions": 0,
        "purpose": "to see that it works",
    }
    path = folder / f"plan-{len(list(folder.glob('plan-*')))}.toml"
    path.write_text(PLAN.format_map(usual | words))
    return path


def cut(folder, people=800):
    """Both tables of the credit example, with fewer people."""
    frames = {party: read(parse_source(str(EXAMPLE / f"{party}.csv.gz"))) for party in ("bank", "operator")}
    digits = {party: frame["id"].str.replace_all(r"\D", "") for party, frame in frames.items()}
    limit = digits["bank"].sort()[people]
    for party, frame in frames.items():
        frame.filter(digits[party] <= limit).write_csv(folder / f"{party}.csv")


@dataclass(frozen=True)
class Outcome:
    """How a command ended: exit code, JSON on standard output, text on standard error."""

    code: int
    answer: dict
    stderr: str

    @property
    def error(self):
        return self.answer["error"]


def environment(**more):
    kept = {name: value for name, value in os.environ.items() if name not in {"PARLEY_HOME", "PARLEY_DEBUG"}}
    return kept | {"PYTHONWARNINGS": "error", "COLUMNS": "80"} | more


def arguments(*words):
    return [sys.executable, "-m", "parley.cli", *map(str, words)]


def parley(*words):
    """Run a command with --json to its end, in this process: most tests are about its answer."""
    with redirect_stdout(io.StringIO()) as output, redirect_stderr(io.StringIO()) as remarks:
        code = main([*map(str, words), "--json"])
    return Outcome(code, json.loads(output.getvalue()), remarks.getvalue())


def spawned(*words, within=(), **more):
    """Run a command with --json to its end, in a process of its own; ``within``: words to put before it."""
    ended = subprocess.run(
        [*within, *arguments(*words), "--json"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=environment(**more),
        check=False,
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    return Outcome(ended.returncode, json.loads(ended.stdout), ended.stderr)


class Party:
    """A home folder, and the process that serves it if there is one."""

    def __init__(self, folder, name, address=None, run=parley, store="", api="", within=()):
        self._run = run
        self._within = within
        self.name = name
        self.home = folder / name
        self.address = f"127.0.0.1:{free_port()}" if address is None else address
        self.log = folder / f"{name}.log"
        self.process = None
        made = run("init", "--name", name, "--listen", self.address, "--home", self.home, "--store", store)
        assert made.code == 0, made.answer
        settings = self.home / "parley.toml"
        settings.write_text(settings.read_text().replace('api = "127.0.0.1:0"', f'api = "{api}"'))
        self.certificate = self.home / "identity" / "ca.pem"

    def do(self, *words):
        """Run a command at this party."""
        return self._run(*words, "--home", self.home)

    def done(self, *words):
        """Run a command that must succeed; returns its answer."""
        outcome = self.do(*words)
        assert outcome.code == 0, outcome.answer
        return outcome.answer

    def set(self, **values):
        """Write settings into its parley.toml; returns the text as it was."""
        path = self.home / "parley.toml"
        text = before = path.read_text()
        for name, value in values.items():
            text, found = re.subn(rf"(?m)^{name} = .*$", f"{name} = {value}", text)
            assert found == 1, text
        path.write_text(text)
        return before

    def meet(self, other, *, dials):
        address = ("--address", other.address) if dials else ()
        self.done("peer", "add", other.name, "--certificate", other.certificate, *address)

    def up(self):
        begins = len(self.said())
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(
                [*self._within, *arguments("up", "--home", self.home)],
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment(PARTY=str(self.home)),
            )
        self.wait_for("its certificate is", begins)
        return self

    def said(self):
        return self.log.read_text() if self.log.exists() else ""

    def wait_for(self, words, begins=0):
        """Wait until the log says so after the given place."""
        deadline = time.monotonic() + PATIENCE
        while words not in self.said()[begins:]:
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, f"{words!r} not in {self.said()[begins:]}"
            time.sleep(0.02)

    def workers(self):
        """Process ids of the workers that it has started and that still live, whether it lives or not."""
        return [
            int(process.name)
            for process in Path("/proc").iterdir()
            if process.name.isdecimal()
            and b"parley.party.worker" in _said(process / "cmdline")
            and f"PARTY={self.home}".encode() in _said(process / "environ")
        ]

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Stop it as an operator would; returns the exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(20)
        finally:
            self.process.kill()

    def runs(self):
        return self.done("runs")["runs"]


def _said(path):
    """Words of a process; none if it is gone."""
    try:
        return path.read_bytes().split(b"\0")
    except OSError:
        return []


@contextmanager
def watching(party, path, *words):
    """A running `parley run --json`."""
    process = subprocess.Popen(
        [*arguments("run", path, *words, "--home", party.home), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def two_parties(folder, people=800, run=parley, **stores):
    """A bank and an operator that know one another, have their tables registered, and serve."""
    cut(folder, people)
    bank, operator = (
        Party(folder, name, run=run, store=stores.get(name, "")) for name in ("bank", "operator")
    )
    bank.meet(operator, dials=True)
    operator.meet(bank, dials=False)
    bank.done("data", "add", "accounts", folder / "bank.csv", "--id", "id")
    operator.done("data", "add", "subscribers", folder / "operator.csv", "--id", "id", "--share-with", "bank")
    try:
        yield bank.up(), operator.up()
    finally:
        for party in (bank, operator):
            party.stop()


def failed(outcome, family, code, exit_code):
    """The command ended with that error, and said nothing else on standard output."""
    assert outcome.error["family"] == family, outcome.error
    assert outcome.error["code"] == code, outcome.error
    assert outcome.code == exit_code
    assert outcome.error["what"]
    assert outcome.error["remedy"]
    return outcome.error["what"]


# ── a consortium ──────────────────────────────────────────────────────────────────────────────────────


def until(found, patience=PATIENCE, every=0.02):
    """What ``found`` gives, once that is something."""
    deadline = time.monotonic() + patience
    while not (result := found()):
        assert time.monotonic() < deadline, found
        time.sleep(every)
    return result


def invited(member, name, *options, voters=()):
    """The string for a newcomer, after the votes of the others."""
    answer = member.done("invite", name, *options)
    assert set(answer["missing"]) == {voter.name for voter in voters}
    for voter in voters:
        until(lambda: open_vote(voter, answer["proposal"]))  # noqa: B023 (asked at once)
        voter.done("vote", answer["proposal"][:16], "yes")
    return answer["invitation"]


def open_vote(voter, proposal):
    return [each for each in voter.done("votes")["votes"] if each["id"] == proposal]


def history(party):
    return party.done("ledger", "show")["records"]


def caught_up(party, other):
    """Wait until a party has all that another has."""
    size = len(history(other))
    until(lambda: party.do("ledger", "show").answer.get("records", ())[size - 1 :])


@contextmanager
def consortium(folder, people=300, run=parley):
    """A bank and an operator with their tables, and a regulator without, on one ledger; all serve."""
    cut(folder, people)
    bank, operator, regulator = members = [
        Party(folder, name, run=run) for name in ("bank", "operator", "regulator")
    ]
    try:
        bank.done("consortium", "create", "test")
        bank.up()
        operator.done("join", invited(bank, "operator"))
        operator.up()
        regulator.done("join", invited(bank, "regulator", "--role", "observer", voters=[operator]))
        regulator.up()
        bank.done("data", "add", "accounts", folder / "bank.csv", "--id", "id")
        operator.done("data", "add", "subscribers", folder / "operator.csv", "--id", "id")
        caught_up(regulator, operator)
        yield members
    finally:
        for party in members:
            party.stop()
