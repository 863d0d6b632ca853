"""Members and their keys: who they are, how they join, and how a key is replaced."""

from typing import Final, Literal, TypeAlias

from parley.crypto.signatures import is_public_key, key_id
from parley.ledger.contract.fields import (
    Algorithm,
    Height,
    KeyKind,
    Role,
)
from parley.ledger.contract.refusal import refuse
from parley.ledger.contract.state import Draft, Record

Standing: TypeAlias = Literal["invited", "active", "suspended", "removed"]
RECOVERY: Final = "recovery"


class Member(Record, frozen=True):
    """One organisation of the consortium.

    Attributes:
        name: as in its certificate.
        role: what it may do.
        standing: invited until it has joined; suspended and removed by vote, suspended also by proof.
        since: height of the last change of standing.
        cause: what changed it: ``genesis``, ``proposal/<id>`` or a path of evidence.
        signing: id of the key that signs its transactions; while invited, of the invitation's key.
        cosigning: id of the key that signs checkpoints, or is its validator's; empty while invited.
        recovery: id of the key that replaces the others when they are lost or stolen; empty while invited.
    """

    PATH = "member/<name>"

    name: str
    role: Role
    standing: Standing
    since: int
    cause: str
    signing: str
    cosigning: str
    recovery: str


class Key(Record, frozen=True):
    """One key that a member has or had. It stays after its revocation, so that history stays verifiable.

    Attributes:
        member: whose it is.
        kind: what it may sign.
        algorithm: of its signatures.
        public: the public key.
        since: height at which it became valid.
        until: time after which it is of no use; only an invitation has one.
        revoked: height at which it was revoked.
        stolen: it was replaced by the recovery key, so what it signed last is doubtful.
    """

    PATH = "key/<id>"

    member: str
    kind: KeyKind
    algorithm: Algorithm
    public: str
    since: int
    until: int | None = None
    revoked: int | None = None
    stolen: bool = False


class Appeal(Record, frozen=True):
    """What a member says against a sanction or a record.

    Attributes:
        member: who speaks.
        about: path of the proposal, evidence or conduct record it speaks to.
        statement: digest of its words, which it shows to whom it wants.
        height: when.
    """

    PATH = "appeal/<member>/<receipt number>"

    member: str
    about: str
    statement: str
    height: Height


def member_path(name: str) -> str:
    """Where a member stands."""
    return f"member/{name}"


def key_path(identifier: str) -> str:
    """Where a key stands."""
    return f"key/{identifier}"


def find_member(draft: Draft, name: str) -> Member:
    """The member of this name; refused with ``member-unknown``."""
    return draft.find(Member, member_path(name)) or refuse("member-unknown", name)


def active_members(draft: Draft) -> tuple[Member, ...]:
    """Every active member, ascending by name."""
    members = (draft.known(Member, path) for path in draft.paths("member/"))
    return tuple(member for member in members if member.standing == "active")


def set_standing(draft: Draft, member: Member, standing: Standing, height: int, cause: str) -> None:
    """Change a member's standing; the keys of a removed member are revoked."""
    draft.put(member_path(member.name), member.but(standing=standing, since=height, cause=cause))
    if standing == "removed":
        for identifier in (member.signing, member.cosigning, member.recovery):
            if identifier:
                revoke(draft, identifier, height)


def enter_key(draft: Draft, member: str, kind: KeyKind, public: str, height: int) -> str:
    """Write a new key and return its id; a key is entered once, by one member, for one kind."""
    identifier = check_new_key(draft, public)
    draft.put(
        key_path(identifier),
        Key(member=member, kind=kind, algorithm="ed25519", public=public, since=height),
    )
    return identifier


def check_new_key(draft: Draft, public: str) -> str:
    """The id of a public key that is valid and stands nowhere yet; refused otherwise."""
    if not is_public_key(bytes.fromhex(public)):
        refuse("key-invalid", public[:16])
    identifier = key_id(bytes.fromhex(public))
    if draft.has(key_path(identifier)):
        refuse("key-known", identifier[:16])
    return identifier


def revoke(draft: Draft, identifier: str, height: int, *, stolen: bool = False) -> None:
    """Make a key invalid from now on."""
    key = draft.known(Key, key_path(identifier))
    draft.put(key_path(identifier), key.but(revoked=height, stolen=stolen))
