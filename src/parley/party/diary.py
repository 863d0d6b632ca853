"""What a party notes of one run as it goes: where it stands, what it waits for and since when, why it ended.

The same at an active and a passive party. A diary is a sink of the run's trace, and is told the rest by
those who do it. What it notes is written into the run's log once a second, by a thread of its own: neither a
slow disk nor a full one harms the run, and what could not be written is counted.
"""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import msgspec

from parley.core.errors import ParleyError, ProtocolBug
from parley.core.log import Figures, Kind, Level, Log, Record
from parley.core.trace import Event, MemoryPeak, Received, Sent, StepBegan, Waits
from parley.party.progress import ProgressSink
from parley.protocols.control import Progress
from parley.store.home import Home
from parley.store.runlog import RunLog, log_of

_WRITTEN: Final = 1.0
"""Seconds between two times that a run's log is written."""
_EVERY: Final = 5.0
"""Seconds between two records about one phase that goes on."""
_LONG: Final = 3.0
"""Seconds of waiting from which on it is noted."""
_REPEATED: Final = 60.0
"""Seconds between two records about attempts that fail for one reason."""
_HELD: Final = 10_000
"""Records that may wait to be written."""
_TEXT: Final = 2000
"""Letters of a text."""
_STANDING_STILL: Final = "interrupted"
"""The phase between two attempts, which is told of by its reason."""
_MIB: Final = 1 << 20
_MINUTE: Final = 60


class Diaries:
    """Those of all runs of a party that are under way.

    Args:
        home: of the party.
        log: of the party.
        monotonic: seconds.
    """

    def __init__(self, home: Home, log: Log, monotonic: Callable[[], float]) -> None:
        self._home = home
        self._log = log
        self._monotonic = monotonic
        self._kept: dict[str, Diary] = {}
        self._writer = ThreadPoolExecutor(1, "run-logs")

    def of(self, run: str, role: str) -> "Diary":
        """The diary of a run."""
        if run not in self._kept:
            pen = _Pen(log_of(self._home, run), self._writer)
            self._kept[run] = Diary(self._log.about(run=run, role=role), pen, self._monotonic)
        return self._kept[run]

    def forget(self, run: str) -> None:
        """The run has ended, or never began here: what its diary still holds is written if it began."""
        diary = self._kept.pop(run, None)
        if diary is not None:
            diary.write()

    async def close(self) -> None:
        """Write what is left."""
        for diary in self._kept.values():
            diary.write()
        await asyncio.to_thread(self._writer.shutdown)


class _Pen:
    """Writes records into the log of a run, beside the event loop; holds them until the run is one of ours.

    Args:
        log: of the run.
        writer: its one thread writes, so records stay in order.
    """

    def __init__(self, log: RunLog, writer: ThreadPoolExecutor) -> None:
        self.begun = False
        self._log = log
        self._writer = writer
        self._held: list[Record] = []
        self._due: asyncio.TimerHandle | None = None
        self._lost = 0

    def __call__(self, record: Record) -> None:
        """Take one record; what is too much to be held is left out."""
        if len(self._held) < _HELD:
            self._held.append(record)
        if self._due is None and self.begun:
            self._due = asyncio.get_running_loop().call_later(_WRITTEN, self.write)

    def write(self) -> None:
        """Have written what is held."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if self.begun and self._held:
            held, self._held = self._held, []
            with suppress(RuntimeError):  # our party has stopped
                self._writer.submit(self._append, held)

    def _append(self, records: list[Record]) -> None:
        """Runs in the thread of the writer."""
        lost = self._lost
        if lost:
            words = f"… {lost} records left out: they could not be written"
            gap = msgspec.structs.replace(
                records[0], level="warning", text=words, kind="left-out", figures=Figures(records=lost)
            )
            records = [gap, *records]
        try:
            self._log.append(records)
        except (OSError, ParleyError):
            self._lost += len(records) - bool(lost)
        else:
            self._lost = 0


@dataclass
class _Traffic:
    """Bytes to and from a peer."""

    sent: int = 0
    received: int = 0


@dataclass
class _Attempt:
    """What one attempt at a run, with its worker, is about.

    Attributes:
        step: that is under way, since when, monotonic seconds.
        memory: bytes that the worker held at its most.
        traffic: by peer.
    """

    step: str = ""
    since: float = 0.0
    memory: int = 0
    traffic: dict[str, _Traffic] = field(default_factory=dict)


@dataclass(frozen=True)
class _Mark:
    """Where a phase stood at a moment, monotonic seconds, when that was noted."""

    moment: float
    done: int


class Diary:
    """What is noted of one run.

    Args:
        log: of the party, for records about this run.
        pen: takes every record.
        monotonic: seconds.
    """

    def __init__(self, log: Log, pen: _Pen, monotonic: Callable[[], float]) -> None:
        self._pen = pen
        self._clock = monotonic
        self._log = log.to(pen)
        self._progress = ProgressSink(monotonic, self._phase)
        self._marks: dict[str, _Mark] = {}
        self._attempt = _Attempt()
        self._reason = ("", 0.0)
        self._long: set[str] = set()
        self._ended = False

    def begin(self, attempts: int) -> None:
        """The run is one of ours, with so many attempts so far: from now on its log is written."""
        if not self._pen.begun:
            self._pen.begun = True
            self._log = self._log.about(attempt=attempts)

    def write(self) -> None:
        """Have written what is held."""
        self._pen.write()

    # ── told by those who do it ───────────────────────────────────────────────────────────────────────

    def stands(self, state: str) -> None:
        """The run is in another state now, as it should be."""
        if state == "finished":
            self._step_over("is over")
        self._note("end" if state == "finished" else "state", f"the run is {state}")

    def stops(self, state: str, error: ParleyError, level: Level, remark: str) -> None:
        """The run stands still or has ended, for a reason; ``remark``: what becomes of it."""
        self._step_over("broke off")
        self._reason = (error.code, self._clock())
        kind: Kind = "state" if state == _STANDING_STILL else "end"
        text = f"the run is {state}: {words_of(error)}{remark}"
        self._note(kind, text, level=level, log=self._log.because(error))

    def stands_still(self, error: ParleyError) -> None:
        """An attempt to go on failed; noted if the reason is another, and once a minute."""
        code, when = self._reason
        if error.code != code or self._clock() - when >= _REPEATED:
            self._reason = (error.code, self._clock())
            self._note("waits", f"it cannot go on yet: {words_of(error)}", log=self._log.because(error))

    def attempts(self, number: int, place: int) -> None:
        """An attempt begins, to which all parties have agreed."""
        self._log = self._log.about(attempt=number)
        self._progress = ProgressSink(self._clock, self._phase)
        self._marks.clear()
        where = f"goes on from place {place}" if place else "begins"
        self._note("attempt", f"attempt {number} {where}", Figures(place=place))

    def hired(self) -> None:
        """A worker of ours begins."""
        self._attempt = _Attempt(self._attempt.step, self._attempt.since)
        self._long.clear()
        self._note("worker", "a worker begins")

    def worked(self) -> None:
        """The worker has done the attempt to its end."""
        self._step_over("is over")

    def let_go(self) -> None:
        """The worker is gone: what it held, and what it said to whom."""
        attempt = self._attempt
        held = f", having held {attempt.memory / _MIB:,.0f} MiB at most" if attempt.memory else ""
        self._note("worker", f"the worker has ended{held}", Figures(memory=attempt.memory or None))
        for peer, each in attempt.traffic.items():
            text = f"{_size(each.sent)} went to {peer}, {_size(each.received)} came from it"
            figures = Figures(sent=each.sent, received=each.received)
            self._note("traffic", text, figures, log=self._log.about(peer=peer))
        if self._ended:  # a party that stops now would not write it
            self.write()

    @contextmanager
    def waiting(self, whom: str, what: str) -> Iterator[None]:
        """Note, once that has lasted some seconds, that we wait for a party and what for."""
        log, since = self._log.about(peer=whom), self._clock()
        told = asyncio.get_running_loop().call_later(_LONG, self._waits, log, f"{what} from {whom}")
        try:
            yield
            if self._clock() - since >= _LONG:
                self._came(log, f"{what} came from {whom}", self._clock() - since)
        finally:
            told.cancel()

    @contextmanager
    def at_the_ledger(self, what: str) -> Iterator[None]:
        """Note that something is had from the ledger, and after how long."""
        since = self._clock()
        awaited = f"the ledger to have {what}"
        told = asyncio.get_running_loop().call_later(_LONG, self._waits, self._log, awaited)
        try:
            yield
            seconds = self._clock() - since
            text = f"the ledger has {what}, after {duration(seconds)}"
            self._note("ledger", text, Figures(seconds=round(seconds, 3)))
        finally:
            told.cancel()

    # ── the trace ─────────────────────────────────────────────────────────────────────────────────────

    def __call__(self, event: Event) -> None:
        """Take one event."""
        match event:
            case StepBegan(step):
                self._step_over("is over")
                self._attempt.step, self._attempt.since = step, self._clock()
                self._note("step", f"step {step} begins", log=self._log.about(step=step))
            case Sent():
                self._with(event.peer).sent += event.size
            case Received():
                self._with(event.peer).received += event.size
                if event.peer in self._long:
                    self._long.discard(event.peer)
                    self._came(
                        self._here.about(peer=event.peer), f"{event.peer} is heard again", event.seconds
                    )
            case Waits(peer, seconds):
                self._long.add(peer)
                text = f"waits for {peer}, silent for {duration(seconds)}"
                self._note("waits", text, Figures(seconds=round(seconds, 3)), log=self._here.about(peer=peer))
            case MemoryPeak(held):
                self._attempt.memory = held
            case _:
                self._progress(event)

    def _phase(self, news: Progress) -> None:
        """Note where a phase stands, every few seconds at most."""
        if news.phase == _STANDING_STILL:
            return
        now, before = self._clock(), self._marks.get(news.phase)
        if news.seconds >= 0:
            self._marks.pop(news.phase, None)
            text = f"{_where(news)} in {duration(news.seconds)}{_remark(news)}"
            self._say_phase(news, text, Figures(seconds=round(news.seconds, 3)))
        elif before is None:
            # one that goes on after an interruption begins with what was done before: no pace yet
            if (news.done or news.detail) and news.done < news.total:
                self._marks[news.phase] = _Mark(now, news.done)
                self._say_phase(news, f"{_where(news)}{_remark(news)}", Figures())
        elif now - before.moment >= _EVERY:
            self._marks[news.phase] = _Mark(now, news.done)
            seconds = now - before.moment
            rate = (news.done - before.done) / seconds if seconds > 0 else 0.0
            if rate <= 0:
                self._say_phase(news, f"{_where(news)}{_remark(news)}", Figures())
                return
            remaining = (news.total - news.done) / rate
            text = f"{_where(news)}, {pace(rate)}, {duration(remaining)} left{_remark(news)}"
            self._say_phase(news, text, Figures(rate=round(rate, 3), remaining=round(remaining, 3)))

    def _say_phase(self, news: Progress, text: str, figures: Figures) -> None:
        counted = msgspec.structs.replace(figures, done=news.done, total=news.total, unit=news.unit)
        self._note("phase", text, counted, log=self._here)

    @property
    def _here(self) -> Log:
        return self._log.about(step=self._attempt.step)

    def _with(self, peer: str) -> _Traffic:
        return self._attempt.traffic.setdefault(peer, _Traffic())

    def _step_over(self, how: str) -> None:
        attempt = self._attempt
        if attempt.step:
            seconds = self._clock() - attempt.since
            log = self._log.about(step=attempt.step)
            text = f"step {attempt.step} {how} after {duration(seconds)}"
            self._note("step", text, Figures(seconds=round(seconds, 3)), log=log)
            attempt.step = ""

    def _waits(self, log: Log, what: str) -> None:
        text = f"waits for {what}, for {duration(_LONG)} now"
        self._note("waits", text, Figures(seconds=_LONG), log=log)

    def _came(self, log: Log, what: str, seconds: float) -> None:
        text = f"{what} after {duration(seconds)}"
        self._note("waits", text, Figures(seconds=round(seconds, 3)), log=log)

    def _note(
        self,
        kind: Kind,
        text: str,
        figures: Figures | None = None,
        *,
        level: Level = "info",
        log: Log | None = None,
    ) -> None:
        self._ended = self._ended or kind == "end"
        (log or self._log).say(level, text[:_TEXT], kind, figures)


def words_of(error: ParleyError) -> str:
    """An error for the log of a run; of one that nobody foresaw, which may quote anything, only its kind."""
    if isinstance(error, ProtocolBug) and error.code == "internal":
        return "an error that nobody foresaw; the log of the party says more [internal]"
    return f"{error.what} [{error.code}]"


def duration(seconds: float) -> str:
    """``1.2 s``, ``34 s``, ``5 min 6 s``."""
    if seconds < _MINUTE:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"  # noqa: PLR2004 (a digit counts below ten)
    return f"{seconds // _MINUTE:.0f} min {seconds % _MINUTE:.0f} s"


def pace(rate: float) -> str:
    """``1.2/s``, ``3,400/s``."""
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s"  # noqa: PLR2004 (likewise)


def _where(news: Progress) -> str:
    return f"{news.phase}: {news.done:,}/{news.total:,} {news.unit}"


def _remark(news: Progress) -> str:
    return f" ({news.detail})" if news.detail else ""


def _size(count: int) -> str:
    """Bytes as people read them, in powers of a thousand."""
    if count < 1000:  # noqa: PLR2004 (a kilobyte)
        return f"{count} B"
    return f"{count / 1e3:.1f} kB" if count < 1e6 else f"{count / 1e6:,.1f} MB"  # noqa: PLR2004 (a megabyte)
