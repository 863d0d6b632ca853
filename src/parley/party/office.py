"""What all runs of a party stand on: its home, its clocks, its ways to the others, its ledger."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from parley.core.errors import ParleyError, PolicyRefused, UsageError
from parley.core.files import check_room
from parley.core.log import Log
from parley.core.plan import Plan
from parley.core.trace import Sink
from parley.party import tables
from parley.party.board import Observer
from parley.party.diary import Diaries
from parley.party.gate import Gate
from parley.party.ledger import PartyLedger
from parley.party.rendezvous import Dial
from parley.party.tallies import Workers
from parley.party.turns import Turns
from parley.store.catalogue import RunRecord
from parley.store.home import Home
from parley.store.journal import Journal


@dataclass(frozen=True)
class Clocks:
    """Time as the party sees it: seconds since 1970, and monotonic seconds."""

    wall: Callable[[], float]
    monotonic: Callable[[], float]


@dataclass(frozen=True)
class Office:
    """One organisation's program, as its runs see it.

    Attributes:
        home: its folder.
        dial: connects to a peer for a path.
        clocks: time.
        threads: for computations.
        log: for the operator of the party.
        turns: of the runs that we lead.
        ledger: of the party's consortium; without one, runs are agreed between the parties alone.
        observers: hear of every run.
        workers: counts those of all runs.
        owed: how runs stand whose store could not take it yet, by run.
    """

    home: Home
    dial: Dial
    clocks: Clocks
    threads: int
    log: Log
    turns: Turns
    ledger: PartyLedger | None = None
    observers: tuple[Observer, ...] = ()
    workers: Workers = field(default_factory=Workers)
    owed: dict[str, RunRecord] = field(default_factory=dict)

    @cached_property
    def diaries(self) -> Diaries:
        """Of the runs that are under way."""
        return Diaries(self.home, self.log, self.clocks.monotonic)

    def check_room(self) -> None:
        """Refuse to compute while there is too little room on the disk.

        Raises:
            BudgetExhausted: there is; the run goes on when there is more.
        """
        check_room(self.home.path, self.home.settings.disk << 20)

    @property
    def name(self) -> str:
        """Our party's."""
        return self.home.settings.party

    def run(self, run: str) -> RunRecord | None:
        """How a run stands, if it is noted."""
        return self.owed.get(run) or self.home.catalogue.run(run)

    def note(self, record: RunRecord) -> None:
        """Note how a run stands; it is owed if the store cannot take it now, as it has happened anyway."""
        try:
            self.home.catalogue.keep_run(record)
        except ParleyError as error:
            self.owed[record.id] = record
            self.log(f"{record.id} is {record.state}, which could not be noted yet: {error.what}")
        else:
            self.owed.pop(record.id, None)

    def settle(self) -> None:
        """Note what is owed.

        Raises:
            ParleyError: the store still cannot take it.
        """
        for record in list(self.owed.values()):
            self.home.catalogue.keep_run(record)
            del self.owed[record.id]
            self.log(f"{record.id} is {record.state}, which is noted now")

    def journal(self, run: str) -> Journal:
        """What is kept of a run while it lasts."""
        return Journal(self.home.journal_folder(run))

    def gate(self, run: str) -> Gate | None:
        """The ledger's hold on an attempt at a run, if we keep a ledger."""
        if self.ledger is None:
            return None
        return Gate(self.ledger, run, self.journal(run))

    def sinks(self, record: RunRecord) -> tuple[Sink, ...]:
        """Who takes the trace of a run."""
        return tuple(each.sink(record) for each in self.observers)

    def tell(self, record: RunRecord) -> None:
        """A run came to another state, or begins."""
        for each in self.observers:
            each.moved(record)

    def admit(self, plan: Plan, peer: str) -> None:
        """Whether our own rules allow a peer's plan, as far as can be said without reading our table.

        Raises:
            PolicyRefused: they do not.
            UsageError: the plan names no table of ours.
        """
        part = plan.parties.get(self.name)
        if part is None:
            raise PolicyRefused(
                "not-our-plan",
                f"{peer} proposes a plan without us",
                remedy=f"name {self.name} in the plan",
            )
        try:
            record = self.home.catalogue.table(part.table)
        except UsageError as error:
            raise UsageError(
                error.code, error.what, remedy=error.remedy, public="no such table here"
            ) from None
        tables.admit(plan, self.name, peer, record)
        if self.ledger is None:
            tables.check_shared(peer, record)
