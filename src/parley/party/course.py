"""Where one run stands at our party: noted in the catalogue, moved by the table of `runstate` alone."""

import time
from typing import Final, Self

import msgspec

from parley.core.errors import PolicyRefused
from parley.core.plan import Plan, decode_plan, encode_plan
from parley.party.diary import Diary
from parley.party.failures import known, level_of
from parley.party.office import Office
from parley.party.runstate import TERMINAL, Event, State, move
from parley.protocols.proposal import PASSIVE
from parley.store.catalogue import RunRecord
from parley.store.journal import Journal

MOST_ATTEMPTS: Final = 100


class _Why(msgspec.Struct):
    """What an error's record is read for."""

    what: str = ""


class Course:
    """The course of one run.

    Args:
        office: of our party.
        record: how it stands.
    """

    def __init__(self, office: Office, record: RunRecord) -> None:
        self._office = office
        self._record = record

    @classmethod
    def begin(cls, office: Office, run: str, role: str, plan: Plan, state: State, priority: int = 0) -> Self:
        """Note a new run."""
        record = RunRecord(
            id=run,
            began=office.clocks.wall(),
            role=role,
            plan=encode_plan(plan).decode(),
            state=state,
            priority=priority,
        )
        office.home.catalogue.keep_run(record)
        office.tell(record)
        course = cls(office, record)
        course.diary.stands(state)
        return course

    @property
    def record(self) -> RunRecord:
        """As the catalogue has it."""
        return self._record

    @property
    def run(self) -> str:
        """The run's identifier."""
        return self._record.id

    @property
    def role(self) -> str:
        """Ours in it."""
        return self._record.role

    @property
    def plan(self) -> Plan:
        """What is run."""
        return decode_plan(self._record.plan.encode())

    @property
    def state(self) -> State:
        """Where it stands."""
        return self._record.state

    @property
    def priority(self) -> int:
        """Among the runs that wait for their turn; the higher, the sooner."""
        return self._record.priority

    @property
    def journal(self) -> Journal:
        """What is kept of it."""
        return self._office.journal(self.run)

    @property
    def diary(self) -> Diary:
        """What is noted of it."""
        diary = self._office.diaries.of(self.run, self.role)
        diary.begin(self._record.attempts)
        return diary

    @property
    def why(self) -> str:
        """Why it stands still or has ended, in a line."""
        return msgspec.json.decode(self._record.outcome, type=_Why).what

    @property
    def deadline(self) -> float:
        """Until when it may stand still, seconds since 1970."""
        return self._record.since + self.plan.limits.patience

    def move(self, event: Event, outcome: bytes = b"null") -> None:
        """Something happened, as it should; ``outcome``: JSON of what is to be said about it."""
        self._move(event, outcome)
        self.diary.stands(self.state)
        self.let_go()

    def _move(self, event: Event, outcome: bytes) -> None:
        state = move(self.state, event)
        since = self._record.since if state == self.state else self._office.clocks.wall()
        self._record = msgspec.structs.replace(
            self._record, state=state, outcome=msgspec.Raw(outcome), since=since
        )
        self._office.note(self._record)
        self._office.tell(self._record)

    def let_go(self) -> None:
        """Of what is not needed once the run is over; again when the worker has gone, who may have more."""
        state = self.state
        if state == "finished":
            self.journal.close()
        elif state in TERMINAL:
            self.journal.clear()
        if state in TERMINAL:
            self._office.diaries.forget(self.run)

    def attempt(self, place: int) -> None:
        """One more attempt begins, from a place.

        Raises:
            PolicyRefused: as a passive party: there were too many, and each tells the active party more sums
                of a round.
            ParleyError: it cannot be noted, so it must not begin.
        """
        attempts = self._record.attempts + 1
        if attempts > MOST_ATTEMPTS and self.role == PASSIVE:
            raise PolicyRefused(
                "too-many-attempts",
                f"{self.run} was interrupted {MOST_ATTEMPTS} times",
                remedy="find out what interrupts it, and run the plan again",
                public=f"the run was interrupted {MOST_ATTEMPTS} times; run the plan again",
            )
        self._record = msgspec.structs.replace(self._record, attempts=attempts)
        self._office.home.catalogue.keep_run(self._record)
        self.diary.attempts(attempts, place)

    def stop(self, event: Event, error: BaseException) -> None:
        """It ended without a model, or stands still, for a reason."""
        self._move(event, msgspec.json.encode(known(error).record()))
        until = time.strftime("%H:%M", time.localtime(self.deadline))
        remark = f"; it goes on by itself until {until}" if self.state == "interrupted" else ""
        self.diary.stops(self.state, known(error), level_of(error), remark)
        self.let_go()
