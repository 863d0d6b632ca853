"""What can be voted on: each subject with the check that it is possible and what it does when accepted."""

from typing import ClassVar, Final, TypeAlias

from parley.ledger.contract.consortium import (
    ENGINE,
    THRESHOLDS,
    VERSIONS,
    ContractVersions,
    Engine,
    Era,
    Threshold,
    Thresholds,
    VoteKind,
    may_be_replaced,
)
from parley.ledger.contract.fields import Height, Party, Positive, PublicKey, Role, Text, Time
from parley.ledger.contract.members import (
    Key,
    Member,
    check_new_key,
    enter_key,
    find_member,
    key_path,
    member_path,
    revoke,
    set_standing,
)
from parley.ledger.contract.refusal import refuse
from parley.ledger.contract.state import Draft, Record

FURTHEST_HEIGHT: Final = 10_000_000
"""How many heights ahead a version or an engine may be set."""


class Subject(Record, frozen=True, tag_field="kind"):
    """The root of what can be voted on.

    `check` refuses what is impossible or would change nothing; it runs when the vote is proposed and again
    when it is decided. `carry_out` then changes the state. ``about`` is the member that has no vote on it.
    """

    KIND: ClassVar[VoteKind]
    PATH = ""

    @property
    def about(self) -> str | None:
        """The member in question, who does not vote on itself."""
        return None

    def check(self, draft: Draft, height: int) -> None:
        """Refuse what cannot be carried out at ``height``."""
        raise NotImplementedError

    def carry_out(self, draft: Draft, height: int, cause: str) -> None:
        """Do it; ``cause`` is the path of the proposal."""
        raise NotImplementedError


class Admit(Subject, frozen=True, tag="admit"):
    """Invite a newcomer.

    Attributes:
        member: its name.
        role: what it may do.
        invitation: public key made from the one-time secret of the invitation; commits to the secret.
        until: time until which the newcomer may join.
    """

    KIND = "admit"

    member: Party
    role: Role
    invitation: PublicKey
    until: Time

    def check(self, draft: Draft, height: int) -> None:  # noqa: ARG002
        """The name is new, or that of an invitation that was never taken up."""
        known = draft.find(Member, member_path(self.member))
        if known is not None and known.standing != "invited":
            refuse("member-known", self.member)
        check_new_key(draft, self.invitation)

    def carry_out(self, draft: Draft, height: int, cause: str) -> None:
        """Enter the member as invited, with the invitation's key; an earlier invitation is void."""
        known = draft.find(Member, member_path(self.member))
        identifier = enter_key(draft, self.member, "invitation", self.invitation, height)
        if known is not None:
            revoke(draft, known.signing, height)
        key = draft.known(Key, key_path(identifier))
        draft.put(key_path(identifier), key.but(until=self.until))
        member = Member(
            name=self.member,
            role=self.role,
            standing="invited",
            since=height,
            cause=cause,
            signing=identifier,
            cosigning="",
            recovery="",
        )
        draft.put(member_path(self.member), member)


class Sanction(Subject, frozen=True):
    """The root of votes about a member's standing.

    Attributes:
        member: whose.
        why: for people.
    """

    member: Party
    why: Text

    @property
    def about(self) -> str | None:
        """The member in question."""
        return self.member


class Remove(Sanction, frozen=True, tag="remove"):
    """End a membership for good: keys are revoked, the name is never given again."""

    KIND = "remove"

    def check(self, draft: Draft, height: int) -> None:
        """There is such a member, and it is not the sequencer."""
        if find_member(draft, self.member).standing == "removed":
            refuse("proposal-moot", f"{self.member} is removed")
        engine = current_engine(draft)
        if engine.sequencer == self.member and (engine.kind == "embedded" or height < engine.height):
            refuse("sequencer-cannot-leave", self.member)

    def carry_out(self, draft: Draft, height: int, cause: str) -> None:
        """Remove."""
        set_standing(draft, find_member(draft, self.member), "removed", height, cause)


class Suspend(Sanction, frozen=True, tag="suspend"):
    """Let a member start nothing until it is reinstated."""

    KIND = "suspend"

    def check(self, draft: Draft, height: int) -> None:  # noqa: ARG002
        """It is active."""
        if find_member(draft, self.member).standing != "active":
            refuse("proposal-moot", f"{self.member} is not active")

    def carry_out(self, draft: Draft, height: int, cause: str) -> None:
        """Suspend."""
        set_standing(draft, find_member(draft, self.member), "suspended", height, cause)


class Reinstate(Sanction, frozen=True, tag="reinstate"):
    """End a suspension."""

    KIND = "reinstate"

    def check(self, draft: Draft, height: int) -> None:  # noqa: ARG002
        """It is suspended."""
        if find_member(draft, self.member).standing != "suspended":
            refuse("proposal-moot", f"{self.member} is not suspended")

    def carry_out(self, draft: Draft, height: int, cause: str) -> None:
        """Reinstate."""
        set_standing(draft, find_member(draft, self.member), "active", height, cause)


class SetThreshold(Subject, frozen=True, tag="threshold"):
    """Change the threshold of one kind of vote, for proposals made from then on.

    Attributes:
        vote: the kind.
        threshold: the part of the electorate that must say yes.
    """

    KIND = "threshold"

    vote: VoteKind
    threshold: Threshold

    def check(self, draft: Draft, height: int) -> None:  # noqa: ARG002
        """It is a majority at least, and another than now."""
        self.threshold.check()
        if draft.known(Thresholds, THRESHOLDS).one(self.vote) == self.threshold:
            refuse("proposal-moot", f"this is the threshold of {self.vote}")

    def carry_out(self, draft: Draft, height: int, cause: str) -> None:  # noqa: ARG002
        """Change it."""
        thresholds = draft.known(Thresholds, THRESHOLDS)
        draft.put(THRESHOLDS, thresholds.but(**{self.vote: self.threshold}))


class SetVersion(Subject, frozen=True, tag="version"):
    """Let the rules of another version hold from a height on; every member's program must know it by then.

    Attributes:
        version: of the contract.
        height: the first at which it holds.
    """

    KIND = "version"

    version: Positive
    height: Height

    def check(self, draft: Draft, height: int) -> None:
        """It lies ahead, follows every other change, and is a later version."""
        _check_ahead(height, self.height)
        last = draft.known(ContractVersions, VERSIONS).eras[-1]
        if self.height <= last.height or self.version <= last.version:
            refuse("proposal-moot", f"version {last.version} holds from height {last.height}")

    def carry_out(self, draft: Draft, height: int, cause: str) -> None:  # noqa: ARG002
        """Add an era."""
        versions = draft.known(ContractVersions, VERSIONS)
        era = Era(height=self.height, version=self.version)
        draft.put(VERSIONS, ContractVersions(eras=(*versions.eras, era)))


class HandOver(Subject, frozen=True, tag="sequencer"):
    """Let another member's machine order the transactions, from the next height on.

    After a decided move to CometBFT, up to the height of the move; from version 4 of the contract on.

    Attributes:
        member: whose.
    """

    KIND = "sequencer"

    member: Party

    def check(self, draft: Draft, height: int) -> None:
        """The engine has a sequencer that orders the next height, and it becomes another active member."""
        engine = current_engine(draft)
        ends = engine.kind != "embedded" and height + 1 >= engine.height
        if ends or not may_be_replaced(draft, height) or engine.sequencer == self.member:
            refuse("proposal-moot", f"the engine is {engine.kind}, its sequencer {engine.sequencer}")
        if find_member(draft, self.member).standing != "active":
            refuse("member-standing", f"{self.member} is not active")

    def carry_out(self, draft: Draft, height: int, cause: str) -> None:  # noqa: ARG002
        """Hand over; a decided move stands."""
        engine = current_engine(draft)
        holds = height + 1 if engine.kind == "embedded" else engine.height
        draft.put(ENGINE, engine.but(sequencer=self.member, height=holds))


class MoveEngine(Subject, frozen=True, tag="engine"):
    """Leave the embedded engine for CometBFT; history is carried along.

    Attributes:
        height: the first that CometBFT orders.
    """

    KIND = "engine"

    height: Height

    def check(self, draft: Draft, height: int) -> None:
        """The engine is the embedded one, and the height lies ahead."""
        _check_ahead(height, self.height)
        if current_engine(draft).kind != "embedded":
            refuse("proposal-moot", "the engine is CometBFT")

    def carry_out(self, draft: Draft, height: int, cause: str) -> None:  # noqa: ARG002
        """Set the height at which the embedded engine ends."""
        draft.put(ENGINE, current_engine(draft).but(kind="cometbft", height=self.height))


AnySubject: TypeAlias = (
    Admit | Remove | Suspend | Reinstate | SetThreshold | SetVersion | HandOver | MoveEngine
)


def current_engine(draft: Draft) -> Engine:
    """The engine that holds, or that will from a height already decided."""
    return draft.known(Engine, ENGINE)


def _check_ahead(height: int, chosen: int) -> None:
    if not height < chosen <= height + FURTHEST_HEIGHT:
        refuse("time-out-of-range", f"height {chosen} seen from height {height}")
