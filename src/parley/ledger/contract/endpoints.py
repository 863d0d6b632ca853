"""Where a member is reached, and the certificate it shows there; so that a new member needs nothing else."""

from typing import Annotated

from msgspec import Meta

from parley.ledger.contract.fields import Height, Party
from parley.ledger.contract.members import Member, member_path
from parley.ledger.contract.refusal import refuse
from parley.ledger.contract.rule import NOT_REMOVED, Act, Body, Rule
from parley.ledger.contract.state import Draft, Record

Certificate = Annotated[str, Meta(pattern=r"^([0-9a-f]{2}){1,2048}\Z")]
"""An X.509 certificate in DER, in hexadecimal."""
Address = Annotated[str, Meta(pattern=r"^([A-Za-z0-9._:\[\]-]{1,255}:[0-9]{1,5})?\Z")]
"""``host:port``; empty for a member that only dials out."""
NodeId = Annotated[str, Meta(pattern=r"^[0-9a-f]{40}\Z")]
"""The address of a CometBFT node's key, in hexadecimal."""


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


class Node(Record, frozen=True):
    """A member's CometBFT node: who it must prove to be when it connects to the others.

    Attributes:
        member: whose.
        node: its node id.
        address: where it listens for other nodes.
        height: of the last change.
    """

    PATH = "node/<member>"

    member: Party
    node: NodeId
    address: Address
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


class AnnounceNode(Body, frozen=True):
    """State or change which CometBFT node is one's own.

    Attributes:
        node: see `Node`.
        address: see `Node`.
    """

    node: NodeId
    address: Address


def announce_node(act: Act[AnnounceNode]) -> None:
    """Write it; the node announced before is let in no longer."""
    holder = node_holder(act.draft, act.body.node)
    if holder not in (None, act.sender.name):
        refuse("node-known", f"{holder} has announced it")
    act.draft.put(
        node_path(act.sender.name),
        Node(member=act.sender.name, node=act.body.node, address=act.body.address, height=act.height),
    )


def node_holder(draft: Draft, node: str) -> str | None:
    """The member that has announced the node and is not removed; nothing if there is none."""
    for path in draft.paths("node/"):
        known = draft.known(Node, path)
        if known.node == node and draft.known(Member, member_path(known.member)).standing != "removed":
            return known.member
    return None


def endpoint_path(member: str) -> str:
    """Where a member's endpoint stands."""
    return f"endpoint/{member}"


def node_path(member: str) -> str:
    """Where a member's node stands."""
    return f"node/{member}"


RULES = (
    Rule("member.announce", Announce, announce, standing=NOT_REMOVED),
    Rule("member.announce-node", AnnounceNode, announce_node, standing=NOT_REMOVED),
)
