"""What a party's data was worth, and whether it behaved: typed records, integers, references to evidence."""

from typing import Literal, TypeAlias

from parley.ledger.contract.fields import Count, Digest, Height, Name, Party, Positive, Signed
from parley.ledger.contract.models import find_model
from parley.ledger.contract.refusal import refuse
from parley.ledger.contract.rule import HOLDER, Act, Body, Rule
from parley.ledger.contract.runs import find_run
from parley.ledger.contract.state import Record

Incident: TypeAlias = Literal[
    "silent", "late", "malformed", "out-of-turn", "aborted", "anomalous", "inconsistent"
]
"""silent: gone within a conversation; late: past a deadline; malformed, out-of-turn: against the protocol;
aborted: stopped without need; anomalous: unlike itself; inconsistent: contradicts what it said before."""


class Contribution(Record, frozen=True):
    """What a party's columns were worth to a model, as the active party measured it.

    Attributes:
        by: who measured.
        ppm: the measure in parts per million.
        evidence: digest of how it was measured.
        height: when.
    """

    PATH = "contribution/<run>/<party>/<measure>"

    by: str
    ppm: int
    evidence: str
    height: Height


class Conduct(Record, frozen=True):
    """What one participant says of another.

    Attributes:
        by: who says it.
        about: of whom.
        run: in which run.
        round: in which round, 0 for the alignment.
        incident: what kind of thing.
        count: how often.
        evidence: digest of what it has to show.
        height: when.
    """

    PATH = "conduct/<about>/<receipt number>"

    by: str
    about: str
    run: str
    round: int
    incident: Incident
    count: int
    evidence: str
    height: Height


class RecordContribution(Body, frozen=True):
    """Record a contribution to a finished model; the fields are those of `Contribution`."""

    run: Name
    party: Party
    measure: Name
    ppm: Signed
    evidence: Digest


class RecordConduct(Body, frozen=True):
    """Record an incident; the fields are those of `Conduct`."""

    run: Name
    about: Party
    round: Count
    incident: Incident
    count: Positive
    evidence: Digest


def record_contribution(act: Act[RecordContribution]) -> None:
    """Enter a contribution, once for each run, party and measure."""
    body = act.body
    model = find_model(act.draft, body.run)
    if act.sender.name != model.active:
        refuse("not-the-active-party", act.sender.name)
    if body.party not in model.shares:
        refuse("not-a-participant", body.party)
    path = f"contribution/{body.run}/{body.party}/{body.measure}"
    if act.draft.has(path):
        refuse("record-known", path)
    contribution = Contribution(by=act.sender.name, ppm=body.ppm, evidence=body.evidence, height=act.height)
    act.draft.put(path, contribution)


def record_conduct(act: Act[RecordConduct]) -> None:
    """Enter an incident between two participants of a run."""
    body, sender = act.body, act.sender.name
    run = find_run(act.draft, body.run)
    for party in (sender, body.about):
        if party not in run.committed:
            refuse("not-a-participant", party)
    if sender == body.about:
        refuse("about-itself", sender)
    conduct = Conduct(
        by=sender,
        about=body.about,
        run=body.run,
        round=body.round,
        incident=body.incident,
        count=body.count,
        evidence=body.evidence,
        height=act.height,
    )
    act.draft.put(f"conduct/{body.about}/{act.number:012}", conduct)


RULES = (
    Rule("contribution.record", RecordContribution, record_contribution, roles=HOLDER),
    Rule("conduct.record", RecordConduct, record_conduct, roles=HOLDER),
)
