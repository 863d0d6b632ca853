"""Commands of ours run as real processes and shown as a person would type them."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec
from rich.console import Console
from rich.text import Text

from parley.cli.output import Failure, Problem
from parley.core.errors import PolicyRefused

_READY: Final = 30.0
"""Seconds a program may take until it listens, answers, or no longer says that it is too early."""
_FAREWELL: Final = 10.0
"""Seconds a party may take to stop before it is killed."""


def free_port() -> int:
    """A port of the loopback interface that nobody uses just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Shell:
    """Runs commands in a folder; whatever it started in the background ends with the context.

    Args:
        folder: where the commands run.
        console: where commands and their output are shown.
        quiet: show nothing, and ask the commands for JSON.
    """

    def __init__(self, folder: Path, console: Console, *, quiet: bool) -> None:
        self.folder = folder
        self._console = console
        self._quiet = quiet
        self._serving: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for process in self._serving:
            process.terminate()
        for process in self._serving:
            try:
                process.wait(_FAREWELL)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def run(self, command: str, *, unless: str | None = None) -> str:
        """Run a command, then show it with its output; returns what it printed.

        Args:
            command: as it is typed.
            unless: code of an error that passes by itself; while it is that, the command is run again.

        Raises:
            Failure: it failed.
        """
        self._echo(command)
        return self._finished(command, unless)

    def refused(self, command: str, code: str) -> str:
        """Run a command that must end with a refusal, and show it; returns what it printed.

        Raises:
            Failure: it ended in another way.
        """
        self._echo(command)
        ended = self._ended(command)
        if ended.returncode != PolicyRefused.exit_code or code not in ended.stdout + ended.stderr:
            raise Failure(_failed(command, ended.stdout + ended.stderr))
        self._indented(ended.stdout + ended.stderr)
        return ended.stdout + ended.stderr

    def watch(self, command: str) -> object:
        """Run a command that draws on the terminal itself; if quiet, returns its answer.

        Raises:
            Failure: it failed.
        """
        self._echo(command)
        if self._quiet:
            return json.loads(self._finished(command))
        self._console.file.flush()
        ended = subprocess.run(self._arguments(command), cwd=self.folder, env=_environment(), check=False)  # noqa: S603 (our own command)
        if ended.returncode:
            raise Failure(_failed(command))
        return None

    def ask(self, place: str, path: str, key: str, question: Mapping[str, str]) -> str:
        """Ask a server of ours and show it as ``curl`` would; returns what it answered.

        Args:
            place: ``HOST:PORT``, which answers in plain HTTP.
            path: of the route.
            key: that is shown.
            question: the body, as JSON.

        Raises:
            Failure: it answered with an error.
        """
        body = json.dumps(question)
        command = f"curl -H 'X-API-Key: {key}' --json {shlex.quote(body)} http://{place}{path}"
        self._echo(command)
        headers = {"X-API-Key": key, "Content-Type": "application/json"}
        with closing(HTTPConnection(place, timeout=_READY)) as server:
            server.request("POST", path, body, headers)
            answered = server.getresponse()
            text = answered.read().decode()
        if answered.status != HTTPStatus.OK:
            raise Failure(_failed(command, text))
        self._indented(text)
        return text

    def start(self, command: str, *, until: str, log: str) -> None:
        """Start a command in the background; returns when its log says ``until``.

        Raises:
            Failure: it ended, or did not say so in time.
        """
        self._echo(f"{command} &")
        path = self.folder / log
        with path.open("wb") as file, _undisturbed():
            process = subprocess.Popen(  # noqa: S603 (our own command)
                self._arguments(command),
                cwd=self.folder,
                env=_environment(),
                stdout=file,
                stderr=subprocess.STDOUT,
            )
            self._serving.append(process)
        deadline = time.monotonic() + _READY
        while until not in (text := path.read_text()):
            if process.poll() is not None or time.monotonic() > deadline:
                raise Failure(_failed(command, text))
            time.sleep(0.02)
        self._indented(next(line for line in text.splitlines() if until in line))

    def _ended(self, command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(  # noqa: S603 (our own command)
            self._arguments(command),
            cwd=self.folder,
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    def _finished(self, command: str, unless: str | None = None) -> str:
        """What a command printed; shown too, unless quiet."""
        deadline = time.monotonic() + _READY
        ended = self._ended(command)
        while unless and ended.returncode and unless in ended.stdout + ended.stderr:
            if time.monotonic() > deadline:
                break
            ended = self._ended(command)
        if ended.returncode:
            raise Failure(_reported(ended.stdout) or _failed(command, ended.stdout + ended.stderr))
        self._indented(ended.stdout)
        return ended.stdout

    def _arguments(self, command: str) -> list[str]:
        words = shlex.split(command)
        return [sys.executable, "-m", "parley.cli", *words[1:], *(["--json"] if self._quiet else [])]

    def _echo(self, command: str) -> None:
        if not self._quiet:
            self._console.print(Text.assemble(("$ ", "dim"), (command, "bold")), soft_wrap=True)

    def _indented(self, text: str) -> None:
        if not self._quiet:
            for line in text.splitlines():
                self._console.print(Text(f"  {line}", style="dim"), soft_wrap=True)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let signals wait: a process that was begun but not noted would outlive us."""
    came: list[int] = []
    handlers = {
        each: signal.signal(each, lambda number, _: came.append(number))
        for each in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)
        for number in came:
            signal.raise_signal(number)


def _environment() -> dict[str, str]:
    """Ours, without a home that would answer instead of the one that the command names."""
    return {name: value for name, value in os.environ.items() if name != "PARLEY_HOME"}


def _reported(output: str) -> Problem | None:
    """The error that a command printed as JSON, if it did."""
    try:
        return msgspec.convert(json.loads(output)["error"], Problem)
    except (ValueError, TypeError, KeyError):
        return None


def _failed(command: str, output: str = "") -> Problem:
    return Problem(
        "error",
        "command-failed",
        " · ".join([f"`{command}` failed", *output.strip().splitlines()[-3:]]),
        "see what it says above, and try again with --keep to look into the folder",
    )
