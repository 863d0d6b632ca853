"""Parties as processes: begun, ended, and their processor seconds."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

from parley.party import compose
from parley.serving.beside import models_in_use
from parley.store.settings import read_settings

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PARENT, _TIMES = 1, slice(11, 15)
"""Places in /proc/PID/stat behind the name: the parent; time of its own and of children it waited for."""


class Parties:
    """Running parties, with the nodes that they have started."""

    def __init__(self) -> None:
        self._running: dict[str, BaseProcess] = {}

    def start(self, *homes: Path) -> None:
        """Start the parties of some homes, each in a process of its own."""
        context = multiprocessing.get_context("spawn")
        for home in homes:
            self._running[home.name] = context.Process(target=_serve, args=(str(home),))
            self._running[home.name].start()

    def stop(self) -> None:
        """End all, in order."""
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            process.join()

    def kill(self, name: str) -> None:
        """End one as a loss of power would."""
        self._running[name].kill()
        self._running[name].join()

    def peaks(self) -> dict[str, float]:
        """The most memory that each has held so far, MiB."""
        known = {name: _peak(process.pid) for name, process in self._running.items()}
        return {name: peak for name, peak in known.items() if peak}

    def processor_seconds(self) -> float:
        """What all of them have used so far."""
        return sum(self.by_process().values())

    def by_process(self) -> dict[str, float]:
        """The same by name of the party, for `nodes` together and for `workers` together."""
        names = {process.pid: name for name, process in self._running.items()}
        found: dict[str, float] = {}
        for pid, fields in self._processes().items():
            name = names.get(pid) or ("nodes" if _is_node(pid) else "workers")
            found[name] = found.get(name, 0.0) + sum(map(int, fields[_TIMES])) / _TICKS
        return found

    def _processes(self) -> dict[int, list[str]]:
        """Our processes and their children, with what the kernel says of each."""
        known = dict(_stats())
        found = {one.pid for one in self._running.values() if one.pid is not None}
        while more := {pid for pid, fields in known.items() if int(fields[_PARENT]) in found} - found:
            found |= more
        return {pid: known[pid] for pid in found if pid in known}


def _peak(pid: int | None) -> float:
    """MiB; none of a process that has ended."""
    try:
        words = Path(f"/proc/{pid}/status").read_text().split()
    except OSError:
        return 0.0
    return int(words[words.index("VmHWM:") + 1]) / 1024 if "VmHWM:" in words else 0.0


def _stats() -> Iterator[tuple[int, list[str]]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):
                yield int(folder.name), (folder / "stat").read_text().rpartition(") ")[2].split()


def _is_node(pid: int) -> bool:
    try:
        return b"cometbft" in Path(f"/proc/{pid}/comm").read_bytes()
    except OSError:
        return False


def _serve(home: str) -> None:
    """The process of one party; its node is ended in order."""

    async def until_terminated() -> None:
        log = compose.log_of(read_settings(Path(home)), lambda _record: None)
        serving = asyncio.ensure_future(compose.serve(Path(home), log, models_in_use))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
        with suppress(asyncio.CancelledError):
            await serving

    asyncio.run(until_terminated())
