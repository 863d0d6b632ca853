"""A consortium of real processes for tests: started, killed, cut off, looked at."""

import io
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path

from parley.core.files import write_atomically
from parley.ledger.engines.embedded.log import MemberLog
from parley.ledger.engines.embedded.prove import Snapshot
from parley.ledger.export import export
from parley.ledger.verifier import verify
from parley.net.authority import create_identity

from tests.ledger.members import key

ROOT = Path(__file__).parents[2]
NAMES = ("bank", "operator", "regulator")
PATIENCE = 60.0
"""Seconds after which a test gives up; nothing is measured by it."""


def _free_ports(count):
    with ExitStack() as stack:
        sockets = [stack.enter_context(closing(socket.socket())) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Processes:
    """Members as processes. Used as a context, it leaves none behind."""

    def __init__(self, folder, names=NAMES):
        self.folder, self.names = folder, names
        self.ports = dict(zip(names, _free_ports(len(names)), strict=True))
        self.running = {}
        self.highest = 0
        for name in names:
            create_identity(name).save(folder / name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for name in list(self.running):
            self.kill(name)

    def start(self, *names, **options):
        self.highest = max(self.highest, *(self.status(name)[1] for name in self.names))
        for name in names:
            config = {"name": name, "folder": str(self.folder), "ports": self.ports, **options}
            path = self.folder / f"{name}.json"
            path.write_text(json.dumps(config))
            for said in ("status", "is-cut"):
                (self.folder / name / said).unlink(missing_ok=True)
            with (self.folder / f"{name}.log").open("a") as output:
                self.running[name] = subprocess.Popen(
                    [sys.executable, "-m", "tests.ledger.runner", str(path)],
                    cwd=ROOT,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(("src", "."))},
                )

    def kill(self, name):
        process = self.running.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def died(self, name):
        """Wait for a process to end by itself; its exit code."""
        return self.running.pop(name).wait(PATIENCE)

    def output(self, name):
        return (self.folder / f"{name}.log").read_text()

    def status(self, name):
        """Size, final size and reason to halt."""
        try:
            return tuple(json.loads((self.folder / name / "status").read_text()))
        except FileNotFoundError:
            return 0, 0, ""

    def wait(self, condition, what):
        end = time.monotonic() + PATIENCE
        while not condition():
            gone = [name for name, process in self.running.items() if process.poll() is not None]
            assert not gone, f"{gone} ended: " + "".join(self.output(name)[-2000:] for name in gone)
            assert time.monotonic() < end, (what, {name: self.status(name) for name in self.names})
            time.sleep(0.05)

    def grown(self, name, by=8):
        """Wait until a member has so many more final leaves than any ever had."""
        self.highest = size = max(self.highest, *(self.status(other)[1] for other in self.names))
        self.wait(lambda: self.status(name)[1] >= size + by, f"{name} grows by {by}")

    def cut(self, name, *others):
        """Cut a running member off from others, and wait until it is; from nobody, heals it."""
        now = " ".join(others)
        write_atomically(self.folder / name / "cut", now.encode())
        done = self.folder / name / "is-cut"
        self.wait(lambda: done.exists() and done.read_text() == now, f"{name} is cut off from: {now}")

    def journal(self, name):
        """What the client of a member was told: digest → number of the receipt; with what it only sent."""
        path = self.folder / name / "journal"
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        sent = [line[1] for line in lines if line[0] == "sent"]
        return {line[1]: int(line[2]) for line in lines if line[0] == "acknowledged"}, sent

    def done(self, *names):
        """Wait until the clients of these members have been told about all they sent."""
        for name in names:
            path = self.folder / name / "journal"
            self.wait(lambda: path.exists() and path.read_text().endswith("done\n"), f"client of {name}")  # noqa: B023

    def settled(self, *names):
        """Wait until all is final, the same everywhere, and nothing left to submit; then kill the members."""
        self.wait(lambda: self._is_settled(names), "the same final log everywhere")
        for name in names:
            if name in self.running:
                self.kill(name)

    def _is_settled(self, names):
        """Asked twice, since a status is a moment old: a block may just have emptied ``pending``."""
        for _ in range(2):
            sizes = {size for name in names for size in self.status(name)[:2]}
            if len(sizes) != 1 or 0 in sizes or any(self._pending(name) for name in names):
                return False
            time.sleep(0.5)
        return sizes == {size for name in names for size in self.status(name)[:2]}

    def _pending(self, name):
        with closing(sqlite3.connect(self.folder / name / "ledger.db")) as database:
            return database.execute("SELECT count(*) FROM pending").fetchone()[0]

    def lose(self, name, *files):
        for file in files:
            for path in (self.folder / name).glob(file):
                path.unlink()

    def copy(self, name, to):
        """A copy of a member's database as it lies there."""
        to.mkdir()
        for path in (self.folder / name).glob("ledger.db*"):
            shutil.copy(path, to)

    def restore(self, name, copy):
        self.lose(name, "ledger.db*")
        for path in copy.iterdir():
            shutil.copy(path, self.folder / name)

    def opened(self, name):
        return MemberLog(self.folder / name, name, key(name, "cosigning"))

    def nothing_lost(self, *names):
        """Every acknowledged transaction is in once, under its number, in the same order everywhere, and the
        exported ledger of each member verifies; returns what was verified."""
        texts = set()
        for name in names or self.names:
            log = self.opened(name)
            text = io.BytesIO()
            export(Snapshot(log), text)
            found = verify(text.getvalue().splitlines(keepends=True), whole=True)
            assert found.leaves == log.size == log.final_size
            texts.add(b"\n".join(text.getvalue().splitlines()[1 : log.size + 1]))
            digests = [leaf.digest for leaf in log.store.leaves(0, log.size)]
            assert len(set(digests)) == len(digests)
            for client in self.names:
                for digest, number in self.journal(client)[0].items():
                    assert digests[number] == bytes.fromhex(digest)
            assert not log.store.pending()
            log.store.close()
        assert len(texts) == 1
        return found
