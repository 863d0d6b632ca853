"""What all runs of a party stand on: its home, its clocks, its ways to the others, its ledger."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from parley.core.errors import PolicyRefused, UsageError
from parley.core.files import check_room
from parley.core.log import Log
from parley.core.plan import Plan
from parley.party import tables
from parley.party.diary import Diaries
from parley.party.gate import Gate
from parley.party.ledger import PartyLedger
from parley.party.rendezvous import Dial
from parley.party.turns import Turns
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
    """

    home: Home
    dial: Dial
    clocks: Clocks
    threads: int
    log: Log
    turns: Turns
    ledger: PartyLedger | None = None

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

    def journal(self, run: str) -> Journal:
        """What is kept of a run while it lasts."""
        return Journal(self.home.journal_folder(run))

    def gate(self, run: str) -> Gate | None:
        """The ledger's hold on an attempt at a run, if we keep a ledger."""
        if self.ledger is None:
            return None
        return Gate(self.ledger, run, self.journal(run))

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
