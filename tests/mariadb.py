"""A MariaDB server for tests, where its programs are on the machine (Debian: mariadb-server-core)."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pymysql
import pytest
import trustme

SECRET = "s3cret/@:word"
ENVIRONMENT = {"MY_SECRET": SECRET}


@dataclass(frozen=True)
class Server:
    """Where it listens: a Unix socket, and a port that speaks TLS with a certificate of ``authority``."""

    socket: str
    port: int
    authority: str

    def url(self, options: str = "", scheme: str = "mysql") -> str:
        """Database ``bank`` as user parley over the socket."""
        return f"{scheme}://parley:${{MY_SECRET}}@localhost/bank?socket={self.socket}{options}"

    def over_tcp(self, options: str) -> str:
        """The same over TCP."""
        return f"mysql://parley:${{MY_SECRET}}@127.0.0.1:{self.port}/bank?{options}"

    def tell(self, *statements: str) -> None:
        """Run statements as root."""
        with pymysql.connect(unix_socket=self.socket, user="root", database="bank", autocommit=True) as root:
            for statement in statements:
                root.cursor().execute(statement)


def program(*names: str) -> str | None:
    """The first of these programs that is here."""
    for name in names:
        if found := shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/libexec"):
            return found
    return None


@contextmanager
def server() -> Iterator[Server]:
    """A server with a database ``bank`` and a user, while it lasts; skips where there is no program."""
    daemon, install = program("mariadbd"), program("mariadb-install-db")
    if daemon is None or install is None:
        pytest.skip("no MariaDB server programs (mariadbd, mariadb-install-db) on this machine")
    home = Path(tempfile.mkdtemp(prefix="parley-my-"))
    port = _free_port()
    user = pwd.getpwuid(os.geteuid()).pw_name
    common = [
        "--no-defaults",
        f"--basedir={Path(daemon).parent.parent}",
        f"--datadir={home}/data",
        f"--user={user}",
    ]
    made = [install, *common, "--auth-root-authentication-method=normal", "--skip-test-db"]
    done = subprocess.run(made, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(home / "ca.pem"))
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(str(home / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(home / "cert.pem"))
    tls = [f"--ssl-cert={home}/cert.pem", f"--ssl-key={home}/key.pem", f"--ssl-ca={home}/ca.pem"]
    where = [
        f"--socket={home}/socket",
        f"--pid-file={home}/pid",
        f"--port={port}",
        "--bind-address=127.0.0.1",
    ]
    cheap = ["--innodb-flush-method=nosync", "--innodb-buffer-pool-size=16M", "--performance-schema=OFF"]
    with (home / "log").open("wb") as log:
        running = subprocess.Popen([daemon, *common, *where, *tls, *cheap], stdout=log, stderr=log)
    try:
        yield _ready(home, port, running)
    finally:
        running.terminate()
        running.wait()
        shutil.rmtree(home)


def _ready(home: Path, port: int, running: subprocess.Popen[bytes]) -> Server:
    """The server once it answers."""
    path = str(home / "socket")
    until = time.monotonic() + 120
    while "ready for connections" not in (log := (home / "log").read_text()):
        assert running.poll() is None, log
        assert time.monotonic() < until, log
        time.sleep(0.05)
    with pymysql.connect(unix_socket=path, user="root", autocommit=True) as root:
        cursor = root.cursor()
        cursor.execute("CREATE DATABASE bank CHARACTER SET utf8mb4")
        cursor.execute(f"CREATE USER parley@'%' IDENTIFIED BY '{SECRET}'")
        cursor.execute("GRANT ALL ON bank.* TO parley@'%'")
        cursor.execute("GRANT FILE ON *.* TO parley@'%'")
    return Server(path, port, str(home / "ca.pem"))


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
