"""What a member does about itself: join, replace a key, appeal."""

from typing import Annotated, Literal

from msgspec import Meta

from parley.ledger.contract.fields import Digest, PublicKey
from parley.ledger.contract.members import (
    RECOVERY,
    Appeal,
    Member,
    enter_key,
    member_path,
    revoke,
)
from parley.ledger.contract.refusal import refuse
from parley.ledger.contract.rule import NOT_REMOVED, Act, Body, Rule


class Join(Body, frozen=True):
    """Take up an invitation; signed with the invitation's key, so nobody can put other keys in its place.

    Attributes:
        signing: the key for the member's transactions.
        cosigning: its key for checkpoints, or its validator's.
        recovery: the key that replaces the others.
    """

    signing: PublicKey
    cosigning: PublicKey
    recovery: PublicKey


class Rotate(Body, frozen=True):
    """Replace a key; signed with that key or with the recovery key.

    Attributes:
        kind: which.
        public: the new key.
    """

    kind: Literal["signing", "cosigning", "recovery"]
    public: PublicKey


class SpeakUp(Body, frozen=True):
    """Answer a sanction or a record.

    Attributes:
        about: path of what is answered: a proposal, evidence or a conduct record.
        statement: digest of the words.
    """

    about: Annotated[str, Meta(pattern=r"^(proposal|evidence|conduct)/[A-Za-z0-9._/-]{1,200}\Z")]
    statement: Digest


def join(act: Act[Join]) -> None:
    """An invited member becomes active."""
    if act.key.until is not None and act.now > act.key.until:
        refuse("invitation-expired", f"at {act.key.until}")
    draft, name = act.draft, act.sender.name
    identifiers = [
        enter_key(draft, name, "signing", act.body.signing, act.height),
        enter_key(draft, name, "cosigning", act.body.cosigning, act.height),
        enter_key(draft, name, "recovery", act.body.recovery, act.height),
    ]
    revoke(draft, act.sender.signing, act.height)
    joined = act.sender.but(
        standing="active",
        since=act.height,
        signing=identifiers[0],
        cosigning=identifiers[1],
        recovery=identifiers[2],
    )
    draft.put(member_path(name), joined)


def rotate(act: Act[Rotate]) -> None:
    """A new key takes the place of an old one."""
    kind, member = act.body.kind, act.sender
    if act.key.kind not in (kind, RECOVERY):
        refuse("key-not-allowed", f"a {act.key.kind} key replaces no {kind} key")
    identifier = enter_key(act.draft, member.name, kind, act.body.public, act.height)
    revoke(act.draft, _held(member, kind), act.height, stolen=act.key.kind == RECOVERY != kind)
    match kind:
        case "signing":
            changed = member.but(signing=identifier)
        case "cosigning":
            changed = member.but(cosigning=identifier)
        case "recovery":
            changed = member.but(recovery=identifier)
    act.draft.put(member_path(member.name), changed)


def speak_up(act: Act[SpeakUp]) -> None:
    """Put an answer beside what it answers."""
    if not act.draft.has(act.body.about):
        refuse("record-unknown", act.body.about)
    answer = Appeal(
        member=act.sender.name, about=act.body.about, statement=act.body.statement, height=act.height
    )
    act.draft.put(f"appeal/{act.sender.name}/{act.number:012}", answer)


def _held(member: Member, kind: Literal["signing", "cosigning", "recovery"]) -> str:
    match kind:
        case "signing":
            return member.signing
        case "cosigning":
            return member.cosigning
        case "recovery":
            return member.recovery


RULES = (
    Rule("member.join", Join, join, standing=("invited",), keys=("invitation",)),
    Rule("key.rotate", Rotate, rotate, standing=NOT_REMOVED, keys=("signing", "cosigning", "recovery")),
    Rule("member.appeal", SpeakUp, speak_up, standing=NOT_REMOVED),
)
