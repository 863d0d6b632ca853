"""Records of a log as lines: for people, for programs, and for the system's journal."""

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Final, Literal

from rich.text import Text

from parley.cli.output import terminal
from parley.core.log import Level, Record
from parley.store.runlog import encoded

Format = Literal["text", "json"]

STYLES: Final[dict[Level, str]] = {"info": "", "warning": "yellow", "error": "red"}
_PRIORITIES: Final[dict[Level, str]] = {"info": "<6>", "warning": "<4>", "error": "<3>"}
"""What systemd's journal takes at the beginning of a line for its level; see sd-daemon(3)."""


def printer(form: Format) -> Callable[[Record], None]:
    """Writes records to standard output as they come; what cannot be written is left out."""
    line = {"text": _text, "json": as_json}[form]
    console = terminal() if form == "text" and sys.stdout.isatty() else None
    priority = _PRIORITIES if _read_by_the_journal() else dict.fromkeys(_PRIORITIES, "")

    def take(record: Record) -> None:
        with suppress(OSError):  # a log on a full disk must not end what goes on
            if console is not None:
                console.print(Text(line(record), style=STYLES[record.level]), soft_wrap=True)
            else:
                begins = priority[record.level]
                sys.stdout.write(begins + line(record).replace("\n", f"\n{begins}") + "\n")
                sys.stdout.flush()

    return take


def as_json(record: Record) -> str:
    """One object."""
    return encoded(record).decode()


def clock(record: Record, form: str = "%H:%M:%S") -> str:
    """When it was, as our clock shows it."""
    return time.strftime(form, time.localtime(datetime.fromisoformat(record.time).timestamp()))


def _text(record: Record) -> str:
    return f"{clock(record)}  {record.text}"


def _read_by_the_journal() -> bool:
    """Whether our standard output goes to systemd's journal, which says so in JOURNAL_STREAM."""
    try:
        status = os.fstat(sys.stdout.fileno())
    except (OSError, ValueError):  # closed, or no file
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
