"""A PostgreSQL server of the tests' own, on a Unix socket, run by an ordinary user."""

import os
import pwd
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

SECRET = "s3cret/@:word"
VARIABLE = "PG_SECRET"


def server_program(name):
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    return shutil.which(name) or (str(found[0]) if found else None)


class PostgresServer:
    """A server, running unless it was stopped.

    Attributes:
        url: with the password as a variable.
        environment: that has it.
    """

    def __init__(self, home):
        self._programs = {name: server_program(name) for name in ("initdb", "pg_ctl")}
        if None in self._programs.values():
            pytest.skip("no PostgreSQL server binaries (initdb, pg_ctl) on this machine")
        self.home = home
        self._become = []
        if os.geteuid() == 0:
            known = {user.pw_name for user in pwd.getpwall()}
            user = next(name for name in ("postgres", "nobody") if name in known)
            shutil.chown(home, user)
            self._become = ["runuser", "-u", user, "--"]
        (home / "secret").write_text(SECRET)
        self._run("initdb", "-U", "parley", "-A", "scram-sha-256", "--pwfile", "secret", "-E", "UTF8", "-N")
        self.url = f"postgresql://parley:${{{VARIABLE}}}@/postgres?host={home}&connect_timeout=1"
        self.environment = {VARIABLE: SECRET}
        self.start()

    def start(self):
        options = f"-k {self.home} -c listen_addresses='' -c fsync=off -c shared_buffers=16MB"
        self._run("pg_ctl", "-l", str(self.home / "log"), "-o", options, "-w", "start")

    def stop(self):
        self._run("pg_ctl", "-m", "immediate", "stop")

    @contextmanager
    def away(self):
        """The server is not there while this is entered."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def _run(self, program, *args):
        words = [*self._become, self._programs[program], "-D", str(self.home / "data"), *args]
        done = subprocess.run(words, cwd=self.home, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()


@contextmanager
def running_server():
    home = Path(tempfile.mkdtemp(prefix="parley-pg-"))
    home.chmod(0o755)
    try:
        server = PostgresServer(home)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(home)
