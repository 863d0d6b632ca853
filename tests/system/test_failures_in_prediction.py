"""Faults at any time while a model is used, drawn by a seed: what comes out is what would have come out.

A drawn fault befalls the program that predicts, our own running party, the passive party, the worker that
answers there, or the link between the two parties. What is asserted of a list of ids (`parley predict`):

1. If the program stays up and cannot go on, it says within ten seconds (`faults.REQUIRED`) who is the
   reason: the passive party by name, or our own; by the error it ends with, or by what it waits for.
2. After the repair, the same command (again, if it had ended) leaves the very rows that it leaves
   undisturbed, but for the receipts, which name pages; each id of the list is counted once on the ledger.

And of single requests (`parley serve`): what rests on all parties is what training gave; whoever asks hears
within ten seconds that somebody is away, by an answer that says so or by an error, and nothing else while
the fault lasts; afterwards all is as before; and what was given out is counted once.
"""

import json
import os
import pty
import random
import signal
import subprocess
import threading
import time
from contextlib import ExitStack, contextmanager, suppress

import polars as pl
import pytest

from tests.between import Between
from tests.system.faults import (
    DRAWN,
    FIRST,
    LASTING,
    LINK,
    PASSING,
    PROCESS,
    SLOW_TO_HEAR,
    Fault,
    befall_link,
    heard,
    reported,
)
from tests.system.parties import Party, arguments, cut, environment, history, invited, until
from tests.system.released import ENOUGH, Service, answerers, joined, released, trained

pytestmark = [pytest.mark.timeout(300), pytest.mark.soak]

CHUNKS = 5
CHUNK = 65536
PACED = 60_000.0
"""Bytes per second and way between the parties, so that there is time for a fault."""
ENROLS = 20_000
"""Bytes that pass between the parties only when somebody enrols or asks."""
KINDS = {
    "program": PROCESS,
    "bank": PROCESS,
    "operator": PROCESS,
    "answerer": ("kill", "hang"),
    "link": (*LINK, *PASSING),
}
MOMENTS = ("enrolling", "middle", "end")
FALLBACK = ("--fallback", "active-only", "--deadline", "2000")


def drawn(seed):
    """A fault, and how long a list's program may wait for a peer, in seconds."""
    chance = random.Random(seed)
    victim = chance.choice(tuple(KINDS))
    fault = Fault.drawn(chance.getrandbits(32), KINDS[victim], MOMENTS, CHUNKS - 1, (victim,))
    return fault, chance.choice((1, 300))


class Networks:
    """Both ways by which the parties reach one another."""

    def __init__(self, *networks):
        self._networks = networks

    def tell(self, what, **how):
        for each in self._networks:
            each.tell(what, **how)

    @property
    def passed(self):
        return sum(each.passed for each in self._networks)


class List:
    """A running `parley predict`; what it says on a terminal is kept with the time."""

    def __init__(self, words):
        terminal, theirs = pty.openpty()
        self.began = time.time()
        self._said = []
        self.process = subprocess.Popen(
            [*words, "--json"],
            stdout=subprocess.PIPE,
            stderr=theirs,
            text=True,
            env=environment(COLUMNS="200", TERM="xterm"),
        )
        os.close(theirs)
        self._hearing = threading.Thread(target=self._hear, args=(terminal,))
        self._hearing.start()
        self.ended = None
        self._waiting = threading.Thread(target=self._wait)
        self._waiting.start()

    def _hear(self, terminal):
        with suppress(OSError):
            while data := os.read(terminal, 1 << 16):
                self._said.append((time.time(), data.decode(errors="replace")))
        os.close(terminal)

    def _wait(self):
        with self.process.stdout as answer:
            self.answer = answer.read()
        self.process.wait()
        self.ended = time.time()

    @property
    def over(self):
        return self.ended is not None

    def names(self, since):
        """What it said first of who is away, and when, see `faults.heard`."""
        for when, text in self._said:
            if when >= since:
                if "waits for operator" in text:
                    return heard(when - since, "waits", "operator")
                if "own party is away" in text:
                    return heard(when - since, "own-party-away", "ourselves")
        if self.ended is not None and self.process.returncode > 0:
            error = json.loads(self.answer)["error"]
            named = next((name for name in ("operator", "bank") if name in error["what"].split()), "")
            return heard(self.ended - since, error["code"], named or "ourselves")
        return heard()

    def close(self):
        self.process.kill()
        self._waiting.join()
        self._hearing.join()


class Asker:
    """Somebody who asks a service for the same ids all the time, until closed."""

    def __init__(self, service, ids):
        self._service, self._ids = service, ids
        self.answers = []
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self):
        while not self._enough.wait(0.1):
            asked = time.time()
            try:
                status, answer = self._service.ask(*self._ids)
            except (OSError, ValueError) as error:
                status, answer = 0, {"code": type(error).__name__}
            self.answers.append((asked, time.time(), status, answer))

    def used(self):
        """Predictions that count, by the service."""
        return self._service.shown()["used"]

    def close(self):
        self._enough.set()
        self._thread.join()


class Stage:
    """A bank and an operator with a released model, a network between them, and a list with its scores."""

    def __init__(self, folder, bank, operator, network, model):
        self.folder, self.network, self.model = folder, network, model
        self.bank, self.operator = bank, operator
        self.expected = joined(model, bank=bank.home, operator=operator.home)
        known = list(self.expected)
        count, every = CHUNKS * CHUNK - 100, CHUNKS * CHUNK // len(known)
        ids = (
            known[n // every] if n % every == 0 and n // every < len(known) else f"9{n:09}"
            for n in range(count)
        )
        self.ids = list(ids)
        self.listed = folder / "ids.csv"
        pl.DataFrame({"id": self.ids}).write_csv(self.listed)
        bank.done(*self.words("undisturbed.csv"))
        self.undisturbed = self.rows("undisturbed.csv")
        margins = dict(self.undisturbed.filter(pl.col("basis") == "joint").select("id", "margin").iter_rows())
        assert margins == self.expected
        network.tell("pace", rate=PACED)

    def words(self, out, patience=300):
        more = ("--fallback", "missing", "--patience", patience)
        return ("predict", self.model, "--ids", self.listed, "--out", self.folder / out, *more)

    def rows(self, out):
        """What must be the same each time."""
        return pl.read_csv(self.folder / out, schema_overrides={"id": pl.String}).drop("receipt")

    def counted(self):
        """Predictions on the ledger."""
        commits = [each for each in history(self.bank) if each["type"] == "prediction.commit"]
        return sum(each["body"]["count"] for each in commits)

    def scored(self, out):
        """Chunks of a list that are scored; all, once the output is there."""
        if (self.folder / out).exists():
            return CHUNKS
        return len(list(self.folder.glob(f"{out}.parts/*-*.parquet")))

    # ── faults ────────────────────────────────────────────────────────────────────────────────────────

    def befall(self, fault, program, meanwhile):
        """Let it happen, and repair it, but for the program; ``meanwhile``: called before the repair."""
        if fault.victim == "link":
            befall_link(self.network.tell, fault, meanwhile)
        elif fault.victim == "answerer":
            self._processes(fault, answerers(self.operator), meanwhile)
        elif fault.victim == "program":
            self._processes(fault, [program.pid] if program.poll() is None else [], meanwhile)
        else:
            self._party(fault, getattr(self, fault.victim), meanwhile)

    def _party(self, fault, victim, meanwhile):
        match fault.kind:
            case "hang":
                self._processes(fault, [victim.process.pid], meanwhile)
                return
            case "kill":
                victim.kill()
            case "stop":
                assert victim.stop() == 0
        try:
            time.sleep(fault.lasts)
            meanwhile()
        finally:
            victim.up()

    def _processes(self, fault, processes, meanwhile):
        signals = {"kill": signal.SIGKILL, "hang": signal.SIGSTOP, "stop": signal.SIGTERM}
        send(processes, signals[fault.kind])
        if fault.kind == "hang":
            try:
                time.sleep(fault.lasts)
                meanwhile()
            finally:
                send(processes, signal.SIGCONT)

    # ── lists ─────────────────────────────────────────────────────────────────────────────────────────

    def survives_in_a_list(self, seed):
        fault, patience = drawn(seed)
        out = f"scores-{seed}.csv"
        before = self.counted()
        with reported("list", seed, fault) as known, self._left(out), self._listing(out, patience) as program:
            self._at(fault, out, program)
            began, scored = time.time(), []
            self.befall(fault, program.process, lambda: scored.append(self.scored(out)))
            until(lambda: program.over, 200)
            known["stayed"] = {} if fault.victim == "program" else {"program": program.names(began)}
            if fault.victim != "program":
                self._named(fault, program.names(began), scored)
            over = program.process.returncode == 0 or (self.folder / out).exists()  # or all but
            if not over:
                known["error"] = program.answer[:300]
                until(lambda: self.bank.do(*self.words(out)).code == 0, 150, every=2)
            assert self.rows(out).equals(self.undisturbed, null_equal=True)
            until(lambda: self.counted() >= before + len(self.ids), 60)
            assert self.counted() == before + len(self.ids), "an id is counted twice"
            assert not list(self.folder.glob(f"{out}.*"))
            known["end"] = "finished"

    @contextmanager
    def _left(self, out):
        """What a failed run leaves is seen to, so that the next ones do not count it."""
        try:
            yield
        except BaseException:
            self.bank.do(*self.words(out))
            raise

    @contextmanager
    def _listing(self, out, patience):
        program = List(arguments(*self.words(out, patience), "--home", self.bank.home))
        try:
            yield program
        finally:
            program.close()

    def _at(self, fault, out, program):
        """Wait for the moment of a fault."""
        passed = self.network.passed
        until(lambda: program.over or self.network.passed > passed + ENROLS)
        place = {"enrolling": 0, "middle": fault.round, "end": CHUNKS}[fault.moment]
        until(lambda: program.over or self.scored(out) >= place)
        time.sleep(fault.late)

    def _named(self, fault, said, scored):
        """Number 1 of the file's beginning; ``scored``: chunks that were, at the end of a long fault."""
        who = {"bank": ("ourselves", "bank")}.get(fault.victim, ("operator",))
        if said["seconds"] is not None and said["seconds"] < fault.lasts:
            assert said["peer"] in who, said
        lasts = fault.is_long and fault.kind in (*LASTING, "kill", "stop") and fault.victim != "answerer"
        if (lasts or (fault.victim == "answerer" and fault.kind == "hang" and fault.is_long)) and scored[
            0
        ] < CHUNKS:
            assert said["seconds"] is not None, "it waited in silence"
            assert said["seconds"] < SLOW_TO_HEAR, said

    # ── single requests ───────────────────────────────────────────────────────────────────────────────

    def survives_in_serving(self, seed, service):
        fault, _ = drawn(seed)
        some = sorted(self.expected)[:3]
        if service.process.poll() is not None:
            service.start()
        until(lambda: service.joint(*some))
        until(lambda: self.counted() == service.shown()["used"])
        before = self.counted()
        asker = Asker(service, some)
        with reported("serving", seed, fault) as known:
            try:
                time.sleep(fault.late + fault.round / 10)
                began, repaired = time.time(), []
                self.befall(fault, service.process, lambda: repaired.append(time.time()))
                if fault.victim == "program" and fault.kind in ("kill", "stop"):
                    service.process.wait(20)
                    service.start()
                again = time.time()
                until(lambda: any(each[0] > again and joint(*each[2:]) for each in asker.answers))
            finally:
                asker.close()
            back = repaired[0] if repaired else time.time()
            known["stayed"] = (
                {} if fault.victim == "program" else {"program": self._flagged(asker, began, back)}
            )
            self._right(asker)
            if fault.victim != "program":
                self._told(fault, asker, known["stayed"]["program"], began, back)
            self._counted(asker, before, known)
            known["end"] = "finished"

    def _flagged(self, asker, began, back):
        for asked, answered, status, answer in asker.answers:
            if asked >= began - 3 and answered >= began and asked < back and not joint(status, answer):
                code = answer["code"] if status != 200 else answer[0]["basis"]
                return heard(answered - began, code)
        return heard()

    def _right(self, asker):
        alone = {}
        for _, _, status, answer in asker.answers:
            for each in answer if status == 200 else ():
                due = self.expected if each["basis"] == "joint" else alone
                assert each["margin"][0] == due.setdefault(each["id"], each["margin"][0]), each

    def _told(self, fault, asker, said, began, back):
        """Whoever asks hears in time, and nothing else from then on until the repair."""
        slowest = max(answered - asked for asked, answered, _, _ in asker.answers)
        assert slowest < SLOW_TO_HEAR, slowest
        if not (fault.is_long and (fault.kind in LASTING or fault.victim in ("bank", "operator"))):
            return
        if fault.victim == "answerer":
            back = began + 5  # it is ended after five seconds, and another one answers
        assert said["seconds"] is not None, "nobody was told"
        assert said["seconds"] < SLOW_TO_HEAR, said
        regardless = [
            (asked - began, answer)
            for asked, answered, status, answer in asker.answers
            if asked > began + said["seconds"] and answered < back and joint(status, answer)
        ]
        assert not regardless, regardless[:3]

    def _counted(self, asker, before, known):
        """What was given out is counted once; what was asked for and not answered, once at most."""
        given = sum(len(answer) for _, _, status, answer in asker.answers if status == 200)
        lost = sum(3 for _, _, status, _ in asker.answers if status == 0)
        known["given"], known["lost"] = given, lost
        until(lambda: self.counted() >= before + given, 60)
        until(lambda: self.counted() == asker.used(), 60)
        assert before + given <= self.counted() <= before + given + lost


def joint(status, answer):
    return status == 200 and {each["basis"] for each in answer} == {"joint"}


def send(processes, what):
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, what)


# ── where it happens ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("predicting")
    cut(folder, 6000)
    bank, operator = parties = [Party(folder, name) for name in ("bank", "operator")]
    with ExitStack() as stack:
        networks = [stack.enter_context(Between(party.address)) for party in parties]
        for party, network in zip(parties, networks, strict=True):
            party.set(disk=0, address=f'"{network.address}"')
            stack.callback(party.stop)
        bank.done("consortium", "create", "test")
        bank.up()
        operator.done("join", invited(bank, "operator"))
        operator.up()
        bank.done("data", "add", "accounts", folder / "bank.csv", "--id", "id")
        operator.done("data", "add", "subscribers", folder / "operator.csv", "--id", "id")
        model = trained(bank, operator, folder, predictions=1000 * ENOUGH)
        released(bank, operator, model, 1000 * ENOUGH)
        yield Stage(folder, bank, operator, Networks(*networks), model)


@pytest.fixture(scope="module")
def service(stage):
    service = Service(stage.bank, stage.model, *FALLBACK).start()
    yield service
    if service.process.poll() is None:
        service.stop()


@pytest.mark.parametrize("seed", range(FIRST, FIRST + DRAWN))
def test_a_list_of_predictions_survives_any_fault(stage, seed):
    stage.survives_in_a_list(seed)


@pytest.mark.parametrize("seed", range(FIRST, FIRST + max(DRAWN // 2, 1)))
def test_single_predictions_survive_any_fault(stage, service, seed):
    stage.survives_in_serving(seed, service)
