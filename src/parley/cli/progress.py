"""Live lines on standard error: one per phase of a run; nothing where that is no terminal."""

import sys
from types import TracebackType
from typing import Final, Self

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from parley.cli.output import remarks
from parley.protocols import control

_BAR: Final = 24
_MINUTE: Final = 60


class LiveLines:
    """Shows `control.Progress` messages as they come; use it as a context."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("  {task.description:<8}"),
            BarColumn(bar_width=_BAR),
            _Counted(),
            _Pace(),
            TextColumn("{task.fields[detail]}", style="dim", markup=False),
            console=remarks(),
            disable=not sys.stderr.isatty(),
        )
        self._running: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()
        if not self._progress.disable:
            self._progress.console.print()

    def tell(self, news: control.Progress) -> None:
        """Draw where a phase stands."""
        if news.phase not in self._running:
            self._running[news.phase] = self._progress.add_task(
                news.phase, total=news.total, unit=news.unit, detail="", seconds=-1.0
            )
        task = self._running[news.phase]
        self._progress.update(task, completed=news.done, detail=news.detail, seconds=news.seconds)
        if news.seconds >= 0:
            self._progress.stop_task(task)
            del self._running[news.phase]


class _Counted(ProgressColumn):
    """``12/50 rounds``."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.completed:,.0f}/{task.total or 0:,.0f} {task.fields['unit']}")


class _Pace(ProgressColumn):
    """Rate and time remaining while it runs, the time taken afterwards."""

    def render(self, task: Task) -> Text:
        seconds = task.fields["seconds"]
        if seconds >= 0:
            return Text(f"in {_duration(seconds)}", style="green")
        if not task.speed or task.time_remaining is None:
            return Text("")
        return Text(f"{_rate(task.speed)}, {_duration(task.time_remaining)} left", style="cyan")


def _rate(speed: float) -> str:
    return f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.1f}/s"  # noqa: PLR2004 (below ten a digit counts)


def _duration(seconds: float) -> str:
    if seconds < _MINUTE:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"  # noqa: PLR2004 (likewise)
    return f"{seconds // _MINUTE:.0f} min {seconds % _MINUTE:.0f} s"
