"""How the rules are written down: a transaction type, its body, who may send it, the function that acts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeAlias, TypeVar

import msgspec

from parley.ledger.contract.fields import KeyKind, Role
from parley.ledger.contract.members import Key, Member, Standing
from parley.ledger.contract.state import Draft


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The root of all bodies of transactions."""


B = TypeVar("B", bound=Body)
B_co = TypeVar("B_co", bound=Body, covariant=True)


class Act(msgspec.Struct, Generic[B_co], frozen=True):
    """One transaction in the hands of its rule.

    Attributes:
        draft: the state and what the rule changes of it.
        sender: the member that sent it.
        key: the key that signed it.
        body: its body, checked.
        digest: of the transaction.
        number: of its receipt.
        height: of the block.
        now: the contract's time in seconds; it never goes back.
    """

    draft: Draft
    sender: Member
    key: Key
    body: B_co
    digest: str
    number: int
    height: int
    now: int


ANY_ROLE: Final[tuple[Role, ...]] = ("holder", "observer")
HOLDER: Final[tuple[Role, ...]] = ("holder",)
ACTIVE: Final[tuple[Standing, ...]] = ("active",)
NOT_REMOVED: Final[tuple[Standing, ...]] = ("active", "suspended")
"""For what ends things or answers: a suspended member starts nothing, but may step back and speak up."""
SIGNING: Final[tuple[KeyKind, ...]] = ("signing",)


@dataclass(frozen=True, slots=True)
class Rule(Generic[B]):
    """One row of the table of transaction types.

    Attributes:
        name: the type as it stands in the transaction.
        body: its schema.
        act: changes the draft, or raises `Refusal`.
        standing: standings of a sender that may send it.
        roles: roles that may.
        keys: kinds of key that may sign it.
    """

    name: str
    body: type[B]
    act: Callable[[Act[B]], None]
    standing: tuple[Standing, ...] = ACTIVE
    roles: tuple[Role, ...] = ANY_ROLE
    keys: tuple[KeyKind, ...] = SIGNING


Rules: TypeAlias = Mapping[str, Rule[Any]]
"""The rules of one version of the contract, by type of transaction."""
