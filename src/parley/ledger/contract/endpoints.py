"""Where a member is reached, and the certificate it shows there; so that a new member needs nothing else."""

from typing import Annotated

from msgspec import Meta

from parley.ledger.contract.fields import Height, Party
from parley.ledger.contract.rule import NOT_REMOVED, Act, Body, Rule
from parley.ledger.contract.state import Record

Certificate = Annotated[str, Meta(pattern=r"^([0-9a-f]{2}){1,2048}\Z")]
"""An X.509 certificate in DER, in hexadecimal."""
Address = Annotated[str, Meta(pattern=r"^([A-Za-z0-9._:\[\]-]{1,255}:[0-9]{1,5})?\Z")]
"""``host:port``; empty for a member that only dials out."""


class Endpoint(Record, frozen=True):
    """How the others reach a member.

    Attributes:
        member: whose.
        address: where it listens.
        certificate: the one it shows, and the only one accepted of it.
        height: of the last change.
    """

    PATH = "endpoint/<member>"

    member: Party
    address: Address
    certificate: Certificate
    height: Height


class Announce(Body, frozen=True):
    """State or change how one is reached.

    Attributes:
        address: see `Endpoint`.
        certificate: see `Endpoint`.
    """

    address: Address
    certificate: Certificate


def announce(act: Act[Announce]) -> None:
    """Write it; what was announced before no longer holds."""
    act.draft.put(
        endpoint_path(act.sender.name),
        Endpoint(
            member=act.sender.name,
            address=act.body.address,
            certificate=act.body.certificate,
            height=act.height,
        ),
    )


def endpoint_path(member: str) -> str:
    """Where a member's endpoint stands."""
    return f"endpoint/{member}"


RULES = (Rule("member.announce", Announce, announce, standing=NOT_REMOVED),)
