"""What the API answers, beside the records of `parley.party.shown` that the commands print too."""

from typing import Any

import msgspec

from parley.party.finding import Finding
from parley.party.proving import Standing
from parley.party.shown.models import ModelListed
from parley.party.shown.plans import PlanShown
from parley.party.shown.records import RecordShown
from parley.party.shown.runs import RunShown
from parley.party.shown.tables import TableShown
from parley.protocols.control import Condition


class PartyShown(msgspec.Struct, frozen=True):
    """The party that answers.

    Attributes:
        party: our name.
        release: of Parley.
        home: our folder.
        listen: the peer port; empty if we only dial out.
        fingerprint: of our certificate, in groups of four letters.
        consortium: id of our ledger; empty without one.
        began: when the party was started, seconds since 1970.
        threads: for computations.
        kernels: which machine code computes.
    """

    party: str
    release: str
    home: str
    listen: str
    fingerprint: str
    consortium: str
    began: float
    threads: int
    kernels: str


class SettingShown(msgspec.Struct, frozen=True):
    """One setting as parley.toml has it now; the running party uses what it read when it started.

    Attributes:
        name: as the file has it.
        value: text, number or truth value.
        source: ``file``, or ``default`` where the file says nothing.
        help: what it means.
    """

    name: str
    value: Any
    source: str
    help: str


class Settings(msgspec.Struct, frozen=True):
    """All settings; none of them is a secret."""

    file: str
    settings: tuple[SettingShown, ...]


class Findings(msgspec.Struct, frozen=True):
    """What an examination found; ``well``: nothing has failed."""

    well: bool
    findings: tuple[Finding, ...]


class LinkShown(msgspec.Struct, frozen=True):
    """Our link with a peer.

    Attributes:
        connected: whether there is a connection now.
        streams: conversations that are open.
        bytes_in: since the party started.
        bytes_out: since the party started.
        rate_in: bytes per second over the last ten seconds.
        rate_out: bytes per second over the last ten seconds.
        round_trip: seconds; null before the first.
    """

    connected: bool
    streams: int
    bytes_in: int
    bytes_out: int
    rate_in: float
    rate_out: float
    round_trip: float | None


class PeerShown(msgspec.Struct, frozen=True):
    """A party that we know.

    Attributes:
        peer: its name.
        address: where we dial it; empty: it dials us.
        fingerprint: of its certificate.
        link: ours with it; null if there was none since we started.
    """

    peer: str
    address: str
    fingerprint: str
    link: LinkShown | None


class Peers(msgspec.Struct, frozen=True):
    """Everyone we know, ascending by name."""

    peers: tuple[PeerShown, ...]


class Tables(msgspec.Struct, frozen=True):
    """Our registered tables."""

    tables: tuple[TableShown, ...]


class Plans(msgspec.Struct, frozen=True):
    """Plans on the ledger, the open ones first, then the latest."""

    plans: tuple[PlanShown, ...]


class Runs(msgspec.Struct, frozen=True):
    """The runs we led or followed, oldest first."""

    runs: tuple[RunShown, ...]


class PhaseShown(msgspec.Struct, frozen=True):
    """Where a phase of a run stands.

    Attributes:
        phase: its name.
        done: units so far.
        total: units expected.
        unit: what is counted.
        detail: a short remark.
        seconds: that it took; negative while it goes on.
    """

    phase: str
    done: int
    total: int
    unit: str
    detail: str
    seconds: float


class Models(msgspec.Struct, frozen=True):
    """The models we hold a piece of."""

    models: tuple[ModelListed, ...]


class MergeShown(msgspec.Struct, frozen=True):
    """Our consent to a merge, and what it came to.

    Attributes:
        model: which.
        receiver: who may hold the whole once every owner has named it.
        record: number of the receipt.
        missing: owners that have not; none: it may fetch the pieces of the others.
    """

    model: str
    receiver: str
    record: int
    missing: tuple[str, ...]


class LedgerShown(msgspec.Struct, frozen=True):
    """Where our copy of the ledger stands.

    Attributes:
        halted: why we sign nothing any more; empty while we do.
        engine: that orders, as our member sees it.
        standing: of our copy.
    """

    halted: str
    engine: Condition
    standing: Standing


class Records(msgspec.Struct, frozen=True):
    """A part of the ledger's history.

    Attributes:
        records: ascending by number.
        next: number to ask for next; null at the end.
        size: records that there are.
    """

    records: tuple[RecordShown, ...]
    next: int | None
    size: int
