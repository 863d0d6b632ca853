"""Votes: a proposal, its electorate fixed when it is made, ballots that are final, and the deed at once."""

from typing import Final, Literal, TypeAlias

from parley.ledger.contract.consortium import THRESHOLDS, Thresholds
from parley.ledger.contract.fields import Digest, Time
from parley.ledger.contract.members import active_members
from parley.ledger.contract.refusal import Refusal, refuse
from parley.ledger.contract.rule import Act, Body, Rule
from parley.ledger.contract.state import Draft, Record
from parley.ledger.contract.subjects import AnySubject

LONGEST_VOTE: Final = 90 * 86_400
"""Seconds that a proposal may stay open at most."""

Ballot: TypeAlias = Literal["yes", "no"]


class Proposal(Record, frozen=True):
    """A vote.

    Attributes:
        id: digest of the transaction that proposed it.
        by: who did.
        subject: what is to be done.
        electorate: who may vote, ascending; the active members when it was made, but not the one in question.
        needed: how many must say yes.
        ballots: what each voter said; final.
        opened: height.
        until: time after which nobody can vote.
        status: ``void`` means that it was accepted, but had become impossible by then.
        decided: height of the decision.
    """

    PATH = "proposal/<id>"

    id: str
    by: str
    subject: AnySubject
    electorate: tuple[str, ...]
    needed: int
    ballots: dict[str, Ballot]
    opened: int
    until: int
    status: Literal["open", "accepted", "rejected", "void"]
    decided: int | None = None

    def count(self, ballot: Ballot) -> int:
        """How many said so."""
        return sum(1 for cast in self.ballots.values() if cast == ballot)


class Propose(Body, frozen=True):
    """Put something to the vote; the proposer, if it is in the electorate, says yes by that.

    Attributes:
        subject: what.
        until: time at which the vote ends.
    """

    subject: AnySubject
    until: Time


class Vote(Body, frozen=True):
    """Cast the ballot, once.

    Attributes:
        proposal: its id.
        ballot: yes or no.
    """

    proposal: Digest
    ballot: Ballot


def propose(act: Act[Propose]) -> None:
    """Open a vote."""
    subject = act.body.subject
    if not act.now < act.body.until <= act.now + LONGEST_VOTE:
        refuse("time-out-of-range", f"until {act.body.until} seen from {act.now}")
    subject.check(act.draft, act.height)
    electorate = tuple(member.name for member in active_members(act.draft) if member.name != subject.about)
    if not electorate:
        refuse("proposal-moot", "nobody could vote")
    opened = Proposal(
        id=act.digest,
        by=act.sender.name,
        subject=subject,
        electorate=electorate,
        needed=act.draft.known(Thresholds, THRESHOLDS).one(subject.KIND).needed(len(electorate)),
        ballots={act.sender.name: "yes"} if act.sender.name in electorate else {},
        opened=act.height,
        until=act.body.until,
        status="open",
    )
    act.draft.put(proposal_path(act.digest), _decided(act.draft, opened, act.height))


def vote(act: Act[Vote]) -> None:
    """Cast a ballot; the deciding one carries the proposal out."""
    path = proposal_path(act.body.proposal)
    proposal = act.draft.find(Proposal, path) or refuse("proposal-unknown", act.body.proposal[:16])
    voter = act.sender.name
    if proposal.status != "open":
        refuse("proposal-decided", proposal.status)
    if act.now > proposal.until:
        refuse("proposal-expired", f"at {proposal.until}")
    if voter not in proposal.electorate:
        refuse("not-in-electorate", voter)
    if voter in proposal.ballots:
        refuse("voted-already", f"{voter} said {proposal.ballots[voter]}")
    cast = proposal.but(ballots={**proposal.ballots, voter: act.body.ballot})
    act.draft.put(path, _decided(act.draft, cast, act.height))


def proposal_path(identifier: str) -> str:
    """Where a proposal stands."""
    return f"proposal/{identifier}"


def _decided(draft: Draft, proposal: Proposal, height: int) -> Proposal:
    """The proposal after its latest ballot, carried out if that decided it."""
    if proposal.count("no") > len(proposal.electorate) - proposal.needed:
        return proposal.but(status="rejected", decided=height)
    if proposal.count("yes") < proposal.needed:
        return proposal
    try:
        proposal.subject.check(draft, height)
        proposal.subject.carry_out(draft, height, proposal_path(proposal.id))
    except Refusal:
        return proposal.but(status="void", decided=height)
    return proposal.but(status="accepted", decided=height)


RULES = (Rule("vote.propose", Propose, propose), Rule("vote.cast", Vote, vote))
